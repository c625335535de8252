"""The generator that StarGAN's and GANmut's checkpoints hold, by the names of its layers there.

One nn.Sequential `main`: stem 0, 1; down 3, 4, 6, 7; residual blocks from 9 on, each with a `main`
of its own (0, 1, 3, 4); then up 0, 1, 3, 4 and the colours 6, counted from behind the blocks (the
numbers between are activations, which hold no tensors).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch import Tensor

from ganmut.convert.base import Checkpoint, fit
from ganmut.methods.base import METHODS, Method
from ganmut.weights.storage import BadWeights

FIRST = 9  # of the residual blocks
BGR = [2, 1, 0]


def build(
    name: str,
    checkpoint: Checkpoint,
    emotions: tuple[str, ...],
    size: int,
    own: dict[str, Tensor],
    order: list[int] | None = None,
    bgr: bool = False,
) -> Method:
    """The method with a checkpoint's trunk and `own` (other tensors of G, by our names).

    order: the position in the file of each code plane. bgr: the network was trained on pictures
    whose channels were blue, green, red.
    """
    nested = [name for name in checkpoint.tensors if name.endswith(".main.0.weight")]
    tensors = dict(taken(checkpoint, len(nested)))
    stem, head = tensors["trunk.stem.0.weight"], tensors["trunk.head.weight"]
    if order is not None:
        stem = stem[:, [*range(3), *(3 + i for i in order)]]
    if bgr:
        stem, head = stem[:, [*BGR, *range(3, stem.shape[1])]], head[BGR]
    tensors |= {"trunk.stem.0.weight": stem, "trunk.head.weight": head, **own}
    kind = METHODS[name]
    config = dataclasses.replace(kind.PAPER, width=len(stem), blocks=len(nested))
    method = kind(config, emotions, size, training=False)
    fit(method.G, tensors, checkpoint.path)
    return method


def planes(checkpoint: Checkpoint) -> int:
    """How many values a code has: input channels besides the picture."""
    if "main.0.weight" not in checkpoint.tensors:
        raise BadWeights(f"{checkpoint.path} lacks the tensor 'main.0.weight'; is it a generator?")
    return checkpoint.tensors["main.0.weight"].shape[1] - 3


def taken(checkpoint: Checkpoint, blocks: int) -> Iterator[tuple[str, Tensor]]:
    """(our name, tensor) of every layer."""
    for ours, theirs, norm in layers(blocks):
        yield f"trunk.{ours}.weight", checkpoint.take(f"{theirs}.weight")
        if norm:
            yield f"trunk.{ours}.bias", checkpoint.take(f"{theirs}.bias")


def layers(blocks: int) -> Iterator[tuple[str, str, bool]]:
    """(our name, theirs, whether it is a norm) of every layer that has tensors."""
    behind = FIRST + blocks
    stages = {"stem": 0, "down1": 3, "down2": 6, "up1": behind, "up2": behind + 3}
    for stage, at in stages.items():
        yield f"{stage}.0", f"main.{at}", False
        yield f"{stage}.1", f"main.{at + 1}", True
    for i in range(blocks):
        for part, at in {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}.items():
            yield f"blocks.{i}.{part}", f"main.{FIRST + i}.main.{at}", part.startswith("norm")
    yield "head", f"main.{behind + 6}", False
