"""Mouth and eyes as openings between two edges: how far a change opens or closes them, and which
pixels lie between the edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.expression.point_set import Opening, PointSet
from ganmut.expression.traced import running_maximum, search_sorted

# Landmarks of the upper lid lie this far (px of the mean face) under its margin, on the lashes.
LID_LIFT = 0.7
# Share of a correction of the gap that the upper edge takes where it opens and where it closes: the
# jaw drops, the upper lid moves.
UPPER_SHARE = {"mouth": (0.1, 0.35), "eye": (0.9, 0.9)}


def middle_gap(points: Tensor, opening: Opening) -> Tensor:
    """N: the vertical distance of the edges (px), the mean of the three points in the middle."""
    upper, lower = points[:, opening.both, 1].chunk(2, 1)
    return middle_mean(lower - upper)


def middle_gaps(landmarks: Tensor, points: PointSet) -> Tensor:
    """N x 3: `middle_gap` of the mouth and of either eye."""
    heights = [landmarks[:, edges.flatten(), 1].unflatten(1, edges.shape) for edges in points.edges]
    return torch.cat([middle_mean(both[:, 1] - both[:, 0]) for both in heights], 1)


def middle_mean(apart: Tensor) -> Tensor:
    """... of ... x n: the mean of the three values in the middle."""
    n = apart.shape[-1]
    # A mean of three: one landmark is off by about a pixel. Short edges give all but the corners.
    span = slice(n // 2 - 1, n // 2 + 2) if n > 6 else slice(1, -1)
    return apart[..., span].mean(-1)


@dataclass(frozen=True)
class SourceGaps:
    """The openings of one face as it is, px, each 3 (mouth, left and right eye): contact, where the
    landmarks of closed edges lie; opened, what the middle gap has above it; touching, what it has
    up to it; last, the opening over which that goes."""

    contact: Tensor
    opened: Tensor
    touching: Tensor
    last: Tensor


def source_gaps(landmarks: Tensor, points: PointSet, scale: float) -> SourceGaps:
    """The gaps of a face (landmarks P x 2) whose size is `scale`."""
    lips, lids = points.contact
    mouth, eye = lips * scale, (lids + LID_LIFT) * scale
    contact = torch.stack([torch.as_tensor(gap).float() for gap in (mouth, eye, eye)])
    whole = middle_gaps(landmarks[None], points)[0].clamp(min=0)
    opened = (whole - contact).clamp(min=0)
    last = torch.minimum(opened.clamp(min=0.5), contact)
    return SourceGaps(contact, opened, torch.minimum(whole, contact), last)


def gap_terms(expression: Tensor, points: PointSet) -> Tensor:
    """N x T regressors of a gap for expressions N x K: the controls, and where the point set says
    so their products: what parts the lips opens them wider in a smile."""
    if not points.products:
        return expression
    # By NumPy: ONNX has no such operator, and these are constants.
    first, second = map(torch.from_numpy, np.triu_indices(int(expression.shape[1])))
    return torch.cat([expression, expression[:, first] * expression[:, second]], 1)


def fit_gap(terms: np.ndarray, gap: np.ndarray, penalty: float = 3.0) -> np.ndarray:
    """float64 T + 1: weights and constant of gap ~ max(0, terms @ weights + constant).

    terms: N x T (gap_terms); gap: N, px above contact, at least 0. Closed ones say only that the
    sum is not positive: they join the regression where it takes them for open (a censored
    regression, by iteration).
    """
    x = np.concatenate([terms, np.ones((len(terms), 1))], 1)
    # Least squares on all rows would let the many closed ones tilt the line of the open ones.
    open_ = gap > 0
    keep = open_
    # A fixed number of rounds: the set of rows may alternate between two states for ever.
    for _ in range(12):
        weights = ridge_with_constant(x[keep], gap[keep], penalty)
        keep = open_ | (x @ weights > 0)
    return weights


def ridge_with_constant(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression whose last column, the constant, is free."""
    weight = np.eye(x.shape[1]) * penalty
    # Shrinking the constant would pull every gap towards closed.
    weight[-1, -1] = 1e-6
    return np.linalg.solve(x.T @ x + weight, x.T @ y)


