"""FaceSet, the labelled faces of one split, and the registry of data sources."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ganmut import legacy
from ganmut.datasets.spec import HINT, parse_source, split_sources
from ganmut.datasets.stored import StoredImages
from ganmut.registry import Registry

SOURCES = Registry("data source", "ganmut.datasets")

# The crop of all faces: the ArcFace five-point template, scaled from 112 to 128 px, 7 px higher.
# Expression networks are sensitive to the crop, so every weight's config records its name.
CROP = "arcface128_up7"


class BadData(ValueError):
    """Data cannot be used: empty, unlabelled or unreadable; the message says what is expected."""


@dataclass(frozen=True)
class Batch:
    """The faces of one training step: x B x 3 x S x S float in [-1, 1], emotion B (int64), units
    B x 17 in [0, 1] or None."""

    x: Tensor
    emotion: Tensor
    units: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class FaceSet:
    """N aligned faces of one split and their annotations.

    images: uint8 N x 3 x S x S RGB, in memory, memory-mapped or StoredImages; emotion: int64 N, an
    index into `emotions`; units: float N x 17 in [0, 1] (order of ganmut.emotions.UNITS) or None;
    person: int64 N or None. ground_truth(indices, emotion, intensity) -> uint8 n x 3 x S x S: the
    same people with another expression; None where the source cannot render it. source_id: int64 N,
    the source of each face of a concatenation, else None. skip_counts: reason -> number of rows
    left out. fingerprint: what the faces are and which; content: of their pixels as they were read,
    "" where that is not known or follows from the fingerprint.
    """

    source: str
    split: str
    emotions: tuple[str, ...]
    images: Tensor | np.ndarray | StoredImages
    emotion: Tensor
    fingerprint: str
    units: Tensor | None = None
    person: Tensor | None = None
    source_id: Tensor | None = None
    ground_truth: Callable[[Tensor, str, float], Tensor] | None = None
    skip_counts: dict[str, int] = field(default_factory=dict)
    crop: str = CROP
    content: str = ""

    def __post_init__(self) -> None:
        if len(self.emotion) == 0:
            raise BadData(f"{self.source}: the {self.split} split has no faces")
        if len(self.images) != len(self.emotion):
            raise BadData(
                f"{self.source}: {len(self.images)} images but {len(self.emotion)} labels"
            )

    def __len__(self) -> int:
        return len(self.emotion)

    @property
    def size(self) -> int:
        """Image side in pixels."""
        return int(self.images.shape[-1])

    @property
    def grey(self) -> bool:
        """Whether the images have no colour (tested on the first 64)."""
        # Two levels of tolerance: JPEG gives grey pictures a little chroma.
        sample = self.faces(slice(64)).int()
        return bool((sample - sample[:, :1]).abs().max() <= 2)

    def faces(self, indices: Tensor | slice | None = None) -> Tensor:
        """uint8 n x 3 x S x S of some faces (all by default)."""
        if isinstance(self.images, Tensor):
            return self.images if indices is None else self.images[indices]
        # NumPy treats a one-element tensor as a plain index: a batch of one would lose its axis.
        rows = np.asarray(indices) if isinstance(indices, Tensor) else indices
        return torch.as_tensor(np.asarray(self.images if rows is None else self.images[rows]))

    def select(self, indices: Tensor) -> FaceSet:
        """The FaceSet of the faces at `indices` (int64 n); its fingerprint includes them. Images in
        files stay there."""
        parts = {
            name: None if getattr(self, name) is None else getattr(self, name)[indices]
            for name in ("units", "person", "source_id")
        }
        ground_truth, stored = self.ground_truth, StoredImages.of(self.images)
        # Other faces, or another order, are other data to whoever compares fingerprints.
        chosen = hashlib.sha256(np.asarray(indices, np.int64).tobytes()).hexdigest()[:8]
        return FaceSet(
            source=self.source,
            split=self.split,
            emotions=self.emotions,
            crop=self.crop,
            images=self.faces(indices) if stored is None else stored.select(indices.numpy()),
            emotion=self.emotion[indices],
            skip_counts=self.skip_counts,
            fingerprint=f"{self.fingerprint}/{chosen}",
            content=self.content,
            ground_truth=ground_truth and (lambda rows, *what: ground_truth(indices[rows], *what)),
            **parts,
        )

    def to(self, device: torch.device | str) -> FaceSet:
        """The same set with images and labels on a device (uint8: 49 KB a face at 128 px)."""
        moved = {
            name: None if getattr(self, name) is None else getattr(self, name).to(device)
            for name in ("emotion", "units", "person", "source_id")
        }
        return FaceSet(**{**self.__dict__, **moved, "images": self.faces().to(device)})


class Source(Protocol):
    """A data source, built from the text after the colon of `name:argument`.

    `load` gives one split: "train" (editors), "extractor" (frozen networks; persons that editors
    are not trained on), "test", or, of rendered faces, "validation". `emotions` is set when built,
    at the latest when loaded.
    """

    emotions: tuple[str, ...]

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet: ...


def open_source(spec: str, **options: Any) -> Source:
    """The source of a spec: "procedural", "folder:PATH", "hub:OWNER/NAME@REVISION"; options are the
    source's own, also written into the spec: "folder:PATH?on_error=skip&min_fill=0.8" (spec.py).

    Raises UnknownNameError for a source that no file registers, BadData for an argument it cannot
    use.
    """
    if len(split_sources(spec)) > 1:
        return SOURCES["concat"](spec, **options)
    name, argument, pairs = parse_source(spec)
    options |= legacy.read("data", pairs)
    try:
        return SOURCES[name](argument, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition("argument ")[2]
        raise BadData(f"{name} has no option {unknown}; see docs/datasets.md, or {HINT}") from None


def hash_split(keys: list[str], share: float, salt: str) -> np.ndarray:
    """bool n: a pseudo-random `share` of the rows, selected by a hash of each key (a person or a
    file name).

    Rows with the same key are on the same side, so no person is in both parts.
    """
    limit = int(share * 2**32)
    marks = (
        hashlib.sha256(f"{salt}/{key}".encode(errors="surrogateescape")).digest()[:4]
        for key in keys
    )
    return np.array([int.from_bytes(mark, "big") < limit for mark in marks], bool)


def digest(*parts: Any) -> str:
    """16 hex digits of what defines a set: strings, numbers, arrays, tensors."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.cpu().numpy()
        data = (
            np.ascontiguousarray(part).tobytes()
            if isinstance(part, np.ndarray)
            else repr(part).encode()
        )
        state.update(data)
    return state.hexdigest()[:16]
