"""Metric: declares the features it needs and computes a score from them. Nothing here depends on a
method or on another metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from ganmut.registry import Registry

from ..features.extract import second, second_need
from ..stats import (
    NotMeasured,
    Score,
    TooFew,
    extrapolate,
    frechet_distance,
    mean_of_means,
    percentile_interval,
    recentre,
    resample_counts,
)

if TYPE_CHECKING:
    from ..features.cache import Features
    from ..systems import System

__all__ = [
    "METRICS",
    "GamutMetric",
    "Metric",
    "NotMeasured",
    "Score",
    "TooFew",
    "by_face",
    "by_second_judge",
    "by_set",
    "frechet",
]

METRICS = Registry("metric", __package__)


class Metric(ABC):
    """One column of the leaderboard.

    title, unit: the heading of the column. needs: features it reads, as "edit set:feature"
    (bench/edit_sets.py, bench/features/extract.py). version: raised whenever the number changes its
    meaning. higher_is_better: None where neither direction is better. minimum: least number of
    faces. systems: kinds of systems it applies to ("editor", "no_edit", "ground_truth",
    "real_split"). group: the table it belongs to ("expression", "preservation",
    "spaces", "second").
    reference: the papers' values, by row.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    version: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    higher_is_better: ClassVar[bool | None] = False
    minimum: ClassVar[int] = 2
    systems: ClassVar[frozenset[str]] = frozenset({"editor", "no_edit", "ground_truth"})
    group: ClassVar[str] = "preservation"
    reference: ClassVar[dict[str, str]] = {}

    @classmethod
    def needs_of(cls, system: System) -> tuple[str, ...]:
        """The features it reads of one system: `needs`, and more where the system allows more."""
        return cls.needs

    @abstractmethod
    def compute(self, features: Features) -> Score:
        """The score of the features' system.

        Raises TooFew, or NotMeasured where there is nothing to measure.
        """

    def require(self, n: int, minimum: int | None = None) -> None:
        """Raises TooFew for fewer than `minimum` (default: the metric's) faces."""
        minimum = self.minimum if minimum is None else minimum
        if n < minimum:
            raise TooFew(
                f"{self.name} needs at least {minimum} faces, got {n}; "
                "use a larger protocol or more data"
            )


class SpaceMetric(Metric):
    """A metric of editors with one kind of code space.

    space_kind: that kind. elsewhere: why others are not measured.
    """

    group = "spaces"
    systems = frozenset({"editor"})
    space_kind: ClassVar[str]
    elsewhere: ClassVar[str]

    @classmethod
    def needs_of(cls, system: System) -> tuple[str, ...]:
        return cls.needs if system.space.kind == cls.space_kind else ()

    def require_space(self, features: Features) -> None:
        """Raises NotMeasured for a system with another space."""
        if features.system.space.kind != self.space_kind:
            raise NotMeasured(self.elsewhere)


class GamutMetric(SpaceMetric):
    """A metric of editors with a two-dimensional code space: GANmut and GGANmut."""

    space_kind = "gamut"
    elsewhere = "the code space is not two-dimensional"


def frechet(
    real: np.ndarray, edited: np.ndarray, features: Features, replicates: int, note: str = ""
) -> Score:
    """The score of the Fréchet distance between n real and n edited features of d values, with its
    value at half of n and its limit for infinite n as parts, where n is large enough."""
    n, d = real.shape
    score = by_set(
        lambda counts: frechet_distance(real, edited, counts), n, features, replicates, note
    )
    parts = extrapolate(
        lambda rows: frechet_distance(real[rows], edited[rows]),
        n,
        2 * (d + 1),
        features.protocol.seed,
    )
    return replace(score, parts=parts)


class SecondJudge:
    """The features of a system as the second judges compute them."""

    def __init__(self, features: Features):
        self._features = features

    def __getattr__(self, name: str) -> Any:
        return getattr(self._features, name)

    def __getitem__(self, need: str) -> np.ndarray:
        return self._features[second_need(need)]


def by_second_judge(metric: type[Metric]) -> type[Metric]:
    """Registers a metric again as second_NAME, computed from the networks of the second judges,
    and returns it. Where both judges order methods alike, the order is not one network's own."""

    class Second(metric):  # type: ignore[misc, valid-type] # a base class known at run time
        needs = tuple(map(second_need, metric.needs))
        group = "second"
        reference: ClassVar[dict[str, str]] = {}

        @classmethod
        def needs_of(cls, system: System) -> tuple[str, ...]:
            return tuple(map(second_need, super().needs_of(system)))

        def compute(self, features: Features) -> Score:
            return super().compute(cast("Features", SecondJudge(features)))

    Second.__name__, Second.__module__ = f"Second{metric.__name__}", metric.__module__
    Second.__doc__ = f"{metric.__name__} by the second judge."
    METRICS.register(second(metric.name))(Second)
    return metric


def by_face(columns: dict[str, np.ndarray], features: Features, note: str = "") -> Score:
    """The score of per-face values: a column `[n]` per part (NaN leaves that face out). The value
    is the mean of the parts. A single column named "" is the value alone."""
    protocol, n = features.protocol, len(next(iter(columns.values())))
    counts = resample_counts(n, protocol.replicates, protocol.seed)
    samples = {name: np.asarray(column, np.float64)[None] for name, column in columns.items()}
    samples[""] = np.concatenate(list(samples.values()))
    values = {name: float(mean_of_means(sample)[0]) for name, sample in samples.items()}
    draws = {name: mean_of_means(sample, counts) for name, sample in samples.items()}
    intervals = {name: percentile_interval(draw) for name, draw in draws.items()}
    value, interval = values.pop(""), intervals.pop("")
    return Score(value, n, values, interval, intervals, draws, note, samples, protocol.seed)


def by_set(
    statistic: Callable[[np.ndarray | None], float],
    n: int,
    features: Features,
    replicates: int | None = None,
    note: str = "",
    biased: bool = True,
) -> Score:
    """The score of one statistic of the whole set of n faces. `statistic(counts)` gets None, or
    `[n]` how often a replicate draws each face. biased: whether fewer distinct faces shift it, as
    they do a Fréchet distance; its draws are then centred on the value."""
    protocol = features.protocol
    counts = resample_counts(n, protocol.replicates, protocol.seed)[:replicates]
    value = statistic(None)
    draws = np.array([statistic(c) for c in counts])
    draws = recentre(draws, value) if biased else draws
    interval = percentile_interval(draws)
    return Score(value, n, interval=interval, draws={"": draws}, note=note, seed=protocol.seed)
