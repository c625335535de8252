"""Fréchet distance between the identity features of real and of edited faces, under the codes of
FED.

A number for realism from bundled features, where Inception's weights are not at hand. It is not
FID: the features are those of the second identity embedder, which no method trains against. Its
embeddings have length 1, so values are small. Returning the input scores 0 by construction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import METRICS, Metric, Score, frechet

if TYPE_CHECKING:
    from ..features.cache import Features

REPLICATES = 500  # one replicate costs two eigenvalue decompositions


@METRICS.register("identity_frechet")
class IdentityFrechet(Metric):
    title = "Fréchet distance of identity features"
    needs = ("source:second_embedding", "prior:second_embedding")
    higher_is_better = False
    systems = frozenset({"editor", "no_edit", "ground_truth", "real_split"})

    def compute(self, features: Features) -> Score:
        edited = features["prior:second_embedding"]
        real = features["source:second_embedding"][: len(edited)]
        self.require(len(edited), real.shape[1] + 1)
        return frechet(real, edited, features, REPLICATES)
