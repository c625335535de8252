"""A table of labelled pictures becomes FaceSets: emotions, splits, people, and what cannot be used.

Shared by the sources that read other people's data. Rows that cannot be used are
listed, counted, and refused, or skipped where `on_error="skip"` says so; never dropped in silence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ganmut.action_units import blendshapes
from ganmut.datasets import cache
from ganmut.datasets.base import CROP, BadData, FaceSet, digest, hash_split
from ganmut.emotions import EMOTIONS, UNITS, canonical_emotion
from ganmut.registry import nearest_name

SPLITS = ("train", "extractor", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "extractor": "extractor",
}
# What annotators write where there is nothing to write.
NO_LABEL = {"", "none", "nan", "null", "uncertain", "unknown", "non-face", "nonface", "no-face"}
TEST_SHARE, EXTRACTOR_SHARE = 0.1, 0.25
SHOWN = 5  # bad rows that a message lists


@dataclass(frozen=True)
class Row:
    """One picture. key: file name or number in its set; split "" and person "" are unknown.

    person None: the data has no such column. units: 17 in 0..1. fill: share of the crop that the
    picture covers. stamp: changes with the file (bytes, time of change).
    """

    key: str
    label: str
    split: str = ""
    person: str | None = None
    units: tuple[float, ...] | None = None
    fill: float | None = None
    bytes: int = 0
    stamp: int = 0


class RowFilter:
    """Collects the rows that cannot be used, with the reason for each."""

    def __init__(self, source: str, on_error: str):
        if on_error not in ("raise", "skip"):
            raise BadData(f'on_error must be "raise" or "skip", got {on_error!r}')
        self.source, self.on_error = source, on_error
        self.bad: list[tuple[str, str]] = []
        self.aside: Counter[str] = Counter()

    def drop(self, key: str, reason: str) -> None:
        """Notes a row that cannot be used."""
        self.bad.append((key, reason))

    def leave(self, reason: str) -> None:
        """Counts a row that the data itself does not offer: no emotion, another angle."""
        self.aside[reason] += 1

    def counts(self) -> dict[str, int]:
        """Reason -> number of rows that cannot be used."""
        return dict(Counter(reason for _, reason in self.bad))

    def settle(self) -> None:
        """Raises BadData with the count and the first rows, or prints one line to skip them."""
        counts = ", ".join(f"{n} x {reason}" for reason, n in self.counts().items())
        if self.on_error == "skip" and self.bad:
            print(f"{self.source}: left out {len(self.bad)} rows: {counts}")
        if self.on_error == "skip" or not self.bad:
            return
        shown = "; ".join(f"{key}: {reason}" for key, reason in self.bad[:SHOWN])
        more = f"; and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
        raise BadData(
            f"{self.source}: {len(self.bad)} rows cannot be used ({counts}): {shown}{more}. "
            'Mend them, or leave them out with on_error="skip" (SOURCE?on_error=skip)'
        )


class TableSource(ABC):
    """A source over rows; a subclass lists them and reads one picture.

    on_error: "raise" or "skip" rows that cannot be used. min_fill: leaves out pictures that cover
    less of their crop (the data must say `fill`). emotions: the only ones wanted, comma-separated.
    crop: the name of the crop of the pictures, where it is not the project's. Options may be text,
    as a spec carries them. Raises BadData.
    """

    def __init__(
        self,
        name: str,
        rows: list[Row],
        sieve: RowFilter,
        *,
        min_fill: float | str = 0.0,
        emotions: str = "",
        crop: str = CROP,
    ):
        self.source, self.crop, self.sieve = name, crop, sieve
        labelled = [row for row in map(self._label, rows) if row is not None]
        sieve.settle()
        self.skip_counts = {**sieve.counts(), **sieve.aside}
        rows = self._wanted(self._filled(labelled, float(min_fill)), emotions)
        self.emotions = order(name, Counter(row.label for row in rows))
        self.rows = allot(rows)
        known = any(row.person is not None for row in self.rows)
        self.people = _people(self.rows) if known else None

    @abstractmethod
    def picture(self, row: Row) -> np.ndarray:
        """H x W x 3 uint8 of a row; raises images.BadImage. Called from several threads."""

    @abstractmethod
    def identity(self) -> str:
        """Which data this is on this machine, for the cache: a path, a repository and revision."""

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """At most `n` faces of a split (all by default; the seed says which) at size x size.

        Raises BadData for an unknown or empty split, or pictures that cannot be read.
        """
        chosen = self._choose(split, n, seed)
        rows = [self.rows[i] for i in chosen]
        stamps = [(row.key, row.bytes, row.stamp) for row in rows]
        key = f"{self.source.partition(':')[0]}-{digest(self.identity(), stamps)}"
        images, bad = cache.cached_images(
            key, len(rows), size, lambda i: self.picture(rows[i]), progress
        )
        sieve = RowFilter(self.source, self.sieve.on_error)
        for i in bad:
            sieve.drop(rows[i].key, "unreadable picture")
        sieve.settle()
        good = np.array([i for i in range(len(rows)) if i not in bad], np.int64)
        rows, chosen = [rows[i] for i in good], chosen[good]
        told = [(row.key, row.label, row.person, row.units, row.bytes) for row in rows]
        return FaceSet(
            source=self.source,
            split=split,
            emotions=self.emotions,
            crop=self.crop,
            images=images[good] if bad else images,
            emotion=torch.tensor([self.emotions.index(row.label) for row in rows]),
            fingerprint=digest(told, self.crop, size),
            units=_units(rows),
            person=None if self.people is None else self.people[torch.from_numpy(chosen)],
            skip_counts={**self.skip_counts, **sieve.counts()},
        )

    def _choose(self, split: str, n: int | None, seed: int) -> np.ndarray:
        if split not in SPLITS:
            raise BadData(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
        members = np.array([i for i, row in enumerate(self.rows) if row.split == split], np.int64)
        if not len(members):
            raise BadData(f"{self.source}: the {split} split has no faces")
        if n is None or n >= len(members):
            return members
        return np.sort(np.random.default_rng(seed).choice(members, n, replace=False))

    def _label(self, row: Row) -> Row | None:
        """The row with the project's word for its emotion, or None with the reason noted."""
        word = canonical_emotion(row.label)
        if word in NO_LABEL:
            reason = "no label" if not word else f"label {word!r} is no emotion"
        elif word.lstrip("-").isdigit():
            reason = f"label {word!r} is a number, not a name"
        elif row.split and row.split.lower() not in SPLIT_WORDS:
            reason = f"unknown split {row.split!r}"
        elif near := _misspelt(word):
            reason = f"unknown label {word!r}, did you mean {near!r}?"
        else:
            return replace(row, label=word, split=SPLIT_WORDS.get(row.split.lower(), ""))
        self.sieve.drop(row.key, reason)
        return None

    def _filled(self, rows: list[Row], least: float) -> list[Row]:
        if not least:
            return rows
        if any(row.fill is None for row in rows):
            raise BadData(f"{self.source}: min_fill needs a `fill` column in every row")
        kept = [row for row in rows if row.fill >= least]
        self.skip_counts[f"fill below {least:g}"] = len(rows) - len(kept)
        return kept

    def _wanted(self, rows: list[Row], emotions: str) -> list[Row]:
        if not emotions:
            return rows
        names = {canonical_emotion(name) for name in emotions.split(",")}
        found = {row.label for row in rows}
        if missing := sorted(names - found):
            raise BadData(
                f"{self.source} has no {', '.join(missing)}; it has {', '.join(sorted(found))}"
            )
        kept = [row for row in rows if row.label in names]
        self.skip_counts["emotion not asked for"] = len(rows) - len(kept)
        return kept


