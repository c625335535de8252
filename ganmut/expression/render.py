"""Drawing an expression: flow, light, eyes and mouth, for N changes of one face at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.expression.face_basis import FaceBasis, smooth
from ganmut.expression.geometry import SHIFT, gradient, sample, spline_flow, unfolded_share
from ganmut.expression.mouth import MM, draw_mouth, ramp
from ganmut.expression.mouth_tone import apply_tone, tone
from ganmut.expression.openings import EdgeCurves, edge_curves
from ganmut.expression.point_set import SIZE
from ganmut.expression.traced import any_true, to_float, to_int

if TYPE_CHECKING:
    from ganmut.expression.model import Displacement, ExpressionModel

VERSION = "drawing 2"  # raised whenever the same change of the same face is drawn otherwise
ATTEMPTS = 4  # at a flow that does not fold
KEPT = 0.97  # of the share at which a flow nearly folds
LASHES = 2.5  # px of the mean face under the edge of an upper lid
BRIGHTEST = 0.7  # the light's logarithm is held to +-this


def clamp_change(model: ExpressionModel, basis: FaceBasis, change: Tensor) -> Tensor:
    """Changes N x K after the target's expression is held to the allowed range."""
    return model.clamp_expression(basis.expression + change) - basis.expression


@dataclass(frozen=True)
class Flow:
    """Where the edited face comes from: moved, the change as drawn (scaled down where it would have
    folded the face); sheets, 2 x N x 2 x h x w, what to add to a node of the edited face to find it
    in the source, for the upper and the lower sheet; joined, N x 2 x h x w, of both; curves, the
    moved edges at the columns of the box."""

    moved: Displacement
    sheets: Tensor
    joined: Tensor
    curves: EdgeCurves


def backward_flow(model: ExpressionModel, basis: FaceBasis, moved: Displacement) -> Flow:
    """The flow of a displacement; a share of it where all of it folds what is seen of the face."""
    for _ in range(ATTEMPTS):
        flow, whole = whole_flow(model, basis, moved)
        if not bool((whole < 1).any()):
            break
        # Smaller moves shift the nodes, so the spline is another one: a little less, and a new
        # check.
        moved = moved.scaled(KEPT * whole.clamp(max=1 / KEPT))
    return flow


def whole_flow(
    model: ExpressionModel, basis: FaceBasis, moved: Displacement
) -> tuple[Flow, Tensor]:
    """The flow of all of a displacement, and the share of it, N, at which nothing seen folds."""
    points, n = model.points, len(moved.points)
    step = basis.grid[:, 1, 1] - basis.grid[:, 0, 0]
    columns, rows = basis.grid[0, 0], basis.grid[1, :, 0]
    places = basis.grid.flatten(1).T
    nodes, moves = (
        torch.cat(values[:, points.sheets].chunk(2, 1)) for values in (moved.points, moved.moves)
    )
    # Fitted on the edited face: its values say where a pixel comes from, so nothing is inverted.
    sheets = spline_flow(nodes, -moves, basis.fixed, places)
    # Exactly zero from the outer ellipse on: pixels outside keep their bytes.
    sheets = sheets.unflatten(2, basis.grid.shape[1:]) * basis.reach
    curves = edge_curves(points, moved.points, torch.cat([columns, basis.columns]))
    count = columns.shape[0]
    coarse, curves = curves[:count], curves[count:]
    share = basis.node_border.lower_share(coarse.middle)
    with torch.no_grad():
        open_ = hidden_nodes(coarse, rows)
        # A sheet may fold where only the other one is shown, and inside an opening.
        seen = torch.cat([share < 0.9, share > 0.1]) & ~torch.cat([open_, open_])
        # Both sheets take the smaller share: two shares would part them along the cheeks.
        whole = unfolded_share(gradient(sheets, step), seen).view(2, n).amin(0)
    sheets = sheets.unflatten(0, (2, n))
    joined = sheets[0] + share[:, None] * (sheets[1] - sheets[0])
    return Flow(moved, sheets, joined, curves), whole


