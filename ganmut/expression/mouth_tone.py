"""How bright the inside of a mouth is, by a regression on open mouths of photographs.

Drawn teeth have the right shapes and no shadow: in a real mouth the lips and the cheeks keep light
from them, more under a dropped jaw than in a smile. The regression knows the shadow and no tooth.
Together they make the picture: drawn detail on a learned brightness.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.geometry import ridge
from ganmut.expression.mouth import MM
from ganmut.expression.openings import edge_curve, middle_gap
from ganmut.expression.point_set import Inside, PointSet
from ganmut.expression.traced import at_least, box_blur, rounded

# Nodes of a map: from the upper lip down to the lower one, from corner to corner.
ROWS, COLUMNS = 16, 24
PENALTY = 3.0
DARKEST = 0.02  # brightness under which no factor is taken
DEEP = 0.09  # of the skin: a throat. Beyond the mouths that it knows the regression says black
DETAIL = 2.5  # mm; what is finer in the drawing is detail, what is coarser is brightness


def tone_terms(expression: Tensor, gap: Tensor) -> Tensor:
    """N x (2K + 3) regressors of expressions N x K and gaps N (mm between the lips)."""
    # In centimetres: the penalty then holds gaps and controls, 0..1, alike.
    gap = gap[:, None] / 10
    # Products, since one smile shows teeth in a narrow gap and the throat in a wide one.
    return torch.cat([expression, gap * expression, torch.ones_like(gap), gap, gap * gap], 1)


def mouth_samples(points: PointSet, basis: FaceBasis, landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness of an open mouth, ROWS x COLUMNS in units of the lit skin's, and the gap of its
    lips (mm, 1). landmarks: P x 2, px of 128."""
    upper, lower = (landmarks[None, list(e)] for e in (points.mouth.upper, points.mouth.lower))
    left, right = upper[0, 0, 0], upper[0, -1, 0]
    # Centres of cells, as grid_sample without align_corners reads them in `tone`.
    x = left + (right - left) * (torch.arange(COLUMNS) + 0.5) / COLUMNS
    up, down = edge_curve(upper, x)[0], edge_curve(lower, x)[0]
    y = up + (down - up) * ((torch.arange(ROWS) + 0.5) / ROWS)[:, None]
    grid = torch.stack([x.expand_as(y), y], -1) / 64 - 1
    seen = F.grid_sample(basis.crop.mean(0)[None, None], grid[None], align_corners=False)
    gap = middle_gap(landmarks[None], points.mouth)
    return seen[0, 0] / basis.colours.level, gap / (MM * basis.scale)


def fit_mouth_tone(terms: Tensor, seen: Tensor) -> tuple[Tensor, float]:
    """The regression's maps, terms x ROWS x COLUMNS, alike on both sides, and its R2.

    terms: N x T (tone_terms); seen: N x ROWS x COLUMNS (mouth_samples).
    """
    x, y = terms.double().numpy(), seen.flatten(1).double().numpy()
    weights = ridge(x, y, PENALTY)
    explained = 1 - ((y - x @ weights) ** 2).sum() / max(((y - y.mean(0)) ** 2).sum(), 1e-9)
    maps = torch.from_numpy(weights.astype(np.float32)).view(-1, ROWS, COLUMNS)
    # Controls are means of left and right; a side of the maps is the lamps' of the photographs.
    return (maps + maps.flip(2)) / 2, float(explained)


def tone(
    maps: Tensor,
    expression: Tensor,
    columns: Tensor,
    rows: Tensor,
    edges: tuple[Tensor, Tensor],
    corners: Tensor,
    mm: float,
) -> Tensor:
    """N x 1 x H x W brightness, in units of the lit skin's, between lips at pixels of columns W and
    rows H. expression: N x K; edges: upper and lower lip, N x W heights; corners: N x 2 (x of the
    mouth's ends); mm: px of a millimetre of this face."""
    up, down = edges
    # The widest column stands for the middle one, which a crooked smile moves.
    gap = (down - up).amax(1) / mm
    field = (tone_terms(expression, gap) @ maps.flatten(1)).view(-1, 1, ROWS, COLUMNS)
    across = (columns - corners[:, :1]) / (corners[:, 1:] - corners[:, :1]).clamp(min=1)
    # Closed columns have no height to divide by; they are not shown.
    below = (rows.view(1, -1, 1) - up[:, None]) / (down - up)[:, None].clamp(min=0.3)
    grid = torch.stack([across[:, None].expand_as(below), below], -1) * 2 - 1
    return F.grid_sample(field, grid, padding_mode="border", align_corners=False).clamp(min=DEEP)


def apply_tone(drawn: Tensor, brightness: Tensor, pixel_mm: float, mouth: Inside) -> Tensor:
    """Drawn mouths N x C x H x W whose coarse brightness is drawn to a learned one, N x 1 x H x W,
    and whose detail is kept; pixel_mm: size of a pixel."""
    reach = rounded(at_least(DETAIL / pixel_mm / 2, 1))
    own = drawn.mean(1, keepdim=True).clamp(min=DARKEST)
    wide = box_blur(own, reach)  # the drawing's coarse brightness
    # In logarithms: part of the way to the learned level, and part of the detail taken back.
    factor = (brightness.clamp(min=DARKEST) / wide) ** mouth.learned
    factor = factor * (wide / own) ** (1 - mouth.kept)
    return (drawn * factor).clamp(0, 1)
