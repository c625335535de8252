"""Oracle error: an edit against the same person rendered with the expression asked for (rendered
faces only).

The value is the mean absolute difference in grey levels (0..255); the part "ssim" is structural
similarity (higher is better); the other parts are the value per emotion. No paper has it:
photographs have no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


@METRICS.register("oracle")
class Oracle(Metric):
    title = "oracle error"
    needs = ("labels:answer",)
    unit = "grey levels"
    higher_is_better = False

    def compute(self, evidence: Evidence) -> Score:
        compared = evidence["labels:answer"]  # faces x emotions x (L1, SSIM)
        self.enough(len(compared))
        error = by_face(dict(zip(evidence.emotions, compared[..., 0].T, strict=True)), evidence)
        alike = by_face({"ssim": compared[..., 1].mean(1)}, evidence)
        return error.join(alike)
