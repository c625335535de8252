"""Gamut mixtures: how many emotions one code of a two-dimensional space shows at once (GANmut,
section 5.4).

Test faces are edited under an even grid of the space. The value is the largest number of emotions
that one edit of a face shows at once, each with a probability of at least MIXED by the classifier.
The part "same mixture" is the least total variation between the softmax of two edits of a face
whose codes lie APART or more from each other, among edits where no emotion is above AMBIGUOUS: near
0 where different codes show the same mixture. Faces without two such edits are left out of it. Only
for GANmut and GGANmut; the three limits are ours, the paper shows pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, GamutMetric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features

MIXED = 0.1  # probability from which an emotion is part of a mixture
AMBIGUOUS = 0.6  # largest probability of a mixture's strongest emotion
APART = 0.5  # distance of codes in a space from -1 to 1


@by_second_judge
@METRICS.register("gamut_mixtures")
class GamutMixtures(GamutMetric):
    title = "emotions in one mixture"
    needs = ("chart:softmax",)
    higher_is_better = None

    def compute(self, features: Features) -> Score:
        self.require_space(features)
        softmax = np.asarray(features["chart:softmax"], np.float64)  # faces x codes x emotions
        self.require(len(softmax))
        codes = features.edit_set("chart").codes[: softmax.shape[1]].double().numpy()
        most = (softmax >= MIXED).sum(-1).max(1)
        nearest = np.array([same_mixture(codes, face)[0] for face in softmax])
        score = by_face({"": most}, features)
        if not np.isfinite(nearest).any():
            return score
        return score.join(by_face({"same mixture": nearest}, features))


def same_mixture(codes: np.ndarray, softmax: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The least total variation (0..1) between the softmax (codes x emotions) of two mixtures whose
    codes (codes x 2) lie APART, and the numbers of these codes; NaN and (0, 0) where there are no
    two."""
    mixed = np.flatnonzero(softmax.max(-1) <= AMBIGUOUS)
    far = np.linalg.norm(codes[mixed, None] - codes[None, mixed], axis=-1) >= APART
    if not far.any():
        return np.nan, (0, 0)
    variation = np.abs(softmax[mixed, None] - softmax[None, mixed]).sum(-1) / 2
    a, b = np.unravel_index(np.where(far, variation, np.inf).argmin(), far.shape)
    return float(variation[a, b]), (int(mixed[a]), int(mixed[b]))
