"""GANimation: action units steer an edit, an attention mask keeps what they do not concern.

Pumarola et al., "GANimation: Anatomically-aware Facial Animation from a Single Image", ECCV 2018,
arXiv 1807.09251. The mask A is 1 where the source is kept: A * x + (1 - A) * colours.

Where paper and the authors' code differ: the sense of A, its penalty (mean A, not a norm) and the
weights are the code's, free of batch and picture size: lambda_y 160 is the code's 4000 over its
batch of 25 (mean squared error), lambda_TV its 1e-5 summed over a batch of 25 at 128 px. The
penalty of the critic shares the critic's step (the code has two steps of Adam).

The known failure is an attention that saturates: A becomes 1 everywhere and nothing is edited.
Under the presets other than "paper" lambda_A rises from 0 and, should A stay near 1, grows by
itself; the published setting leaves it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ganmut.datasets.base import Batch
from ganmut.methods import base_action_units
from ganmut.methods.base import METHODS, Edit
from ganmut.networks.attention import AttentionGenerator, AttentionOutput, total_variation
from ganmut.networks.config import setting
from ganmut.networks.stargan import PatchDiscriminator
from ganmut.training.losses import cycle_loss

SATURATED = 0.95  # a mean attention above this edits next to nothing
GROWTH = 1.5  # of lambda_A, each time that the attention was found saturated
HIGHEST = 1.5  # lambda_A: in the authors' experience the mask falls to 0 from here on


@dataclass(frozen=True)
class Config(base_action_units.Config):
    """Weights of the authors' code, free of batch and image size."""

    lambda_y: float = setting(160.0, "weight of the mean squared error of units")
    lambda_idt: float = setting(10.0, "weight of the cycle loss")
    lambda_A: float = setting(
        0.1,
        "weight of the mean attention of the edit and of the way back (labels in the GANmut "
        "paper: 1)",
    )
    lambda_TV: float = setting(
        2.5e-4, "weight of the total variation of the attention, in pixels at 128 px"
    )
    attention_rise: float = setting(
        0.0, "share of the training over which lambda_A rises from 0; 0: at once"
    )
    attention_patience: int = setting(
        0, "generator steps of saturated attention after which lambda_A grows by half; 0: never"
    )


@METHODS.register("ganimation")
class GANimation(base_action_units.ActionUnitMethod):
    """GANimation with units, or with emotion labels as the GANmut paper benchmarks it."""

    title = "GANimation"
    lambda_head = "lambda_y"
    paper = "Pumarola et al., ECCV 2018, arXiv 1807.09251"
    Config = Config
    PAPER = Config()
    PAPER_RECIPE: ClassVar = {"batch": 25, "kimg": 30 * 200.0, "lr_decay_fraction": 1 / 3}
    # Ten times less of what holds A up (the cycle), so ten times less of what presses it down: with
    # 0.1 it is 0 everywhere after 20 kimg, and keeps nothing.
    SHORT_SCHEDULE: ClassVar = base_action_units.SHORT_SCHEDULE | {
        "lambda_idt": 1.0,
        "lambda_y": 40.0,
        "lambda_A": 0.01,
        "attention_rise": 0.1,
        "attention_patience": 200,
    }

    def build(self, training: bool) -> None:
        self.G = AttentionGenerator(self.config, self.dim, keep_mask=True)
        self.register_code_buffers()
        self.D = PatchDiscriminator(self.config, self.size, self.dim) if training else None
        self.made: AttentionOutput | None = (
            None  # by the last `fake`: its mask has terms of its own
        )
        if training:  # the state of lambda_A, in buffers: a training resumes with it
            self.register_buffer("growth", torch.ones(()))
            self.register_buffer("saturated", torch.zeros(()))  # steps in a row
            self.register_buffer("began", torch.full((), -1.0))  # progress at the first step

    def fake(self, batch: Batch, target: Tensor) -> Tensor:
        self.made = self.G(batch.x, self.code(target))
        return self.made.images

    def d_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        lost, real, _ = self.adversarial_loss(batch.x, x_fake)
        return {
            "adv": lost,
            "units": self.regression_loss(real, self.source(batch)),
        }

    def g_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        c, made = self.config, self.made
        if made is None:
            raise ValueError("g_loss weighs the mask of what fake() made last: call it first")
        score, outputs = self.discriminate(x_fake)
        back = self.G(x_fake, self.source(batch))
        outline = total_variation(made.mask) + total_variation(back.mask)
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "units": self.regression_loss(outputs, target),
            "rec": c.lambda_idt * cycle_loss(batch.x, back.images),
            "attention": self.tune(made.mask) * (made.mask.mean() + back.mask.mean()),
            "TV": c.lambda_TV * 128 / self.size * outline,
        }

    def g_warmup_loss(self, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        """The colours alone learn to be the picture: the mask would learn to keep everything."""
        return {"rec": cycle_loss(batch.x, self.G(batch.x, self.code(target)).colours)}

    def weight(self) -> Tensor:
        """lambda_A as it stands, without its rise."""
        highest = max(self.config.lambda_A, HIGHEST)
        return (self.config.lambda_A * self.growth).clamp(max=highest)

    @torch.no_grad()
    def tune(self, mask: Tensor) -> Tensor:
        """lambda_A of this step, having looked at its attention: more by half after
        `attention_patience` saturated steps, never beyond HIGHEST."""
        c = self.config
        self.began.copy_(torch.where(self.began < 0, self.progress, self.began))
        if c.attention_patience and c.lambda_A:
            self.saturated.copy_(torch.where(mask.mean() > SATURATED, self.saturated + 1, 0))
            due = (self.saturated >= c.attention_patience) & (self.weight() < HIGHEST)
            self.growth.mul_(torch.where(due, GROWTH, 1.0))
            self.saturated.mul_(~due)
        rise = (self.progress - self.began) / c.attention_rise if c.attention_rise else 1.0
        return self.weight() * torch.as_tensor(rise).clamp(0, 1)

    def edit(self, features: tuple[Tensor, Tensor], code: Tensor) -> Edit:
        painted = self.G.decode(features, code)
        return Edit(painted.images, painted.changed)

    def log_metrics(self) -> dict[str, float]:
        """Mean attention (1 = all is kept), how new the newest twentieth of the pixels is, and
        lambda_A."""
        if self.made is None:
            return {}
        changed = self.made.changed.detach().float().flatten()
        newest = changed.kthvalue(max(round(0.95 * len(changed)), 1)).values
        return {
            "mean_A": float(self.made.mask.detach().mean()),
            "new_p95": float(newest),
            "lambda_A": float(self.weight()),
        }