def target_gap(gap: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """N x 3: the gaps that a change asks for, in px above contact; exactly 0 where it says closed.

    gap: the source's, 3, at least 0. before 1 x 3, after N x 3: the sums of `fit_gap` under the
    source's and the target's expression, not yet cut at 0. What the source's own gap differs from
    its prediction fades as the prediction closes.
    """
    shut = before.clamp(min=0)
    known = (shut / 1.0).clamp(max=1)  # under a pixel the prediction says little
    # What this mouth adds to its prediction shrinks with it: closed stays closed.
    own = (gap - shut) * (after.clamp(min=0) / shut.clamp(min=0.3)).clamp(max=1)
    by_ratio = after.clamp(min=0) + own
    # Where no gap was predicted there is no ratio; only what opens beyond contact is added.
    by_sum = gap + torch.where(after > before, after.clamp(min=0) - shut, after - before)
    return (known * by_ratio + (1 - known) * by_sum).clamp(min=0)


def solved_edges(
    upper: Tensor, lower: Tensor, gap: Tensor, share: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Displacements in y (N x M x n each) that give M pairs of edges the middle gaps asked for.

    upper, lower: N x M x n heights of edges as the linear shape has them, corners first and last;
    gap: N x M.
    """
    apart = lower - upper
    n = apart.shape[-1]
    lens = 1 - torch.linspace(-1, 1, n).square()
    # A thin lens joins the linear gaps: closed lips have no shape of their own to open in.
    form = apart.clamp(min=0) + 0.15 * lens
    form = torch.cat([0 * form[..., :1], form[..., 1:-1], 0 * form[..., :1]], -1)
    distance = form * (gap / form[..., n // 2].clamp(min=1e-3))[..., None]
    # A crooked opening is widest beside the middle: it must not exceed what was asked for.
    distance = torch.minimum(distance, gap[..., None])
    excess = distance - apart
    upper_share = torch.where(excess > 0, share[0], share[1])
    return -upper_share * excess, (1 - upper_share) * excess


def resampled(values: Tensor, count: int) -> Tensor:
    """N x count values of N x n along a contour."""
    if values.shape[1] == count:
        return values
    return F.interpolate(values[:, None], size=count, mode="linear", align_corners=True)[:, 0]


def edge_curve(edge: Tensor, columns: Tensor) -> Tensor:
    """N x W heights of edges N x n x 2 at columns W (px, ascending): monotone cubic curves through
    the points, continued flat beyond the corners."""
    x, y = edge[..., 0].contiguous(), edge[..., 1]
    # A turned head can put a lip's points out of order by a fraction of a pixel.
    x = running_maximum(x + 1e-3 * torch.arange(x.shape[1], dtype=torch.float32)).contiguous()
    # Points of a profile nearly coincide in x; .3 px bounds the slope.
    slope = (y[:, 1:] - y[:, :-1]) / (x[:, 1:] - x[:, :-1]).clamp(min=0.3)
    # Harmonic means keep the curve between its points (Fritsch and Butland 1984).
    product = slope[:, 1:] * slope[:, :-1]
    total = slope[:, 1:] + slope[:, :-1]
    total = torch.where(total.abs() < 1e-4, torch.full_like(total, 1e-4), total)
    inner = torch.where(product > 0, 2 * product / total, torch.zeros_like(product))
    tangent = torch.cat([slope[:, :1], inner, slope[:, -1:]], 1)
    at = columns.expand(len(x), -1).contiguous()
    left = (search_sorted(x.detach(), at) - 1).clamp(0, x.shape[1] - 2)
    x0, x1 = x.gather(1, left), x.gather(1, left + 1)
    width = (x1 - x0).clamp(min=0.3)
    t = ((at - x0) / width).clamp(0, 1)
    y0, y1 = y.gather(1, left), y.gather(1, left + 1)
    m0, m1 = (tangent.gather(1, left) * width, tangent.gather(1, left + 1) * width)
    t2, t3 = t * t, t * t * t
    # The cubic Hermite basis: values and tangents at both ends.
    return (
        (2 * t3 - 3 * t2 + 1) * y0
        + (t3 - 2 * t2 + t) * m0
        + (3 * t2 - 2 * t3) * y1
        + (t3 - t2) * m1
    )


@dataclass(frozen=True)
class EdgeCurves:
    """Heights (px) of the edges of the openings of N faces at W columns: upper, lower are
    3 x N x W, the mouth first."""

    upper: Tensor
    lower: Tensor

    def __getitem__(self, columns: slice) -> EdgeCurves:
        return EdgeCurves(self.upper[..., columns], self.lower[..., columns])

    @property
    def middle(self) -> Tensor:
        """3 x N x W heights of the line between the edges."""
        return (self.upper + self.lower) / 2


def edge_curves(points: PointSet, landmarks: Tensor, columns: Tensor) -> EdgeCurves:
    """The edges of N faces' openings (landmarks N x P x 2) at columns W (px, ascending)."""
    upper: list[Tensor] = []
    lower: list[Tensor] = []
    for edges in points.edges:
        # All edges of one length in one call.
        count = 2 * edges.shape[1]
        stacked = torch.cat(landmarks[:, edges.flatten()].chunk(count, 1))
        curves = edge_curve(stacked, columns).chunk(count)
        upper += curves[: count // 2]
        lower += curves[count // 2 :]
    return EdgeCurves(torch.stack(upper), torch.stack(lower))
