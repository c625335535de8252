"""What GANmut and GGANmut share: a discriminator head that also estimates a point of the plane."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import Batch
from ganmut.methods.base import Method
from ganmut.networks.expression import ExpressionDiscriminator
from ganmut.networks.stargan import PatchDiscriminator

# The authors' augmentation. Their faces are always enlarged in training and never in edits, as
# released; theirs is sampled by the nearest pixel through swapped arguments, ours bilinearly.
PAPER_VIEWS: dict[str, Any] = {
    "rotation": 7.5,
    "shift": 7.5 / 128,
    "zoom_low": 1.075,
    "zoom_high": 1.15,
}


class GamutMethod(Method):
    """A method whose codes are points of a plane."""

    # Fields of Config that weigh the discriminator's cross-entropy and its estimate of the code,
    # and the name of the latter in logs.
    lambda_d_cls: ClassVar[str]
    lambda_d_code: ClassVar[str]
    code_term: ClassVar[str]

    def discriminator(self) -> nn.Module:
        """Scores, and a head of the emotions' logits and two coordinates."""
        outputs = len(self.emotions) + 2
        if self.config.controls:
            return ExpressionDiscriminator(self.config.controls, outputs)
        return PatchDiscriminator(self.config, self.size, outputs)

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs B x (emotions + 2) -> logits B x emotions, coordinates B x 2."""
        return outputs[:, :-2], outputs[:, -2:]

    def d_loss(self, batch: Batch, target: Any, x_fake: Tensor) -> dict[str, Tensor]:
        c = self.config
        adv, real, fake = self.adversarial_loss(batch.x, x_fake)
        cls = self.classification_loss(self.split(real)[0], self.split(fake)[0], batch.emotion)
        # The code is detached: D's step must not move directions and modes, which are G's.
        error = F.mse_loss(self.split(fake)[1], self.code(target).detach())
        return {
            "adv": adv,
            "cls": getattr(c, self.lambda_d_cls) * cls,
            self.code_term: getattr(c, self.lambda_d_code) * error,
        }

    def classify(self, x: Tensor) -> Tensor:
        return self.split(self.discriminate(x)[1])[0]
