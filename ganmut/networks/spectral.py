"""Spectral norm and orthogonal weights for every convolution of a network but its output layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class SpectralNorm(nn.Module):
    """weight / its largest singular value, by one step of power iteration a training pass (Miyato
    et al. 2018, algorithm 1).

    Only passes that train the weight move the iteration: an edit is the same whatever mode the
    network is in. rows: the axis of the output channels.
    """

    u: Tensor

    def __init__(self, weight: Tensor, rows: int):
        super().__init__()
        self.rows = rows
        u = torch.randn(weight.shape[rows], device=weight.device)
        self.register_buffer("u", F.normalize(u, dim=0))
        for _ in range(8):
            self.u.copy_(self.step(self.matrix(weight.detach()), self.u)[0])

    def matrix(self, weight: Tensor) -> Tensor:
        return weight.float().transpose(0, self.rows).flatten(1)

    @staticmethod
    def step(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The next left and right singular vector."""
        v = F.normalize(matrix.T @ u.float(), dim=0)
        return F.normalize(matrix @ v, dim=0), v

    def forward(self, weight: Tensor) -> Tensor:
        moves = self.training and weight.requires_grad and torch.is_grad_enabled()
        # float32 also where the pass is not: the norm divides every weight
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            with torch.no_grad():
                u, v = self.step(matrix, self.u)
                if moves:
                    self.u.copy_(u)
            return (weight.float() / (u @ matrix @ v)).to(weight.dtype)


def orthogonal_spectral_init(
    network: nn.Module, outputs: tuple[nn.Module, ...], spectral: bool
) -> None:
    """Orthogonal weights, and spectral norm where asked for, on all convolutions of a network but
    its output layers (supplement, implementation details)."""
    for layer in list(network.modules()):
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) or layer in outputs:
            continue
        nn.init.orthogonal_(layer.weight)
        if spectral:
            rows = int(isinstance(layer, nn.ConvTranspose2d))
            norm = SpectralNorm(layer.weight, rows)
            # unsafe: without a first pass to check shapes, which a network without data cannot make
            parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
