"""FID: Fréchet distance between Inception-v3 features (torch-fidelity's inception-v3-compat) of
real and edited faces.

Uses the first n_fid edits of FED. FID falls with n for any method, so only values of equal n are
comparable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..stats import frechet_distance
from .base import METRICS, Metric, Score, by_set

if TYPE_CHECKING:
    from ..features.cache import Features

REPLICATES = 50  # one replicate costs a singular value decomposition of an n x n matrix


@METRICS.register("fid")
class FID(Metric):
    title = "FID"
    version = 2  # codes follow the histogram of the test labels
    needs = ("source_fid:inception", "prior_fid:inception")
    higher_is_better = False
    systems = frozenset({"editor", "no_edit", "ground_truth", "real_split"})
    reference: ClassVar = {"defgan": "3.82", "ganimation": "4.75"}  # on other data

    def compute(self, features: Features) -> Score:
        edited = features["prior_fid:inception"]
        real = features["source_fid:inception"][: len(edited)]
        self.require(len(edited))
        note = features.extractors["inception"].note
        return by_set(
            lambda counts: frechet_distance(real, edited, counts),
            len(edited),
            features,
            REPLICATES,
            note,
        )