def hidden_nodes(curves: EdgeCurves, rows: Tensor) -> Tensor:
    """bool N x H x W: places inside a mouth or an eye, which no sheet shows."""
    y = rows.view(1, 1, -1, 1)
    return ((y > curves.upper[:, :, None]) & (y < curves.lower[:, :, None])).any(0)


def pixel_places(model: ExpressionModel, basis: FaceBasis, flow: Flow) -> Tensor:
    """N x 2 x height x width: where in the source the pixels of the box come from, in grid_sample's
    units."""
    # Everything linear is done on the nodes, of which there are far fewer than pixels.
    upper = sampling_grid(basis, basis.grid + flow.sheets[0])
    between = (flow.sheets[1] - flow.sheets[0]) * (2 / SIZE)
    fine = F.interpolate(
        torch.cat([upper, between], 1), size=basis.box[2:], mode="bilinear", align_corners=True
    )
    share = basis.pixel_border.lower_share(flow.curves.middle)
    return torch.addcmul(fine[:, :2], share[:, None], fine[:, 2:])


def sampling_grid(basis: FaceBasis, places: Tensor) -> Tensor:
    """Places in px of 128 in the units of grid_sample, for the basis' coefficients."""
    return (places - SHIFT * basis.pixel) * (2 / SIZE) - 1


def sampled(basis: FaceBasis, grid: Tensor) -> Tensor:
    """N x C x H x W of the face's crop at a sampling grid N x 2 x H x W."""
    values = basis.coefficients.expand(len(grid), -1, -1, -1)
    grid = grid.permute(0, 2, 3, 1)
    return F.grid_sample(values, grid, padding_mode="border", align_corners=False)


def render(model: ExpressionModel, basis: FaceBasis, change: Tensor) -> Tensor:
    """N x C x S x S edited crops; see ExpressionModel.render."""
    change = clamp_change(model, basis, change)
    flow = backward_flow(model, basis, model.displacement(basis, change))
    return draw(model, basis, change, flow)


def draw(model: ExpressionModel, basis: FaceBasis, change: Tensor, flow: Flow) -> Tensor:
    """N x C x S x S edited crops of N changes (already held to the allowed range) and their
    flow."""
    top, left, height, width = basis.box
    part = sampled(basis, pixel_places(model, basis, flow))
    # Light multiplies, so hue and chroma stay the skin's; adding grey would turn dark mouths red.
    part = part * relight(basis, change, flow.joined)
    part = draw_eyes(model, basis, flow, part)
    part = draw_lips(model, basis, flow, change, part)
    # Resampling never gives a crop back to the bit; no change must.
    changed = (change != 0).any(1).view(-1, 1, 1, 1) & basis.inside
    out = basis.crop.expand(len(change), -1, -1, -1).clone()
    down, across = slice(top, top + height), slice(left, left + width)
    window = torch.where(changed, part.clamp(0, 1), basis.crop[:, down, across])
    return with_window(out, window, down, across)


def relight(basis: FaceBasis, change: Tensor, coarse: Tensor) -> Tensor:
    """N x 1 x height x width factors of the brightness: the light of the source's places, seen
    through the backward flow."""
    # Sums of several controls leave the range in which the logarithm is linear in them.
    log = torch.einsum("nk,khw->nhw", change, basis.light).clamp(-BRIGHTEST, BRIGHTEST)
    flow = F.interpolate(coarse, size=log.shape[1:], mode="bilinear", align_corners=True)
    log = sample(log[:, None], basis.light_grid + flow, basis.low, basis.high)
    # The exponential on the nodes, of which there are far fewer than pixels.
    return F.interpolate(log.exp(), size=basis.box[2:], mode="bilinear", align_corners=True)


def span(low: float, high: float, axis: Tensor) -> slice:
    """The indices of an ascending axis within low..high, one beyond at either end."""
    start = to_int(((axis < low).sum() - 1).clamp(min=0))
    return slice(start, to_int((axis <= high).sum()) + 1)


