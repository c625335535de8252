"""SMIT: an emotion has many styles; a frozen random layer computes them from label and noise.

Romero et al., "SMIT: Stochastic Multi-Label Image-to-Image Translation", ICCV Workshops 2019, arXiv
1812.03704. The code is the emotion's one-hot vector and twenty values of noise, side by side; the
domain embedding, one linear layer that is not trained, computes the gains and offsets of twelve
instance norms from it. The generator outputs colours and a mask M, which is 1 where the source is
kept.

Where paper and the authors' code differ: weights are the code's for RafD, its expression data
(lambda_cls 2, lambda_mask 1, identity loss on), converted from sums over pixels and batch to means;
the code gives discriminator and generator different halves of a double batch, here both get the
same edits; the code seeds all random numbers with a counter at every step, here noise is random.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.codes import StyleSpace
from ganmut.datasets.base import Batch
from ganmut.methods import base
from ganmut.methods.base import METHODS, Edit, Method
from ganmut.networks.attention import compose
from ganmut.networks.config import setting
from ganmut.networks.smit import (
    ExpressionSMITDiscriminator,
    ExpressionSMITGenerator,
    MultiScaleDiscriminator,
    SMITConfig,
    SMITGenerator,
)
from ganmut.training.losses import cycle_loss


@dataclass(frozen=True)
class Config(SMITConfig, base.LossConfig, base.HeadConfig):
    """Weights of the authors' code for RafD."""

    adversarial: str = setting(
        "relativistic_hinge", "relativistic_hinge (published), nonsaturating or wgan_gp"
    )
    g_interval: int = setting(1, "discriminator steps per generator step")
    lambda_cls: float = setting(2.0, "weight of the classification loss")
    lambda_rec: float = setting(10.0, "weight of the cycle loss")
    lambda_mask: float = setting(
        1.0, "weight of the mean mask, which marks the pixels that are kept"
    )
    lambda_tv: float = setting(
        0.0256, "weight of the total variation of the mask, in sides of the image"
    )
    lambda_idt: float = setting(10.0, "weight of the identity loss: a face under its own emotion")

    ALLOWED: ClassVar = {"adversarial": ("relativistic_hinge", "nonsaturating", "wgan_gp")}


@dataclass(frozen=True)
class Target:
    """Target of one step: label B; noise 3 x B x latent, for the edit, its cycle and the identity
    loss.

    masks: M of the edits (B x 1 x S x S), which `fake` stores for the losses of the same step.
    """

    label: Tensor
    noise: Tensor
    masks: list[Tensor] = field(default_factory=list)


