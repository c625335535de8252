"""Regions: where a face must change to show an expression.

On rendered faces a region is where the ground truth differs from the source. On photographs it is
a set of fixed boxes around the parts of the aligned crop (ganmut.datasets.base.CROP) that the
action units of the source emotion and of the target emotion move.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.emotions import PROTOTYPES, canonical_emotion

VERSION = 1  # raised whenever a region changes: cached features are then extracted again
# Grey levels (mean of the channels) below which the ground truth counts as equal to the source.
# With the margin, regions cover a fifth to a third of a rendered face and contain .84 to .97 of the
# rendered change. The rest is shading on skin that moves slightly.
THRESHOLD = 4.0
MARGIN = 64  # one pixel of margin for every 64 pixels of the crop's side
MIN_AREA = 0.005  # share of the picture; smaller regions count as no change

# Left, top, right, bottom as shares of the crop, whose eyes are at y = .41 and mouth at .77.
BOXES = {
    "brows": (0.16, 0.16, 0.84, 0.40),
    "eyes": (0.16, 0.31, 0.84, 0.51),
    "nose": (0.33, 0.40, 0.67, 0.70),
    "cheeks": (0.14, 0.46, 0.86, 0.72),
    "mouth": (0.24, 0.62, 0.76, 1.0),
}
UNITS = {
    "brows": {1, 2, 4},
    "eyes": {4, 5, 6, 7, 45},
    "nose": {9, 10},
    "cheeks": {6, 9, 12},
    "mouth": {10, 12, 14, 15, 17, 20, 23, 25, 26},
}
MIN_INTENSITY = 0.25  # units below this in a prototype do not select their part


def changed_region(source: Tensor, ground_truth: Tensor) -> Tensor:
    """bool n x S x S: where the ground truth differs from the source, with a margin; both are
    n x 3 x S x S in grey levels. All False where the difference is smaller than MIN_AREA."""
    difference = (ground_truth.float() - source.float()).abs().mean(1, keepdim=True)
    changed = (difference > THRESHOLD).float()
    reach = max(source.shape[-1] // MARGIN, 1)
    region = F.max_pool2d(changed, 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0
    return region & (changed.mean((1, 2, 3)) >= MIN_AREA)[:, None, None]


@functools.lru_cache(maxsize=64)
def box_region(emotion: str, size: int) -> Tensor:
    """bool S x S: the boxes of the parts that an emotion moves; none for neutral, all for an
    emotion without a prototype in action units."""
    units = PROTOTYPES.get(canonical_emotion(emotion))
    region = torch.zeros(size, size, dtype=torch.bool)
    for part, box in BOXES.items():
        if units is None or any(units.get(unit, 0) >= MIN_INTENSITY for unit in UNITS[part]):
            left, top, right, bottom = (round(edge * size) for edge in box)
            region[top:bottom, left:right] = True
    return region