def between(up: Tensor, down: Tensor, rows: Tensor, pixel: float) -> Tensor:
    """N x 1 x H x W share of each pixel between two edges N x W; exactly 0 where they meet."""
    y = rows.view(1, -1, 1)
    # Both ramps are .5 on a closed line: this factor takes the opening away before it closes.
    open_ = ((down - up) / pixel).clamp(0, 1)
    share = ramp((y - up[:, None]) / pixel) * ramp((down[:, None] - y) / pixel)
    return (share * open_[:, None])[:, None]


def draw_eyes(model: ExpressionModel, basis: FaceBasis, flow: Flow, part: Tensor) -> Tensor:
    """The eyeballs between the moved lids: they rest in the skull, so the source's stay where they
    are; where lids open beyond the source's, the eye is stretched to them."""
    _, eyes = model.points.edges
    down, across = window_of(flow.moved.points, eyes, basis, 0.0)
    x, y = basis.columns[across], basis.rows[down]
    new, old = flow.curves[across], basis.curves[across]
    # Both in one window: every column belongs to one eye, and shows nothing between them.
    on_left = x < basis.bridge
    new_up, new_down, old_up, old_down = (
        torch.where(on_left, edge[1], edge[2])
        for edge in (new.upper, new.lower, old.upper, old.lower)
    )
    # Columns stay: lids move up and down, and gaze is not edited.
    height = eyeball_heights(y, new_up, new_down, old_up, old_down, LASHES * basis.scale)
    places = torch.stack([x.view(1, 1, -1).expand_as(height), height], 1)
    share = between(new_up, new_down, y, to_float(basis.softness))
    window = part[:, :, down, across]
    mixed = torch.lerp(window, sampled(basis, sampling_grid(basis, places)), share)
    return with_window(part, mixed, down, across)


def window_of(points: Tensor, edges: Tensor, basis: FaceBasis, pad: float) -> tuple[slice, slice]:
    """Rows and columns of the box that hold edges (of PointSet.edges) of all N faces, `pad` px
    around them."""
    both = points.detach()[:, edges.flatten()].flatten(0, 1)
    left, top, right, bottom = (to_float(edge) for edge in (*both.amin(0), *both.amax(0)))
    down = span(top - pad, bottom + pad, basis.rows)
    return down, span(left, right, basis.columns)


def eyeball_heights(
    rows: Tensor,
    new_up: Tensor,
    new_down: Tensor,
    old_up: Tensor,
    old_down: Tensor,
    lashes: float,
) -> Tensor:
    """N x H x W heights of the source that show between moved lids (edges N x W): the same height,
    and where a lid opens beyond the source's, its half of the eye is stretched to it. `lashes` px
    of a lid that closes go with it."""
    y = rows.view(1, -1, 1)
    middle = ((old_up + old_down) / 2)[:, None]

    def stretch(old: Tensor, new: Tensor, way: int) -> Tensor:
        # .3 px: a closed eye has no height to stretch from.
        half = (way * (old[:, None] - middle)).clamp(min=0.3)
        reach = (way * (new[:, None] - middle)).clamp(min=0.3)
        # At most 1: lids that close slide over the eyeball and do not squeeze it.
        return (half / reach).clamp(max=1)

    above, below = stretch(old_up, new_up, -1), stretch(old_down, new_down, 1)
    height = middle + (y - middle) * torch.where(y < middle, above, below)
    # The dark of lashes and of the shade under a lid is what tells a lowered lid from a pale eye.
    closed = (new_up - old_up).clamp(min=0)[:, None]
    return height - closed * (1 - smooth((y - new_up[:, None]) / lashes))


