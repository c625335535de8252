"""GANmut, linear model: a polar gamut of emotions learned from categorical labels alone.

d'Apolito et al., "GANmut: Learning Interpretable Conditional Space for Gamut of Emotions", CVPR
2021, section 3.1. A code is z = radius * (cos angle, sin angle) in the unit disc; neutral is the
origin, and every other emotion has one learned unit direction v_c. Radius is intensity; angles
between the directions are compound emotions.

Where paper and the authors' code differ: noise sigma .1 and lambda_rho 4 are the paper's (code .075
and 1); the radius law coupled to the label is the code's; the cycle code is D_coor(x) without
gradient (paper), clamped to the disc; the share of random codes is 7 of 16 (paper; the code has 5
and slices a hard-coded 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.codes import DiscSpace
from ganmut.datasets.base import Batch
from ganmut.methods import base
from ganmut.methods.base import METHODS
from ganmut.methods.base_gamut import PAPER_VIEWS, GamutMethod
from ganmut.networks.config import setting
from ganmut.networks.expression import ExpressionConfig, ExpressionGenerator
from ganmut.networks.stargan import Generator
from ganmut.training.losses import cycle_loss

NEUTRAL_RADIUS = 0.2  # tau: codes within this radius are neutral


@dataclass(frozen=True)
class Config(base.Config, base.ClassifierConfig, ExpressionConfig):
    """Weights of the paper."""

    lambda_cls: float = setting(1.0, "weight of the classification loss")
    lambda_rec: float = setting(10.0, "weight of the cycle loss")
    lambda_info: float = setting(1.0, "weight of the code regression, in both losses")
    lambda_rho: float = setting(4.0, "weight of the intensity loss (eq. 7)")
    sigma: float = setting(0.1, "noise on codes of labelled targets")
    random_share: float = setting(
        7 / 16, "share of a batch whose angle is random, without a label (n_r / B)"
    )
    init_directions: float = setting(
        math.sqrt(0.5) * 1e-4,
        "half-width of the uniform initial values of the raw directions (the authors' code; "
        "published: sqrt(1/6) 1e-4)",
    )

    ALLOWED: ClassVar = Generator.OUTPUTS
    SHARES: ClassVar = ("random_share",)


@dataclass(frozen=True)
class Target:
    """Target of one step: label B, radius B, angle n_r (first rows, without a label), noise
    (B - n_r) x 2."""

    label: Tensor
    radius: Tensor
    angle: Tensor
    noise: Tensor


class GANmutGenerator(Generator):
    """The trunk, and the raw directions of the emotions other than neutral: (emotions - 1) x 2,
    not normalised."""

    def __init__(self, config: Config, emotions: int):
        super().__init__(config, code_dim=2)
        self.directions = raw_directions(emotions, config.init_directions)


class ExpressionGANmutGenerator(ExpressionGenerator):
    """The same on expressions."""

    def __init__(self, config: Config, emotions: int):
        super().__init__(config.controls, code_dim=2)
        self.directions = raw_directions(emotions, config.init_directions)


def raw_directions(emotions: int, half_width: float) -> nn.Parameter:
    """(emotions - 1) x 2 initial directions, uniform within +-half_width, almost zero."""
    # With a tiny norm the first steps of Adam can turn a direction by any angle; as the norm grows,
    # the turns get smaller. So the raw rows are neither averaged nor renormalised.
    return nn.Parameter(torch.empty(emotions - 1, 2).uniform_(-half_width, half_width))


@METHODS.register("ganmut")
class GANmut(GamutMethod):
    """GANmut's linear model (eqs. 1-9)."""

    title = "GANmut"
    paper = "d'Apolito et al., CVPR 2021"
    lambda_d_cls, lambda_d_code, code_term = "lambda_cls", "lambda_info", "info"
    Config = Config
    PAPER = Config()
    # The rate falls over the last 100 thousand steps.
    PAPER_RECIPE: ClassVar = {
        "batch": 16,
        "kimg": 1_000_000 * 16 / 1000,
        "lr_decay_fraction": 0.1,
    }
    PAPER_OBJECTIVE: ClassVar = PAPER_VIEWS | {"init_directions": math.sqrt(1 / 6) * 1e-4}
    SHORT_SCHEDULE: ClassVar = {"lambda_rec": 1.0}
    PHOTOGRAPHS: ClassVar = base.WARP_ON_PHOTOGRAPHS
    not_averaged = ("directions",)

    def build(self, training: bool) -> None:
        kind = ExpressionGANmutGenerator if self.config.controls else GANmutGenerator
        self.G = kind(self.config, len(self.emotions))
        self.D = self.discriminator() if training else None

    def space(self) -> DiscSpace:
        return DiscSpace(self.emotions, self.G.directions)

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        n, device = len(batch), batch.emotion.device
        n_random = round(self.config.random_share * n)

        def uniform(count: int) -> Tensor:
            return torch.rand(count, generator=generator, device=generator.device).to(device)

        # Labels of the batch itself, so that targets follow the prior of the data (StarGAN).
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        label = batch.emotion[order]
        u = uniform(n)
        # Neutral is the inner disc, the other emotions the ring around it.
        radius = torch.where(
            label == 0, NEUTRAL_RADIUS * u, NEUTRAL_RADIUS + (1 - NEUTRAL_RADIUS) * u
        )
        noise = torch.randn(n - n_random, 2, generator=generator, device=generator.device).to(
            device
        )
        return Target(label, radius, 2 * math.pi * uniform(n_random), self.config.sigma * noise)

    def code(self, target: Target) -> Tensor:
        n_random = len(target.angle)
        angle, radius = target.angle, target.radius[:, None]
        # S_r of the paper: any angle, so that the disc between the directions is trained too.
        free = radius[:n_random] * torch.stack([angle.cos(), angle.sin()], 1)
        # Only the angle is learned: the length of a raw row sets how fast Adam turns it.
        directions = F.normalize(self.G.directions, dim=1)
        # The direction of neutral is zero: its codes are noise around the origin.
        table = torch.cat([directions.new_zeros(1, 2), directions])
        labelled = radius[n_random:] * table[target.label[n_random:]] + target.noise
        return torch.cat([free, labelled])

    def source_code(self, x: Tensor) -> Tensor:
        """B x 2: D_coor(x) without gradient, clamped to the disc; the code of real images in the
        cycle loss."""
        with torch.no_grad():
            # The head is linear and unbounded; early in a training it points far outside the disc.
            code = self.split(self.discriminate(x)[1])[1]
            return code / code.norm(dim=1, keepdim=True).clamp(min=1)

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, n_random, code = self.config, len(target.angle), self.code(target)
        score, outputs = self.discriminate(x_fake)
        logits, coordinates = self.split(outputs)
        # D estimates the source's code, since real images have a label but no coordinates.
        x_rec = self.G(x_fake, self.source_code(batch.x))
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            # Codes of a random angle have no label: they are trained by info and rho alone.
            "cls": c.lambda_cls * F.cross_entropy(logits[n_random:], target.label[n_random:]),
            "rec": c.lambda_rec * cycle_loss(batch.x, x_rec),
            "info": c.lambda_info * F.mse_loss(coordinates, code),
            "rho": c.lambda_rho * intensity_loss(logits, target.radius),
        }

    def log_metrics(self) -> dict[str, float]:
        """The smallest angle between two directions in degrees; near 0 two emotions have
        collapsed."""
        angle = torch.rad2deg(torch.atan2(*self.G.directions.detach().float().cpu().T.flip(0)))
        gap = (angle[:, None] - angle[None]).abs()
        # The diagonal is not a gap: 360 keeps it out of the minimum.
        gap = torch.minimum(gap, 360 - gap) + 360 * torch.eye(len(angle))
        return {"min_angle": float(gap.min())}


def intensity_loss(logits: Tensor, radius: Tensor) -> Tensor:
    """L_rho: mean over radius > .2 of (max_k softmax_k - radius)^2, neutral included in the maximum
    (eq. 7)."""
    shown = (radius > NEUTRAL_RADIUS).float()
    # The maximum over all labels: between two directions no single one can be sure.
    confidence = logits.softmax(1).amax(1)
    return (shown * (confidence - radius).square()).sum() / shown.sum().clamp(min=1)
