"""GANimation: a generator conditioned on action units, with an attention mask that keeps the rest
of the source.

Pumarola et al., "GANimation: Anatomically-aware Facial Animation from a Single Image", ECCV 2018,
arXiv 1807.09251. The mask A is 1 where the source is kept: A * x + (1 - A) * colours.

Where paper and the authors' code differ: the sense of A, its penalty (mean A, not a norm) and the
weights are the code's, free of batch and image size: lambda_y 160 is the code's 4000 over its
batch of 25 (mean squared error), lambda_TV its 1e-5 summed over a batch of 25 at 128 px. The
gradient penalty is part of the discriminator's step (the code takes two steps of Adam).

The known failure is a saturated attention: A becomes 1 everywhere and nothing is edited. The short
schedule therefore raises lambda_A from 0, and increases it further while A stays near 1; in the
published setting lambda_A is constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganmut.datasets.base import Batch
from ganmut.methods import base_action_units
from ganmut.methods.base import METHODS, Edit
from ganmut.networks.attention import AttentionGenerator, AttentionOutput, total_variation
from ganmut.networks.config import setting
from ganmut.networks.stargan import PatchDiscriminator
from ganmut.training.losses import cycle_loss

SATURATED = 0.95  # mean attention above which almost nothing is edited
GROWTH = 1.5  # factor on lambda_A each time the attention has stayed saturated
MAX_LAMBDA_A = 1.5  # the authors observed that the mask falls to 0 from here on


@dataclass(frozen=True)
class Config(base_action_units.Config):
    """Weights of the authors' code, free of batch and image size."""

    lambda_y: float = setting(160.0, "weight of the mean squared error of units")
    lambda_idt: float = setting(10.0, "weight of the cycle loss")
    lambda_A: float = setting(
        0.1,
        "weight of the mean attention of the edit and of its cycle (labels in the GANmut paper: 1)",
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

    init_std: float = setting(
        0.0, "standard deviation of the initial convolutions (published: 0.02); 0: PyTorch's"
    )

    SHARES: ClassVar = ("attention_rise",)


@METHODS.register("ganimation")
class GANimation(base_action_units.ActionUnitMethod):
    """GANimation with units, or with emotion labels as the GANmut paper benchmarks it."""

    title = "GANimation"
    lambda_head = "lambda_y"
    paper = "Pumarola et al., ECCV 2018, arXiv 1807.09251"
    Config = Config
    PAPER = Config()
    PAPER_RECIPE: ClassVar = {"batch": 25, "kimg": 30 * 200.0, "lr_decay_fraction": 1 / 3}
    PAPER_OBJECTIVE: ClassVar = {"init_std": 0.02}
    # The GANmut paper's comparison, whose labels move less than units do.
    PAPER_LABELS: ClassVar = {"lambda_A": 1.0}
    # The cycle loss raises A and its penalty lowers it: with a tenth of the cycle's weight,
    # lambda_A is a tenth as well. With 0.1 A is 0 everywhere after 20 kimg, and nothing of the
    # source is kept.
    SHORT_SCHEDULE: ClassVar = base_action_units.SHORT_SCHEDULE | {
        "lambda_idt": 1.0,
        "lambda_y": 40.0,
        "lambda_A": 0.01,
        "attention_rise": 0.1,
        "attention_patience": 200,
    }

    growth: Tensor
    saturated: Tensor
    began: Tensor

    def build(self, training: bool) -> None:
        self.G = AttentionGenerator(self.config, self.dim, keep_mask=True)
        self.register_code_buffers()
        self.D = PatchDiscriminator(self.config, self.size, self.dim) if training else None
        if self.config.init_std:
            self.apply(self.init_convolution)
        # Output of the last `fake`: the mask has loss terms of its own.
        self.output: AttentionOutput | None = None
        if training:  # the state of lambda_A: buffers, so that snapshots hold it
            self.register_buffer("growth", torch.ones(()))
            self.register_buffer("saturated", torch.zeros(()))  # consecutive saturated steps
            self.register_buffer("began", torch.full((), -1.0))  # progress at the first step

    def init_convolution(self, layer: nn.Module) -> None:
        """Draws the weights of a convolution from N(0, init_std) and sets its bias to zero, as the
        authors' code does."""
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, std=self.config.init_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def fake(self, batch: Batch, target: Tensor) -> Tensor:
        self.output = self.G(batch.x, self.code(target))
        return self.output.images

    def g_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        c, output = self.config, self.output
        if output is None:
            raise ValueError("g_loss needs the mask of the last fake(): call fake() first")
        score, outputs = self.discriminate(x_fake)
        # The cycle is judged by its masks too: a saturated way back is no reconstruction.
        back = self.G(x_fake, self.source(batch))
        variation = total_variation(output.mask) + total_variation(back.mask)
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "units": self.regression_loss(outputs, target),
            "rec": c.lambda_idt * cycle_loss(batch.x, back.images),
            "attention": self.update_lambda_A(output.mask)
            * (output.mask.mean() + back.mask.mean()),
            "TV": c.lambda_TV * 128 / self.size * variation,
        }

    def g_warmup_loss(self, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        """Reconstruction by the colours alone; the mask would learn to keep everything."""
        return {"rec": cycle_loss(batch.x, self.G(batch.x, self.code(target)).colours)}

    def lambda_A(self) -> Tensor:
        """The current lambda_A, without the initial rise."""
        highest = max(self.config.lambda_A, MAX_LAMBDA_A)
        return (self.config.lambda_A * self.growth).clamp(max=highest)

    @torch.no_grad()
    def update_lambda_A(self, mask: Tensor) -> Tensor:
        """lambda_A of this step, times GROWTH after `attention_patience` consecutive steps with a
        saturated attention (mask B x 1 x S x S), at most MAX_LAMBDA_A."""
        # Tensor arithmetic without branches on values: reading one would synchronise the GPU.
        c = self.config
        self.began.copy_(torch.where(self.began < 0, self.progress, self.began))
        if c.attention_patience and c.lambda_A:
            kept = mask.mean()
            # Of the whole batch: processes that count apart would weigh the attention differently,
            # and a snapshot holds the counts of one.
            self.processes.all_reduce_mean([kept])
            self.saturated.copy_(torch.where(kept > SATURATED, self.saturated + 1, 0))
            due = (self.saturated >= c.attention_patience) & (self.lambda_A() < MAX_LAMBDA_A)
            self.growth.mul_(torch.where(due, GROWTH, 1.0))
            self.saturated.mul_(~due)
        rise = (self.progress - self.began) / c.attention_rise if c.attention_rise else 1.0
        return self.lambda_A() * torch.as_tensor(rise).clamp(0, 1)

    def edit(self, features: tuple[Tensor, Tensor], code: Tensor) -> Edit:
        output = self.G.decode(features, code)
        return Edit(output.images, output.changed)

    def log_metrics(self) -> dict[str, float]:
        """Mean attention (1 = source), the 95th percentile of the share of new colour per pixel,
        and lambda_A."""
        if self.output is None:
            return {}
        changed = self.output.changed.detach().float().flatten()
        p95 = changed.kthvalue(max(round(0.95 * len(changed)), 1)).values
        return {
            "mean_A": float(self.output.mask.detach().mean()),
            "new_p95": float(p95),
            "lambda_A": float(self.lambda_A()),
        }
