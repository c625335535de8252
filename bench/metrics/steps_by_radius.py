"""Steps by radius: whether the expression changes more smoothly near neutral (GANmut, supplement,
section 6).

On the paths of smoothness, the largest one-step increase of the emotion's probability within the
lower and within the upper half of the intensities, each relative to the range of the whole path.
The value is lower minus upper: negative where the change is smoother at low radius. Paths whose
range is below RANGE are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Metric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features

RANGE = 0.05


@by_second_judge
@METRICS.register("steps_by_radius")
class StepsByRadius(Metric):
    title = "steps, lower minus upper half"
    group = "spaces"
    needs = ("paths:softmax",)
    higher_is_better = None
    systems = frozenset({"editor"})

    def compute(self, features: Features) -> Score:
        softmax = features["paths:softmax"]  # faces x emotions without neutral x steps x emotions
        self.require(len(softmax))
        others = np.arange(softmax.shape[1])
        lower, upper = half_steps(softmax[:, others, :, others + 1].swapaxes(0, 1))
        # The mean over a face's emotions, of those with a defined path.
        columns = {"": lower - upper, "lower half": lower, "upper half": upper}
        faces = {name: _mean(values) for name, values in columns.items()}
        score = by_face({"": faces.pop("")}, features)
        return score.join(by_face(faces, features))


def half_steps(probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[...]` twice: the largest increase (0 where there is none) in the lower and in the upper
    half of the last axis, relative to the range of all of it; NaN where that is below RANGE."""
    p = np.asarray(probability, np.float64)
    span = p.max(-1) - p.min(-1)
    span = np.where(span >= RANGE, span, np.nan)
    steps = np.diff(p, axis=-1).clip(min=0)
    middle = steps.shape[-1] // 2
    return steps[..., :middle].max(-1) / span, steps[..., middle:].max(-1) / span


def _mean(values: np.ndarray) -> np.ndarray:
    """`[faces]`: mean over the emotions (second axis) without NaN; NaN without any."""
    finite = np.isfinite(values)
    total, known = np.where(finite, values, 0).sum(1), finite.sum(1)
    return np.divide(total, known, out=np.full(len(values), np.nan), where=known > 0)
