"""Processes: the work of a benchmark in this process or shared among several, with equal results.

Several processes first fill the cache: the ground truth by emotion, then every edit set in chunks.
Then they measure a row each. Each computes with one thread, on its own too: convolutions round
differently with more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from ganmut.workers import check_count, map_items

from .features.cache import Features
from .features.extract import FEATURES, NON_NETWORK_ROLES
from .metrics import METRICS, NotMeasured, Score
from .results import Result

if TYPE_CHECKING:
    from .runner import Benchmark

Cell = tuple[Result, Score | None]
# Errors of a metric, an editor or an extractor that become the status of a cell; the run goes on.
FAILURES = (
    ValueError,
    RuntimeError,
    OSError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
)
TRUTH = NON_NETWORK_ROLES - {""}  # roles of the features that are computed with the ground truth
SOURCE = ""  # the row of the unedited faces, whose features all rows share


def number_of_workers(asked: int | None, device: torch.device) -> int:
    """`asked`, or by default one a core, and one for a GPU. Raises ParameterError."""
    if asked is None:
        if device.type != "cpu":
            return 1
        # Of this process where the system says so (Linux), which a container may limit.
        allowed = getattr(os, "sched_getaffinity", None)
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    check_count(asked)
    return asked


def measure_rows(
    benchmark: Benchmark, work: Callable[..., Any]
) -> Iterator[tuple[Iterable[Cell], Mapping[str, float]]]:
    """Yields the cells of each row in order, and its seconds by edit set, complete after its last
    cell.

    work: calls a function of this module with a benchmark and arguments, in whatever process it is
    sent to. Raises ParameterError where a process was killed.
    """
    rows = benchmark.rows()
    if benchmark.workers == 1:
        for row in rows:
            features = benchmark.features(row)
            yield measure(benchmark, features), features.seconds
        return
    items = [*fill_items(benchmark), *((measure_row, row) for row in rows)]
    done = map_items(work, items, benchmark.workers)
    with contextlib.closing(done), benchmark.track("all rows", len(items)) as advance:
        for found in done:
            advance(1)
            if found is not None:
                yield found


def fill_items(benchmark: Benchmark) -> Iterator[tuple[Any, ...]]:
    """What fills the cache: functions of this module and their arguments."""
    truth = benchmark.extractors.ground_truth
    needs = {need for name in benchmark.metrics for need in METRICS[name].needs}
    if truth.available and any(FEATURES[need.split(":")[1]][1] in TRUTH for need in needs):
        yield from ((fill_truth, emotion) for emotion in benchmark.faces.emotions)
    parts = benchmark.workers
    for row in (SOURCE, *benchmark.rows()):
        for name in sorted({need.split(":")[0] for need in needs}):
            if name.startswith("source") == (row == SOURCE):
                yield from ((fill_edits, row, name, part, parts) for part in range(parts))


def fill_truth(benchmark: Benchmark, emotion: str) -> None:
    """Renders the test faces with an emotion."""
    benchmark.extractors.ground_truth.render(torch.zeros(1, dtype=torch.long), emotion)


def fill_edits(benchmark: Benchmark, row: str, name: str, part: int, parts: int) -> None:
    """Makes a part of the edits of a row and extracts their features."""
    features = requested(benchmark, row)
    if row == SOURCE or name in features.requests:
        # The metric that reads the features meets the same error and records it.
        with contextlib.suppress(NotMeasured, *FAILURES):
            features.fill(name, part, parts)


def measure_row(benchmark: Benchmark, row: str) -> tuple[list[Cell], dict[str, float]]:
    """The cells of a row and its seconds by edit set."""
    features = requested(benchmark, row)
    return list(measure(benchmark, features)), features.seconds


def requested(benchmark: Benchmark, row: str) -> Features:
    """The features of a row, with the requests of its metrics; kept until another row's are asked
    for, since each edit set of a row comes in parts."""
    if row == SOURCE:
        return benchmark.source
    kept = benchmark.latest
    if kept is None or kept.system.name != row:
        kept = benchmark.latest = benchmark.features(row)
        request(benchmark, kept)
    return kept


def request(benchmark: Benchmark, features: Features) -> list[str]:
    """The metrics of a system, after their needs were requested."""
    metrics = benchmark.metrics_of(features.system)
    for name in metrics:
        features.request(METRICS[name].needs_of(features.system))
    return metrics


def measure(benchmark: Benchmark, features: Features) -> Iterator[Cell]:
    """Yields one Result per metric of a system; a metric that fails gives a Result with its
    error."""
    for name in request(benchmark, features):
        start, score, status, note = time.perf_counter(), None, "ok", ""
        try:
            score = METRICS[name]().compute(features)
        except NotMeasured as reason:
            status, note = "not measured", str(reason)
        except FAILURES as error:
            status, note = "error", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        yield benchmark.record(features, name, score, status, note, seconds), score
