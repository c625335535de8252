"""Results: one JSON line per number, with everything that the number depends on."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ganmut import __version__, legacy
from ganmut import device as hardware
from ganmut.files import append_lines, read_lines
from ganmut.revision import commit

from .claims.verdicts import Verdict
from .stats import Score

FILE = "results.jsonl"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What every line of results.jsonl depends on: protocol, data, seed, commit and machine."""

    protocol: str
    protocol_hash: str
    data: str
    split: str
    size: int
    data_fingerprint: str
    seed: int
    commit: str
    device: str
    dtype: str
    time: str
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result(RunRecord):
    """One cell of the leaderboard. status: "ok", "not measured" or "error"; note is the reason or
    the message.

    value, parts: with 95 % intervals over n faces. extractors: role -> sha256 of the networks that
    the metric reads. seconds: the metric itself. feature_seconds: the edits and features that it
    reads, which other metrics share. codes: kind of the row's code space ("labels", "units", ...).
    drawing: what draws the row's edits where it is no generator of the method's own. supervision:
    what its training knew of the faces.
    """

    row: str
    metric: str
    metric_version: int
    status: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    parts: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    unit: str
    higher_is_better: bool | None
    note: str
    weights: str
    weights_sha256: str
    extractors: dict[str, str]
    seconds: float
    feature_seconds: float
    training: dict[str, Any] = field(default_factory=dict)
    codes: str = ""
    drawing: str = ""
    supervision: str = ""
    kind: str = "score"


@dataclass(frozen=True, kw_only=True)
class ClaimRecord(RunRecord, Verdict):
    """A verdict with everything that it depends on. weights: method -> sha256."""

    weights: dict[str, str]
    kind: str = "claim"


def score_fields(score: Score) -> dict[str, Any]:
    """The fields of a Result that a Score gives; NaN becomes null."""
    return {
        "value": _finite(score.value),
        "interval": score.interval,
        "n": score.n,
        "note": score.note,
        "parts": {name: _finite(value) for name, value in score.parts.items()},
        "intervals": score.intervals,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def append(folder: Path, records: list[Result] | list[ClaimRecord]) -> Path:
    """Appends records to the results.jsonl of a folder and returns its path. Raises OSError, such
    as for a full disk, and stores nothing."""
    return append_lines(folder / FILE, map(asdict, records))


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of a folder in the order of writing, old names replaced by current ones; lines
    that cannot be read are left out, and a warning counts them."""
    records, _ = read_lines(folder / FILE)
    return [legacy.read_result(record) for record in records if "kind" in record]


def environment(device: torch.device) -> dict[str, Any]:
    """commit, device, dtype, versions and time: the fields that all records of a run share."""
    import numpy
    import scipy

    dtype = "bfloat16 autocast" if hardware.bf16(device) else "float32"
    versions = {
        "ganmut": __version__,  # an installed package has no commit
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
    }
    return {
        "commit": commit(),
        "device": hardware.device_name(device),
        "dtype": dtype,
        "versions": versions,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
