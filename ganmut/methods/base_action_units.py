"""The base of methods with action-unit codes: GANimation, DefGAN and EF-GAN.

A code is seventeen action units in 0..1, or, where config.code_type is "labels", one value per
emotion: the categorical GANimation of the GANmut paper's comparison, which needs no units. The
discriminator's head regresses the code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

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
        0.1, "target units are those of another face plus U(-unit_noise, unit_noise), not clipped"
    )
    named_share: float = setting(
        0.0,
        "share of a batch whose target is a named emotion at a random intensity; 0 as published. "
        "Units of random faces are mixtures and rarely strong",
    )

    ALLOWED: ClassVar = {"code_type": ("units", "labels")}
    SHARES: ClassVar = ("named_share",)


# The short schedule that all of these methods share.
SHORT_SCHEDULE = {"named_share": 0.25}


class ActionUnitMethod(Method):
    """A method whose code is action units or labels. `build` creates self.G and then calls
    `register_code_buffers()`; the head of self.D has `dim` outputs.

    A target is B x dim codes. The units of each emotion and a bank of real units are buffers of G.
    """

    Config: ClassVar[type[Any]] = Config
    # The Config field that weighs the regression loss of the discriminator's head.
    lambda_head: ClassVar[str]

    @property
    def supervision(self) -> str:  # type: ignore[override] # of the setting here
        """Labels name the emotion of each prototype."""
        return "labels, units" if self.by_units else "labels"

    @property
    def by_units(self) -> bool:
        """Whether codes are action units rather than labels."""
        return self.config.code_type == "units"

    @property
    def dim(self) -> int:
        """Values in a code: 17, or the number of emotions."""
        return len(UNITS) if self.by_units else len(self.emotions)

    def register_code_buffers(self) -> None:
        """Adds the buffers of the code space to G. Until `setup_data` they hold the prototypes of
        ganmut.emotions (zeros for an emotion without one), and a bank of all emotions at all
        intensities."""
        if not self.by_units:
            return
        none = [0.0] * len(UNITS)
        known = [
            prototype_units(e) if canonical_emotion(e) in PROTOTYPES else none
            for e in self.emotions
        ]
        prototypes = torch.tensor(known)
        row = torch.arange(BANK)
        # Row i of the bank: emotion i modulo their number, intensity rising from 0 to 1.
        bank = prototypes[row % len(known)] * (row / (BANK - 1))[:, None]
        self.G.register_buffer("prototypes", prototypes)
        self.G.register_buffer("bank", bank)

    def setup_data(self, faces: FaceSet) -> None:
        """Sets the units of every emotion and the bank from the training faces.

        An emotion gets the prototype variant nearest to the faces, or, without a prototype, the
        mean units of its faces. The bank holds the units of 441 random faces. Raises BadData where
        the faces have no units.
        """
        if not self.by_units:
            return
        if faces.units is None:
            raise BadData(
                f"{faces.source} has no action units, and {self.title} is steered by them; "
                "give seventeen units per face, or set code_type to labels"
            )
        units = faces.units.float().cpu()
        kinds = [units[faces.emotion.cpu() == row] for row in range(len(self.emotions))]
        for row, (emotion, shown) in enumerate(zip(self.emotions, kinds, strict=True)):
            if canonical_emotion(emotion) in PROTOTYPES:
                if len(shown) and len(kinds[0]):
                    # The change from neutral, not the mean: estimators have an offset that differs
                    # by data set.
                    shift = (shown.mean(0) - kinds[0].mean(0)).tolist()
                    self.G.prototypes[row] = torch.tensor(nearest_prototype(emotion, shift))
            elif len(shown):
                self.G.prototypes[row] = shown.mean(0)
            else:
                raise BadData(
                    f"{faces.source} has no face with the emotion {emotion}: units unknown"
                )
        # A fixed seed: the bank is part of the code space, and two runs must search the same codes.
        rng = torch.Generator().manual_seed(0)
        rounds = -(-BANK // len(units))  # small sets are repeated
        rows = torch.cat([torch.randperm(len(units), generator=rng) for _ in range(rounds)])
        self.G.bank.copy_(units[rows[:BANK]])

    def init_from(self, donor: Method) -> None:
        """Loads the generator of a trained method but keeps the units of this method's faces."""
        # The donor's units belong to its own faces, perhaps of another estimator.
        own = {name: buffer.clone() for name, buffer in self.G.named_buffers(recurse=False)}
        super().init_from(donor)
        for name, buffer in own.items():
            self.G.get_buffer(name).copy_(buffer)

    def space(self) -> ActionUnitSpace | LabelSpace:
        if not self.by_units:
            return LabelSpace(self.emotions)
        return ActionUnitSpace(self.emotions, self.G.prototypes, self.G.bank)

    def source(self, batch: Batch) -> Tensor:
        """B x dim: the codes that the faces of a batch show."""
        if self.by_units:
            return batch.units  # type: ignore[return-value] # `setup_data` requires units
        return F.one_hot(batch.emotion, len(self.emotions)).float()

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Any:
        """B x dim target codes: the codes of other faces of the batch, units with noise. The first
        round(named_share * B) rows are named emotions at a random intensity."""
        n, device = len(batch), batch.x.device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=generator.device).to(device)

        # Units of real faces, not uniform ones: most combinations of units do not occur.
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        target = self.source(batch)[order]
        if not self.by_units:
            return target
        named = round(self.config.named_share * n)
        kinds = (len(self.emotions), (named,))
        which = torch.randint(*kinds, generator=generator, device=generator.device).to(device)
        # Rays from the neutral prototype: what an editor is asked for at inference.
        strength, prototypes = uniform(named, 1), self.G.prototypes
        rays = (1 - strength) * prototypes[:1] + strength * prototypes[which]
        target = torch.cat([rays.to(target), target[named:]])
        return target + self.config.unit_noise * (2 * uniform(*target.shape) - 1)

    def code(self, target: Any) -> Tensor:
        return target

    def classify(self, x: Tensor) -> Tensor:
        """B x emotions logits: the outputs of the head (labels), or minus their squared distance to
        the units of each emotion."""
        outputs = self.discriminate(x)[1]
        # The nearest prototype as a classifier, in the form of logits.
        return -torch.cdist(outputs, self.G.prototypes).square() if self.by_units else outputs

    @property
    def lambda_head_real(self) -> float:
        """Weight of the head's loss on real faces: that on edits where a paper has no other."""
        return getattr(self.config, self.lambda_head)

    def regression_loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Weighted mean squared error of the head's outputs for edits against their codes, both
        B x dim."""
        return getattr(self.config, self.lambda_head) * F.mse_loss(outputs, target)

    def real_regression_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The same for real faces against the codes that they show."""
        return self.lambda_head_real * F.mse_loss(outputs, self.source(batch))

    def d_loss(self, batch: Batch, target: Any, x_fake: Tensor) -> dict[str, Tensor]:
        adv, real, _ = self.adversarial_loss(batch.x, x_fake)
        return {"adv": adv, "units": self.real_regression_loss(real, batch)}

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        # With the weight of the adversarial phase: a jump of the gradients' scale between phases
        # would make Adam take too large steps.
        return {"units": self.real_regression_loss(self.discriminate(batch.x)[1], batch)}
