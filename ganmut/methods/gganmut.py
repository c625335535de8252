"""GGANmut, the Gaussian model of GANmut: a square gamut with one learned Gaussian per emotion.

d'Apolito et al., "GANmut: Learning Interpretable Conditional Space for Gamut of Emotions", CVPR
2021, section 3.2. A code is z in [-1, 1]^2; emotion c has a mode mu_c = tanh(w_c) and a covariance,
and p_z = softmax(-d^2) is the label distribution that a classifier should give an edit under z.

Where paper and the authors' code differ: lambda_div 2 and lambda_cls .5 in the generator's loss are
the paper's (one flag of the code also doubles the discriminator's cross-entropy on real images; 1
here); the plane is 2-D (the code's solver builds 3-D); modes always pass through tanh (the code
plots raw w); variances have a floor, without which the precision diverges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.codes import PlaneSpace
from ganmut.datasets.base import Batch
from ganmut.methods import base
from ganmut.methods.base import METHODS
from ganmut.methods.base_gamut import PAPER_VIEWS, GamutMethod
from ganmut.networks.config import setting
from ganmut.networks.expression import ExpressionConfig, ExpressionGenerator
from ganmut.networks.stargan import Generator
from ganmut.training.losses import cycle_loss

VARIANCE_FLOOR = 1e-2


@dataclass(frozen=True)
class Config(base.Config, base.ClassifierConfig, ExpressionConfig):
    """Weights of the paper."""

    lambda_div: float = setting(
        2.0, "weight of the divergence between p_z and the predicted labels (eq. 9)"
    )
    lambda_cls: float = setting(0.5, "weight of the cross-entropy at the modes, in the generator")
    lambda_coor: float = setting(1.0, "weight of the coordinate regression, in the discriminator")
    lambda_cls_real: float = setting(
        1.0, "weight of the cross-entropy on real images, in the discriminator"
    )
    lambda_rec: float = setting(10.0, "weight of the cycle loss")
    mode_share: float = setting(
        7 / 16, "share of a batch whose codes are the modes (published: 7 of 16)"
    )
    lr_scale_gamut: float = setting(1.0, "factor on the learning rate of modes and covariances")

    ALLOWED: ClassVar = Generator.OUTPUTS
    SHARES: ClassVar = ("mode_share",)


@dataclass(frozen=True)
class Target:
    """Target of one step: the first `modes` codes repeat the modes in order; then come the uniform
    codes `free` (n x 2)."""

    modes: int
    free: Tensor


class Gaussians(nn.Module):
    """For E emotions the raw modes w (E x 2), rotations (E) and raw variances (E x 2); a part of
    the generators below."""

    def add_gaussians(self, emotions: int) -> None:
        """Creates the parameters."""
        start = torch.empty(emotions, 2).uniform_(-math.sqrt(0.5), math.sqrt(0.5))
        # U(-sqrt .5, sqrt .5) before the tanh; the paper prints one sign only.
        self.raw_modes = nn.Parameter(start)
        self.rotation = nn.Parameter(torch.zeros(emotions))
        # softplus(raw) + floor = 1, the authors' initial variance.
        self.raw_variances = nn.Parameter(
            torch.full((emotions, 2), math.log(math.expm1(1 - VARIANCE_FLOOR)))
        )

    def modes(self) -> Tensor:
        """E x 2 modes in (-1, 1)^2."""
        return self.raw_modes.tanh()

    def covariances(self) -> Tensor:
        """E x 2 x 2: R(phi) diag(variance) R(phi)^T."""
        return self._rotate(F.softplus(self.raw_variances) + VARIANCE_FLOOR)

    def precisions(self) -> Tensor:
        """The inverses of the covariances, without a matrix inversion."""
        return self._rotate(1 / (F.softplus(self.raw_variances) + VARIANCE_FLOOR))

    def _rotate(self, diagonal: Tensor) -> Tensor:
        """E x 2 x 2: R(phi) diag(diagonal) R(phi)^T."""
        # A rotation and two variances: symmetric and positive definite by construction.
        cos, sin = self.rotation.cos(), self.rotation.sin()
        rotation = torch.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
        return rotation @ torch.diag_embed(diagonal) @ rotation.transpose(1, 2)


class GGANmutGenerator(Generator, Gaussians):
    """The trunk and the Gaussians."""

    def __init__(self, config: Config, emotions: int):
        super().__init__(config, code_dim=2)
        self.add_gaussians(emotions)


class ExpressionGGANmutGenerator(ExpressionGenerator, Gaussians):
    """The same on expressions."""

    def __init__(self, config: Config, emotions: int):
        super().__init__(config.controls, code_dim=2)
        self.add_gaussians(emotions)


@METHODS.register("gganmut")
class GGANmut(GamutMethod):
    """GGANmut (eqs. 10-17). Codes of a batch: all modes, repeated up to `mode_share`, then uniform
    codes."""

    title = "GGANmut"
    paper = "d'Apolito et al., CVPR 2021"
    lambda_d_cls, lambda_d_code, code_term = "lambda_cls_real", "lambda_coor", "coor"
    Config = Config
    PAPER = Config()
    # The rate falls over the last 100 thousand steps.
    PAPER_RECIPE: ClassVar = {
        "batch": 16,
        "kimg": 1_800_000 * 16 / 1000,
        "lr_decay_fraction": 1 / 18,
    }
    PAPER_OBJECTIVE: ClassVar = PAPER_VIEWS
    # A step of Adam moves a parameter by at most the learning rate. The published 1.8 million steps
    # are enough; within two thousand the variances would stay near 1 and p_z near uniform.
    SHORT_SCHEDULE: ClassVar = {"lambda_rec": 1.0, "lr_scale_gamut": 20.0}
    EXPRESSIONS: ClassVar = {"lr_scale_gamut": 20.0}
    PHOTOGRAPHS: ClassVar = base.WARP_ON_PHOTOGRAPHS
    not_averaged = ("raw_modes", "rotation", "raw_variances")

    def build(self, training: bool) -> None:
        kind = ExpressionGGANmutGenerator if self.config.controls else GGANmutGenerator
        self.G = kind(self.config, len(self.emotions))
        self.D = self.discriminator() if training else None

    def lr_scale(self) -> dict[str, float]:
        return dict.fromkeys(self.not_averaged, self.config.lr_scale_gamut)

    def space(self) -> PlaneSpace:
        return PlaneSpace(self.emotions, self.G.modes(), self.G.covariances())

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        n, kinds = len(batch), len(self.emotions)
        if n < kinds:
            raise ValueError(
                f"GGANmut needs every mode in every batch: batch must be >= {kinds}, got {n}"
            )
        # All modes or none of them again: the labels of the cross-entropy follow from the order.
        n_modes = max(round(self.config.mode_share * n) // kinds, 1) * kinds
        free = torch.rand(n - n_modes, 2, generator=generator, device=generator.device)
        return Target(n_modes, (2 * free - 1).to(batch.emotion.device))

    def code(self, target: Target) -> Tensor:
        modes = self.G.modes()
        return torch.cat([modes.repeat(target.modes // len(modes), 1), target.free])

    def log_density(self, code: Tensor) -> Tensor:
        """log p_z, n x E: log softmax(-d^2), no 1/2 and no log-determinant (eq. 12)."""
        # No detach: the divergence moves modes and covariances to where the classifier sees them.
        offset = code[:, None] - self.G.modes()
        # `precisions` needs no matrix inversion, neither here nor in the backward pass.
        squared = torch.einsum("nei,eij,nej->ne", offset, self.G.precisions(), offset)
        return F.log_softmax(-squared, 1)

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, code = self.config, self.code(target)
        score, outputs = self.discriminate(x_fake)
        logits, _ = self.split(outputs)
        # The cycle code is a label here: gradients through it would move the discriminator's head.
        with torch.no_grad():
            source = self.split(self.discriminate(batch.x)[1])[1].clamp(-1, 1)
        # Only the first rows, the modes, have a label; the uniform codes have p_z alone.
        labels = torch.arange(target.modes, device=logits.device) % len(self.emotions)
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "rec": c.lambda_rec * cycle_loss(batch.x, self.G(x_fake, source)),
            "div": c.lambda_div * symmetric_kl(self.log_density(code), logits.log_softmax(1)),
            "cls": c.lambda_cls * F.cross_entropy(logits[: target.modes], labels),
        }

    def log_metrics(self) -> dict[str, float]:
        """The smallest distance between two modes and the smallest variance."""
        modes = self.G.modes().detach()
        apart = torch.cdist(modes, modes) + 10 * torch.eye(len(modes), device=modes.device)
        spread = F.softplus(self.G.raw_variances.detach()) + VARIANCE_FLOOR
        return {"min_gap": float(apart.min()), "min_variance": float(spread.min())}


def symmetric_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p|q) + KL(q|p), mean over the batch; neither side is detached, so it also moves the
    Gaussians (eq. 9)."""
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1).mean()
