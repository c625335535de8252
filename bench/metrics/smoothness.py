"""Smoothness: the largest one-step increase on the path from neutral to an emotion (GANmut, section
5.2).

Eleven pictures in steps of .1; s_j is the classifier's probability of the emotion. The score of a
face is max_j (s_{j+1} - s_j) / (max s - min s). An even ramp scores .1, the best of the paths that
reach their emotion; a step scores 1. Only increases count: a path on which the emotion fades scores
low as well, so the smoothness of an editor must be read together with its accuracy. A path whose
range is below RANGE has no defined smoothness: it is left out, and the share left out is reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import METRICS, Metric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features

RANGE = 0.05


@by_second_judge
@METRICS.register("smoothness")
class Smoothness(Metric):
    title = "smoothness"
    group = "expression"
    needs = ("paths:softmax",)
    higher_is_better = False
    reference: ClassVar = {
        "stargan": ".79 .44 .43 .49 .55 .59",
        "ganmut": ".38 .38 .35 .37 .36 .33",
    }

    def compute(self, features: Features) -> Score:
        softmax = features["paths:softmax"]  # faces x emotions without neutral x steps x emotions
        self.require(len(softmax))
        others = features.emotions[1:]
        columns = {e: largest_step(softmax[:, i, :, i + 1]) for i, e in enumerate(others)}
        left_out = 100 * np.isnan(np.stack(list(columns.values()))).mean()
        note = f"{left_out:.0f} % of the paths left out (range below {RANGE})" if left_out else ""
        return by_face(columns, features, note)


def largest_step(probability: np.ndarray) -> np.ndarray:
    """`[...]`: the largest increase along the last axis, relative to the range; NaN where the range
    is below RANGE."""
    p = np.asarray(probability, np.float64)
    # The papers' "total variation range". Without the floor an editor that does nothing divides
    # noise by noise.
    span = p.max(-1) - p.min(-1)
    defined = span >= RANGE
    return np.divide(
        np.diff(p, axis=-1).max(-1), span, out=np.full(span.shape, np.nan), where=defined
    )
