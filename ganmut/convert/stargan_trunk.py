"""The generator of StarGAN's and GANmut's checkpoints, by the names of its layers.

One nn.Sequential `main`: stem 0, 1; down 3, 4, 6, 7; residual blocks from 9 on, each with a `main`
of its own (0, 1, 3, 4); after the blocks up 0, 1, 3, 4 and the colours 6. The numbers between are
activations without tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor

from ganmut.convert.base import Checkpoint, load_tensors
from ganmut.methods.base import METHODS, Method
from ganmut.weights.storage import BadWeights

FIRST_BLOCK = 9  # index of the first residual block
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
    """The method with a checkpoint's trunk and `own`, the other tensors of G by their names here.

    order: the position of each code plane in the file. bgr: whether the network was trained on BGR
    images.
    """
    nested = [name for name in checkpoint.tensors if name.endswith(".main.0.weight")]
    tensors = dict(trunk_tensors(checkpoint, len(nested)))
    stem, head = tensors["trunk.stem.0.weight"], tensors["trunk.head.weight"]
    # The code's planes are input channels of the first layer, in the order of the file's labels.
    if order is not None:
        stem = stem[:, [*range(3), *(3 + i for i in order)]]
    # Colours enter and leave once each, so two layers hold all of the channel order.
    if bgr:
        stem, head = stem[:, [*BGR, *range(3, stem.shape[1])]], head[BGR]
    tensors |= {"trunk.stem.0.weight": stem, "trunk.head.weight": head, **own}
    kind = METHODS[name]
    # Sizes are read off the file, whatever its authors trained.
    config = dataclasses.replace(kind.PAPER, width=len(stem), blocks=len(nested))
    method = kind(config, emotions, size, training=False)
    load_tensors(method.G, tensors, checkpoint.path)
    return method


def fits(tensors: Mapping[str, Tensor]) -> bool:
    """Whether tensors hold the trunk: its first layer, which no discriminator has."""
    first = tensors.get("main.0.weight")
    return first is not None and first.shape[2:] == (7, 7)


def code_dim(checkpoint: Checkpoint) -> int:
    """Values of a code: the input channels besides the image. Raises BadWeights for a file without
    the generator."""
    if "main.0.weight" not in checkpoint.tensors:
        raise BadWeights(f"{checkpoint.path} lacks the tensor 'main.0.weight'; is it a generator?")
    return checkpoint.tensors["main.0.weight"].shape[1] - 3


def trunk_tensors(checkpoint: Checkpoint, blocks: int) -> Iterator[tuple[str, Tensor]]:
    """(name here, tensor) of every layer."""
    for ours, theirs, norm in layer_names(blocks):
        yield f"trunk.{ours}.weight", checkpoint.pop(f"{theirs}.weight")
        if norm:
            yield f"trunk.{ours}.bias", checkpoint.pop(f"{theirs}.bias")


def layer_names(blocks: int) -> Iterator[tuple[str, str, bool]]:
    """(name here, name in the file, whether it is a norm) of every layer with tensors."""
    end = FIRST_BLOCK + blocks
    stages = {"stem": 0, "down1": 3, "down2": 6, "up1": end, "up2": end + 3}
    for stage, at in stages.items():
        yield f"{stage}.0", f"main.{at}", False
        yield f"{stage}.1", f"main.{at + 1}", True
    for i in range(blocks):
        for part, at in {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}.items():
            yield f"blocks.{i}.{part}", f"main.{FIRST_BLOCK + i}.main.{at}", part.startswith("norm")
    yield "head", f"main.{end + 6}", False
