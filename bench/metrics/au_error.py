"""AU error: mean absolute difference between the action units that a frozen regressor estimates
from the edited faces and those of the target emotion, over seventeen units of 0..1.

One definition for every method: each test face under each emotion, against the units of that
emotion's prototype (ganmut.emotions.prototype_units), whether its codes are units, labels, a gamut
or styles. The row ground_truth gives what individual differences and the regressor's error
contribute. Methods whose codes are units have one part more, "units": the regressor against the
codes of the evaluation prior.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganmut.emotions import PROTOTYPES, UNITS, canonical_emotion, prototype_units

from .base import METRICS, Metric, NotMeasured, Score, by_face

if TYPE_CHECKING:
    from ..features.cache import Features
    from ..systems import System


@METRICS.register("au_error")
class AUError(Metric):
    title = "AU error"
    group = "expression"
    needs = ("labels:units",)
    higher_is_better = False

    @classmethod
    def needs_of(cls, system: System) -> tuple[str, ...]:
        return (*cls.needs, "prior:units") if system.space.kind == "units" else cls.needs

    def compute(self, features: Features) -> Score:
        units = features["labels:units"].astype(np.float64)  # faces x emotions x units
        self.require(len(units))
        error = np.abs(units - target_units(features.emotions))
        if not np.isfinite(error).any():
            raise NotMeasured("none of the data's emotions has a prototype in action units")
        score = by_face(
            dict(zip(features.emotions, error.mean(2).T, strict=True)),
            features,
            "against the prototype of the target emotion",
        )
        if features.system.space.kind == "units":
            score = score.join(self._codes(features))
        # Values without intervals: seventeen columns.
        each = {f"AU {unit}": float(np.nanmean(error[..., i])) for i, unit in enumerate(UNITS)}
        return score.join(Score(score.value, score.n, each))

    @staticmethod
    def _codes(features: Features) -> Score:
        """The regressor against the codes of the prior, over its faces."""
        codes = features.edit_set("prior").codes.double().numpy()
        error = np.abs(features["prior:units"].astype(np.float64) - codes)
        return by_face({"units": error.mean(1)}, features)


def target_units(emotions: tuple[str, ...]) -> np.ndarray:
    """emotions x 17: the units of the prototypes; NaN for an emotion without one."""
    return np.array(
        [
            prototype_units(emotion)
            if canonical_emotion(emotion) in PROTOTYPES
            else [np.nan] * len(UNITS)
            for emotion in emotions
        ]
    )
