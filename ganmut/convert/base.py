"""Conversion of a checkpoint to a weight folder: the only module that reads PyTorch's file format.

Such a file is a pickle, which may hold code. `weights_only=True` refuses everything but tensors and
plain containers of them. Editing does not use this module.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganmut import weights
from ganmut.emotions import EMOTIONS, canonical_emotion
from ganmut.files import STAND_IN_BYTES, describe_stand_in, sha256
from ganmut.methods.base import Method
from ganmut.registry import Registry
from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters
from ganmut.rendering.shading import render
from ganmut.text import quantity, quote
from ganmut.weights.storage import BadWeights

log = logging.getLogger(__name__)

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
            raise BadWeights(
                f"{self.path} lacks the tensor {quote(name)}; is it of another format?"
            )
        tensor = self.tensors.pop(name)
        if shape and tuple(tensor.shape) != shape:
            raise BadWeights(
                f"{self.path}: tensor {quote(name)} has shape {tuple(tensor.shape)}, "
                f"expected {shape}"
            )
        return tensor

    def select(self, fits: Callable[[Mapping[str, Tensor]], bool]) -> tuple[str, int]:
        """Keeps the tensors of one network, without the prefix of their names, and returns (prefix,
        number of other tensors).

        A file may hold several networks, in mappings of mappings. Of those that fit, an averaged
        one ("ema" in its prefix) is preferred, then the first. Where none fits nothing changes.
        """
        parts = [name.split(".")[:-1] for name in self.tensors]
        prefixes = dict.fromkeys(".".join(p[:n]) for p in parts for n in range(len(p) + 1))
        found = {prefix: below for prefix in prefixes if fits(below := self._below(prefix))}
        # The innermost ones: a file around a network that fits may fit, too.
        inner = [p for p in found if not any(o != p and o.startswith(p and p + ".") for o in found)]
        if not inner:
            return "", 0
        prefix = min(inner, key=lambda name: "ema" not in name.lower())
        others = len(self.tensors) - len(found[prefix])
        self.tensors = found[prefix]
        return prefix, others

    def _below(self, prefix: str) -> dict[str, Tensor]:
        start = f"{prefix}." if prefix else ""
        return {n[len(start) :]: v for n, v in self.tensors.items() if n.startswith(start)}

    def finish(self) -> None:
        """Raises BadWeights where tensors are left."""
        if self.tensors:
            name = next(iter(self.tensors))
            raise BadWeights(
                f"{self.path} holds {len(self.tensors)} tensors that the published network lacks, "
                f"such as {quote(name)}; is it of another format?"
            )


class Format(ABC):
    """A format of checkpoints. licence: identifier of the licence of the released weights, for the
    model card; terms: the licence as a sentence."""

    name: ClassVar[str]
    licence: ClassVar[str]
    terms: ClassVar[str]

    @abstractmethod
    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether tensors are those of the generator, by a name or shape that only it has."""

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
    network, others = checkpoint.select(kind.fits)
    if others:
        log.warning(
            "%s: %s is converted; %s of other networks are not",
            path,
            network or "the network",
            quantity(others, "tensor"),
        )
    method = kind.method(checkpoint, labels, size).eval()
    checkpoint.finish()
    rows = range(0, FACES * SAMPLES_PER_PERSON, SAMPLES_PER_PERSON)
    faces = torch.as_tensor(render(sample_parameters(0, "test", rows), method.size))
    facts = {
        "converted_from": f"{Path(path).name}{network and f' ({network})'}, sha256 {sha256(path)}",
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
    with open(path, "rb") as file:
        if stand_in := describe_stand_in(file.read(STAND_IN_BYTES)):
            raise BadWeights(f"{path} is {stand_in}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (a damaged pickle can raise anything)
        # PyTorch's own message advises to load the file without this check.
        if blocked := re.search(r"GLOBAL (\S+)", str(error)):
            raise BadWeights(
                f"{path} holds {blocked[1]} besides tensors, which could be code, and is not read; "
                "ask its authors for the state_dict alone"
            ) from None
        raise BadWeights(f"{path} is damaged, or no file of torch.save; fetch it again") from None
    tensors = {n: value.float() for n, value in _flatten(content) if value.is_floating_point()}
    tensors = {n: value for n, value in tensors.items() if n.rpartition(".")[2] not in DROPPED}
    if not tensors:
        raise BadWeights(f"{path} holds no named tensors; give the generator's state_dict")
    return Checkpoint(path, tensors)


def _flatten(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of nested mappings, without the part "module", which DataParallel adds, and
    without the states of optimizers."""
    if isinstance(content, Tensor):
        yield ".".join(part for part in prefix.split(".") if part != "module"), content
    elif isinstance(content, Mapping) and not {"state", "param_groups"} <= content.keys():
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
            f"{path} has {count} labels; {given}. Name each once in labels, in the order of its "
            "training, neutral among them. A generator of attributes, such as the hair colours and "
            "ages of CelebA, has no neutral and cannot be converted: it edits no emotions"
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
                f"{path}: the tensor for {quote(name)} has shape {tuple(value.shape)}, the "
                f"published network has {tuple(own[name].shape)}"
            )
    network.load_state_dict(own | tensors)
