"""Method: what every expression editor provides; nothing here or in the loop knows which method it
is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut import images
from ganmut.codes import CodeSpace
from ganmut.datasets.base import Batch, FaceSet
from ganmut.networks.config import Settings, TrunkConfig, setting
from ganmut.networks.edit import Edit
from ganmut.registry import Registry
from ganmut.training import losses

__all__ = ["METHODS", "Config", "Edit", "Method"]

METHODS = Registry("method", "ganmut.methods")


@dataclass(frozen=True)
class LossConfig(Settings):
    """Settings of the adversarial loss and of the phases of a step."""

    adversarial: str = setting(
        "wgan_gp",
        "wgan_gp (published) or nonsaturating with R1, which is stable at one discriminator step "
        "a generator step",
    )
    lambda_adv: float = setting(1.0, "weight of the adversarial loss")
    lambda_gp: float = setting(10.0, "weight of the gradient penalty of wgan_gp")
    lambda_r1: float = setting(1.0, "weight of the R1 penalty of nonsaturating")
    lambda_pix: float = setting(
        0.0,
        "weight of the mean absolute change of pixels; 0 as published. Without it short trainings "
        "on photographs move whole heads",
    )
    g_interval: int = setting(5, "discriminator steps per generator step")
    penalty_interval: int = setting(1, "discriminator steps per gradient penalty")

    ALLOWED: ClassVar = {"adversarial": ("wgan_gp", "nonsaturating")}


@dataclass(frozen=True)
class HeadConfig(Settings):
    """Settings of what the discriminator's heads (not its adversarial score) see in training."""

    head_noise: float = setting(
        0.0,
        "standard deviation per octave of noise on the input of the heads (instance noise, "
        "Soenderby et al. 2017, at every scale); 0 as published. Without it changes too small to "
        "see satisfy the heads",
    )
    head_augment: float = setting(
        0.0,
        "strength of random motion and light on the input of the heads, 0..3; 0 as published. "
        "Reduces overfitting to few photographs",
    )
    head_cutout: float = setting(
        0.0,
        "side of a random square hidden from the heads, as a share of the image, 0..1; 0 as "
        "published. Makes every part of the face show the emotion",
    )

    SHARES: ClassVar = ("head_cutout",)


@dataclass(frozen=True)
class ClassifierConfig(Settings):
    """The setting of methods whose discriminator classifies emotions with one softmax."""

    lambda_cls_fake: float = setting(
        0.0,
        "weight, relative to lambda_cls, of classifying edited faces as the emotion of their "
        "source in the discriminator; 0 as published. Without it the class head accepts signs "
        "that no other classifier sees",
    )


@dataclass(frozen=True)
class Config(TrunkConfig, LossConfig, HeadConfig):
    """Settings of most methods; each adds the weights of its paper under the paper's names."""


# On photographs StarGAN's generator warps the source and pays for every changed pixel: skin and
# features that a short training cannot draw stay the source's own.
WARP_ON_PHOTOGRAPHS: dict[str, Any] = {
    "output": "warp_residual",
    "lambda_rec": 2.0,
    "lambda_pix": 5.0,
}


