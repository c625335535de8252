"""Identity distance: 1 - cosine between the identity embeddings of a face and of its edit, per
emotion (DefGAN, figures 3 and 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Metric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features


@by_second_judge
@METRICS.register("identity_distance")
class IdentityDistance(Metric):
    title = "identity distance"
    needs = ("source:embedding", "labels:embedding")
    higher_is_better = False

    def compute(self, features: Features) -> Score:
        edited = features["labels:embedding"]  # faces x emotions x d
        source = features["source:embedding"][: len(edited), None]
        self.require(len(edited))
        distance = 1 - (edited.astype(np.float64) * source).sum(-1)
        return by_face(dict(zip(features.emotions, distance.T, strict=True)), features)
