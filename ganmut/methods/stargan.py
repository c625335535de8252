"""StarGAN: one generator for all labels, conditioned on a one-hot emotion.

Choi et al., "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018, arXiv 1711.09020. Paper and code differ only in the schedule: the decay of
the learning rate in the code has no effect; the recipe follows the paper (linear to zero).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.codes import LabelSpace
from ganmut.datasets.base import Batch
from ganmut.methods import base
from ganmut.methods.base import METHODS, Method
from ganmut.networks.config import setting
from ganmut.networks.expression import (
    ExpressionConfig,
    ExpressionDiscriminator,
    ExpressionGenerator,
)
from ganmut.networks.stargan import Generator, PatchDiscriminator
from ganmut.training.losses import cycle_loss


@dataclass(frozen=True)
class Config(base.Config, base.ClassifierConfig, ExpressionConfig):
    """Weights of eqs. 5 and 6."""

    lambda_cls: float = setting(1.0, "weight of the classification loss")
    lambda_rec: float = setting(10.0, "weight of the cycle loss")

    ALLOWED: ClassVar = Generator.OUTPUTS


@METHODS.register("stargan")
class StarGAN(Method):
    """StarGAN with emotion labels; the target of a step is a permutation of the batch's own labels
    (section 3.1)."""

    title = "StarGAN"
    paper = "Choi et al., CVPR 2018, arXiv 1711.09020"
    Config = Config
    PAPER = Config()
    PAPER_RECIPE: ClassVar = {"batch": 16, "kimg": 200_000 * 16 / 1000}
    SHORT_SCHEDULE: ClassVar = {"lambda_rec": 1.0}
    PHOTOGRAPHS: ClassVar = base.WARP_ON_PHOTOGRAPHS

    def build(self, training: bool) -> None:
        kinds, controls = len(self.emotions), self.config.controls
        if controls:
            self.G = ExpressionGenerator(controls, kinds)
            self.D = ExpressionDiscriminator(controls, kinds) if training else None
        else:
            self.G = Generator(self.config, kinds)
            self.D = PatchDiscriminator(self.config, self.size, kinds) if training else None

    def space(self) -> LabelSpace:
        return LabelSpace(self.emotions)

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """B int64 target labels."""
        order = torch.randperm(len(batch), generator=generator, device=generator.device)
        return batch.emotion[order.to(batch.emotion.device)]

    def code(self, target: Tensor) -> Tensor:
        return F.one_hot(target, len(self.emotions)).float()

    def classify(self, x: Tensor) -> Tensor:
        return self.discriminate(x)[1]

    def d_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        adv, real, fake = self.adversarial_loss(batch.x, x_fake)
        cls = self.classification_loss(real, fake, batch.emotion)  # eq. 2
        return {"adv": adv, "cls": self.config.lambda_cls * cls}

    def g_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        c = self.config
        score, logits = self.discriminate(x_fake)
        x_rec = self.G(x_fake, self.code(batch.emotion))
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "cls": c.lambda_cls * F.cross_entropy(logits, target),  # eq. 3
            "rec": c.lambda_rec * cycle_loss(batch.x, x_rec),  # eq. 4
        }
