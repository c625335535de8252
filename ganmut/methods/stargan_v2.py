"""StarGAN v2: an emotion has many styles, drawn at random or read from a reference picture.

Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, arXiv
1912.01865. A style is a vector of 64 values that steers every norm of the decoder; the mapping
network makes it of an emotion and a random latent, the style encoder of an emotion and a picture.
There is no classifier: the discriminator has one real-or-edited score for each emotion.

Without the face landmark network of the paper's CelebA setting (w_hpf 0). Where this differs: one
edit a face and step instead of two, half of a batch under random styles and half under those of
references; as in the paper the mapping network and the style encoder learn from the first half
only. The averaged networks start from the initialised ones (the authors' copy is made before the
initialisation), and the diversity term falls with the share of training done, also after a resume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ganmut.codes import StyleSpace
from ganmut.datasets.base import Batch
from ganmut.device import inference
from ganmut.emotions import emotion_index
from ganmut.methods.base import METHODS, LossConfig, Method
from ganmut.networks.config import setting
from ganmut.networks.stargan_v2 import (
    Discriminator,
    StarGANv2Generator,
    StyleConfig,
    he_normal,
    pick,
)
from ganmut.training.losses import cycle_loss


@dataclass(frozen=True)
class Config(StyleConfig, LossConfig):
    """Weights of the paper; its lambda_reg is lambda_r1. The loss is always nonsaturating."""

    adversarial: ClassVar[str] = "nonsaturating"
    lambda_gp: ClassVar[float] = 0.0
    g_interval: int = setting(1, "discriminator steps per generator step")
    lambda_sty: float = setting(1.0, "weight of the style reconstruction (eq. 2)")
    lambda_ds: float = setting(1.0, "weight of the diversity (eq. 3); falls to 0 over the training")
    lambda_cyc: float = setting(1.0, "weight of the cycle (eq. 4)")

    ALLOWED: ClassVar = {"adversarial": ("nonsaturating",)}


@dataclass(frozen=True)
class Target:
    """One step's draw. label: B emotions. The first n rows are under random styles: latent 2 x n x
    latent, for the edit and for its twin; the others under those of references: reference 2 x (B -
    n) x 3 x S x S, two pictures of the label's emotion."""

    label: Tensor
    latent: Tensor
    reference: Tensor


