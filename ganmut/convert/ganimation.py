"""GANimation's generator: StarGAN's trunk with two heads, colours and attention (1 = source).

Its code is GPL-3 and was not read. The names of its layers are not published elsewhere, so layers
are matched by kind, shape and order (layer_matching.py). Codes are OpenFace's seventeen units,
divided by 5, or labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from ganmut.convert.base import FORMATS, Checkpoint, Format, load_tensors, order_emotions
from ganmut.convert.layer_matching import LayerMatcher
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.methods.base import METHODS, Method

STAGES = ("stem", "down1", "down2", "blocks", "up1", "up2")  # in the order of the forward pass


@FORMATS.register("ganimation")
class GANimation(Format):
    """Images are RGB. The attention of the checkpoint has no bias; that of this project stays 0."""

    licence = "gpl-3.0"
    terms = (
        "Converted from a checkpoint of GANimation's authors, whose licence applies. The units of "
        "each emotion are EMFACS prototypes."
    )

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """The stem, the colours and the attention are the only 7 x 7 convolutions."""
        wide = [t.shape for t in tensors.values() if t.dim() == 4 and t.shape[-1] == 7]
        return len(wide) == 3 and {1, 3} <= {shape[0] for shape in wide}

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        layers = LayerMatcher(checkpoint)
        colours, attention = layers.pop("conv7", 3), layers.pop("conv7", 1)
        # The stem is the only 7 x 7 convolution left; its inputs are the image and the code.
        values = sum(layer.weight.shape[1] - 3 for layer in layers.remaining("conv7"))
        emotions: tuple[str, ...] = EMOTIONS
        code_type, order = "units", list(range(values))
        if labels or values != len(UNITS):
            emotions, order = order_emotions(labels, values, checkpoint.path)
            code_type = "labels"
        kind = METHODS["ganimation"]
        config = dataclasses.replace(
            kind.PAPER,
            code_type=code_type,
            width=colours.weight.shape[1],
            blocks=len(layers.remaining("conv3")) // 2,
        )
        method = kind(config, emotions, size, training=False)
        tensors: dict[str, torch.Tensor] = {}
        for stage in STAGES:
            part = f"trunk.{stage}"
            tensors |= layers.match(method.G.get_submodule(part), part)
        tensors["trunk.head.weight"] = torch.cat([colours.weight, attention.weight])
        stem = tensors["trunk.stem.0.weight"]
        tensors["trunk.stem.0.weight"] = stem[:, [0, 1, 2, *(3 + i for i in order)]]
        layers.finish()
        load_tensors(method.G, tensors, checkpoint.path)
        return method
