"""Conversion of a checkpoint to a weight folder: the only module that reads PyTorch's file format.

Such a file is a pickle, which may hold code. `weights_only=True` refuses everything but tensors and
plain containers of them. Editing does not use this module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganmut import weights
from ganmut.emotions import EMOTIONS, canonical_emotion
from ganmut.files import sha256
from ganmut.methods.base import Method
from ganmut.registry import Registry
from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters
from ganmut.rendering.shading import render
from ganmut.weights.storage import BadWeights

FORMATS = Registry("format", "ganmut.convert")
# Buffers of instance norms with running statistics. The authors' programs stay in training mode, so
# their networks never use these buffers, and the networks here have none.
DROPPED = ("running_mean", "running_var", "num_batches_tracked")
FACES = 2  # rendered faces of the golden edits


class Checkpoint:
    """The tensors of a checkpoint by name, float32, in the order of the file. A converter pops
    every tensor."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]):
        self.path, self.tensors = path, dict(tensors)

    def pop(self, name: str, *shape: int) -> Tensor:
        """Removes a tensor and returns it. Raises BadWeights where it is missing or, if a shape is
        given, has another one."""
        if name not in self.tensors:
            raise BadWeights(f"{self.path} lacks the tensor {name!r}; is it of another format?")
        tensor = self.tensors.pop(name)
        if shape and tuple(tensor.shape) != shape:
            raise BadWeights(
                f"{self.path}: tensor {name!r} has shape {tuple(tensor.shape)}, expected {shape}"
            )
        return tensor

    def finish(self) -> None:
        """Raises BadWeights where tensors are left."""
        if self.tensors:
            name = next(iter(self.tensors))
            raise BadWeights(
                f"{self.path} holds {len(self.tensors)} tensors that the published network lacks, "
                f"such as {name!r}; is it of another format?"
            )


class Format(ABC):
    """A format of checkpoints. licence: identifier of the licence of the released weights, for the
    model card; terms: the licence as a sentence."""

    name: ClassVar[str]
    licence: ClassVar[str]
    terms: ClassVar[str]

    @abstractmethod
    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        """The method with the tensors of a checkpoint. labels: emotions in the order of the file,
        or (); size: training size in px. Raises BadWeights."""


def convert(
    path: str | Path, format: str, out: str | Path, labels: tuple[str, ...] = (), size: int = 128
) -> Path:
    """Writes the weight folder of a checkpoint, in float32, and returns it.

    labels: emotions in the order of the file (default: AffectNet's seven); size: training size in
    px. Raises UnknownNameError for a format and BadWeights for a checkpoint that does not fit it.
    """
    kind: Format = FORMATS[format]()
    checkpoint = open_checkpoint(path)
    method = kind.method(checkpoint, labels, size).eval()
    checkpoint.finish()
    rows = range(0, FACES * SAMPLES_PER_PERSON, SAMPLES_PER_PERSON)
    faces = torch.as_tensor(render(sample_parameters(0, "test", rows), method.size))
    facts = {
        "converted_from": f"{Path(path).name}, sha256 {sha256(path)}",
        "licence": kind.licence,
        "crop": "the authors' own",
        "note": kind.terms,
    }
    return weights.save(out, method, facts, faces, half=False)


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Reads the tensors of a file of torch.save, without running statistics. Raises BadWeights for
    a file that holds anything but tensors."""
    path = Path(path)
    if not path.is_file():
        raise BadWeights(f"{path}: no such checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (a damaged pickle can raise anything)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadWeights(
            f"{path} is damaged, or holds more than tensors, which could be code, and is not read "
            f"({reason})"
        ) from None
    tensors = {n: value.float() for n, value in _flatten(content) if value.is_floating_point()}
    tensors = {n: value for n, value in tensors.items() if n.rpartition(".")[2] not in DROPPED}
    if not tensors:
        raise BadWeights(f"{path} holds no named tensors; give the generator's state_dict")
    return Checkpoint(path, tensors)


def _flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of nested mappings, without the part "module", which DataParallel adds."""
    if isinstance(content, Tensor):
        yield ".".join(part for part in prefix.split(".") if part != "module"), content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flatten(value, f"{prefix}.{key}" if prefix else str(key))


def order_emotions(
    labels: tuple[str, ...], count: int, path: Path
) -> tuple[tuple[str, ...], list[int]]:
    """(emotions, neutral first; the position of each in the file) of a file with `count` labels.

    Raises BadWeights where the labels are missing, or their number is not `count`.
    """
    names = [
        canonical_emotion(label) for label in labels or (EMOTIONS if count == len(EMOTIONS) else ())
    ]
    if len(names) != count or len(set(names)) != count or "neutral" not in names:
        given = f"got {', '.join(names)}" if names else "the file does not hold them"
        raise BadWeights(
            f"{path} has {count} labels: name each once in labels, in the order of its training, "
            f"with neutral; {given}"
        )
    emotions = ("neutral", *(name for name in names if name != "neutral"))
    return emotions, [names.index(emotion) for emotion in emotions]


def load_tensors(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads converted tensors into a network; other tensors of the network keep their values.
    Raises BadWeights for a shape that differs."""
    own = network.state_dict()
    for name, value in tensors.items():
        if own[name].shape != value.shape:
            raise BadWeights(
                f"{path}: the tensor for {name!r} has shape {tuple(value.shape)}, the published "
                f"network has {tuple(own[name].shape)}"
            )
    network.load_state_dict(own | tensors)
