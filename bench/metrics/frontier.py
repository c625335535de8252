"""Frontier: how often the target is recognised at a given identity distance.

Strength trades recognition for identity, so either alone can be had for nothing. On the path from
neutral to each emotion, in the steps of the smoothness, every strength is a point (identity
distance, share recognised) of a system's curve. The value is the share at a fixed distance, a part
the distance at SHARE, both by linear interpolation along the path; a curve that ends before the
distance has the share of its end, one that never reaches SHARE has no distance (NaN). Where even
neutral edits lie beyond the fixed distance there is no value: the system keeps nobody that well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Metric, NotMeasured, Score, by_set

if TYPE_CHECKING:
    from ..features.cache import Features

# Embedders differ: that of rendered faces puts true expressions at .02 to .16, face recognition
# puts photographs of one person at about .25 (a cosine of .75).
RENDERED, PHOTOGRAPHS = 0.05, 0.25
SHARE = 80.0  # %


@METRICS.register("frontier")
class Frontier(Metric):
    version = 2
    title = "recognised at a fixed identity distance"
    group = "frontier"
    needs = ("paths:softmax", "paths:embedding", "source:embedding")
    unit = "%"
    higher_is_better = True

    def compute(self, features: Features) -> Score:
        hit, distance = points(features)
        self.require(len(hit))

        def statistic(counts: np.ndarray | None) -> float:
            return share_at(*curve(hit, distance, counts), level)

        level = fixed_distance(features)
        start = curve(hit, distance)[1][0]
        if start > level:
            raise NotMeasured(f"neutral edits lie at distance {start:.3f}, beyond {level}")
        score = by_set(statistic, len(hit), features, note=f"at distance {level}", biased=False)
        score.parts[f"distance at {SHARE:.0f} %"] = distance_at(*curve(hit, distance), SHARE)
        return score


def fixed_distance(features: Features) -> float:
    """The identity distance at which systems are compared."""
    return PHOTOGRAPHS if features.faces.ground_truth is None else RENDERED


def points(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """faces x steps each: % of the emotions that are recognised, and mean identity distance, of a
    face on the paths from neutral to each emotion."""
    softmax = features["paths:softmax"]  # faces x emotions without neutral x steps x emotions
    edited = features["paths:embedding"].astype(np.float64)  # ... x steps x d, of length 1
    source = features["source:embedding"][: len(edited), None, None]
    targets = np.arange(1, softmax.shape[1] + 1)[:, None]
    hit = 100.0 * (softmax.argmax(-1) == targets)
    return hit.mean(1), (1 - (edited * source).sum(-1)).mean(1)


def curve(
    hit: np.ndarray, distance: np.ndarray, counts: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """[steps] each: % recognised and identity distance, means over the faces; counts: how often a
    replicate draws each face."""
    return np.average(hit, 0, weights=counts), np.average(distance, 0, weights=counts)


def share_at(share: np.ndarray, distance: np.ndarray, level: float) -> float:
    """% recognised where the path first reaches a distance, else at its end; NaN where it begins
    beyond."""
    if distance[0] > level:
        return np.nan
    reached = np.flatnonzero(distance >= level)
    return float(_crossing(distance, share, reached[0], level)) if len(reached) else share[-1]


def distance_at(share: np.ndarray, distance: np.ndarray, level: float) -> float:
    """Identity distance where the path first reaches a share, else NaN."""
    reached = np.flatnonzero(share >= level)
    return float(_crossing(share, distance, reached[0], level)) if len(reached) else np.nan


def _crossing(x: np.ndarray, y: np.ndarray, step: int, level: float) -> float:
    """y where x reaches `level` between step - 1 and `step`."""
    if step == 0:
        return y[0]
    t = (level - x[step - 1]) / (x[step] - x[step - 1])
    return (1 - t) * y[step - 1] + t * y[step]
