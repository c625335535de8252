"""Gamut share: how much of a two-dimensional code space each emotion takes (GANmut, section 5.1).

Test faces are edited under an even grid of the space. A part is the share of the codes whose edit
the classifier gives to an emotion; the value is the largest share. The part "cosine of happy and
negative" compares the centre of the probability of happy with that of sad, fearful, disgusted and
angry together: -1 where they lie opposite each other. Only for GANmut and GGANmut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, GamutMetric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features

POSITIVE, NEGATIVE = "happy", ("sad", "fearful", "disgusted", "angry")


@by_second_judge
@METRICS.register("gamut_share")
class GamutShare(GamutMetric):
    title = "largest share of the gamut"
    needs = ("chart:softmax",)
    higher_is_better = None

    def compute(self, features: Features) -> Score:
        self.require_space(features)
        softmax = features["chart:softmax"]  # faces x codes x emotions
        self.require(len(softmax))
        codes = features.edit_set("chart").codes[: softmax.shape[1]].double().numpy()
        kinds = len(features.emotions)
        shares = (softmax.argmax(-1)[..., None] == np.arange(kinds)).mean(1)  # faces x emotions
        score = by_face({"": shares.max(1)}, features)
        score = score.join(by_face(dict(zip(features.emotions, shares.T, strict=True)), features))
        if not {POSITIVE, *NEGATIVE} <= set(features.emotions):
            return score
        negative = [features.emotions.index(emotion) for emotion in NEGATIVE]
        cosine = opposition(
            codes, softmax[..., features.emotions.index(POSITIVE)], softmax[..., negative].sum(-1)
        )
        return score.join(by_face({"cosine of happy and negative": cosine}, features))


def opposition(codes: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`[faces]`: the cosine of the centres of two probabilities (faces x codes) over codes (m x
    2)."""
    centres = [np.asarray(p, np.float64) @ codes for p in (a, b)]
    unit = [c / np.linalg.norm(c, axis=1, keepdims=True).clip(min=1e-12) for c in centres]
    return (unit[0] * unit[1]).sum(1)
