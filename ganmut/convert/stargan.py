"""StarGAN's generator (`*-G.ckpt` of yunjey/stargan, MIT licence; RGB, one-hot labels)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ganmut.convert import stargan_trunk
from ganmut.convert.base import FORMATS, Checkpoint, Format, order_emotions
from ganmut.methods.base import Method


@FORMATS.register("stargan")
class StarGAN(Format):
    """Models of emotions only, not of CelebA's attributes nor of two label sets at once."""

    licence = "other"
    terms = "Converted from a checkpoint of StarGAN's authors, whose licence applies."

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return stargan_trunk.fits(tensors)

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        emotions, order = order_emotions(
            labels, stargan_trunk.code_dim(checkpoint), checkpoint.path
        )
        return stargan_trunk.build("stargan", checkpoint, emotions, size, {}, order)
