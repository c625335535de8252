"""What GANmut and GGANmut share: a discriminator head that also estimates a point of the plane."""

from __future__ import annotations

from torch import Tensor, nn

from ganmut.methods.base import Method
from ganmut.networks.expression import ExpressionDiscriminator
from ganmut.networks.stargan import PatchDiscriminator


class GamutMethod(Method):
    """A method whose codes are points of a plane."""

    def discriminator(self) -> nn.Module:
        """Scores, and a head of the emotions' logits and two coordinates."""
        outputs = len(self.emotions) + 2
        if self.config.controls:
            return ExpressionDiscriminator(self.config.controls, outputs)
        return PatchDiscriminator(self.config, self.size, outputs)

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs B x (emotions + 2) -> logits B x emotions, coordinates B x 2."""
        return outputs[:, :-2], outputs[:, -2:]

    def classify(self, x: Tensor) -> Tensor:
        return self.split(self.discriminate(x)[1])[0]
