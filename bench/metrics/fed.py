"""FED: Fréchet distance between the emotion classifier's features of real and of edited faces
(GANmut, section 5).

Codes come from the method's evaluation prior, and the emotions of labels, styles and modes follow
the histogram of the test labels: an editor asked for other emotions than the real faces show would
be far from them however good it is. The row real_split uses as many other real faces in
place of the edited ones. Returning the input scores 0 by construction, so FED must be read together
with accuracy. A covariance of d features needs more than d faces; fewer raise TooFew, because a
shrunk covariance would be another metric. Of few faces the distance is biased upwards; the part
"n = infinity" is the limit without the bias, as far as n allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from .base import METRICS, Metric, Score, by_second_judge, frechet

if TYPE_CHECKING:
    from ..features.cache import Features

REPLICATES = 500  # one replicate costs two eigenvalue decompositions


@by_second_judge
@METRICS.register("fed")
class FED(Metric):
    title = "FED"
    version = 2  # codes follow the histogram of the test labels
    group = "expression"
    needs = ("source:emotion_features", "prior:emotion_features")
    higher_is_better = False
    systems = frozenset({"editor", "no_edit", "ground_truth", "real_split"})
    reference: ClassVar = {
        "real_split": ".21",
        "ganmut": ".71",
        "smit": "1.89",
        "ganimation_labels": "2.17",
        "stargan": "4.89",
        "gganmut": "18.32",
    }

    def compute(self, features: Features) -> Score:
        edited = features["prior:emotion_features"]
        real = features["source:emotion_features"][: len(edited)]
        self.require(len(edited), real.shape[1] + 1)
        return frechet(real, edited, features, REPLICATES)