@METHODS.register("stargan_v2")
class StarGANv2(Method):
    """StarGAN v2 (eqs. 1-6); the labels of a step are those of the batch in another order, and so
    are the references."""

    title = "StarGAN v2"
    paper = "Choi et al., CVPR 2020, arXiv 1912.01865"
    Config = Config
    PAPER = Config()
    PAPER_RECIPE: ClassVar = {
        "batch": 8,
        "kimg": 800.0,
        "beta1": 0.0,
        "beta2": 0.99,
        "weight_decay": 1e-4,
        "lr_decay_fraction": 0.0,
        "balanced": True,
    }
    # The published networks cost fifty times GANmut's small ones, these about as much. With average
    # pooling D told no emotion from another after 48 kimg, with maxima it learns from the first
    # thousand on. More of the cycle keeps the person.
    SHORT_SCHEDULE: ClassVar = {
        "width": 24,
        "max_channels": 128,
        "blocks": 1,
        "d_width": 16,
        "d_max_channels": 192,
        "hidden": 128,
        "pool": "max",
        "lambda_cyc": 2.0,
        "lambda_ds": 1.0,
    }

    def build(self, training: bool) -> None:
        kinds = len(self.emotions)
        self.G = StarGANv2Generator(self.config, self.size, kinds)
        self.D = Discriminator(self.config, self.size, kinds) if training else None
        self.apply(he_normal)
        if self.G.residual:  # begins as the source with a little change
            self.G.head.weight.data.mul_(0.1)

    def lr_scale(self) -> dict[str, float]:
        """The mapping network learns a hundred times slower (the authors' f_lr)."""
        return {"mapping": 0.01}

    def space(self) -> StyleSpace:
        """Styles; a named emotion is the mean of its random ones (at the origin all emotions of a
        new mapping network are the same)."""
        latent = torch.randn(256, self.config.latent, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            rest = self.G.mapping(latent.to(self.place)).mean(0)
        return StyleSpace(self.emotions, self.config.latent, self.mapped, rest)

    @property
    def place(self) -> torch.device:
        return self.G.head.weight.device

    def mapped(self, label: Tensor, latent: Tensor) -> Tensor:
        """n x style: F(z, y) of labels (int64 n) and latents (n x latent)."""
        return pick(self.G.mapping(latent.to(self.place)), label.to(self.place)).float()

    def style_of(self, x: Tensor, emotion: str | Tensor) -> Tensor:
        """B x style codes of reference pictures (B x 3 x S x S in [-1, 1]), each as a picture of an
        emotion (a name for all, or int64 B): edits under them borrow its way to show it. Raises
        UnknownNameError for an emotion that is not there."""
        x = x.to(self.place)
        if isinstance(emotion, str):
            emotion = torch.full((len(x),), emotion_index(emotion, self.emotions))
        with torch.no_grad(), inference(self.place):
            return self.G.encoder(x, emotion.to(self.place))

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        total, device = len(batch), batch.emotion.device
        n = (total + 1) // 2
        order = torch.randperm(total, generator=generator, device=generator.device).to(device)
        label = batch.emotion[order]
        # The second: another of that emotion; the same where there is none, and no diversity asked.
        chance = torch.rand(total - n, total, generator=generator, device=generator.device)
        chance = chance.to(device).masked_fill(batch.emotion != label[n:, None], -1)
        chance.scatter_(1, order[n:, None], 0)
        second = chance.argmax(1)
        shape = (2, n, self.config.latent)
        latent = torch.randn(shape, generator=generator, device=generator.device).to(device)
        return Target(label, latent, torch.stack([batch.x[order[n:]], batch.x[second]]))

    def code(self, target: Target, which: int = 0) -> Tensor:
        """B x style: the styles of the edits (0) or of their twins (1); those of references without
        a graph."""
        n = target.latent.shape[1]
        mapped = self.mapped(target.label[:n], target.latent[which])
        with torch.no_grad():
            read = self.G.encoder(target.reference[which], target.label[n:])
        return torch.cat([mapped, read])

    def read(self, x: Tensor, label: Tensor, n: int) -> Tensor:
        """B x style: E(x, y), of which only the first n rows teach the encoder; gradients to x pass
        in all."""
        encoder = self.G.encoder
        return torch.cat([encoder(x[:n], label[:n]), frozen(encoder, x[n:], label[n:])])

    def classify(self, x: Tensor) -> Tensor:
        """Every emotion's score: after the warm-up it ranks emotions, later also how real x is."""
        return self.D(x)

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        """One against the rest: a face that still shows its old emotion is no real one of the
        new."""
        shown = F.one_hot(batch.emotion, len(self.emotions)).float()
        return {"cls": F.binary_cross_entropy_with_logits(self.D(batch.x), shown)}

    def d_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        label = torch.cat([batch.emotion, target.label])
        real, fake = pick(self.D(torch.cat([batch.x, x_fake])), label).chunk(2)
        return {"adv": self.config.lambda_adv * self.adversarial.discriminator(real, fake)}  # eq. 1

    def d_penalty(
        self, batch: Batch, target: Target, x_fake: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        def score(x: Tensor) -> Tensor:  # not `D(x)`: it may be compiled
            return pick(self.D.forward(x), batch.emotion)[:, None]

        return self.adversarial.penalty(self.config, score, batch.x, x_fake, generator)

    @property
    def diversity(self) -> float:
        """lambda_ds now: linear to zero over the training."""
        return self.config.lambda_ds * max(1 - self.progress, 0.0)

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, n = self.config, target.latent.shape[1]
        missed = self.read(x_fake, target.label, n) - self.code(target)
        x_rec = self.G(x_fake, self.read(batch.x, batch.emotion, n))
        with torch.no_grad():
            twin = self.G(batch.x, self.code(target, 1))
        score = pick(self.D(x_fake), target.label)
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "sty": c.lambda_sty * missed.abs().mean(),  # eq. 2
            "ds": -self.diversity * (x_fake - twin).abs().mean(),  # eq. 3
            "cyc": c.lambda_cyc * cycle_loss(batch.x, x_rec),  # eq. 4
        }

    def log_metrics(self) -> dict[str, float]:
        """The weight of the diversity term."""
        return {"lambda_ds": self.diversity}


def frozen(network: nn.Module, *inputs: Tensor) -> Tensor:
    """network(*inputs), with gradients to the inputs alone."""
    fixed = {name: p.detach() for name, p in network.named_parameters()}
    return functional_call(network, fixed, inputs)