class Method(nn.Module, ABC):
    """A generator, a discriminator and the losses between them; emotions (neutral first) and size
    come from the data.

    Subclasses set `Config` and `PAPER`, and build `self.G` (all that is shipped) and `self.D` (None
    where only editing is wanted) in `build`.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # as the paper spells it
    paper: ClassVar[str]  # one line: authors, venue, arXiv
    Config: ClassVar[type[Config]]
    PAPER: ClassVar[Config]
    # How the paper trained: Recipe fields that differ from the defaults (batch, kimg, learning
    # rates).
    PAPER_RECIPE: ClassVar[dict[str, Any]] = {}
    # Fields of Recipe or Config that differ where training is shorter than the paper's.
    SHORT_SCHEDULE: ClassVar[dict[str, Any]] = {}
    # Fields of Recipe or Config that differ on photographs.
    PHOTOGRAPHS: ClassVar[dict[str, Any]] = {}
    # Parameters of G that averaging copies instead of averaging (GANmut's raw directions,
    # GGANmut's Gaussians).
    not_averaged: ClassVar[tuple[str, ...]] = ()

    # Whether crops of any size are edited as they are, instead of at `size`.
    any_size: ClassVar[bool] = False
    # Of such crops: their side over that of the aligned crop.
    margin: ClassVar[float] = 1.0

    def __init__(self, config: Config, emotions: tuple[str, ...], size: int, training: bool = True):
        super().__init__()
        self.config, self.emotions, self.size = config, tuple(emotions), size
        self.adversarial = losses.ADVERSARIAL[config.adversarial]
        self.rng: torch.Generator | None = None  # the loop's, for the noise on what D sees
        self.progress = 0.0  # share of the training that is done: the loop's, for schedules
        self.G: nn.Module
        self.D: nn.Module | None = None
        self.build(training)

    @abstractmethod
    def build(self, training: bool) -> None:
        """Makes `self.G`, and `self.D` if `training`."""

    def setup_data(self, faces: FaceSet) -> None:
        """Learns from the training faces what must be known before the first step (the units that
        an emotion means); raises BadData where they lack what the method needs."""

    def init_from(self, donor: Method) -> None:
        """Begins from a trained method; raises ValueError where its generator does not fit."""
        try:
            self.G.load_state_dict(donor.G.state_dict())
        except RuntimeError:
            raise ValueError(
                f"{self.name} cannot start from this {donor.name}: the networks differ; "
                "use the same method, size and widths"
            ) from None

    def lr_scale(self) -> dict[str, float]:
        """Factors on the generator's learning rate, by the start of a parameter's name."""
        return {}

    @abstractmethod
    def space(self) -> CodeSpace:
        """The code space as learned so far."""

    @abstractmethod
    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Any:
        """Random target of one step for a batch: whatever `code` turns into codes and the losses
        need."""

    @abstractmethod
    def code(self, target: Any) -> Tensor:
        """B x dim codes of a drawn target, with gradients to what the code space learns."""

    @abstractmethod
    def g_loss(self, batch: Batch, target: Any, x_fake: Tensor) -> dict[str, Tensor]:
        """Weighted terms of the generator's loss, by name; x_fake is `fake(batch, target)` with its
        graph."""

    @abstractmethod
    def d_loss(self, batch: Batch, target: Any, x_fake: Tensor) -> dict[str, Tensor]:
        """Weighted terms of the discriminator's loss; x_fake arrives without a graph."""

    @abstractmethod
    def classify(self, x: Tensor) -> Tensor:
        """B x emotions logits of the discriminator for real or edited images."""

    def discriminate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a PatchDiscriminator says of images: patch scores, and the outputs of its heads,
        which look through the veil."""
        scores, outputs = self.D(x)
        return scores, self.D(self.augment_head_input(x))[
            1
        ] if self.augments_head_input else outputs

    @property
    def augments_head_input(self) -> bool:
        hidden = self.config.head_noise or self.config.head_augment or self.config.head_cutout
        return bool(hidden) and self.rng is not None

    def augment_head_input(self, x: Tensor) -> Tensor:
        """Images as the heads of the discriminator see them in training: without colour, under
        noise of every scale. An expression needs no colour, and what the heads see is abused. (The
        plain mean: weighting the channels would push a generator's colours apart.)"""
        if not self.augments_head_input:
            return x
        light = x.mean(1, keepdim=True)
        if self.config.head_augment:
            light = images.jitter(light, self.config.head_augment, self.rng)
        if self.config.head_cutout:
            light = images.cutout(light, self.config.head_cutout, self.rng)
        return (
            light + losses.multi_scale_noise(light, self.config.head_noise, self.rng)
        ).expand_as(x)

    def adversarial_loss(self, x: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A PatchDiscriminator's adversarial loss, weighted, and its head outputs for real and for
        edited images, seen together."""
        scores, outputs = self.discriminate(torch.cat([x, x_fake]))
        lost = self.adversarial.discriminator(scores[: len(x)], scores[len(x) :])
        return self.config.lambda_adv * lost, outputs[: len(x)], outputs[len(x) :]

    def classification_loss(self, real: Tensor, fake: Tensor, emotion: Tensor) -> Tensor:
        """What a PatchDiscriminator's class head pays, unweighted: B x emotions logits of real
        faces under their emotions (int64 B), and by lambda_cls_fake those of their edits under the
        same."""
        lost, share = F.cross_entropy(real, emotion), self.config.lambda_cls_fake
        return lost + share * F.cross_entropy(fake, emotion) if share else lost

    def d_penalty(
        self, batch: Batch, target: Any, x_fake: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The gradient penalty of the chosen adversarial loss; the loop computes it in float32."""
        return self.adversarial.penalty(self.config, self.D.score, batch.x, x_fake, generator)

    def fake(self, batch: Batch, target: Any) -> Tensor:
        """B x 3 x S x S edited images of a batch under the drawn codes."""
        return self.G(batch.x, self.code(target))

    def pixel_loss(self, batch: Batch, x_fake: Tensor) -> dict[str, Tensor]:
        """The term of lambda_pix, which the loop adds to the generator's loss."""
        price = self.config.lambda_pix
        return {"pix": price * (x_fake - batch.x).abs().mean()} if price else {}

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss that readies the discriminator as a plain classifier before the game starts."""
        return {"cls": F.cross_entropy(self.classify(batch.x), batch.emotion)}

    def g_warmup_loss(self, batch: Batch, target: Any) -> dict[str, Tensor]:
        """Loss that readies the generator as an autoencoder under random codes, so that it starts
        with the person."""
        return {"rec": (self.fake(batch, target) - batch.x).abs().mean()}

    def encode(self, x: Tensor) -> Any:
        """What does not depend on the code, made once a face; x N x 3 x S x S in [-1, 1]."""
        return self.G.encode(x)

    def edit(self, features: Any, code: Tensor) -> Edit:
        """The whole inference for encoded faces and N x dim codes: masks, warps and cascades
        included. By default what `G.decode` gives, an Edit."""
        return self.G.decode(features, code)

    def style_of(self, x: Tensor, emotion: str | Tensor) -> Tensor:
        """B x dim codes of reference pictures, where a method reads codes from pictures; raises
        ValueError where it does not."""
        raise ValueError(f"{self.title} takes no reference picture; give an emotion or a code")

    @staticmethod
    def index_features(features: Any, rows: Tensor) -> Any:
        """Some of the encoded faces, by row."""
        if isinstance(features, Tensor):
            return features[rows]
        return type(features)(Method.index_features(part, rows) for part in features)

    def log_metrics(self) -> dict[str, float]:
        """Numbers worth a line in the log, such as the angle between learned directions."""
        return {}
