"""Real-neighbour rate: how often the nearest neighbour of an edited face is a real face. The number
for the t-SNE figure (GANmut, figure 5), which has none of its own.

Neighbours are searched in the classifier's feature space among all other real and all other edited
faces. A face's own source is no candidate, and a tie counts half. The rate is 50 % where edited and
real faces cannot be told apart, near 0 where edits form a separate cluster, and above 50 where they
concentrate in the middle of the real ones (the edited half of the leave-one-out nearest-neighbour
test, Lopez-Paz and Oquab 2017). As with FED, returning the input is perfect. The interval is over
edited faces, with a fixed set of neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from ..features.cache import Features


@METRICS.register("real_neighbour_rate")
class RealNeighbourRate(Metric):
    title = "real-neighbour rate"
    version = 2  # codes follow the histogram of the test labels
    # The softmax is for the colours of the t-SNE figure.
    needs = ("source:emotion_features", "prior:emotion_features", "prior:softmax")
    unit = "%"
    higher_is_better = None
    minimum = 3
    systems = frozenset({"editor", "no_edit", "ground_truth", "real_split"})

    def compute(self, features: Features) -> Score:
        edited = features["prior:emotion_features"]
        self.require(len(edited))
        real = features["source:emotion_features"][: len(edited)]
        note = "50 % where edited and real faces cannot be told apart"
        return by_face({"": 100 * real_nearest(real, edited)}, features, note)


def real_nearest(real: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """`[n]`: 1 where the nearest neighbour of an edited face (n x d) is real, .5 for a tie, else 0.
    Row i of `real` (n x d) is the source of edited face i and no candidate for it."""
    to_real, to_edited = _squared_distances(edited, real), _squared_distances(edited, edited)
    # A face is its own nearest neighbour, and an unchanged edit its source's.
    for distances in (to_real, to_edited):
        np.fill_diagonal(distances, np.inf)
    a, b = to_real.min(1), to_edited.min(1)
    tie = np.isclose(a, b, rtol=1e-9, atol=1e-12)
    return np.where(tie, 0.5, (a < b).astype(np.float64))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """n x m, float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    # Expanded squares: a product of matrices is much faster than n x m differences.
    cross = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return cross.clip(min=0)
