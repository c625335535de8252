"""Regions: where a face must change to show an expression.

On rendered faces the answer says it: the pixels in which the same person under the expression asked
for differs from the source. On photographs nobody knows; there fixed boxes stand for it, around the
parts of the one crop (ganmut.datasets.base.CROP) that the action units of both emotions move, the
one asked for and the one to be undone.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.emotions import PROTOTYPES, canonical_emotion

VERSION = 1  # raised when a region would lie elsewhere: kept evidence is then made again
# Grey levels (mean of the channels) below which the answer counts as equal to the source. With the
# margin the regions take up a fifth to a third of a rendered face and hold .84 to .97 of what the
# renderer changes; what is left is light on skin that moves a little.
LEVEL = 4.0
MARGIN = 64  # crops of this many pixels get one pixel of margin, and so on
LEAST = 0.005  # share of the picture: where less than this must change, nothing need change

# Left, top, right, bottom in shares of the crop, whose eyes lie at y = .41 and mouth at .77.
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
SHOWN = 0.25  # a unit that a prototype has less of does not call for its part


def rendered(source: Tensor, answer: Tensor) -> Tensor:
    """bool n x S x S: where the answers differ from the sources, both n x 3 x S x S in grey levels,
    with a margin; all False where nothing need change."""
    differs = ((answer.float() - source.float()).abs().mean(1, keepdim=True) > LEVEL).float()
    reach = max(source.shape[-1] // MARGIN, 1)
    near = F.max_pool2d(differs, 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0
    return near & (differs.mean((1, 2, 3)) >= LEAST)[:, None, None]


@functools.lru_cache(maxsize=64)
def boxes(emotion: str, size: int) -> Tensor:
    """bool S x S: the boxes of the parts that an emotion moves; none for neutral, all for an
    emotion whose units nobody wrote down."""
    units = PROTOTYPES.get(canonical_emotion(emotion))
    field = torch.zeros(size, size, dtype=torch.bool)
    for part, box in BOXES.items():
        if units is None or any(units.get(unit, 0) >= SHOWN for unit in UNITS[part]):
            left, top, right, bottom = (round(edge * size) for edge in box)
            field[top:bottom, left:right] = True
    return field
