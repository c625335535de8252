"""Style share: how much random styles change the expression, relative to labels (GANmut,
supplement, section 7).

Every face is edited to every emotion under the same styles. The value is the variance of the
classifier's softmax over the styles of an emotion, relative to the variance between the emotions'
mean softmax; both are summed over probabilities and averaged over faces. Below 1, styles change the
expression less than labels do. Only for methods with styles (SMIT, StarGAN v2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Score, SpaceMetric, by_second_judge, by_set

if TYPE_CHECKING:
    from ..features.cache import Features


@by_second_judge
@METRICS.register("style_share")
class StyleShare(SpaceMetric):
    title = "style share"
    needs = ("equal_grid:softmax",)
    higher_is_better = None
    space_kind = "styles"
    elsewhere = "the codes have no styles"

    def compute(self, features: Features) -> Score:
        self.require_space(features)
        softmax = features["equal_grid:softmax"]
        self.require(len(softmax))
        kinds = len(features.system.space.emotions)  # of the editor: the data may have fewer
        # The grid lists the styles of each emotion in turn, the same ones for all.
        over, between = variances(softmax.reshape(len(softmax), kinds, -1, softmax.shape[-1]))

        def share(counts: np.ndarray | None) -> float:
            weight = np.ones(len(over)) if counts is None else counts
            return float(weight @ over / (weight @ between))

        return by_set(share, len(over), features, biased=False)


def variances(softmax: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[faces]` variance over styles and between emotions, of faces x emotions x styles x
    probabilities; summed over probabilities."""
    p = np.asarray(softmax, np.float64)
    return p.var(2).sum(-1).mean(1), p.mean(2).var(1).sum(-1)
