"""StarGAN v2: an emotion has many styles, random ones or those of reference images.

Choi et al., "StarGAN v2: Diverse Image Synthesis for Multiple Domains", CVPR 2020, arXiv
1912.01865. A style is a vector of 64 values that modulates every norm of the decoder. The mapping
network computes it from an emotion and a random latent, the style encoder from an emotion and an
image. There is no classifier: the discriminator has one real-or-fake score per emotion.

The face landmark network of the paper's CelebA setting is left out (w_hpf 0). Further differences:
a step updates each network once, with half of a batch under random styles and half under those of
references, where the authors take two steps in turn; as in the paper, only the first half trains
the mapping network and the style encoder. The EMA starts from the initialised networks (the authors
copy them before the initialisation), and the diversity term falls with the share of the training,
also after a resume.
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
from ganmut.networks.expression import Perceptron
from ganmut.networks.stargan_v2 import (
    Discriminator,
    ExpressionStarGANv2Generator,
    StarGANv2Generator,
    StyleConfig,
    he_normal,
    pick,
)
from ganmut.training.losses import cycle_loss


@dataclass(frozen=True)
class Config(StyleConfig, LossConfig):
    """Weights of the paper; its lambda_reg is lambda_r1. The loss is always nonsaturating."""

    adversarial: ClassVar[str] = "nonsaturating"  # type: ignore[misc] # no field here
    lambda_gp: ClassVar[float] = 0.0  # type: ignore[misc]
    g_interval: int = setting(1, "discriminator steps per generator step")
    lambda_sty: float = setting(1.0, "weight of the style reconstruction (eq. 2)")
    lambda_ds: float = setting(
        1.0, "initial weight of the diversity (eq. 3); falls to 0 over the training"
    )
    lambda_cyc: float = setting(1.0, "weight of the cycle (eq. 4)")

    ALLOWED: ClassVar = {"adversarial": ("nonsaturating",)}


@dataclass(frozen=True)
class Target:
    """Target of one step. label: B emotions. The first n rows have random styles: latent 2 x n x
    latent, for the edit and for the second edit of the diversity loss. The others have styles of
    references: 2 x (B - n) x 3 x S x S, two images of the label's emotion (or two expressions)."""

    label: Tensor
    latent: Tensor
    reference: Tensor