def with_window(part: Tensor, window: Tensor, down: slice, across: slice) -> Tensor:
    """`part` with a window replaced; in place where no gradient needs the old values."""
    if torch.jit.is_tracing():
        row = [part[:, :, down, : across.start], window, part[:, :, down, across.stop :]]
        middle = torch.cat(row, 3)
        return torch.cat([part[:, :, : down.start], middle, part[:, :, down.stop :]], 2)
    if part.requires_grad or window.requires_grad:
        part = part.clone()
    part[:, :, down, across] = window
    return part


def draw_lips(
    model: ExpressionModel, basis: FaceBasis, flow: Flow, change: Tensor, part: Tensor
) -> Tensor:
    """The inside of the mouth between the moved lips: the source's own where it shows, drawn teeth
    and darkness where it does not; a line of shade where open lips close."""
    # 2 px around the lips: the line of shade is as wide where they meet.
    mouth, scale, soft = model.points.mouth, basis.scale, to_float(basis.softness)
    down, across = window_of(flow.moved.points, model.points.edges[0], basis, 2 * scale)
    x, y = basis.columns[across], basis.rows[down]
    new, old = flow.curves[across], basis.curves[across]
    new_up, new_down, old_up, old_down = new.upper[0], new.lower[0], old.upper[0], old.lower[0]
    window = part[:, :, down, across]
    corners = flow.moved.points[:, [mouth.upper[0], mouth.upper[-1]], 0]
    if any_true(new_down - new_up > 0):
        middle = len(mouth.upper) // 2
        lips = flow.moved.points[:, [mouth.upper[middle], mouth.lower[middle]], 1]
        after = basis.expression + change
        # Teeth are drawn for the whole expression after the edit, not for its change.
        edges = teeth_edges(model, basis, after, lips)
        inside = draw_mouth(x, y, new_up, new_down, edges, basis.colours, scale, soft)
        # The tone is in units of the lit skin, and distances in millimetres of this face.
        light = tone(model.mouth_tone, after, x, y, (new_up, new_down), corners, MM * scale)
        inside = apply_tone(
            inside, light * basis.colours.level, basis.pixel / (MM * scale), model.points.inside
        )
        drop = model.jaw_drop(basis, after) - model.jaw_drop(basis, basis.expression[None])
        # The lower lip hugs the row that a falling jaw takes along.
        fall = lips[:, 1] - basis.landmarks[mouth.lower[middle], 1]
        drop = torch.minimum(fall, 2 * drop).clamp(min=0)
        opened = model.jaw_opening(basis, basis.expression[None])
        own, own_share = own_mouth(basis, new, old, edges, x, y, opened, drop)
        if own is not None and own_share is not None:
            inside = torch.lerp(inside, own, own_share)
        window = torch.lerp(window, inside, between(new_up, new_down, y, soft))
    # Lips that close from open meet in a dark line, as closed lips do.
    closed = ((old_down - old_up) - (new_down - new_up)) / (2 * scale)
    closed = closed.clamp(0, 1) * (1 - (new_down - new_up) / scale).clamp(0, 1)
    closed = closed * ((x > corners[:, :1]) & (x < corners[:, 1:]))
    if any_true(closed > 0):
        # About a millimetre of shade on either side, .45 of it in the middle.
        line = torch.exp(-(((y.view(1, -1, 1) - new_up[:, None]) / (0.7 * scale)) ** 2))
        window = window * (1 - 0.45 * (closed[:, None] * line)[:, None])
    return with_window(part, window, down, across)


