"""Feature cache: edits made once, features extracted once by each frozen network, stored on disk
and shared by all metrics and runs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError

from ganmut.datasets import FaceSet
from ganmut.datasets.base import digest
from ganmut.errors import describe_os_error, first_line
from ganmut.files import UNSEALED, DamagedFile, seal, unseal, write_atomic

from .. import edit_sets
from ..edit_sets import EditSet
from ..protocol import Protocol
from ..stats import NotMeasured
from ..systems import SourceSystem, System
from .extract import FEATURES, EditedBatch, Extractors

log = logging.getLogger(__name__)

VERSION = 2  # raised whenever the same edit set would give other edits or features
CHUNK = 512  # edits per cache file: the most that a killed run loses

# Called with a label and a number of edits; gives a function that reports finished edits.
Track = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def no_progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A `Track` that shows nothing."""
    yield lambda done: None


@dataclass
class Features:
    """The features of one system. `features["labels:softmax"]` extracts or loads a feature of an
    edit set, as an array of the shape of the set x the feature.

    faces: the source faces, in the order of every edit set. source: the features of the unedited
    faces ("source:softmax" and so on), shared by all systems. requests: edit set -> features to
    extract in the same pass. seconds: edit set -> what its edits and features took when they were
    made, also where they come from the cache.
    """

    system: System
    faces: FaceSet
    protocol: Protocol
    extractors: Extractors
    cache: Path
    source: Features | None = None
    track: Track = no_progress
    requests: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)
    _timed: set[Path] = field(default_factory=set)  # files whose seconds are in `seconds` already
    _edit_sets: dict[str, EditSet] = field(default_factory=dict)
    _unwritable: bool = False  # whether the cache could not be written

    def request(self, needs: Iterable[str]) -> None:
        """Announces needs ("edit set:feature"), so that one pass over an edit set serves all of its
        features."""
        for need in needs:
            name, feature = need.split(":")
            if name.startswith("source") and self.source is not None:
                self.source.request([need])
            elif feature not in self.requests.setdefault(name, []):
                self.requests[name].append(feature)

    def __getitem__(self, need: str) -> np.ndarray:
        if need.startswith("source") and self.source is not None:
            return self.source[need]
        if need not in self._arrays:
            self.request([need])
            self._extract(need)
        return self._arrays[need]

    def fill(self, name: str, part: int, parts: int) -> None:
        """Stores the requested features of every `parts`-th chunk of an edit set in the cache, from
        chunk `part` on: several processes share an edit set."""
        items, _ = _distinct(self.edit_set(name))
        features = [f for f in self.requests.get(name, ()) if self._available(f) and f != "images"]
        for rows in torch.arange(len(items)).split(CHUNK)[part::parts] if features else ():
            self._chunk(items.select(rows), features, lambda done: None)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The data's emotions, neutral first."""
        return self.faces.emotions

    def edit_set(self, name: str) -> EditSet:
        """The edit set of this name for this system."""
        if name not in self._edit_sets:
            edits = edit_sets.build(name, self.system, self.faces, self.protocol)
            self._edit_sets[name] = edits
        return self._edit_sets[name]

    def _extract(self, need: str) -> None:
        """Extracts a need, and in the same pass whatever else was requested of its edit set."""
        name, feature = need.split(":")
        edits = self.edit_set(name)
        pending = [f for f in self.requests[name] if f != feature]
        pending = [f for f in pending if f"{name}:{f}" not in self._arrays and self._available(f)]
        try:
            arrays = self._pass(name, edits, [feature, *pending])
        except (RuntimeError, ValueError):
            if not pending:
                raise
            # The network of another metric may have failed; this feature may still be possible.
            arrays = self._pass(name, edits, [feature])
        for key, values in arrays.items():
            self._arrays[f"{name}:{key}"] = values.reshape(*edits.shape, *values.shape[1:])

    def _available(self, feature: str) -> bool:
        try:
            self._extractor_hash(feature)
        except NotMeasured:
            return False
        return True

    def _extractor_hash(self, feature: str) -> str:
        role = FEATURES[feature][1]
        return self.extractors.sha256(role) if role else ""

    def _pass(self, name: str, edits: EditSet, features: list[str]) -> dict[str, np.ndarray]:
        """Feature -> array m x ..., in one pass over the distinct edits, chunk by chunk."""
        items, back = _distinct(edits)
        parts: dict[str, list[np.ndarray]] = {feature: [] for feature in features}
        spent = 0.0
        with self.track(f"{self.system.name}: {name}", len(items)) as advance:
            for rows in torch.arange(len(items)).split(CHUNK):
                chunk = items.select(rows)
                for feature, (values, seconds) in self._chunk(chunk, features, advance).items():
                    parts[feature].append(values)
                    # Two edit sets may share a file; its time is counted once.
                    path = self._path(chunk, feature)
                    spent += 0.0 if path in self._timed else seconds / len(features)
                    self._timed.add(path)
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        return {feature: np.concatenate(pieces)[back] for feature, pieces in parts.items()}

    def _chunk(
        self, chunk: EditSet, features: list[str], advance: Callable[[int], None]
    ) -> dict[str, tuple[np.ndarray, float]]:
        """Feature -> values and seconds of a chunk, from the cache where it has them."""
        paths = {feature: self._path(chunk, feature) for feature in features}
        loaded = {feature: _load(path) for feature, path in paths.items()}
        values = {feature: entry for feature, entry in loaded.items() if entry is not None}
        missing = [feature for feature in features if feature not in values]
        if not missing:
            advance(len(chunk))
            return values
        start = time.perf_counter()
        pieces: dict[str, list[np.ndarray]] = {feature: [] for feature in missing}
        for rows in torch.arange(len(chunk)).split(self.system.batch):
            part = chunk.select(rows)
            edited = self.system.edit(part.faces, part.codes)
            batch = EditedBatch(edited, part.faces, part.targets, self.extractors)
            for feature in missing:
                pieces[feature].append(FEATURES[feature][0](batch))
            advance(len(rows))
        seconds = time.perf_counter() - start
        for feature in missing:
            values[feature] = np.concatenate(pieces[feature]), seconds
            if feature != "images":
                self._store(paths[feature], *values[feature])
        return values

    def _store(self, path: Path, values: np.ndarray, seconds: float) -> None:
        """Writes a cache file. A full disk costs the cache and not the result: a warning says it
        once."""
        if self._unwritable:
            return
        try:
            _save(path, values, seconds)
        except OSError as error:
            self._unwritable = True
            log.warning(
                "%s; features of %s are not cached", describe_os_error(error), self.system.name
            )

    def _path(self, chunk: EditSet, feature: str) -> Path:
        """The cache file of a chunk. Its name hashes everything that the values depend on."""
        edits = digest(chunk.faces, chunk.codes, chunk.targets)
        setting = digest(
            VERSION,
            self.system.kind,
            self.system.sha256,
            *self.system.dependencies,
            self.faces.fingerprint,
            self.emotions,
            self.extractors.device,
        )
        extractor = digest(self._extractor_hash(feature))
        return self.cache / setting / f"{edits}-{feature}-{extractor}.safetensors"


