"""FED: Fréchet distance between the emotion classifier's features of real and of edited faces
(GANmut, section 5.1).

Codes come from the method's evaluation prior. The row "real" sets as many other real faces in the
place of the edited ones. Returning the input scores 0 by construction: never read FED alone. A
covariance of d features needs more than d faces to say anything, so fewer are refused rather than
shrunk: a shrunk FED would be another metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from bench.frechet import frechet
from bench.metrics.base import METRICS, Metric, Score, by_set

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


REPLICATES = 200  # one draw costs two eigenvalue decompositions


@METRICS.register("fed")
class FED(Metric):
    title = "FED"
    about = "expression"
    needs = ("source:features", "prior:features")
    higher_is_better = False
    rows = frozenset({"editor", "identity", "oracle", "real"})
    reference: ClassVar = {
        "real": ".21",
        "ganmut": ".71",
        "smit": "1.89",
        "ganimation_labels": "2.17",
        "stargan": "4.89",
        "gganmut": "18.32",
    }

    def compute(self, evidence: Evidence) -> Score:
        edited = evidence["prior:features"]
        real = evidence["source:features"][: len(edited)]
        self.enough(len(edited), real.shape[1] + 1)
        return by_set(lambda draws: frechet(real, edited, draws), len(edited), evidence, REPLICATES)
