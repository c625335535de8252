"""FID: Fréchet distance between Inception-v3 features (torch-fidelity's inception-v3-compat) of
real and edited faces.

The first of FED's edits. The number falls with n for any method: compare at equal n only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.frechet import frechet
from bench.metrics.base import METRICS, Metric, Score, by_set

if TYPE_CHECKING:
    from bench.feature_cache import Evidence

REPLICATES = 50  # one draw costs a singular value decomposition of an n x n matrix


@METRICS.register("fid")
class FID(Metric):
    title = "FID"
    needs = ("source_fid:inception", "prior_fid:inception")
    higher_is_better = False
    rows = frozenset({"editor", "identity", "oracle", "real"})
    reference: ClassVar = {"defgan": "3.82", "ganimation": "4.75"}  # on other data

    def compute(self, evidence: Evidence) -> Score:
        edited = evidence["prior_fid:inception"]
        real = evidence["source_fid:inception"][: len(edited)]
        self.enough(len(edited))
        note = evidence.judges["inception"].note
        return by_set(
            lambda draws: frechet(real, edited, draws), len(edited), evidence, REPLICATES, note
        )
