"""Rows of labelled images, and FaceSets of them: emotions, splits, persons, rejected rows.

Base of all sources that read files. Rows that cannot be used are counted and listed; they raise an
error, or are skipped with `on_error="skip"`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmut.action_units import blendshapes
from ganmut.datasets import cache
from ganmut.datasets.base import CROP, BadData, FaceSet, digest, hash_split
from ganmut.datasets.stored import StoredImages
from ganmut.emotions import EMOTIONS, UNITS, canonical_emotion
from ganmut.registry import nearest_name
from ganmut.text import quantity, quote

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
LABELS = ("emotion", "label", "expression")  # names of a label column, the first that is there
# Labels of rows without an emotion.
NO_LABEL = {"", "none", "nan", "null", "uncertain", "unknown", "non-face", "nonface", "no-face"}
TEST_SHARE, EXTRACTOR_SHARE = 0.1, 0.25
SHOWN = 5  # rejected rows that a message lists
MOST_REASONS, LONGEST = 8, 70  # reasons that are listed; characters of one
SHOWN_LABELS = 20
NUMBER = "is a number, not a name"


@dataclass(frozen=True)
class Row:
    """One labelled image.

    key: its path or number in the dataset. split: "" if unknown. person: "" if unknown, None if the
    data has no persons. units: 17 in 0..1. fill: share of the crop that the image covers. bytes,
    stamp: size and modification time of the file, which identify its content.
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
    """Collects the rows that cannot be used, with a reason each; on_error: "raise" or "skip"."""

    def __init__(self, source: str, on_error: str):
        if on_error not in ("raise", "skip"):
            raise BadData(f'on_error must be "raise" or "skip", got {quote(on_error)}')
        self.source, self.on_error = source, on_error
        self.rejected: list[tuple[str, str]] = []
        self.skipped: Counter[str] = Counter()
        self.skipped_keys: set[str] = set()

    def reject(self, key: str, reason: str) -> None:
        """Records a row that cannot be used."""
        self.rejected.append((key, one_line(reason)))

    def skip(self, reason: str, key: str = "") -> None:
        """Counts a row that is valid but not selected: no emotion, another angle."""
        self.skipped[reason] += 1
        self.skipped_keys.add(key)

    def counts(self) -> dict[str, int]:
        """Reason -> number of rejected rows."""
        return dict(Counter(reason for _, reason in self.rejected))

    def report(self) -> None:
        """Raises BadData with the first rejected rows; prints the counts of what is left out."""
        rejected = _counts(self.counts())
        if self.skipped:
            total = quantity(self.skipped.total(), "image")
            print(f"{self.source}: left out {total}: {_counts(self.skipped)}")
        if not self.rejected:
            return
        total = quantity(len(self.rejected), "row")
        if self.on_error == "skip":
            print(f"{self.source}: left out {total}: {rejected}")
            return
        shown = "; ".join(f"{one_line(key)}: {reason}" for key, reason in self.rejected[:SHOWN])
        more = f"; and {len(self.rejected) - SHOWN} more" if len(self.rejected) > SHOWN else ""
        names = ", name them with SOURCE?label_map=0:neutral,1:happy" if NUMBER in rejected else ""
        raise BadData(
            f"{self.source}: {total} cannot be used ({rejected}): {shown}{more}. "
            f"Correct them{names}, or leave them out with SOURCE?on_error=skip"
        )


def _counts(counts: Mapping[str, int]) -> str:
    most = Counter(counts).most_common(MOST_REASONS)
    more = f", and {len(counts) - len(most)} more reasons" if len(counts) > len(most) else ""
    return ", ".join(f"{n} x {reason}" for reason, n in most) + more


