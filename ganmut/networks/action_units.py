"""The regressor of action units in the weights of DefGAN and EF-GAN."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ActionUnitRegressor(nn.Module):
    """Estimates the code of a face, B x 3 x S x S -> B x dim, float32: strided convolutions and a
    linear layer. Raises ValueError for a size that is no multiple of 2^layers (16).

    Some generators need the units of the source, which are unknown at inference. The regressor is
    trained beside such a generator and is part of its weights; no other loss has gradients to it.
    """

    def __init__(self, size: int, dim: int, widths: tuple[int, ...] = (16, 32, 64, 128)):
        super().__init__()
        side = size >> len(widths)
        if side << len(widths) != size or side == 0:
            raise ValueError(
                f"the regressor needs a size that {1 << len(widths)} divides, got {size}"
            )
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip([3, *widths], widths, strict=False)
        )
        self.out = nn.Linear(widths[-1] * side * side, dim)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
        # Linear and unclamped: a sigmoid would have no gradient at units of 0, which most are.
        return self.out(x.flatten(1)).float()
