"""Accuracy: how often the classifier sees the emotion that was asked for (GANmut, table 3).

Every test face under every emotion, top-1. The row "real" is the classifier on the real faces and
their labels. Above "real" is not better: it is more prototypical than people are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.metrics.base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


@METRICS.register("accuracy")
class Accuracy(Metric):
    title = "accuracy"
    about = "expression"
    needs = ("source:softmax", "labels:softmax")
    unit = "%"
    higher_is_better = None
    rows = frozenset({"editor", "identity", "oracle", "real"})
    reference: ClassVar = {
        "real": "76.4 93.4 57.8 46.0 46.4 30.4 57.2",
        "ganimation_labels": "78.4 96.4 76.0 76.0 59.7 52.4 79.6",
        "smit": "87.4 98.7 87.5 85.5 80.0 78.8 84.6",
        "stargan": "92.6 96.1 96.9 95.4 94.7 95.1 95.8",
        "ganmut": "87.8 99.2 96.5 91.6 87.5 77.4 97.9",
        "gganmut": "95.8 99.6 99.9 99.1 97.6 97.8 99.5",
    }

    def compute(self, evidence: Evidence) -> Score:
        if evidence.row.kind == "real":
            hit = self._real(evidence)
        else:
            seen = evidence["labels:softmax"].argmax(-1)
            hit = 100.0 * (seen == np.arange(seen.shape[1]))
        self.enough(len(hit))
        return by_face(dict(zip(evidence.emotions, hit.T, strict=True)), evidence)

    @staticmethod
    def _real(evidence: Evidence) -> np.ndarray:
        """faces x emotions: 100 or 0 in the column of the face's own label, NaN elsewhere."""
        seen = evidence["source:softmax"].argmax(-1)
        label = evidence.real.faces.emotion.numpy()
        hit = np.full((len(label), len(evidence.emotions)), np.nan)
        hit[np.arange(len(label)), label] = 100.0 * (seen == label)
        return hit
