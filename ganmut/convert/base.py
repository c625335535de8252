"""From a checkpoint to a weight folder: the one place that reads a file of torch's own format.

Such a file is a pickle, which may hold code. `weights_only=True` refuses everything but tensors and
plain containers of them; whoever edits faces never comes here, only who converts a checkpoint once.
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
from ganmut.methods.base import Method
from ganmut.registry import Registry
from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters
from ganmut.rendering.shading import render
from ganmut.weights.storage import BadWeights, sha256

FORMATS = Registry("format", "ganmut.convert")
# What an instance norm that tracks running statistics keeps, and ours never reads: the authors'
# programs never switch to evaluation, so these are statistics that no picture ever saw used.
DROPPED = ("running_mean", "running_var", "num_batches_tracked")
FACES = 2  # rendered for the golden edits


class Checkpoint:
    """The tensors of a checkpoint by name, float32, in the order of the file; every one is to be
    taken by its converter."""

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]):
        self.path, self.tensors = path, dict(tensors)

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor of a name, which is then gone; raises BadWeights where it is not there or has
        another shape."""
        if name not in self.tensors:
            raise BadWeights(f"{self.path} lacks the tensor {name!r}; is it of another format?")
        found = self.tensors.pop(name)
        if shape and tuple(found.shape) != shape:
            raise BadWeights(
                f"{self.path}: the tensor {name!r} has shape {tuple(found.shape)}, expected {shape}"
            )
        return found

    def finish(self) -> None:
        """Raises BadWeights where a tensor is left that nobody understood."""
        if self.tensors:
            name = next(iter(self.tensors))
            raise BadWeights(
                f"{self.path} holds {len(self.tensors)} tensors that are no part of the published "
                f"network, such as {name!r}; is it of another format?"
            )


class Format(ABC):
    """A format of checkpoints: how its tensors become a method. licence: of the released weights,
    as a card names it; terms: the same as a sentence."""

    name: ClassVar[str]
    licence: ClassVar[str]
    terms: ClassVar[str]

    @abstractmethod
    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        """The method with the tensors of a checkpoint. labels: emotions in the order of the file,
        or none; size: px. Raises BadWeights."""


def convert(
    path: str | Path, format: str, out: str | Path, labels: tuple[str, ...] = (), size: int = 128
) -> Path:
    """Writes the weight folder of a checkpoint and returns it; raises UnknownNameError or
    BadWeights.

    labels: emotions in the order of the file (default: AffectNet's seven); size: px. Nothing is
    rounded to half precision.
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
    """The tensors of a file that torch.save wrote, without running statistics; raises BadWeights
    where it holds anything but tensors."""
    path = Path(path)
    if not path.is_file():
        raise BadWeights(f"{path}: there is no such checkpoint")
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 (a damaged pickle can raise anything)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadWeights(
            f"{path} is damaged, or holds more than tensors, which could be code: it is not read "
            f"({reason})"
        ) from None
    found = {name: value.float() for name, value in _named(held) if value.is_floating_point()}
    found = {name: v for name, v in found.items() if name.rpartition(".")[2] not in DROPPED}
    if not found:
        raise BadWeights(f"{path} holds no tensors by name; give the generator's state_dict")
    return Checkpoint(path, found)


def _named(held: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of nested mappings; "module", which DataParallel puts in, is left out."""
    if isinstance(held, Tensor):
        yield ".".join(part for part in prefix.split(".") if part != "module"), held
    elif isinstance(held, Mapping):
        for key, value in held.items():
            yield from _named(value, f"{prefix}.{key}" if prefix else str(key))


def ordered(labels: tuple[str, ...], count: int, path: Path) -> tuple[tuple[str, ...], list[int]]:
    """(emotions, neutral first; the position in the file of each) of a file with `count` labels.

    Raises BadWeights where the labels are not named, or are not as many.
    """
    names = [
        canonical_emotion(label) for label in labels or (EMOTIONS if count == len(EMOTIONS) else ())
    ]
    if len(names) != count or len(set(names)) != count or "neutral" not in names:
        given = f"got {', '.join(names)}" if names else "they are not in the file"
        raise BadWeights(
            f"{path} has {count} labels: name each of them once, neutral included, in the order of "
            f"its training (labels); {given}"
        )
    emotions = ("neutral", *(name for name in names if name != "neutral"))
    return emotions, [names.index(emotion) for emotion in emotions]


def fit(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads converted tensors into a network; raises BadWeights for the first shape that differs.
    What they do not name stays as it was built."""
    own = network.state_dict()
    for name, value in tensors.items():
        if own[name].shape != value.shape:
            raise BadWeights(
                f"{path}: what would be {name!r} has shape {tuple(value.shape)}, "
                f"the published network {tuple(own[name].shape)}"
            )
    network.load_state_dict(own | tensors)