@METHODS.register("smit")
class SMIT(Method):
    """SMIT with one emotion per face; the target labels of a step are those of the batch,
    permuted."""

    title = "SMIT"
    paper = "Romero et al., ICCV Workshops 2019, arXiv 1812.03704"
    Config = Config
    # At 256 px: a wider discriminator than the 16 channels of smaller sizes, and a layer more, so
    # that its last map is 2 x 2.
    PAPER = Config(d_width=32, d_layers=7)
    # 800 epochs over the 4320 training images of RafD's three middle cameras (60 people, 72
    # each). The authors split every batch between D and G, so that D sees half of them.
    PAPER_RECIPE: ClassVar = {
        "size": 256,
        "batch": 20,
        "kimg": 800 * 4.32 / 2,
        "lr_g": 2e-4,
        "lr_d": 2e-4,
    }
    # RafD's faces are not mirrored: its gaze and its cameras have a side.
    PAPER_OBJECTIVE: ClassVar = {
        "flip": False,
        "crop_share": 1.0,
        "crop_area": 0.7,
        "crop_stretch": 0.2,
    }
    # Smaller networks, since a step takes three generator passes instead of two. With the published
    # objective (relativistic hinge, spectral norm) edits were still faint after 44 kimg. The weight
    # of the labels, summed over the scales, falls with that of the cycle, and so does that of the
    # mask, as in GANimation.
    SHORT_SCHEDULE: ClassVar = {
        "width": 24,
        "blocks": 3,
        "lambda_rec": 1.0,
        "lambda_idt": 1.0,
        "lambda_cls": 0.5,
        "lambda_mask": 0.01,
        "spectral": False,
    }
    # One scale in place of three, whose labels weigh as much as StarGAN's; controls have no
    # neighbours, over which the mask could vary.
    EXPRESSIONS: ClassVar = {
        "lambda_cls": 1.0,
        "lambda_idt": 1.0,
        "lambda_mask": 0.01,
        "lambda_tv": 0.0,
    }

    def build(self, training: bool) -> None:
        kinds, controls = len(self.emotions), self.config.controls
        code_dim = kinds + self.config.latent
        if controls:
            self.G = ExpressionSMITGenerator(controls, code_dim)
            self.D = ExpressionSMITDiscriminator(controls, kinds) if training else None
        else:
            self.G = SMITGenerator(self.config, code_dim)
            self.D = MultiScaleDiscriminator(self.config, self.size, kinds) if training else None
        self.mean_mask: Tensor | None = None  # mean of M in the last edits, for log_metrics

    def style_code(self, label: Tensor, noise: Tensor) -> Tensor:
        """n x (emotions + latent) codes of labels (int64 n) and noise (n x latent)."""
        return torch.cat([F.one_hot(label, len(self.emotions)).float(), noise], 1)

    def space(self) -> StyleSpace:
        return StyleSpace(self.emotions, self.config.latent, self.style_code)

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        n, device = len(batch), batch.emotion.device
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        shape = (3, n, self.config.latent)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return Target(batch.emotion[order], noise.to(device))

    def code(self, target: Target) -> Tensor:
        return self.style_code(target.label, target.noise[0])

    def fake(self, batch: Batch, target: Target) -> Tensor:
        colours, mask = self.G(batch.x, self.code(target))
        # The mask has losses of its own, which must not cost a second pass.
        target.masks[:] = [mask]
        return compose(batch.x, colours, mask, keep_mask=True)

    def classify(self, x: Tensor) -> Tensor:
        return self.discriminate(x)[1].mean(1)

    @staticmethod
    def labels(logits: Tensor, emotion: Tensor) -> Tensor:
        """Cross-entropy of B x scales x emotions logits, summed over the scales."""
        # cross_entropy averages over scales and faces; the paper sums over the scales.
        scales = logits.shape[1]
        each = emotion.repeat_interleave(scales)
        return scales * F.cross_entropy(logits.flatten(0, 1), each)

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"cls": self.labels(self.discriminate(batch.x)[1], batch.emotion)}

    def g_warmup_loss(self, batch: Batch, target: Target) -> dict[str, Tensor]:
        # The colours alone; the mask would learn to keep everything.
        return {"rec": cycle_loss(batch.x, self.G(batch.x, self.code(target))[0])}

    def d_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        scores, logits = self.discriminate(torch.cat([batch.x, x_fake]))
        real, fake = scores.chunk(2)
        c = self.config
        return {
            "adv": c.lambda_adv * self.adversarial.discriminator(real, fake),
            "cls": c.lambda_cls * self.labels(logits[: len(batch)], batch.emotion),
        }

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, x = self.config, batch.x
        fake, logits = self.discriminate(x_fake)
        # The relativistic loss compares with real scores, which are constants of this step.
        with torch.no_grad():
            real = self.D(x)[0]
        (mask,) = target.masks
        # Cycle and identity have noise of their own: undoing an edit must not depend on its noise.
        colours, mask_rec = self.G(x_fake, self.style_code(batch.emotion, target.noise[1]))
        x_rec = compose(x_fake, colours, mask_rec, keep_mask=True)
        colours, mask_idt = self.G(x, self.style_code(batch.emotion, target.noise[2]))
        x_idt = compose(x, colours, mask_idt, keep_mask=True)
        # Kept as a tensor: it is read once a tick.
        self.mean_mask = mask.detach().mean()
        return {
            "adv": c.lambda_adv * self.adversarial.generator(fake, real),
            "cls": c.lambda_cls * self.labels(logits, target.label),
            "rec": c.lambda_rec * cycle_loss(x, x_rec),
            "idt": c.lambda_idt * cycle_loss(x, x_idt),
            "mask": c.lambda_mask * (mask.mean() + mask_rec.mean()),
            "tv": c.lambda_tv * (mask_perimeter(mask) + mask_perimeter(mask_rec)),
        }

    def edit(self, features: Any, code: Tensor) -> Edit:
        colours, mask = self.G.decode(features, code)
        return Edit(compose(features[0], colours, mask, keep_mask=True), 1 - mask)

    def log_metrics(self) -> dict[str, float]:
        """Mean of M: near 1 nothing is edited."""
        return {} if self.mean_mask is None else {"mean_M": float(self.mean_mask)}


def mask_perimeter(mask: Tensor) -> Tensor:
    """Total variation of masks B x 1 x S x S in units of the image side, mean over the batch. For a
    binary mask this is the length of its outline. 0 for masks of expressions, B x K."""
    if mask.dim() == 2:
        return mask.new_zeros(())
    # The released weight is a sum over pixels and batch; lengths in sides are free of both.
    across, down = mask.diff(dim=3).abs().sum(), mask.diff(dim=2).abs().sum()
    return (across + down) / (len(mask) * mask.shape[-1])
