"""GANimation's generator: StarGAN's trunk with two heads, colours and attention (1 = kept).

Its code is GPL-3 and was not read. The names of its layers are not published elsewhere, so they
are matched by kind, shape and order (pile.py). Codes are OpenFace's seventeen units, divided by 5,
or labels where it was trained on those.
"""

from __future__ import annotations

import dataclasses

import torch

from ganmut.convert.base import FORMATS, Checkpoint, Format, fit, ordered
from ganmut.convert.layer_matching import Pile, poured
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.methods.base import METHODS, Method

STAGES = ("stem", "down1", "down2", "blocks", "up1", "up2")  # as a picture meets them


@FORMATS.register("ganimation")
class GANimation(Format):
    """RGB. The attention has no bias there; ours has one, which stays 0."""

    licence = "gpl-3.0"
    terms = (
        "Converted from a checkpoint of GANimation's authors; their licence of it applies. The "
        "units that each emotion means are the textbook's."
    )

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        pile = Pile(checkpoint)
        colours, attention = pile.take("conv7", 3), pile.take("conv7", 1)
        values = sum(
            layer.weight.shape[1] - 3 for layer in pile.of("conv7")
        )  # only the stem is left
        code_type, emotions, order = "units", EMOTIONS, list(range(values))
        if labels or values != len(UNITS):
            emotions, order = ordered(labels, values, checkpoint.path)
            code_type = "labels"
        kind = METHODS["ganimation"]
        config = dataclasses.replace(
            kind.PAPER,
            code_type=code_type,
            width=colours.weight.shape[1],
            blocks=len(pile.of("conv3")) // 2,
        )
        method = kind(config, emotions, size, training=False)
        tensors = poured(pile, method.G, [f"trunk.{stage}" for stage in STAGES])
        tensors["trunk.head.weight"] = torch.cat([colours.weight, attention.weight])
        stem = tensors["trunk.stem.0.weight"]
        tensors["trunk.stem.0.weight"] = stem[:, [0, 1, 2, *(3 + i for i in order)]]
        pile.finish()
        fit(method.G, tensors, checkpoint.path)
        return method
