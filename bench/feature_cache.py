"""Evidence: edits made once, looked at once by each frozen network, kept as features, shared by all
metrics.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError
from torch import Tensor

from bench import edit_sets
from bench.features import VIEWS, Judges, Seen
from bench.protocol import Protocol
from bench.score import NotMeasured
from bench.systems import Row, SourceRow
from ganmut.datasets import FaceSet
from ganmut.datasets.base import digest
from ganmut.images import write_atomic

VERSION = 2  # raised when the same plan would be edited or looked at differently
CHUNK = 512  # edits a cache file: what a killed run loses at most

# Called with a label and a number of edits; gives a function to report finished edits to.
Track = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def quiet(label: str, total: int):
    """No progress at all."""
    yield lambda done: None


@dataclass
class Evidence:
    """What is known of one row. `evidence["labels:softmax"]` makes and caches what it names; shape
    = plan x view.

    faces: the source faces, in the order of every plan. real: evidence of the faces as they are
    ("source:features" and so on), shared by all rows. wants: views to make together when a plan is
    first asked for. seconds: what making each "plan" took, also when it came from the cache.
    """

    row: Row
    faces: FaceSet
    protocol: Protocol
    judges: Judges
    cache: Path
    real: Evidence | None = None
    track: Track = quiet
    wants: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _made: dict[str, np.ndarray] = field(default_factory=dict)
    _counted: set[Path] = field(default_factory=set)  # files whose seconds are in `seconds` already
    _plans: dict[str, edit_sets.Plan] = field(default_factory=dict)

    def want(self, needs: Iterable[str]) -> None:
        """Says in advance what will be asked for, so that one pass over a plan serves all its
        views.
        """
        for need in needs:
            plan, view = need.split(":")
            if plan.startswith("source") and self.real is not None:
                self.real.want([need])
            elif view not in self.wants.setdefault(plan, []):
                self.wants[plan].append(view)

    def __getitem__(self, need: str) -> np.ndarray:
        if need.startswith("source") and self.real is not None:
            return self.real[need]
        if need not in self._made:
            self.want([need])
            self._make(need)
        return self._made[need]

    @property
    def emotions(self) -> tuple[str, ...]:
        """The data's emotions, neutral first."""
        return self.faces.emotions

    def plan(self, name: str) -> edit_sets.Plan:
        """The named plan of this row."""
        if name not in self._plans:
            self._plans[name] = edit_sets.make(name, self.row, len(self.faces), self.protocol)
        return self._plans[name]

    def _make(self, need: str) -> None:
        name, asked = need.split(":")
        plan = self.plan(name)
        others = [v for v in self.wants[name] if v != asked and f"{name}:{v}" not in self._made]
        views = [asked, *(view for view in others if self._possible(view))]
        try:
            made = self._run(name, plan, views)
        except (RuntimeError, ValueError):
            if len(views) == 1:
                raise
            made = self._run(name, plan, [asked])  # another metric's network must not cost this one
        for view, values in made.items():
            self._made[f"{name}:{view}"] = values.reshape(*plan.shape, *values.shape[1:])

    def _possible(self, view: str) -> bool:
        try:
            self._judge(view)
        except NotMeasured:
            return False
        return True

    def _judge(self, view: str) -> str:
        role = VIEWS[view][1]
        return self.judges.sha256(role) if role else ""

    def _run(self, name: str, plan: edit_sets.Plan, views: list[str]) -> dict[str, np.ndarray]:
        items, back = _distinct(plan)
        parts: dict[str, list[np.ndarray]] = {view: [] for view in views}
        spent = 0.0
        with self.track(f"{self.row.name}: {name}", len(items)) as advance:
            for rows in torch.arange(len(items)).split(CHUNK):
                chunk = _pick(items, rows)
                for view, (values, seconds) in self._chunk(chunk, views, advance).items():
                    parts[view].append(values)
                    path = self._path(chunk, view)
                    spent += 0.0 if path in self._counted else seconds / len(views)
                    self._counted.add(path)
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        return {view: np.concatenate(pieces)[back] for view, pieces in parts.items()}

    def _chunk(
        self, chunk: edit_sets.Plan, views: list[str], advance: Callable[[int], None]
    ) -> dict[str, tuple[np.ndarray, float]]:
        """Values and seconds of a chunk by view, from the cache where they are there."""
        paths = {view: self._path(chunk, view) for view in views}
        known = {view: kept for view, path in paths.items() if (kept := _load(path)) is not None}
        lacking = [view for view in views if view not in known]
        if not lacking:
            advance(len(chunk))
            return known
        start = time.perf_counter()
        pieces: dict[str, list[np.ndarray]] = {view: [] for view in lacking}
        for rows in torch.arange(len(chunk)).split(self.row.batch):
            part = _pick(chunk, rows)
            seen = Seen(self.row.edit(part.faces, part.codes), part.faces, part.wanted, self.judges)
            for view in lacking:
                pieces[view].append(VIEWS[view][0](seen))
            advance(len(rows))
        seconds = time.perf_counter() - start
        for view in lacking:
            known[view] = np.concatenate(pieces[view]), seconds
            if view != "images":
                _save(paths[view], *known[view])
        return known

    def _path(self, chunk: edit_sets.Plan, view: str) -> Path:
        what = digest(chunk.faces, chunk.codes, chunk.wanted)
        who = digest(
            VERSION,
            self.row.kind,
            self.row.sha256,
            self.faces.fingerprint,
            self.emotions,
            self.judges.device,
        )
        return self.cache / who / f"{what}-{view}-{digest(self._judge(view))}.safetensors"


def source_evidence(
    faces: FaceSet, protocol: Protocol, judges: Judges, cache: Path, track: Track = quiet
) -> Evidence:
    """Evidence of the test faces as they are, to be shared as `real` by every row."""
    return Evidence(SourceRow(faces), faces, protocol, judges, cache, track=track)


def _distinct(plan: edit_sets.Plan) -> tuple[edit_sets.Plan, np.ndarray]:
    """The plan without repetitions (ordered by face, so that a batch holds few faces), and where
    each edit went.

    Ways from neutral start at one code, and a disc's grid has 21 codes at its centre: no edit is
    made twice.
    """
    key = torch.cat(
        [plan.faces[:, None].double(), plan.codes.double(), plan.wanted[:, None].double()], 1
    )
    distinct, back = key.unique(dim=0, return_inverse=True)
    codes = distinct[:, 1:-1].float()
    items = edit_sets.Plan(distinct[:, 0].long(), codes, distinct[:, -1].long(), (len(distinct),))
    return items, back.numpy()


def _pick(plan: edit_sets.Plan, rows: Tensor) -> edit_sets.Plan:
    return edit_sets.Plan(plan.faces[rows], plan.codes[rows], plan.wanted[rows], (len(rows),))


def _save(path: Path, values: np.ndarray, seconds: float) -> None:
    tensors = {"values": np.ascontiguousarray(values), "seconds": np.array([seconds])}
    write_atomic(path, safetensors.numpy.save(tensors))


def _load(path: Path) -> tuple[np.ndarray, float] | None:
    """What was kept, or None where nothing (readable) is."""
    try:
        kept = safetensors.numpy.load(path.read_bytes())
        return kept["values"], float(kept["seconds"][0])
    except (FileNotFoundError, SafetensorError, KeyError):
        return None
