"""What the methods share whose code says what a face should show: GANimation, DefGAN and EF-GAN.

A code is seventeen action units in 0..1, or, where config.code_type is "labels", one value per
emotion: the categorical GANimation that the GANmut paper measures itself against, which needs no
units. The critic's head regresses the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.codes import ActionUnitSpace, LabelSpace
from ganmut.datasets.base import BadData, Batch, FaceSet
from ganmut.emotions import PROTOTYPES, UNITS, canonical_emotion, nearest_prototype, prototype_units
from ganmut.methods import base
from ganmut.methods.base import Method
from ganmut.networks.config import setting

BANK = 441  # as many codes as GANmut's grid searches


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of methods with action-unit codes."""

    code_type: str = setting(
        "units", "units: seventeen action units (published); labels: one value per emotion"
    )
    unit_noise: float = setting(
        0.1, "target units are another face's plus U(-unit_noise, unit_noise), not clipped"
    )
    named_share: float = setting(
        0.0,
        "share of a batch whose target is a named emotion at a random intensity; 0 as published. "
        "Units of random faces are mixtures and rarely strong",
    )

    ALLOWED: ClassVar = {"code_type": ("units", "labels")}
    SHARES: ClassVar = ("named_share",)


# The short schedule of all of these methods.
SHORT_SCHEDULE = {"named_share": 0.25}


class ActionUnitMethod(Method):
    """A method steered by units or labels. `build` makes self.G, then calls
    `register_code_buffers()`; the head of self.D has `dim` outputs.

    A target is B x dim codes. The units that emotions mean and a bank of real ones travel with G.
    """

    Config = Config
    # Which lambda weighs the critic's head, as wrong about real faces as about edited ones.
    lambda_head: ClassVar[str]

    @property
    def by_units(self) -> bool:
        return self.config.code_type == "units"

    @property
    def dim(self) -> int:
        """Values in a code: 17, or the number of emotions."""
        return len(UNITS) if self.by_units else len(self.emotions)

    def register_code_buffers(self) -> None:
        """Gives G the buffers of its code space, filled from the textbook prototypes until
        `setup_data`: an emotion that has none looks neutral, and the bank shows all emotions at all
        intensities.
        """
        if not self.by_units:
            return
        none = [0.0] * len(UNITS)
        known = [
            prototype_units(e) if canonical_emotion(e) in PROTOTYPES else none
            for e in self.emotions
        ]
        prototypes = torch.tensor(known)
        row = torch.arange(BANK)
        bank = prototypes[row % len(known)] * (row / (BANK - 1))[:, None]
        self.G.register_buffer("prototypes", prototypes)
        self.G.register_buffer("bank", bank)

    def setup_data(self, faces: FaceSet) -> None:
        """The units of every emotion (the textbook's, in the variant that these faces show; where
        there are none, the mean over its faces) and of 441 training faces; raises BadData where
        units are wanted and missing."""
        if not self.by_units:
            return
        if faces.units is None:
            raise BadData(
                f"{faces.source} has no action units, and {self.title} is steered by them; "
                "give seventeen units a face, or train with --code-type labels"
            )
        units = faces.units.float().cpu()
        kinds = [units[faces.emotion.cpu() == row] for row in range(len(self.emotions))]
        for row, (emotion, shown) in enumerate(zip(self.emotions, kinds, strict=True)):
            if canonical_emotion(emotion) in PROTOTYPES:
                if len(shown) and len(kinds[0]):
                    shift = (shown.mean(0) - kinds[0].mean(0)).tolist()
                    self.G.prototypes[row] = torch.tensor(nearest_prototype(emotion, shift))
            elif len(shown):
                self.G.prototypes[row] = shown.mean(0)
            else:
                raise BadData(f"{faces.source} has no face that is {emotion}: what units is it?")
        rng = torch.Generator().manual_seed(0)
        rounds = -(-BANK // len(units))  # a small set is dealt again
        rows = torch.cat([torch.randperm(len(units), generator=rng) for _ in range(rounds)])
        self.G.bank.copy_(units[rows[:BANK]])

    def init_from(self, donor: Method) -> None:
        """Begins from a trained method, with the units of these faces, not of the donor's."""
        own = {name: buffer.clone() for name, buffer in self.G.named_buffers(recurse=False)}
        super().init_from(donor)
        for name, buffer in own.items():
            self.G.get_buffer(name).copy_(buffer)

    def space(self) -> ActionUnitSpace | LabelSpace:
        if not self.by_units:
            return LabelSpace(self.emotions)
        return ActionUnitSpace(self.emotions, self.G.prototypes, self.G.bank)

    def source(self, batch: Batch) -> Tensor:
        """B x dim: what the faces of a batch show."""
        if self.by_units:
            return batch.units
        return F.one_hot(batch.emotion, len(self.emotions)).float()

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """B x dim target codes: what another face of the batch shows, with noise on units; the
        first round(named_share * B) are named emotions."""
        n, device = len(batch), batch.x.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=generator.device).to(device)

        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        target = self.source(batch)[order]
        if not self.by_units:
            return target
        named = round(self.config.named_share * n)
        kinds = (len(self.emotions), (named,))
        which = torch.randint(*kinds, generator=generator, device=generator.device).to(device)
        strength, prototypes = uniform(named, 1), self.G.prototypes
        rays = (1 - strength) * prototypes[:1] + strength * prototypes[which]
        target = torch.cat([rays.to(target), target[named:]])
        return target + self.config.unit_noise * (2 * uniform(*target.shape) - 1)

    def code(self, target: Tensor) -> Tensor:
        return target

    def classify(self, x: Tensor) -> Tensor:
        """B x emotions logits: the head's values (labels), or minus its squared distance to the
        units of every emotion."""
        outputs = self.discriminate(x)[1]
        return -torch.cdist(outputs, self.G.prototypes).square() if self.by_units else outputs

    def regression_loss(self, outputs: Tensor, shown: Tensor) -> Tensor:
        """How wrong the critic's head is about what faces show, both B x dim: the weighted mean
        square."""
        return getattr(self.config, self.lambda_head) * F.mse_loss(outputs, shown)

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        # weighted as in the game: Adam takes long steps where gradients grow all at once
        return {"units": self.regression_loss(self.discriminate(batch.x)[1], self.source(batch))}