def one_line(text: str) -> str:
    """The text, which may hold a value of a table, on one line of at most LONGEST characters."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def parse_label_map(text: str) -> dict[str, str]:
    """{label in lower case: emotion} of "0:neutral,1:happy"; raises BadData for other text."""
    pairs = [pair.rpartition(":") for pair in text.split(",")] if text else []
    names = {label.strip().lower(): canonical_emotion(name) for label, _, name in pairs}
    if len(names) < len(pairs) or not all(label and name for label, name in names.items()):
        raise BadData(
            f"label_map must be LABEL:EMOTION pairs such as 0:neutral,1:happy, got {quote(text)}"
        )
    return names


class TableSource(ABC):
    """A source over rows; a subclass lists the rows and reads one image.

    min_fill: leaves out images that cover less of their crop (needs `fill` in all rows). emotions:
    the emotions to keep, comma-separated. crop: the name of the images' crop. label_map: the
    emotions of labels, such as "0:neutral,1:happy,2:none"; the emotion "none" leaves the label out.
    Options may be text, as in a spec. Raises BadData.
    """

    def __init__(
        self,
        name: str,
        rows: list[Row],
        row_filter: RowFilter,
        *,
        min_fill: float | str = 0.0,
        emotions: str = "",
        crop: str = CROP,
        label_map: str = "",
    ):
        self.source, self.crop, self.row_filter = name, crop, row_filter
        names = parse_label_map(label_map)
        if unknown := sorted(names.keys() - {row.label.strip().lower() for row in rows}):
            found = ", ".join(sorted({row.label for row in rows})[:SHOWN_LABELS])
            raise BadData(f"{name}: label_map names {quote(unknown[0])}; the labels are {found}")
        labelled = [row for row in map(partial(self._normalise_label, names), rows) if row]
        labelled = self._distinct(labelled)
        row_filter.report()
        self.skip_counts = {**row_filter.counts(), **row_filter.skipped}
        rows = self._filter_by_emotion(self._filter_by_fill(labelled, min_fill), emotions)
        self.emotions = order_emotions(name, Counter(row.label for row in rows))
        self.rows = assign_splits(rows)
        known = any(row.person is not None for row in self.rows)
        self.people = _person_ids(self.rows) if known else None

    @abstractmethod
    def read_image(self, row: Row) -> np.ndarray:
        """H x W x 3 uint8 of a row; raises images.BadImage. Called from several threads."""

    @abstractmethod
    def location(self) -> str:
        """Where the data is: a path, or a repository and revision. Part of the cache key."""

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """At most `n` faces of a split (default all; the seed selects them) at size x size px.

        Raises BadData for an unknown or empty split, and for images that cannot be read.
        """
        chosen = self._choose(split, n, seed)
        rows = [self.rows[i] for i in chosen]
        stamps = [(row.key, row.bytes, row.stamp) for row in rows]
        key = f"{self.source.partition(':')[0]}-{digest(self.location(), stamps)}"
        images, bad, content = cache.cached_images(
            key, len(rows), size, lambda i: self.read_image(rows[i]), progress
        )
        row_filter = RowFilter(self.source, self.row_filter.on_error)
        for i in bad:
            row_filter.reject(rows[i].key, "unreadable image")
        row_filter.report()
        good = np.array([i for i in range(len(rows)) if i not in bad], np.int64)
        rows, chosen = [rows[i] for i in good], chosen[good]
        match = [(row.key, row.label, row.person, row.units, row.bytes) for row in rows]
        return FaceSet(
            source=self.source,
            split=split,
            emotions=self.emotions,
            crop=self.crop,
            images=select_images(images, good) if bad else images,
            emotion=torch.tensor([self.emotions.index(row.label) for row in rows]),
            fingerprint=digest(match, self.crop, size),
            content=content,
            units=_stack_units(rows),
            person=None if self.people is None else self.people[torch.from_numpy(chosen)],
            skip_counts={**self.skip_counts, **row_filter.counts()},
        )

    def _choose(self, split: str, n: int | None, seed: int) -> np.ndarray:
        if split not in SPLITS:
            raise BadData(f"unknown split {quote(split)}; there are: {', '.join(SPLITS)}")
        members = np.array([i for i, row in enumerate(self.rows) if row.split == split], np.int64)
        if not len(members):
            raise BadData(f"{self.source}: the {split} split has no faces")
        if n is None or n >= len(members):
            return members
        return np.sort(np.random.default_rng(seed).choice(members, n, replace=False))

    def _distinct(self, rows: list[Row]) -> list[Row]:
        """The rows without repetitions; an image that is listed with different labels, splits or
        other columns is rejected."""
        first: dict[str, Row] = {}
        different: dict[str, set[str]] = {}
        for row in rows:
            if row.key not in first:
                first[row.key] = row
            elif row == first[row.key]:
                self.row_filter.skip("listed again", row.key)
            else:
                different.setdefault(row.key, {first[row.key].label}).add(row.label)
        for key, labels in different.items():
            names = f"the labels {' and '.join(sorted(labels))}" if len(labels) > 1 else ""
            self.row_filter.reject(key, f"listed twice with {names or 'different columns'}")
        return [row for key, row in first.items() if key not in different]

    def _normalise_label(self, names: Mapping[str, str], row: Row) -> Row | None:
        """The row with the canonical emotion and split, or None where it is rejected, or has no
        emotion in `names`, the label_map."""
        word = canonical_emotion(row.label)
        if mapped := names.get(row.label.strip().lower()):
            if mapped in NO_LABEL:
                self.row_filter.skip(f"labelled {row.label}", row.key)
                return None
            word = mapped
        if word in NO_LABEL:
            reason = "no label" if not word else f"label {quote(word)} is no emotion"
        elif word.lstrip("-").isdigit():
            reason = f"label {quote(word)} {NUMBER}"
        elif row.split and row.split.lower() not in SPLIT_WORDS:
            reason = f"unknown split {quote(row.split)}"
        elif near := _likely_typo(word):
            reason = f"unknown label {quote(word)}, did you mean {quote(near)}?"
        else:
            return replace(row, label=word, split=SPLIT_WORDS.get(row.split.lower(), ""))
        self.row_filter.reject(row.key, reason)
        return None

    def _filter_by_fill(self, rows: list[Row], min_fill: float | str) -> list[Row]:
        try:
            least = float(min_fill)
        except ValueError:
            least = -1.0
        if not 0 <= least <= 1:
            raise BadData(f"{self.source}: min_fill must be in 0..1, got {quote(min_fill)}")
        if not least:
            return rows
        fills = [row.fill for row in rows if row.fill is not None]
        if len(fills) < len(rows):
            raise BadData(f"{self.source}: min_fill needs a `fill` column in every row")
        kept = [row for row, fill in zip(rows, fills, strict=True) if fill >= least]
        self.skip_counts[f"fill below {least:g}"] = len(rows) - len(kept)
        return kept

    def _filter_by_emotion(self, rows: list[Row], emotions: str) -> list[Row]:
        if not emotions:
            return rows
        names = {canonical_emotion(name) for name in emotions.split(",")}
        found = {row.label for row in rows}
        if missing := sorted(names - found):
            raise BadData(
                f"{self.source} has no {', '.join(missing)}; it has {', '.join(sorted(found))}"
            )
        kept = [row for row in rows if row.label in names]
        self.skip_counts["emotion not selected"] = len(rows) - len(kept)
        return kept


def select_images(images: np.ndarray, rows: np.ndarray) -> np.ndarray | StoredImages:
    """The images of these rows (int64 n), in their file where they lie in one."""
    stored = StoredImages.of(images)
    return images[rows] if stored is None else stored.select(rows)


def order_emotions(source: str, counts: Counter[str]) -> tuple[str, ...]:
    """The emotions of the data: neutral, the canonical ones in their order, the others by name.

    Raises BadData without neutral or without another emotion.
    """
    found = ", ".join(f"{name} {n}" for name, n in counts.most_common()) or "nothing"
    if "neutral" not in counts or len(counts) < 2:
        raise BadData(f"{source}: neutral and at least one emotion are needed, found {found}")
    others = sorted(counts.keys() - set(EMOTIONS))
    return (*(name for name in EMOTIONS if name in counts), *others)


def assign_splits(rows: list[Row]) -> list[Row]:
    """The rows, each with one of SPLITS.

    A validation split becomes "test" if there is no test split, else "train". Rows without a split
    become "train". If no row is "test", TEST_SHARE of the persons become it, and likewise
    EXTRACTOR_SHARE of the training persons "extractor", chosen by a hash of person or key.
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