def source_features(
    faces: FaceSet,
    protocol: Protocol,
    extractors: Extractors,
    cache: Path,
    track: Track = no_progress,
) -> Features:
    """The features of the unedited test faces, to be passed as `source` to every system's."""
    return Features(SourceSystem(faces), faces, protocol, extractors, cache, track=track)


def _distinct(edits: EditSet) -> tuple[EditSet, np.ndarray]:
    """The edits without repetitions, ordered by face so that a batch has few faces, and the
    position of each edit among them.

    All paths start at the neutral code, and a disc's grid has 21 codes at its centre.
    """
    key = torch.cat(
        [edits.faces[:, None].double(), edits.codes.double(), edits.targets[:, None].double()], 1
    )
    distinct, back = key.unique(dim=0, return_inverse=True)
    faces, codes, targets = distinct[:, 0].long(), distinct[:, 1:-1].float(), distinct[:, -1].long()
    return EditSet(faces, codes, targets, (len(distinct),)), back.numpy()


def _save(path: Path, values: np.ndarray, seconds: float) -> None:
    tensors = {"values": np.ascontiguousarray(values), "seconds": np.array([seconds])}
    write_atomic(path, seal(safetensors.numpy.save(tensors, {"sha256": UNSEALED})))


def _load(path: Path) -> tuple[np.ndarray, float] | None:
    """Values and seconds of a cache file, or None where it is absent, or damaged, which a warning
    says."""
    try:
        tensors = safetensors.numpy.load(unseal(path))
        return tensors["values"], float(tensors["seconds"][0])
    except FileNotFoundError:
        return None
    except (DamagedFile, SafetensorError, KeyError, IndexError, OSError) as error:
        log.warning("%s is damaged (%s): it is made again", path, first_line(error))
        return None
