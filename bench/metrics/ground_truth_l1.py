"""Ground-truth L1: an edit against the same person rendered with the target expression (rendered
faces only).

The value is the mean absolute difference in grey levels (0..255). The part "ssim" is the structural
similarity (higher is better); the other parts are the value per emotion. No paper reports it,
because photographs have no ground truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from ..features.cache import Features


@METRICS.register("ground_truth_l1")
class GroundTruthL1(Metric):
    title = "ground-truth L1"
    needs = ("labels:ground_truth_error",)
    unit = "grey levels"
    higher_is_better = False

    def compute(self, features: Features) -> Score:
        error = features["labels:ground_truth_error"]  # faces x emotions x (L1, SSIM)
        self.require(len(error))
        l1 = by_face(dict(zip(features.emotions, error[..., 0].T, strict=True)), features)
        ssim = by_face({"ssim": error[..., 1].mean(1)}, features)
        return l1.join(ssim)
