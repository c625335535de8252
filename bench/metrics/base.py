"""Metric: says what evidence it needs, gets it, returns a score. Nothing here knows a method or
another metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench import bootstrap
from bench.score import NotMeasured, Score, TooFew
from ganmut.registry import Registry

if TYPE_CHECKING:
    from bench.feature_cache import Evidence
    from bench.systems import Row

__all__ = ["METRICS", "Metric", "NotMeasured", "Score", "TooFew", "by_face", "by_set"]

METRICS = Registry("metric", "bench.metrics")


class Metric(ABC):
    """One number per row of the leaderboard.

    needs: evidence it reads, as "plan:view" (bench/edit_sets.py, bench/features.py). version:
    raised whenever the number changes its meaning. minimum: least number of faces. rows: the kinds
    of rows it can be asked for ("editor", "identity", "oracle", "real"). higher_is_better: None
    where neither is. about: what it is read for, and so in which of the tables it stands
    ("expression": what is shown; "picture": what is kept and how real it looks). reference: the
    papers' figures, by row.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = False
    minimum: ClassVar[int] = 2
    rows: ClassVar[frozenset[str]] = frozenset({"editor", "identity", "oracle"})
    about: ClassVar[str] = "picture"
    reference: ClassVar[dict[str, str]] = {}

    @classmethod
    def reads(cls, row: Row) -> tuple[str, ...]:
        """The evidence it reads of a row: `needs`, and more where a row has more to be asked."""
        return cls.needs

    @abstractmethod
    def compute(self, evidence: Evidence) -> Score:
        """The score of the evidence's row; raises TooFew, or NotMeasured where there is nothing to
        measure.
        """

    def enough(self, n: int, needed: int | None = None) -> None:
        """Raises TooFew unless there are `needed` (default: minimum) faces."""
        needed = self.minimum if needed is None else needed
        if n < needed:
            raise TooFew(
                f"{self.name} needs at least {needed} faces, got {n}; "
                "use a larger protocol or more data"
            )


def by_face(columns: dict[str, np.ndarray], evidence: Evidence, note: str = "") -> Score:
    """The score of per-face values: a column `[n]` a part (NaN = that face is left out); the value
    is the parts' mean.
    """
    n = len(next(iter(columns.values())))
    weights = bootstrap.counts(n, evidence.protocol.replicates, evidence.protocol.seed)
    parts = {name: _mean(values) for name, values in columns.items()}
    draws = {name: bootstrap.means(values, weights) for name, values in columns.items()}
    value = _mean(np.array(list(parts.values())))
    draws[""] = _columns_mean(np.stack(list(draws.values())))
    intervals = {name: bootstrap.interval(draw) for name, draw in draws.items()}
    whole = intervals.pop("")
    return Score(value, n, parts, whole, intervals, draws, note)


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _columns_mean(stack: np.ndarray) -> np.ndarray:
    known = np.isfinite(stack)
    total, share = np.where(known, stack, 0).sum(0), known.sum(0)
    return np.divide(total, share, out=np.full(stack.shape[1], np.nan), where=share > 0)


def by_set(
    statistic, n: int, evidence: Evidence, replicates: int | None = None, note: str = ""
) -> Score:
    """The score of one statistic of the whole set of n faces: `statistic(weights)`, weights None or
    `[n]` draw counts.
    """
    protocol = evidence.protocol
    weights = bootstrap.counts(n, protocol.replicates, protocol.seed)[:replicates]
    value = statistic(None)
    draws = bootstrap.centred(np.array([statistic(w) for w in weights]), value)
    return Score(value, n, interval=bootstrap.interval(draws), draws={"": draws}, note=note)
