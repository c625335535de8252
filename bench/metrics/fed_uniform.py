"""FED under codes spread evenly over a two-dimensional code space (GANmut, supplement, section 5).

FED measures GGANmut at its modes, where edits are prototypes; the space between them holds the
ambiguous expressions that real faces show. GANmut's prior is even in radius, not in area. Only for
these two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import METRICS, GamutMetric, Score, by_second_judge, frechet

if TYPE_CHECKING:
    from ..features.cache import Features

REPLICATES = 500  # one replicate costs two eigenvalue decompositions


@by_second_judge
@METRICS.register("fed_uniform")
class FEDUniform(GamutMetric):
    title = "FED, even codes"
    needs = ("source:emotion_features", "uniform:emotion_features")
    higher_is_better = False

    def compute(self, features: Features) -> Score:
        self.require_space(features)
        edited = features["uniform:emotion_features"]
        real = features["source:emotion_features"][: len(edited)]
        self.require(len(edited), real.shape[1] + 1)
        return frechet(real, edited, features, REPLICATES)
