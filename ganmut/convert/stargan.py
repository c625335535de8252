"""StarGAN's generator (`*-G.ckpt` of yunjey/stargan, MIT licence; RGB, one-hot labels)."""

from __future__ import annotations

from ganmut.convert import stargan_trunk
from ganmut.convert.base import FORMATS, Checkpoint, Format, ordered
from ganmut.methods.base import Method


@FORMATS.register("stargan")
class StarGAN(Format):
    """Trained on emotions alone: neither attributes of CelebA nor two sets of labels at once."""

    licence = "other"
    terms = "Converted from a checkpoint of StarGAN's authors; their licence of it applies."

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        emotions, order = ordered(labels, stargan_trunk.planes(checkpoint), checkpoint.path)
        return stargan_trunk.build("stargan", checkpoint, emotions, size, {}, order)
