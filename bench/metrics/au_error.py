"""AU error: what a frozen action-unit regressor sees in the edited faces against the units that
were asked for, mean absolute difference over seventeen units of 0..1.

One definition for every method: each test face under each emotion, against the units of that
emotion's prototype (ganmut.emotions.prototype), whether the method is asked for them in units or
for the emotion in labels, in a gamut or in styles. The row oracle says what people's own manners
and the regressor's own error leave. Methods whose codes are units have one part more, "units": the
regressor against the very codes of the evaluation prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.base import METRICS, Metric, NotMeasured, Score, by_face
from ganmut.emotions import PROTOTYPES, UNITS, canonical_emotion, prototype_units

if TYPE_CHECKING:
    from bench.feature_cache import Evidence
    from bench.systems import Row


@METRICS.register("au_error")
class AUError(Metric):
    title = "AU error"
    about = "expression"
    needs = ("labels:units",)
    higher_is_better = False

    @classmethod
    def reads(cls, row: Row) -> tuple[str, ...]:
        return (*cls.needs, "prior:units") if row.space.kind == "units" else cls.needs

    def compute(self, evidence: Evidence) -> Score:
        seen = evidence["labels:units"].astype(np.float64)  # faces x emotions x units
        self.enough(len(seen))
        apart = np.abs(seen - wanted(evidence.emotions))
        if not np.isfinite(apart).any():
            raise NotMeasured("none of the data's emotions has a prototype in action units")
        score = by_face(
            dict(zip(evidence.emotions, apart.mean(2).T, strict=True)),
            evidence,
            "against the prototype of the emotion asked for",
        )
        if evidence.row.space.kind == "units":
            score = score.join(self._codes(evidence))
        # Values alone, without intervals: seventeen columns.
        each = {f"AU {unit}": float(np.nanmean(apart[..., i])) for i, unit in enumerate(UNITS)}
        return score.join(Score(score.value, score.n, each))

    @staticmethod
    def _codes(evidence: Evidence) -> Score:
        """The regressor against the codes of the prior, over its faces."""
        asked = evidence.plan("prior").codes.double().numpy()
        apart = np.abs(evidence["prior:units"].astype(np.float64) - asked)
        return by_face({"units": apart.mean(1)}, evidence)


def wanted(emotions: tuple[str, ...]) -> np.ndarray:
    """emotions x 17: the prototypes' units; NaN for an emotion that has none written down."""
    return np.array(
        [
            prototype_units(emotion)
            if canonical_emotion(emotion) in PROTOTYPES
            else [np.nan] * len(UNITS)
            for emotion in emotions
        ]
    )
