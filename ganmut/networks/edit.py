"""Edit: the output of every generator."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Edit:
    """images: N x 3 x S x S in [-1, 1]. mask: N x 1 x S x S in 0..1 (1 = new pixels); flow: N x 2 x
    S x S in pixels (right, down); None for methods without them."""

    images: Tensor
    mask: Tensor | None = None
    flow: Tensor | None = None
