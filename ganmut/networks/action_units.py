"""The regressor of action units that ships with DefGAN and EF-GAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ActionUnitRegressor(nn.Module):
    """Estimates the code of a face, B x 3 x S x S -> B x dim, float32: four strided convolutions
    and a linear layer. Needs a size that 16 divides.

    It ships with generators that need the units of the source, which are unknown at inference. It
    is trained by regression beside the generator; no other loss reaches it.
    """

    def __init__(self, size: int, dim: int, widths: tuple[int, ...] = (16, 32, 64, 128)):
        super().__init__()
        side = size >> len(widths)
        if side << len(widths) != size or side == 0:
            raise ValueError(f"needs a size that {1 << len(widths)} divides, got {size}")
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip([3, *widths], widths, strict=False)
        )
        self.out = nn.Linear(widths[-1] * side * side, dim)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        return self.out(x.flatten(1)).float()
