"""What GANmut and GGANmut share: a discriminator head that also estimates a point of the plane."""

from __future__ import annotations

from torch import Tensor

from ganmut.methods.base import Method


class GamutMethod(Method):
    """A method whose codes are points of a plane."""

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs B x (emotions + 2) -> logits B x emotions, coordinates B x 2."""
        return outputs[:, :-2], outputs[:, -2:]

    def classify(self, x: Tensor) -> Tensor:
        return self.split(self.discriminate(x)[1])[0]
