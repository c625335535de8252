"""Where eyes, nose and mouth lie in the one crop (ganmut.datasets.base.CROP): fixed boxes.

Every face is aligned to the same five points, so that one box a part fits all of them; the boxes
are EF-GAN's (40 x 92, 40 x 48 and 40 x 60 pixels of 128), centred where the points are.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Centre x, centre y, width, height, in a crop of 128 px. The nose's box reaches up to its bridge,
# which wrinkles, the eyes' to the brows.
PARTS = {"eyes": (64, 52, 92, 40), "nose": (64, 70, 48, 40), "mouth": (64, 98, 60, 40)}
SIDE = 128


class Box(NamedTuple):
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, x: Tensor) -> Tensor:
        """... x height x width of ... x S x S (a view)."""
        return x[..., self.top : self.top + self.height, self.left : self.left + self.width]


def region_boxes(size: int) -> dict[str, Box]:
    """The boxes of the parts in a crop of `size` px: sides rounded up to multiples of 4, at least
    8, all inside the crop. Raises ValueError for a crop too small to have parts."""
    if size < 32:
        raise ValueError(f"parts of a face need a crop of at least 32 px, got {size}")
    boxes = {}
    for part, (x, y, *sides) in PARTS.items():
        width, height = (max(8, -(-side * size // (4 * SIDE)) * 4) for side in sides)
        left, top = round(x * size / SIDE - width / 2), round(y * size / SIDE - height / 2)
        boxes[part] = Box(min(top, size - height), min(left, size - width), height, width)
    return boxes
