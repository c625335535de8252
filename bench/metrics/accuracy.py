"""Accuracy: how often the classifier recognises the target emotion (GANmut, table 3).

Every test face under every emotion, top-1. The row real_split is the classifier's accuracy on the
real faces and their labels. Accuracy above real_split is not better: such edits are more
prototypical than real faces.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import METRICS, Metric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features


@by_second_judge
@METRICS.register("accuracy")
class Accuracy(Metric):
    title = "accuracy"
    group = "expression"
    needs = ("source:softmax", "labels:softmax")
    unit = "%"
    higher_is_better = None
    systems = frozenset({"editor", "no_edit", "ground_truth", "real_split"})
    reference: ClassVar = {
        "real_split": "76.4 93.4 57.8 46.0 46.4 30.4 57.2",
        "ganimation_labels": "78.4 96.4 76.0 76.0 59.7 52.4 79.6",
        "smit": "87.4 98.7 87.5 85.5 80.0 78.8 84.6",
        "stargan": "92.6 96.1 96.9 95.4 94.7 95.1 95.8",
        "ganmut": "87.8 99.2 96.5 91.6 87.5 77.4 97.9",
        "gganmut": "95.8 99.6 99.9 99.1 97.6 97.8 99.5",
    }

    def compute(self, features: Features) -> Score:
        real = features.system.kind == "real_split"
        hit = self._of_real(features) if real else self._of_edits(features)
        self.require(len(hit))
        score = by_face(dict(zip(features.emotions, hit.T, strict=True)), features)
        # Other faces: a difference to edits of the test faces is not taken face by face.
        return replace(score, samples={}) if real else score

    @staticmethod
    def _of_edits(features: Features) -> np.ndarray:
        """faces x emotions: 100 where the target emotion is recognised, else 0."""
        top1 = features["labels:softmax"].argmax(-1)
        return 100.0 * (top1 == np.arange(top1.shape[1]))

    @staticmethod
    def _of_real(features: Features) -> np.ndarray:
        """faces x emotions: 100 or 0 in the column of the face's own label, NaN elsewhere."""
        top1 = features["source:softmax"].argmax(-1)
        faces = features.faces if features.source is None else features.source.faces
        label = faces.emotion.numpy()
        hit = np.full((len(label), len(features.emotions)), np.nan)
        hit[np.arange(len(label)), label] = 100.0 * (top1 == label)
        return hit