def parse_units(columns: Mapping[str, Any]) -> tuple[float, ...] | None:
    """17 values in 0..1 from a `units` list, AU01 .. AU45 (0..1), OpenFace's AU01_r (0..5), or
    `blendshapes` (52 in MediaPipe's order, or by name): the first of them that is there.

    None where the row has no such column; raises ValueError where it cannot be used.
    """
    if columns.get("units") is not None:
        values = [float(value) for value in columns["units"]]
        if not values:  # `python -m ganmut units` writes an empty list where it detects no face
            raise ValueError("no action units")
    else:
        named = {name.strip().upper(): value for name, value in columns.items()}
        plain = [named.get(f"AU{unit:02d}") for unit in UNITS]
        openface = [named.get(f"AU{unit:02d}_R") for unit in UNITS]
        cells, top = (plain, 1) if any(v is not None for v in plain) else (openface, 5)
        if all(value is None for value in cells):
            shapes = columns.get("blendshapes")
            return None if shapes is None else blendshapes.units(shapes)
        present = [value for value in cells if value is not None and value != ""]
        if len(present) < len(cells):
            raise ValueError("action units missing")
        values = [float(value) / top for value in present]
    if len(values) != len(UNITS):
        raise ValueError(f"{len(values)} action units, not {len(UNITS)}")
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in values):
        raise ValueError("action units outside 0..1")
    return tuple(values)


def _likely_typo(word: str) -> str | None:
    near = nearest_name(word, EMOTIONS, cutoff=0.8)
    return near if near != word else None


def _person_ids(rows: list[Row]) -> Tensor:
    """int64 N: a number per person; a row with an unknown person counts as a new person."""
    names = [f"person {row.person}" if row.person else f"image {row.key}" for row in rows]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1].astype(np.int64))


def _stack_units(rows: list[Row]) -> Tensor | None:
    if any(row.units is None for row in rows):
        return None
    return torch.tensor([row.units for row in rows], dtype=torch.float32)


def parse_positive_int(name: str, value: int | str) -> int:
    """A whole number above 0, given as text or number; raises BadData."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise BadData(f"{name} must be a whole number above 0, got {quote(value)}")
    return number


def cell_text(cell: Any) -> str:
    """The text of a cell; "" where it is empty, which 0 is not: None, or NaN for a number."""
    if isinstance(cell, bytes):  # text of a writer that does not say that it is text
        return cell.decode(errors="backslashreplace")
    return "" if cell is None or cell != cell else str(cell)


def parse_fill(cell: Any) -> float | None:
    """The number of a `fill` cell, or None for an empty one."""
    return None if cell in (None, "") else float(cell)
