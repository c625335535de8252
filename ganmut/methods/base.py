"""Method: the interface of all methods, and the settings and losses that they share."""

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
from ganmut.training.distributed import SINGLE_PROCESS

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
    LIMITS: ClassVar = {"g_interval": (1, 1e6), "penalty_interval": (1, 1e6)}


@dataclass(frozen=True)
class HeadConfig(Settings):
    """Settings of the training input of the discriminator's heads; its adversarial score gets the
    plain images."""

    head_noise: float = setting(
        0.0,
        "standard deviation per octave of noise on the input of the heads (instance noise, "
        "Soenderby et al. 2017, at every scale); 0 as published. Without it invisibly small "
        "changes satisfy the heads",
    )
    head_augment: float = setting(
        0.0,
        "strength of random motion and light on the input of the heads, 0..3; 0 as published. "
        "Reduces overfitting to few photographs",
    )
    head_cutout: float = setting(
        0.0,
        "side of a random square hidden from the heads, as a share of the image, 0..1; 0 as "
        "published. With it every part of the face must show the emotion",
    )

    SHARES: ClassVar = ("head_cutout",)
    LIMITS: ClassVar = {"head_augment": (0, 3)}


@dataclass(frozen=True)
class ClassifierConfig(Settings):
    """Settings of methods whose discriminator classifies emotions with one softmax."""

    lambda_cls_fake: float = setting(
        0.0,
        "weight, relative to lambda_cls, of classifying edited faces as the emotion of their "
        "source in the discriminator; 0 as published. Without it the class head accepts patterns "
        "that other classifiers do not recognise",
    )


@dataclass(frozen=True)
class Config(TrunkConfig, LossConfig, HeadConfig):
    """Settings of most methods; each adds the loss weights of its paper under the paper's names."""


# On photographs StarGAN's generator warps the source and is penalised for every changed pixel: a
# short training cannot draw skin and features, so those of the source must remain.
WARP_ON_PHOTOGRAPHS: dict[str, Any] = {
    "output": "warp_residual",
    "lambda_rec": 2.0,
    "lambda_pix": 5.0,
}