def teeth_edges(
    model: ExpressionModel, basis: FaceBasis, expression: Tensor, lips: Tensor
) -> Tensor:
    """N x 3: the middle of the mouth (x) and the heights of the upper and lower biting edges, px,
    under expressions N x K; lips: N x 2, heights of the middles of their edges.

    At rest the upper incisors end 2.2 mm under the upper lip, and the lower ones reach 1.2 mm
    behind them; the lower row moves with the jaw. At most 9 mm of the upper row show, and of the
    lower row not much more than 3.5 mm: the lower lip hugs it.
    """
    mouth = model.points.mouth
    middle = mouth.upper[len(mouth.upper) // 2]
    mm = MM * basis.scale
    # What the source's expression has moved the lip by: taken back, the lip is at rest.
    shown = (basis.expression - model.rest) @ (model.shape[:, middle] @ basis.matrix.T)
    rest = basis.landmarks[middle] - shown
    upper = torch.minimum(rest[1] + 2.2 * mm, lips[:, 0] + 9 * mm)
    drop = model.jaw_drop(basis, expression).clamp(min=0)
    # 2.2 - 1.2 mm; incisors are nearer to the jaw's hinge than the chin, hence .9 of its drop.
    lower = rest[1] + 1.0 * mm + 0.9 * drop
    hugged = (lips[:, 1] - 3.5 * mm - lower).clamp(min=0)
    lower = lower + torch.minimum(hugged, 1.5 * drop)
    return torch.stack([rest[0].expand(len(drop)), upper, lower], 1)


def own_mouth(
    basis: FaceBasis,
    new: EdgeCurves,
    old: EdgeCurves,
    edges: Tensor,
    x: Tensor,
    y: Tensor,
    opened: Tensor,
    drop: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """The source's own teeth, N x C x H x W, and the share (0..1) that they have of each pixel;
    None where the source's mouth is closed. opened: 1, px that the source's jaw is open.

    What hangs from the skull stays, what rests on the jaw moves down by `drop` (N, px); between
    them a gap opens. Where lips uncover more than the source shows, either row is stretched, by
    half at most.
    """
    scale = basis.scale
    y, drop = y.view(1, -1, 1), drop.view(-1, 1, 1)
    up, down = old.upper[0][:, None], old.lower[0][:, None]
    # The source's rows lie between its own lips, wherever the edit's are.
    gap = (down - up).clamp(min=0)
    known = smooth((gap - 0.8 * scale) / (1.6 * scale))  # a thin gap shows nothing worth keeping
    if not any_true(known > 0):
        return None, None
    # The upper row ends at its biting edge; over a closed jaw it fills the mouth.
    seam = torch.minimum(torch.maximum(edges[:, 1].view(-1, 1, 1), up + 0.5 * gap), down)
    # A smile with a closed jaw shows one row only; the seam comes in with the jaw's opening.
    seam = torch.lerp(down, seam, smooth((opened.view(-1, 1, 1) / scale - 1.5) / 2.5))
    # The border of an opening shows lip, through errors of the landmarks: it is not stretched.
    margin = (0.2 * gap).clamp(max=0.6 * scale)

    def stretched(shown: Tensor, asked: Tensor) -> Tensor:
        return (asked / (shown - margin).clamp(min=0.3)).clamp(1, 1.5)

    # Stretched from the seam: the biting edges stay where skull and jaw hold them.
    above = seam + (y - seam) / stretched(seam - up, seam - new.upper[0][:, None])
    reach = new.lower[0][:, None] - seam - drop
    below = seam + (y - seam - drop) / stretched(down - seam, reach)
    rows = torch.where(y <= seam, torch.minimum(above, down - margin), below)
    rows = torch.minimum(rows, down - margin)
    places = torch.stack([x.view(1, 1, -1).expand_as(rows), rows], 1)
    own = sampled(basis, sampling_grid(basis, places))
    soft = 0.8 * scale
    after_seam = ramp((seam - y) / soft + 0.2)
    # Beyond what the source shows lies its lip: drawn teeth and gums show there instead.
    lower_row = smooth((y - seam - drop) / soft + 0.5) * ramp((down - below) / soft)
    cover = torch.maximum(after_seam * ramp((above - up) / (0.6 * scale) + 0.2), lower_row)
    # A mouth that hardly changes keeps all of its inside.
    changes = (new.upper[0] - old.upper[0]).abs() + (new.lower[0] - old.lower[0]).abs()
    kept = 1 - smooth(changes.amax(1).view(-1, 1, 1) / scale - 0.5)
    return own, (torch.lerp(cover, torch.ones_like(cover), kept) * known)[:, None]
