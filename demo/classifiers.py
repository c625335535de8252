"""What frozen networks see in an edited face: its emotions, whether it is the same person, units.

They belong to a set of weights: one that learned from rendered faces says little of photographs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ganmut import extractors, images, weights
from ganmut.extractors import EXTRACTORS, Extractor
from ganmut.extractors.units import read_units


class Classifiers:
    """The extractors of one set, by role ("emotion", "identity", "units"); those it has not, None.

    problems: which could not be loaded, and why.
    """

    def __init__(self, group: str):
        self.group = group
        self.problems: dict[str, str] = {}
        self.by_role: dict[str, Extractor] = {}
        for name in weights.list_weights(group, "extractor"):
            if name not in EXTRACTORS:  # such as the landmark network, which classifies nothing
                continue
            try:
                self.by_role[name] = extractors.load(f"{group}/{name}", "cpu")
            except ValueError as error:
                self.problems[f"{group}/{name}"] = str(error)

    def emotions(self, faces: np.ndarray) -> list[dict[str, float]] | None:
        """For each of N x S x S x 3 uint8 faces the probabilities of the emotions."""
        if (classifier := self.by_role.get("emotion")) is None:
            return None
        outputs = classifier(images.to_tensor(faces)).outputs.tolist()
        return [dict(zip(classifier.emotions, row, strict=True)) for row in outputs]

    def person(self, face: np.ndarray) -> np.ndarray | None:
        """The embedding (length 1) of one S x S x 3 uint8 face."""
        classifier = self.by_role.get("identity")
        if classifier is None:
            return None
        features = classifier(images.to_tensor(face[None])).features[0]
        return torch.nn.functional.normalize(features, dim=0).numpy()

    def units(self, face: np.ndarray) -> list[float] | None:
        """The seventeen units, two digits, that one S x S x 3 uint8 face shows."""
        classifier = self.by_role.get("units")
        return None if classifier is None else read_units(classifier, face)


def readings(
    classifiers: Classifiers, source: np.ndarray | None, edited: np.ndarray
) -> dict[str, Any]:
    """Outputs for an edited face (S x S x 3 uint8): {"emotions": {name: 0..1} or None,
    "distance": 1 - cosine to the source's embedding, or None}."""
    seen, person = classifiers.emotions(edited[None]), classifiers.person(edited)
    distance = None
    if person is not None and source is not None:
        distance = round(max(0.0, 1 - float(person @ source)), 4)
    rounded = {name: round(p, 4) for name, p in seen[0].items()} if seen else None
    return {"emotions": rounded, "distance": distance}
