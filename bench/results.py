"""Results: one JSON line a number, with everything one needs to know what it is a number of."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.score import Score
from ganmut import device as hardware

FILE = "results.jsonl"


@dataclass(frozen=True)
class Result:
    """One cell of the leaderboard. status: "ok", "not measured" (note says why) or "error" (note is
    the message).

    value and parts carry 95 % intervals over n faces. seconds: this metric; evidence_seconds:
    making the edits and features it reads (shared with the other metrics). extractors: role ->
    sha256 of the networks it reads.
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
    protocol: str
    protocol_hash: str
    data: str
    split: str
    size: int
    data_fingerprint: str
    weights: str
    weights_sha256: str
    extractors: dict[str, str]
    seed: int
    commit: str
    device: str
    dtype: str
    seconds: float
    evidence_seconds: float
    time: str
    versions: dict[str, str] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    kind: str = "score"


def measured(score: Score) -> dict[str, Any]:
    """The fields of a Result that a Score gives; NaN (nothing left to average) becomes null."""
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


def append(folder: Path, records: list[Any]) -> Path:
    """Adds records (dataclasses) to the folder's results.jsonl; earlier lines stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    lines = "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in records)
    with open(path, "a", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    return path


def read(folder: Path) -> list[dict[str, Any]]:
    """All records of a folder in the order they were written; a last line cut short by a kill is
    passed over.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    records = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is not JSON ({error})") from None
    return records


def environment(device: torch.device) -> dict[str, Any]:
    """commit, device, dtype, versions and time: what every record of a run shares."""
    import numpy
    import scipy

    dtype = "bfloat16 autocast" if hardware.bf16(device) else "float32"
    versions = {"torch": torch.__version__, "numpy": numpy.__version__, "scipy": scipy.__version__}
    return {
        "commit": commit(),
        "device": hardware.describe(device),
        "dtype": dtype,
        "versions": versions,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def commit() -> str:
    """The commit of this checkout, with "+" where tracked files differ from it; "unknown" outside
    one.
    """
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")
