"""The action-unit regressor, the extractor of the AU error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor, TrainingTask, vgg
from ganmut.images import to_tensor


@EXTRACTORS.register("units")
class Units(Extractor):
    """VGG-style regressor of seventeen intensities in 0..1, order of ganmut.emotions.UNITS."""

    title = "Action-unit regressor"
    outputs = "intensities of the action units " + " ".join(map(str, UNITS))

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__(emotions, size)
        self.trunk = vgg((16, 32, 64, 128, 256), size, 128)
        self.head = nn.Linear(128, len(UNITS))

    def embed(self, x: Tensor) -> Tensor:
        return self.trunk(x).relu()

    def predict(self, features: Tensor) -> Tensor:
        return self.head(features).sigmoid()

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        def loss(features: Tensor, targets: Tensor, progress: float) -> Tensor:
            # Linear for large errors, so that outliers among the labels have little effect.
            return F.smooth_l1_loss(self.predict(features), targets, beta=0.1)

        return TrainingTask(torch.arange(len(faces)), _units(faces), loss)

    def evaluate(self, faces: FaceSet, extraction: Extraction) -> dict[str, Any]:
        """Mean absolute error, that of predicting the mean, and correlation; over all units and per
        unit."""
        truth, predicted = _units(faces).double(), extraction.outputs.double()
        error = (predicted - truth).abs().mean(0)
        centred = [values - values.mean(0) for values in (truth, predicted)]
        spread = centred[0].norm(dim=0) * centred[1].norm(dim=0)
        correlation = (centred[0] * centred[1]).sum(0) / spread.clamp(min=1e-12)
        # A unit that the data never show has no correlation; it must not count as zero.
        varies = truth.std(0) > 1e-6
        return {
            "mae": float(error.mean()),
            "mae_of_the_mean": float(centred[0].abs().mean()),
            "correlation": float(correlation[varies].mean()),
            "mae_per_unit": {str(unit): float(error[i]) for i, unit in enumerate(UNITS)},
            "correlation_per_unit": {
                str(unit): float(correlation[i]) for i, unit in enumerate(UNITS) if varies[i]
            },
            "faces": len(faces),
        }


def read_units(extractor: Extractor, face: np.ndarray) -> list[float]:
    """17 units, two digits, of an aligned face H x W x 3 uint8."""
    found = extractor(to_tensor(face[None])).outputs[0]
    return [round(value, 2) for value in found.tolist()]


@dataclass(frozen=True)
class UnitsReader:
    """`read_units` of one extractor, and the sha256 of its weights."""

    extractor: Extractor

    @property
    def sha256(self) -> str:
        return self.extractor.sha256

    def __call__(self, face: np.ndarray) -> list[float]:
        return read_units(self.extractor, face)


def _units(faces: FaceSet) -> Tensor:
    if faces.units is None:
        raise BadData(
            f"{faces.source} has no action units; give a `units` column or AU01_r .. AU45_r"
        )
    return torch.as_tensor(faces.units, dtype=torch.float32).cpu()
