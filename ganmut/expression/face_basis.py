"""What an expression model computes once a face: spline operators, the light on this face, the box
that an edit can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.errors import UnusableFace
from ganmut.expression.geometry import sample, shifted_coefficients, similarity, spline_flow
from ganmut.expression.mouth import Palette, palette, ramp
from ganmut.expression.openings import (
    LID_LIFT,
    EdgeCurves,
    SourceGaps,
    edge_curves,
    source_gaps,
)
from ganmut.expression.point_set import SIZE, PointSet
from ganmut.expression.traced import (
    area_means,
    least_squares,
    lower_median,
    made_once,
    solve,
    to_float,
    to_int,
)

# Ellipses round the mean face's outline, in units of its radii: flows are whole inside the first
# and exactly zero from the second on; light likewise.
FLOW_REACH = (1.35, 1.6)
LIGHT_REACH = (0.80, 1.08)
FLOW_STEP, LIGHT_STEP = 3.5, 1.2  # px of the mean face between nodes
SHARP = 0.95  # what `blur` finds in a sharp picture, whose edges are a pixel wide


@dataclass(frozen=True)
class FaceBasis:
    """One face, ready for any number of changes.

    crop: C x S x S in 0..1; coefficients: C x S x S, what is sampled for it
    (geometry.shifted_coefficients); landmarks: P x 2 px of 128; expression: K, what the face shows.
    box: top, left, height, width in pixels of the crop, all that a change can touch; low, high:
    centres of its outer pixels, (x, y) in px of 128; columns, rows: centres of its pixels.
    matrix: 2 x 2, turns displacements of the mean shape into this face's; scale: its size, 1 is the
    mean's. softness: 1, how wide the crop's sharpest edges are (px of 128, a pixel at least), and
    so those of what is drawn. curves: the openings' edges at the columns. grid: 2 x h x w nodes of
    flow; fixed: F x 2 points that no flow moves; reach: h x w, 0..1, exactly 0 at and beyond them.
    light: K x h' x w' log ratio per unit; light_grid: 2 x h' x w', its nodes. inside: height x
    width, False where nothing changes. points: the set that the landmarks are of.
    """

    points: PointSet
    crop: Tensor
    coefficients: Tensor
    landmarks: Tensor
    expression: Tensor
    box: tuple[int, int, int, int]
    low: Tensor
    high: Tensor
    matrix: Tensor
    scale: float
    softness: Tensor
    grid: Tensor
    columns: Tensor
    rows: Tensor
    curves: EdgeCurves
    fixed: Tensor
    reach: Tensor
    light: Tensor
    light_grid: Tensor
    inside: Tensor
    colours: Palette

    @property
    def pixel(self) -> float:
        """Size of a pixel of the crop in px of 128."""
        return SIZE / self.crop.shape[-1]

    # What drawing needs of the face alone, and can be computed from the rest; made once.

    @made_once
    def gaps(self) -> SourceGaps:
        return source_gaps(self.landmarks, self.points, self.scale)

    @made_once
    def node_border(self) -> SheetBorder:
        columns, rows = self.grid[0, 0], self.grid[1, :, 0]
        step = to_float(columns[1] - columns[0])
        return sheet_border(self.points, self.landmarks, columns, rows, step)

    @made_once
    def pixel_border(self) -> SheetBorder:
        return sheet_border(self.points, self.landmarks, self.columns, self.rows, self.pixel)

    @made_once
    def bridge(self) -> Tensor:
        """The column (px) between the eyes, without dimensions. Not the nose's, which lies before
        an eye of a turned head."""
        left, right = self.points.eyes
        return (self.landmarks[left.upper[-1], 0] + self.landmarks[right.upper[0], 0]) / 2


def smooth(x: Tensor) -> Tensor:
    """Smoothstep of x clamped to 0..1."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


