"""The identity embedder: how far an edit takes a face from its person is measured with it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor, TrainingTask, vgg

SCALE, MARGIN = 24.0, 0.25  # of the cosine-margin softmax
PAIRS = 3000  # faces whose pairs are examined: 4.5 million pairs


@EXTRACTORS.register("identity")
class Identity(Extractor):
    """VGG-style; 128 values of length 1: the cosine of two faces tells if they are one person."""

    title = "Identity embedder"
    outputs = "the embedding, of length 1"

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__(emotions, size)
        self.trunk = vgg((16, 32, 64, 128, 256), size, 128)

    def embed(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x), dim=1)

    def predict(self, features: Tensor) -> Tensor:
        return features

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        """Tells apart the people with two faces or more, by a softmax over cosines with a margin.

        CosFace, arXiv 1801.09414, equation 4. The margin grows over the first third of training:
        the whole margin at once can keep an untrained network from learning anything.
        """
        people, person, counts = _people(faces).unique(return_inverse=True, return_counts=True)
        known = (counts > 1).nonzero().flatten()
        if len(known) < 2:
            raise BadData(
                f"{faces.source}: {len(known)} of {len(people)} people have two faces or more; "
                "an identity embedder needs at least 2 such people"
            )
        rows = torch.isin(person, known).nonzero().flatten()
        directions = nn.Parameter(torch.randn(len(known), 128, generator=generator))

        def loss(features: Tensor, targets: Tensor, progress: float) -> Tensor:
            cosine = features.float() @ F.normalize(directions, dim=1).T
            margin = MARGIN * min(3 * progress, 1.0)
            own = F.one_hot(targets, len(known)).to(cosine.dtype)
            return F.cross_entropy(SCALE * (cosine - margin * own), targets)

        targets = torch.searchsorted(known, person[rows])
        return TrainingTask(rows, targets, loss, (directions,))

    def evaluate(self, faces: FaceSet, seen: Extraction) -> dict[str, Any]:
        """AUC of "the same person?" over pairs of faces, and the mean cosine of both kinds."""
        return verification(_people(faces), seen.features)


def verification(person: Tensor, features: Tensor) -> dict[str, Any]:
    """AUC, mean cosines and counts over all pairs of PAIRS faces; features N x d of length 1."""
    person, features = person[:PAIRS], features[:PAIRS].double()
    a, b = torch.triu_indices(len(person), len(person), 1)
    cosine = (features @ features.T)[a, b]
    same = person[a] == person[b]
    n_same, n_other = int(same.sum()), int((~same).sum())
    if not n_same or not n_other:
        raise BadData("verification needs two people, and two faces of one of them")
    # The AUC is the Mann-Whitney statistic: the rank sum of the pairs of one person.
    ranks = torch.empty(len(cosine), dtype=torch.float64)
    ranks[cosine.argsort()] = torch.arange(1, len(cosine) + 1, dtype=torch.float64)
    auc = (ranks[same].sum() - n_same * (n_same + 1) / 2) / (n_same * n_other)
    return {
        "auc": float(auc),
        "cosine_same_person": float(cosine[same].mean()),
        "cosine_other_person": float(cosine[~same].mean()),
        "pairs_same": n_same,
        "pairs_other": n_other,
        "people": len(person.unique()),
    }


def _people(faces: FaceSet) -> Tensor:
    if faces.person is None:
        raise BadData(f"{faces.source} does not know who is who; give a `person` column")
    return faces.person.cpu()
