"""The emotion classifier: FED, ERE, smoothness and accuracy are measured with it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor, TrainingTask, vgg

MOST = 4.0


@EXTRACTORS.register("emotion")
class Emotion(Extractor):
    """VGG-style, as in the GANmut paper (section 5.1): 128 penultimate features, then softmax."""

    title = "Emotion classifier"
    outputs = "probabilities of the emotions"

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__(emotions, size)
        self.trunk = vgg((16, 32, 64, 128, 256), size, 128)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(128, len(self.emotions))

    def embed(self, x: Tensor) -> Tensor:
        return self.trunk(x).relu()

    def logits(self, features: Tensor) -> Tensor:
        """N x emotions unnormalised log-probabilities."""
        return self.head(self.dropout(features))

    def predict(self, features: Tensor) -> Tensor:
        """N x emotions probabilities."""
        return self.logits(features).softmax(-1)

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        """Cross-entropy with every emotion weighing the same, as in the test set; of a rare one a
        face weighs at most MOST times what it would, or a handful is learned by heart."""
        counts = torch.bincount(faces.emotion, minlength=len(self.emotions)).float()
        if (counts == 0).any():
            none = [self.emotions[i] for i in (counts == 0).nonzero().flatten()]
            raise BadData(
                f"{faces.source}: no face is {', '.join(none)}; give some of each emotion"
            )
        weight = (counts.sum() / (len(counts) * counts)).clamp(max=MOST)

        def loss(features: Tensor, targets: Tensor, progress: float) -> Tensor:
            return F.cross_entropy(self.logits(features), targets, weight.to(features.device))

        return TrainingTask(torch.arange(len(faces)), faces.emotion, loss)

    def evaluate(self, faces: FaceSet, seen: Extraction) -> dict[str, Any]:
        """Share of right answers: per emotion, their mean (`accuracy`), over all faces; confusion.

        confusion[i][j]: faces of emotion i that were told to be j.
        """
        truth, told = faces.emotion.cpu(), seen.outputs.argmax(1)
        k = len(self.emotions)
        confusion = torch.bincount(truth * k + told, minlength=k * k).reshape(k, k)
        share = confusion.diag() / confusion.sum(1).clamp(min=1)
        present = confusion.sum(1) > 0
        return {
            "accuracy": float(share[present].mean()),
            "accuracy_all": float((truth == told).float().mean()),
            "per_emotion": {e: float(share[i]) for i, e in enumerate(self.emotions) if present[i]},
            "confusion": confusion.tolist(),
            "faces": len(faces),
        }