@dataclass(frozen=True)
class SheetBorder:
    """Where the two sheets of a face's flow part, at columns W and rows H.

    A flow tears at lips and lids, so two smooth flows carry the face: the upper sheet knows nothing
    of the lower edges of mouth and eyes, the lower sheet nothing of the upper ones. Each shows on
    its side of the openings; elsewhere they agree. Under the eyes the lower sheet holds and turns
    into the upper one above the mouth, where both agree.

    y: 1 x H x 1 heights of the rows; on_left: bool 1 x W, columns of the eye on the left; eye,
    mouth: 1 x 1 x W px over which the sheets change at the lines of eyes and mouth; fade, rest: 1 x
    H x 1 shares of the eyes' line and of the mouth's.
    """

    y: Tensor
    on_left: Tensor
    eye: Tensor
    mouth: Tensor
    fade: Tensor
    rest: Tensor

    def lower_share(self, lines: Tensor) -> Tensor:
        """N x H x W: share of the lower sheet; lines: 3 x N x W heights at which the sheets part,
        the mouth's first."""
        mouth, left, right = lines
        eyes = torch.where(self.on_left, left, right)
        under_eyes = ramp((self.y - eyes[:, None]) / self.eye) * self.fade
        return under_eyes + ramp((self.y - mouth[:, None]) / self.mouth) * self.rest


def sheet_border(
    points: PointSet, landmarks: Tensor, columns: Tensor, rows: Tensor, pixel: float
) -> SheetBorder:
    """The border of a face (landmarks P x 2) at columns W and rows H, `pixel` px apart."""
    x, y = columns.view(1, -1), rows.view(1, -1, 1)
    nose = landmarks[points.nose]
    # The nose divides the eyes: each column belongs to one.
    on_left = x < nose[0]

    def softness(opening_numbers: tuple[int, int]) -> Tensor:
        a, b = (landmarks[p, 0] for p in opening_numbers)
        # Sharp within the opening; beyond its corners the sheets agree more and more, so the step
        # widens.
        beyond = torch.maximum((a - x).clamp(min=0), (x - b).clamp(min=0))
        return pixel + 0.5 * beyond

    eye_width = torch.where(
        on_left,
        softness((points.eyes[0].upper[0], points.eyes[0].upper[-1])),
        softness((points.eyes[1].upper[0], points.eyes[1].upper[-1])),
    )
    mouth_width = softness((points.mouth.upper[0], points.mouth.upper[-1]))
    corners = [e.upper[i] for e in points.eyes for i in (0, -1)]
    eyes = landmarks[corners, 1].mean()
    # Between eye and nose both sheets agree, so the hand-over cannot be seen there.
    start, end = eyes + 0.45 * (nose[1] - eyes), eyes + 0.9 * (nose[1] - eyes)
    fade = 1 - smooth((y - start) / (end - start))
    # The mouth's own corners can lie under a long nose's end: below it, only the mouth counts.
    return SheetBorder(y, on_left, eye_width[:, None], mouth_width[:, None], fade, 1 - fade)


def raise_lids(landmarks: Tensor, points: PointSet, scale: float) -> Tensor:
    """Landmarks P x 2 with the upper lids where a basis has them; `scale` is the face's, and its
    negative takes them back."""
    landmarks = landmarks.clone()
    for eye in points.eyes:
        # The network marks lashes; the lid's margin, which the eyeball is drawn up to, lies above
        # them.
        landmarks[list(eye.upper[1:-1]), 1] -= LID_LIFT * scale
    return landmarks


