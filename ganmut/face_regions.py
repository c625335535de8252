"""Boxes of the eyes, the nose and the mouth in the aligned crop (ganmut.datasets.base.CROP).

All faces are aligned to the same five points, so the boxes are fixed. Their sizes are EF-GAN's
(Wu et al. 2020): 40 x 92, 40 x 48 and 40 x 60 pixels of 128 (height x width).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Centre x, centre y, width, height in a crop of 128 px. The box of the eyes includes the brows,
# that of the nose the bridge, which wrinkles.
REGIONS = {"eyes": (64, 52, 92, 40), "nose": (64, 70, 48, 40), "mouth": (64, 98, 60, 40)}
SIDE = 128


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, x: Tensor) -> Tensor:
        """The box of x: ... x S x S -> ... x height x width, a view."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


def region_boxes(size: int) -> dict[str, Box]:
    """Name -> box of each region in a crop of `size` px.

    Sides are rounded up to multiples of 4 and are at least 8; all boxes lie inside the crop. Raises
    ValueError below 32 px.
    """
    if size < 32:
        raise ValueError(f"face regions need a crop of at least 32 px, got {size}")
    boxes = {}
    for name, (x, y, *sides) in REGIONS.items():
        # Multiples of 4, since the branches' networks halve twice.
        width, height = (max(8, -(-side * size // (4 * SIDE)) * 4) for side in sides)
        left, top = round(x * size / SIDE - width / 2), round(y * size / SIDE - height / 2)
        boxes[name] = Box(min(top, size - height), min(left, size - width), height, width)
    return boxes