class Method(nn.Module, ABC):
    """A generator, a discriminator and their losses, for the emotions (neutral first) and the image
    size of the data.

    Subclasses set `Config` and `PAPER` and create `self.G` (the content of a weight file) and
    `self.D` (None for inference) in `build`. Images are B x 3 x S x S float in [-1, 1], RGB.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # as the paper spells it
    paper: ClassVar[str]  # one line: authors, venue, arXiv
    Config: ClassVar[type[Any]]
    PAPER: ClassVar[Any]
    # How the paper trained: Recipe fields that differ from the defaults (batch, kimg, learning
    # rates).
    PAPER_RECIPE: ClassVar[dict[str, Any]] = {}
    # Fields of Recipe or Config that the published objective sets and the stable one leaves alone:
    # weights for its own reductions, augmentation, initial values.
    PAPER_OBJECTIVE: ClassVar[dict[str, Any]] = {}
    # Of these, what a published experiment with labels in place of action units changed.
    PAPER_LABELS: ClassVar[dict[str, Any]] = {}
    # Fields of Recipe or Config that differ where training is shorter than the paper's.
    SHORT_SCHEDULE: ClassVar[dict[str, Any]] = {}
    # Fields of Recipe or Config that differ on photographs.
    PHOTOGRAPHS: ClassVar[dict[str, Any]] = {}
    # Fields of Config that differ where networks work on expressions.
    EXPRESSIONS: ClassVar[dict[str, Any]] = {}
    # Parameters of G that the EMA copies instead of averaging (GANmut's raw directions, GGANmut's
    # Gaussians).
    not_averaged: ClassVar[tuple[str, ...]] = ()

    # What the training knew of the faces: "labels", and further kinds after commas.
    supervision: str = "labels"

    # Whether crops of any size are edited as they are, instead of at `size`.
    any_size: ClassVar[bool] = False
    # Of such crops: their side over that of the aligned crop.
    margin: ClassVar[float] = 1.0

    # Whether edits are computed by the processor, whatever device is asked for.
    cpu_only: ClassVar[bool] = False

    # What an edit depends on besides the tensors of the weight, such as the sha256 of others.
    dependencies: tuple[str, ...] = ()

    # Whether `source_codes` estimates the codes that faces show; editing to that code changes
    # nothing.
    reads_source: ClassVar[bool] = False

    def __init__(self, config: Any, emotions: tuple[str, ...], size: int, training: bool = True):
        super().__init__()
        # Config, G and D are of classes of the method's own, whose attributes differ.
        self.config: Any = config
        self.emotions, self.size = tuple(emotions), size
        self.adversarial = losses.ADVERSARIAL[config.adversarial]
        # Set by the trainer: the generator of the noise on the input of D's heads, the share of the
        # training that is done, for schedules, and the processes that share the batch.
        self.rng: torch.Generator | None = None
        self.progress = 0.0
        self.processes = SINGLE_PROCESS
        self.G: Any
        self.D: Any = None
        self.build(training)

    @abstractmethod
    def build(self, training: bool) -> None:
        """Creates `self.G`, and `self.D` if `training`."""

    def setup_data(self, faces: FaceSet) -> None:
        """Sets what the first step needs of the training faces, such as the units of each emotion.
        Raises BadData where the faces lack labels that the method needs."""

    def init_from(self, donor: Method) -> None:
        """Loads the generator of a trained method; raises ValueError where it has other tensors."""
        try:
            # Strict: a part that silently kept its random start would look like a bad training.
            self.G.load_state_dict(donor.G.state_dict())
        except RuntimeError:
            raise ValueError(
                f"{self.name} cannot start from this {donor.name}: the networks differ; "
                "use the same method, size and widths"
            ) from None

    def lr_scale(self) -> dict[str, float]:
        """Factors on the generator's learning rate, by prefix of the parameter's name."""
        return {}

    @abstractmethod
    def space(self) -> CodeSpace:
        """The code space with its current learned parameters, on the CPU."""

    @abstractmethod
    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Any:
        """A random target of one step for a batch, in a form of the method's own: the input of
        `code` and of the losses."""

    @abstractmethod
    def code(self, target: Any) -> Tensor:
        """B x dim codes of a target, with gradients to the learned parameters of the code space."""

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
        """Patch scores (B x 1 x h x w) and head outputs (B x outputs) of a PatchDiscriminator.

        The heads get the augmented images and the scores the plain ones, so augmentation costs a
        second pass.
        """
        scores, outputs = self.D(x)
        if self.augments_head_input:
            # Scores see plain images: an adversary of noisy ones would teach the generator to draw
            # noise.
            outputs = self.D(self.augment_head_input(x))[1]
        return scores, outputs

    @property
    def augments_head_input(self) -> bool:
        """Whether HeadConfig changes the input of the heads; only in training, where `rng` is."""
        c = self.config
        return bool(c.head_noise or c.head_augment or c.head_cutout) and self.rng is not None

    def augment_head_input(self, x: Tensor) -> Tensor:
        """The training input of the discriminator's heads, shape of x: the mean of the channels,
        augmented, with a square cut out, and with noise of every scale."""
        if not self.augments_head_input or self.rng is None:
            return x
        # Without colour: an expression needs none, and a generator would use it to satisfy the
        # heads invisibly. The mean is unweighted, since weights would shift the generator's
        # colours.
        light = x.mean(1, keepdim=True)
        if self.config.head_augment:
            light = images.augment(light, self.config.head_augment, self.rng)
        if self.config.head_cutout:
            light = images.cutout(light, self.config.head_cutout, self.rng)
        return (
            light + losses.multi_scale_noise(light, self.config.head_noise, self.rng)
        ).expand_as(x)

    def adversarial_loss(self, x: Tensor, x_fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weighted adversarial loss of a PatchDiscriminator, and its head outputs for real and
        for edited images, from one pass over both."""
        # One pass over both: D has no batch statistics, so the result is the same as that of two.
        scores, outputs = self.discriminate(torch.cat([x, x_fake]))
        loss = self.adversarial.discriminator(scores[: len(x)], scores[len(x) :])
        return self.config.lambda_adv * loss, outputs[: len(x)], outputs[len(x) :]

    def classification_loss(self, real: Tensor, fake: Tensor, emotion: Tensor) -> Tensor:
        """Cross-entropy of the class head, without lambda_cls: logits (B x emotions) of real faces
        against their emotions (int64 B), plus lambda_cls_fake times that of the edits' logits
        against the emotions of their sources."""
        # Edits are labelled by their source: what the generator painted must not count as
        # expression.
        loss, share = F.cross_entropy(real, emotion), self.config.lambda_cls_fake
        return loss + share * F.cross_entropy(fake, emotion) if share else loss

    def d_penalty(
        self, batch: Batch, target: Any, x_fake: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The weighted gradient penalty of the adversarial loss; the trainer computes it in
        float32."""
        return self.adversarial.penalty(self.config, self.D.score, batch.x, x_fake, generator)

    def fake(self, batch: Batch, target: Any) -> Tensor:
        """B x 3 x S x S: the images of a batch, edited under the codes of a target."""
        return self.G(batch.x, self.code(target))

    def pixel_loss(self, batch: Batch, x_fake: Tensor) -> dict[str, Tensor]:
        """The term of lambda_pix, which the trainer adds to the generator's loss of every
        method."""
        weight = self.config.lambda_pix
        return {"pix": weight * (x_fake - batch.x).abs().mean()} if weight else {}

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss terms of the discriminator's warm-up: it learns to classify real faces before the
        adversarial training."""
        return {"cls": F.cross_entropy(self.classify(batch.x), batch.emotion)}

    def g_warmup_loss(self, batch: Batch, target: Any) -> dict[str, Tensor]:
        """Loss terms of the generator's warm-up: it learns to reconstruct its input under random
        codes, so that the adversarial training begins with the source's identity."""
        return {"rec": (self.fake(batch, target) - batch.x).abs().mean()}

    def encode(self, x: Tensor) -> Any:
        """Features that do not depend on the code, computed once per face; x N x 3 x S x S."""
        return self.G.encode(x)

    def reduce_features(self, features: Any, x: Tensor) -> Any:
        """The features of the same faces in smaller images; raises ValueError where `any_size` is
        off."""
        raise ValueError(f"{self.title} edits faces of {self.size} px alone")

    def edit(self, features: Any, code: Tensor) -> Edit:
        """The whole inference for encoded faces under N x dim codes, including masks, warps and
        cascades."""
        return self.G.decode(features, code)

    def source_codes(self, features: Any) -> Tensor:
        """N x dim codes that encoded faces show; raises ValueError where `reads_source` is off."""
        raise ValueError(f"{self.title} cannot read what a face shows")

    def style_of(self, x: Tensor, emotion: str | Tensor) -> Tensor:
        """B x dim codes of reference images for an emotion (a name for all, or int64 B). Raises
        ValueError for methods without a style encoder."""
        raise ValueError(f"{self.title} takes no reference image; give an emotion or a code")

    @staticmethod
    def index_features(features: Any, rows: Tensor) -> Any:
        """The encoded faces of int64 `rows`, for nested tuples of tensors."""
        if isinstance(features, Tensor):
            return features[rows]
        return type(features)(Method.index_features(part, rows) for part in features)

    def log_metrics(self) -> dict[str, float]:
        """Diagnostics for stats.jsonl, such as the angle between learned directions."""
        return {}