def make_basis(
    crop: Tensor,
    landmarks: Tensor,
    expression: Tensor,
    points: PointSet,
    mean_shape: Tensor,
    light: Tensor,
    radii: Tensor,
) -> FaceBasis:
    """A face's basis. mean_shape: P x 2; light: K x 128 x 128 on it; radii: 2 x 2, centre and radii
    of the mean face's ellipse. Raises ValueError for a shape that does not fit, UnusableFace
    for landmarks outside the crop."""
    if crop.dim() != 3 or crop.shape[1] != crop.shape[2] or crop.shape[0] not in (1, 3):
        raise ValueError(f"a crop is 1 or 3 x S x S, got {tuple(crop.shape)}")
    if landmarks.shape != (points.count, 2) or not torch.isfinite(landmarks).all():
        raise ValueError(
            f"landmarks are finite {points.count} x 2 ({points.name}), got {tuple(landmarks.shape)}"
        )
    size = crop.shape[-1]
    pixel = SIZE / size
    matrix, _ = similarity(mean_shape, landmarks)
    scale = to_float(matrix.det().clamp(min=1e-6).sqrt())
    landmarks = raise_lids(landmarks, points, scale)
    # Faces differ in length and width: an affine map brings the mean's ellipse to this face.
    # float64, so that the solver's rounding does not reach the pixels.
    homogeneous = torch.cat([landmarks, torch.ones(len(landmarks), 1)], 1).double()
    to_mean = least_squares(homogeneous, mean_shape.double()).float()  # 3 x 2
    # 16 points hold the flow at zero on the outer ellipse, closely enough for a smooth spline.
    angles = torch.arange(16) * (2 * torch.pi / 16)
    ring = radii[0] + FLOW_REACH[1] * radii[1] * torch.stack([angles.cos(), angles.sin()], 1)
    hairline = points.hairline(radii)
    fixed = solve(to_mean[:2].T[None], (torch.cat([ring, hairline]) - to_mean[2]).T[None])[0].T
    held = fixed[len(ring) :]
    # Whole pixels: the box is cut out of the crop and laid back without resampling.
    low = (fixed.amin(0) / pixel - 0.5).floor().clamp(0, size - 2)
    high = (fixed.amax(0) / pixel - 0.5).ceil().clamp(1, size - 1)
    if not torch.jit.is_tracing() and (high - low < 8).any():
        raise UnusableFace("the landmarks of this face lie outside the picture")
    left, top, right, bottom = (to_int(edge) for edge in (*low, *high))
    box = (top, left, bottom - top + 1, right - left + 1)
    low, high = (low + 0.5) * pixel, (high + 0.5) * pixel

    def nodes(step: float) -> Tensor:
        # Nodes follow the face's size, not the crop's: a portrait of 4,000 px costs no more.
        count = ((high - low) / (step * scale)).ceil().int().clamp(min=8) + 1
        x, y = (
            torch.linspace(to_float(low[i]), to_float(high[i]), to_int(count[i])) for i in (0, 1)
        )
        return torch.stack(torch.meshgrid(x, y, indexing="xy"))

    def radius(places: Tensor) -> Tensor:
        mean = torch.einsum("chw,cd->dhw", places, to_mean[:2]) + to_mean[2].view(2, 1, 1)
        return ((mean - radii[0].view(2, 1, 1)) / radii[1].view(2, 1, 1)).norm(dim=0)

    grid, fine = nodes(FLOW_STEP), nodes(LIGHT_STEP)
    places = grid.flatten(1).T
    reach = 1 - smooth((radius(grid) - FLOW_REACH[0]) / (FLOW_REACH[1] - FLOW_REACH[0]))
    # Where the light of the mean shape falls on this face.
    control = list(points.control)
    offset = spline_flow(
        torch.cat([landmarks[control], held])[None],
        torch.cat([(mean_shape - landmarks)[control], hairline - held])[None],
        fixed.new_empty(0, 2),
        places,
    )[0].unflatten(1, grid.shape[1:])
    mean_places = F.interpolate(
        (grid + offset)[None], size=fine.shape[1:], mode="bilinear", align_corners=True
    )
    edges = torch.full((2,), 0.5), torch.full((2,), SIZE - 0.5)
    here = sample(light[None], mean_places, *edges)[0]
    # Zero at the outline: hair and background are not lit by an expression.
    here = here * (1 - smooth((radius(fine) - LIGHT_REACH[0]) / (LIGHT_REACH[1] - LIGHT_REACH[0])))
    inside = (
        F.interpolate(reach[None, None], size=box[2:], mode="bilinear", align_corners=True)[0, 0]
        > 0
    )
    # Centres of pixels lie at i + .5.
    columns = (torch.arange(left, right + 1) + 0.5) * pixel
    rows = (torch.arange(top, bottom + 1) + 0.5) * pixel
    curves = edge_curves(points, landmarks[None], columns)
    skin = skin_colour(crop, radius, box, low, high, points, landmarks)
    return FaceBasis(
        points=points,
        crop=crop,
        coefficients=shifted_coefficients(crop),
        landmarks=landmarks,
        expression=expression,
        box=box,
        low=low,
        high=high,
        matrix=matrix,
        scale=scale,
        softness=pixel * (blur(crop, box, radius, low, high) / SHARP).clamp(min=1),
        grid=grid,
        columns=columns,
        rows=rows,
        curves=curves,
        fixed=fixed,
        reach=reach,
        light=here,
        light_grid=fine,
        inside=inside,
        colours=palette(skin, points.inside.enamel),
    )


