"""The identity embedder, the extractor of the identity distance between source and edit."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor, TrainingTask, vgg

SCALE, MARGIN = 24.0, 0.25  # of the cosine-margin softmax
PAIRS = 3000  # faces of the verification: 4.5 million pairs


@EXTRACTORS.register("identity")
class Identity(Extractor):
    """VGG-style embedding of 128 values with length 1; the cosine of two faces of one person is
    high."""

    title = "Identity embedder"
    outputs = "the embedding, of length 1"

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__(emotions, size)
        self.trunk = self.build_trunk(size)

    @staticmethod
    def build_trunk(size: int) -> nn.Module:
        """The network from N x 3 x size x size to N x 128."""
        return vgg((16, 32, 64, 128, 256), size, 128)

    def embed(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x), dim=1)

    def predict(self, features: Tensor) -> Tensor:
        return features

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        """Classification of the people with at least two faces, by a softmax over cosines with a
        margin (CosFace, arXiv 1801.09414, eq. 4).

        The margin grows over the first third of training; from the start it can prevent an
        untrained network from learning.
        """
        people, person, counts = _people(faces).unique(return_inverse=True, return_counts=True)
        known = (counts > 1).nonzero().flatten()
        if len(known) < 2:
            raise BadData(
                f"{faces.source}: {len(known)} of {len(people)} people have two faces or more; "
                "an identity embedder needs at least 2 such people"
            )
        rows = torch.isin(person, known).nonzero().flatten()
        # The classes' directions are of training alone and do not travel with the weights.
        directions = nn.Parameter(torch.randn(len(known), 128, generator=generator))

        def loss(features: Tensor, targets: Tensor, progress: float) -> Tensor:
            # float32: the softmax multiplies the rounding of cosines by SCALE.
            cosine = features.float() @ F.normalize(directions, dim=1).T
            margin = MARGIN * min(3 * progress, 1.0)
            own = F.one_hot(targets, len(known)).to(cosine.dtype)
            return F.cross_entropy(SCALE * (cosine - margin * own), targets)

        targets = torch.searchsorted(known, person[rows])
        return TrainingTask(rows, targets, loss, (directions,))

    def evaluate(self, faces: FaceSet, extraction: Extraction) -> dict[str, Any]:
        """AUC of verification over pairs of faces, and mean cosines of the same and of other
        people."""
        return verification(_people(faces), extraction.features)


def verification(person: Tensor, features: Tensor) -> dict[str, Any]:
    """AUC, mean cosines and counts over all pairs of the first PAIRS faces. person: int64 N;
    features: N x d of length 1. Raises BadData without pairs of both kinds."""
    person, features = person[:PAIRS], features[:PAIRS].double()
    # Every pair once; the diagonal would be a face against itself.
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
        raise BadData(f"{faces.source} has no identities; give a `person` column")
    return faces.person.cpu()
