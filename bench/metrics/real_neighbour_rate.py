"""Real neighbours: the number beside the t-SNE picture (GANmut, figure 5).

An embedding in two dimensions shows whether edited faces lie among real ones in the classifier's
feature space, but has no number of its own. Here the question is asked in the features themselves:
for each edited face, is its nearest neighbour among all other real and all other edited faces a
real one? Its own source is no candidate; a tie counts half. 50 % where the two cannot be told
apart, near 0 where edits are a cloud of their own, above 50 where they crowd into the middle of the
real ones (the edited half of the leave-one-out nearest-neighbour test, Lopez-Paz and Oquab 2017).
As with FED, returning the input is perfect. The interval is over edited faces, with all faces as
they are for neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


@METRICS.register("tsne")
class TSNE(Metric):
    title = "real neighbours"
    # The softmax colours the picture, which is drawn with the other figures.
    needs = ("source:features", "prior:features", "prior:softmax")
    unit = "%"
    higher_is_better = None
    minimum = 3
    rows = frozenset({"editor", "identity", "oracle", "real"})

    def compute(self, evidence: Evidence) -> Score:
        edited = evidence["prior:features"]
        self.enough(len(edited))
        real = evidence["source:features"][: len(edited)]
        score = by_face({"all": 100 * real_nearest(real, edited)}, evidence)
        return Score(
            score.value,
            score.n,
            {},
            score.interval,
            {},
            {"": score.draws[""]},
            "50 % where edited and real faces cannot be told apart",
        )


def real_nearest(real: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """`[n]`: 1 where the nearest neighbour of an edited face (n x d) is real, .5 for a tie, else 0;
    row i of `real` (n x d) is its source and no candidate.
    """
    to_real, to_edited = _squared(edited, real), _squared(edited, edited)
    for distances in (to_real, to_edited):
        np.fill_diagonal(distances, np.inf)
    a, b = to_real.min(1), to_edited.min(1)
    tie = np.isclose(a, b, rtol=1e-9, atol=1e-12)
    return np.where(tie, 0.5, (a < b).astype(np.float64))


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """n x m squared distances, float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    cross = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return cross.clip(min=0)