def blur(
    crop: Tensor,
    box: tuple[int, int, int, int],
    radius: Callable[[Tensor], Tensor],
    low: Tensor,
    high: Tensor,
) -> Tensor:
    """1: standard deviation, in pixels, of the blur of the crop's sharpest edges inside the face
    (Zhuo and Sim 2011): blurred once more, a sharp edge loses more of its gradient than a soft one.
    """
    top, left, height, width = box
    part = crop[:, top : top + height, left : left + width].mean(0)
    # A Gaussian of one pixel.
    taps = torch.exp(-torch.arange(-3, 4).square() / 2.0)
    taps = (taps / taps.sum()).view(1, 1, 1, -1)
    wide = F.pad(part[None, None], (3, 3, 3, 3), mode="replicate")
    again = F.conv2d(F.conv2d(wide, taps), taps.transpose(2, 3))

    def power(image: Tensor) -> Tensor:
        dx = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
        dy = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
        return dx.square() + dy.square()

    before, after = power(part[None, None]), power(again)
    x, y = (torch.linspace(to_float(low[i]), to_float(high[i]), 48) for i in (0, 1))
    face = (radius(torch.stack(torch.meshgrid(x, y, indexing="xy"))) < 0.85).float()
    # Squared once more: strong edges are lids, lips and glasses, weak ones are shades of the skin.
    weight = after.square() * F.interpolate(face[None, None], size=after.shape[2:], mode="bilinear")
    ratio = (weight * before).sum() / (weight * after).sum().clamp(min=1e-12)
    return (1 / (ratio - 1).clamp(min=1e-2).sqrt()).view(1)


def skin_colour(
    crop: Tensor,
    radius: Callable[[Tensor], Tensor],
    box: tuple[int, int, int, int],
    low: Tensor,
    high: Tensor,
    points: PointSet,
    landmarks: Tensor,
) -> Tensor:
    """C: the mean colour of the face's lit skin: of cheeks and nose, the brighter half."""
    top, left, height, width = box
    part = crop[:, top : top + height, left : left + width]
    # A mean colour needs no more than 48 x 48 pixels of a large portrait.
    small = area_means(part[None], 48)[0].flatten(1)
    x, y = (torch.linspace(to_float(low[i]), to_float(high[i]), 48) for i in (0, 1))
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    lids = landmarks[[p for e in points.eyes for p in e.lower]]
    lips = landmarks[list(points.mouth.outer_upper or points.mouth.upper)]
    # Neither lids nor lips, whose colours are not the skin's.
    between = (places[1] > lids[:, 1].max() + 2) & (places[1] < lips[:, 1].min() - 1)
    skin = (between & (radius(places) < 0.75)).flatten()
    skin = skin | (~skin.any() & (radius(places) < 0.6).flatten())
    chosen = small[:, skin]
    # The brighter half: shade beside the nose says nothing of the lamp.
    level = chosen.mean(0)
    return chosen[:, level >= lower_median(level)].mean(1)