def order(source: str, counts: Counter[str]) -> tuple[str, ...]:
    """The emotions of the data: neutral, then the canonical ones in their order, then by name."""
    found = ", ".join(f"{name} {n}" for name, n in counts.most_common()) or "nothing"
    if "neutral" not in counts or len(counts) < 2:
        raise BadData(f"{source}: neutral and at least one emotion are needed, found {found}")
    others = sorted(counts.keys() - set(EMOTIONS))
    return (*(name for name in EMOTIONS if name in counts), *others)


def allot(rows: list[Row]) -> list[Row]:
    """The rows with their split: what the data says, the rest carved by person (or picture).

    Validation pictures are the test split where there is no other, else training pictures.
    Where the data has no such split, a tenth of all people are the test's, and a quarter of the
    training people the extractor's. Rows without a split, where others have one, are for training.
    """
    given = {row.split for row in rows}
    validation = "train" if "test" in given else "test"
    splits = [validation if row.split == "validation" else row.split or "train" for row in rows]
    keys = [row.person or row.key for row in rows]
    for name, share in (("test", TEST_SHARE), ("extractor", EXTRACTOR_SHARE)):
        if name not in splits:
            marks = hash_split(keys, share, name)
            both = zip(splits, marks, strict=True)
            splits = [name if mark and old == "train" else old for old, mark in both]
    return [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]


def read_units(columns: dict[str, object]) -> tuple[float, ...] | None:
    """17 values in 0..1 from a `units` list, AU01 .. AU45 (0..1), OpenFace's AU01_r (0..5), or
    `blendshapes` (52 in MediaPipe's order, or by name): the first of them that is there.

    None where the row has no such column; raises ValueError where it cannot be used.
    """
    if columns.get("units") is not None:
        values = [float(value) for value in columns["units"]]
        if not values:  # what `python -m ganmut units` writes where it saw no face
            raise ValueError("no action units")
    else:
        named = {name.strip().upper(): value for name, value in columns.items()}
        plain = [named.get(f"AU{unit:02d}") for unit in UNITS]
        openface = [named.get(f"AU{unit:02d}_R") for unit in UNITS]
        cells, top = (plain, 1) if any(v is not None for v in plain) else (openface, 5)
        if all(value is None for value in cells):
            shapes = columns.get("blendshapes")
            return None if shapes is None else blendshapes.units(shapes)
        if any(value in (None, "") for value in cells):
            raise ValueError("action units missing")
        values = [float(value) / top for value in cells]
    if len(values) != len(UNITS):
        raise ValueError(f"{len(values)} action units, not {len(UNITS)}")
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in values):
        raise ValueError("action units outside 0..1")
    return tuple(values)


def _misspelt(word: str) -> str | None:
    near = nearest_name(word, EMOTIONS, cutoff=0.8)
    return near if near != word else None


def _people(rows: list[Row]) -> Tensor:
    """int64 N: one number a person; a row whose person is unknown is a person of its own."""
    names = [f"person {row.person}" if row.person else f"picture {row.key}" for row in rows]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))


def _units(rows: list[Row]) -> Tensor | None:
    if any(row.units is None for row in rows):
        return None
    return torch.tensor([row.units for row in rows], dtype=torch.float32)


def positive(name: str, value: int | str) -> int:
    """A whole number above 0, given as text or number; raises BadData."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise BadData(f"{name} must be a whole number above 0, got {value!r}")
    return number