@METHODS.register("stargan_v2")
class StarGANv2(Method):
    """StarGAN v2 (eqs. 1-6); target labels and references of a step are those of the batch,
    permuted."""

    title = "StarGAN v2"
    paper = "Choi et al., CVPR 2020, arXiv 1912.01865"
    Config = Config
    PAPER = Config(width=0, d_width=0, d_layers=0)
    # 100 thousand iterations, each with a batch of 8 under random styles and one of 8 under those
    # of references: the two halves of a batch here.
    PAPER_RECIPE: ClassVar = {
        "size": 256,
        "batch": 16,
        "kimg": 100_000 * 16 / 1000,
        "beta1": 0.0,
        "beta2": 0.99,
        "weight_decay": 1e-4,
        "lr_decay_fraction": 0.0,
        "balanced": True,
    }
    # A random resized crop of half of the images. The only published average of a generator.
    PAPER_OBJECTIVE: ClassVar = {
        "ema_decay": 0.999,
        "crop_share": 0.5,
        "crop_area": 0.8,
        "crop_stretch": 0.1,
    }
    # The published networks cost fifty times as much as GANmut's small ones, these about the same.
    # With average pooling D did not separate the emotions within 48 kimg; with max pooling it does
    # within one. A higher weight of the cycle preserves identity.
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
    # Styles and networks of the size of expressions: a quarter of a million weights.
    EXPRESSIONS: ClassVar = {"style": 16, "hidden": 32}

    def build(self, training: bool) -> None:
        kinds, config = len(self.emotions), self.config.at_size(self.size)
        if config.controls:
            self.G = ExpressionStarGANv2Generator(config, kinds)
            self.D = Perceptron(config.controls, kinds) if training else None
            return
        self.G = StarGANv2Generator(config, self.size, kinds)
        self.D = Discriminator(config, self.size, kinds) if training else None
        self.apply(he_normal)
        if self.G.residual:  # the first edits are near the source
            self.G.head.weight.data.mul_(0.1)

    def lr_scale(self) -> dict[str, float]:
        """The mapping network has a hundredth of the learning rate (the authors' f_lr)."""
        return {"mapping": 0.01}

    def space(self) -> StyleSpace:
        """Styles; the code of a named emotion is the mean style of 256 fixed latents. (For the zero
        latent an untrained mapping network gives all emotions the same style.)"""
        latent = torch.randn(256, self.config.latent, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            centres = self.G.mapping(latent.to(self.device)).mean(0)
        return StyleSpace(self.emotions, self.config.latent, self.map_latent, centres)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.G.parameters()).device

    def map_latent(self, label: Tensor, latent: Tensor) -> Tensor:
        """n x style: F(z, y) of labels (int64 n) and latents (n x latent)."""
        return pick(self.G.mapping(latent.to(self.device)), label.to(self.device)).float()

    def style_of(self, x: Tensor, emotion: str | Tensor) -> Tensor:
        """B x style codes of reference images (B x 3 x S x S in [-1, 1]) for an emotion (a name for
        all, or int64 B). Raises ValueError for an unknown emotion."""
        x = x.to(self.device)
        if isinstance(emotion, str):
            emotion = torch.full((len(x),), emotion_index(emotion, self.emotions))
        with torch.no_grad(), inference(self.device):
            return self.G.encoder(x, emotion.to(self.device))

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        total, device = len(batch), batch.emotion.device
        n = (total + 1) // 2
        order = torch.randperm(total, generator=generator, device=generator.device).to(device)
        label = batch.emotion[order]
        # The second reference is another face of the emotion; the same one where there is no other,
        # which makes the diversity term of that row 0.
        # A random score for every face, -1 for other emotions, 0 for the face itself: argmax then
        # draws another face of the emotion without a loop over the rows.
        chance = torch.rand(total - n, total, generator=generator, device=generator.device)
        chance = chance.to(device).masked_fill(batch.emotion != label[n:, None], -1)
        chance.scatter_(1, order[n:, None], 0)
        second = chance.argmax(1)
        shape = (2, n, self.config.latent)
        latent = torch.randn(shape, generator=generator, device=generator.device).to(device)
        return Target(label, latent, torch.stack([batch.x[order[n:]], batch.x[second]]))

    def code(self, target: Target, which: int = 0) -> Tensor:
        """B x style: the styles of the edits (which = 0) or of the second edits (1); those of
        references have no graph."""
        n = target.latent.shape[1]
        random = self.map_latent(target.label[:n], target.latent[which])
        with torch.no_grad():
            encoded = self.G.encoder(target.reference[which], target.label[n:])
        return torch.cat([random, encoded])

    def encode_style(self, x: Tensor, label: Tensor, n: int) -> Tensor:
        """B x style: E(x, y). Only the first n rows have gradients to the encoder's parameters; all
        rows have gradients to x."""
        encoder = self.G.encoder
        return torch.cat([encoder(x[:n], label[:n]), call_detached(encoder, x[n:], label[n:])])

    def classify(self, x: Tensor) -> Tensor:
        """B x emotions scores of D. After the warm-up they rank emotions; later they also measure
        realism."""
        return self.D(x)

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Binary cross-entropy, one emotion against the rest: a face with its source's emotion must
        not count as a real face of the target's."""
        shown = F.one_hot(batch.emotion, len(self.emotions)).float()
        return {"cls": F.binary_cross_entropy_with_logits(self.D(batch.x), shown)}

    def d_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        label = torch.cat([batch.emotion, target.label])
        real, fake = pick(self.D(torch.cat([batch.x, x_fake])), label).chunk(2)
        return {"adv": self.config.lambda_adv * self.adversarial.discriminator(real, fake)}  # eq. 1

    def d_penalty(
        self, batch: Batch, target: Target, x_fake: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        def score(x: Tensor) -> Tensor:  # `forward`, since `D(x)` may be compiled
            return pick(self.D.forward(x), batch.emotion)[:, None]

        return self.adversarial.penalty(self.config, score, batch.x, x_fake, generator)

    @property
    def diversity(self) -> float:
        """The current lambda_ds: linear to zero over the training."""
        return self.config.lambda_ds * max(1 - self.progress, 0.0)

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, n = self.config, target.latent.shape[1]
        # Styles of the edit against those asked for: E is trained here and nowhere else.
        error = self.encode_style(x_fake, target.label, n) - self.code(target)
        x_rec = self.G(x_fake, self.encode_style(batch.x, batch.emotion, n))
        with torch.no_grad():
            # Without a graph, as in the authors' code: half the memory, and the sign of the
            # gradient is the same.
            second = self.G(batch.x, self.code(target, 1))
        score = pick(self.D(x_fake), target.label)
        return {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "sty": c.lambda_sty * error.abs().mean(),  # eq. 2
            "ds": -self.diversity * (x_fake - second).abs().mean(),  # eq. 3
            "cyc": c.lambda_cyc * cycle_loss(batch.x, x_rec),  # eq. 4
        }

    def log_metrics(self) -> dict[str, float]:
        """The weight of the diversity term."""
        return {"lambda_ds": self.diversity}


def call_detached(network: nn.Module, *inputs: Tensor) -> Tensor:
    """network(*inputs) with gradients to the inputs, but not to the parameters."""
    # requires_grad_(False) would switch off the first half of the batch as well.
    fixed = {name: p.detach() for name, p in network.named_parameters()}
    return functional_call(network, fixed, inputs)
