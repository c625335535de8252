"""The emotion classifier, the extractor of FED, ERE, smoothness and accuracy."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor, TrainingTask, vgg

MAX_WEIGHT = 4.0  # largest weight of a rare emotion's faces in the training loss


@EXTRACTORS.register("emotion")
class Emotion(Extractor):
    """VGG-style, as in the GANmut paper (section 5.1): 128 penultimate features, then softmax."""

    title = "Emotion classifier"
    outputs = "probabilities of the emotions"

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__(emotions, size)
        self.trunk = self.build_trunk(size)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(128, len(self.emotions))

    @staticmethod
    def build_trunk(size: int) -> nn.Module:
        """The network from N x 3 x size x size to N x 128."""
        return vgg((16, 32, 64, 128, 256), size, 128)

    def embed(self, x: Tensor) -> Tensor:
        return self.trunk(x).relu()

    def logits(self, features: Tensor) -> Tensor:
        """N x emotions unnormalised log-probabilities."""
        return self.head(self.dropout(features))

    def predict(self, features: Tensor) -> Tensor:
        """N x emotions probabilities."""
        return self.logits(features).softmax(-1)

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        """Cross-entropy in which every emotion has the same total weight, as in the test set. The
        weight of a face is at most MAX_WEIGHT, since few faces with a large weight are
        overfitted."""
        counts = torch.bincount(faces.emotion, minlength=len(self.emotions)).float()
        if (counts == 0).any():
            none = [self.emotions[i] for i in (counts == 0).nonzero().flatten()]
            raise BadData(
                f"{faces.source}: no face is {', '.join(none)}; every emotion needs faces"
            )
        # Inverse frequency, mean 1 over the faces: the learning rate keeps its meaning.
        weight = (counts.sum() / (len(counts) * counts)).clamp(max=MAX_WEIGHT)

        def loss(features: Tensor, targets: Tensor, progress: float) -> Tensor:
            return F.cross_entropy(self.logits(features), targets, weight.to(features.device))

        return TrainingTask(torch.arange(len(faces)), faces.emotion, loss)

    def evaluate(self, faces: FaceSet, extraction: Extraction) -> dict[str, Any]:
        """Accuracy per emotion, their mean (`accuracy`) and over all faces; confusion matrix.

        confusion[i][j]: number of faces of emotion i classified as j.
        """
        truth, predicted = faces.emotion.cpu(), extraction.outputs.argmax(1)
        k = len(self.emotions)
        confusion = torch.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
        # Recall by emotion: the mean over all faces would be that of the commonest one.
        share = confusion.diag() / confusion.sum(1).clamp(min=1)
        present = confusion.sum(1) > 0
        return {
            "accuracy": float(share[present].mean()),
            "accuracy_all": float((truth == predicted).float().mean()),
            "per_emotion": {e: float(share[i]) for i, e in enumerate(self.emotions) if present[i]},
            "confusion": confusion.tolist(),
            "faces": len(faces),
        }
