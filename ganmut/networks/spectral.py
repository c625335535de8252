"""Spectral norm and orthogonal initialisation of the convolutions of a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, with one step of power iteration per training
    pass (Miyato et al. 2018, algorithm 1). rows: the axis of the output channels.

    Unlike torch.nn.utils.parametrizations.spectral_norm, passes without gradients do not change the
    iteration, so that an edit does not depend on `train()` and `eval()`.
    """

    u: Tensor

    def __init__(self, weight: Tensor, rows: int):
        super().__init__()
        self.rows = rows
        u = torch.randn(weight.shape[rows], device=weight.device)
        self.register_buffer("u", F.normalize(u, dim=0))
        # One step from a random vector is a poor estimate: the first weights would be too large.
        for _ in range(8):
            self.u.copy_(self.step(self.matrix(weight.detach()), self.u)[0])

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as output channels x all other axes, float32."""
        return weight.float().transpose(0, self.rows).flatten(1)

    @staticmethod
    def step(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The next estimates of the left and right singular vectors, of length 1."""
        v = F.normalize(matrix.T @ u.float(), dim=0)
        return F.normalize(matrix @ v, dim=0), v

    def forward(self, weight: Tensor) -> Tensor:
        update = self.training and weight.requires_grad and torch.is_grad_enabled()
        # float32 also under autocast: an error of the norm would scale every weight.
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self.matrix(weight)
            with torch.no_grad():
                u, v = self.step(matrix, self.u)
                if update:
                    self.u.copy_(u)
            # u and v are constants of this step; the gradient flows through the weight between
            # them.
            return (weight.float() / (u @ matrix @ v)).to(weight.dtype)


def orthogonal_spectral_init(
    network: nn.Module, outputs: tuple[nn.Module, ...], spectral: bool
) -> None:
    """Initialises all convolutions of a network but `outputs` with orthogonal weights, with
    spectral norm if `spectral` (EF-GAN, supplement, implementation details)."""
    for layer in list(network.modules()):
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) or layer in outputs:
            continue
        nn.init.orthogonal_(layer.weight)
        if spectral:
            rows = int(isinstance(layer, nn.ConvTranspose2d))
            norm = SpectralNorm(layer.weight, rows)
            # unsafe: the shape check would need a forward pass, here without an input.
            parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
