"""Answers: the test people rendered with the expression asked for, once for all rows and runs."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganmut.datasets import FaceSet
from ganmut.datasets.base import digest
from ganmut.images import write_atomic


class Answers:
    """Renders and keeps the answers of the first n test faces at full intensity; other intensities
    are not kept.
    """

    def __init__(self, faces: FaceSet, n: int, folder: Path):
        self.faces, self.n, self.folder = faces, min(n, len(faces)), folder
        self._open: dict[str, np.ndarray] = {}

    @property
    def known(self) -> bool:
        """Whether the data source knows the truth at all."""
        return self.faces.ground_truth is not None

    def render(self, faces: Tensor, emotion: str, intensity: float = 1.0) -> Tensor:
        """uint8 m x 3 x S x S of test faces (positions) with an expression."""
        if intensity == 1 and len(faces) and int(faces.max()) < self.n:
            return torch.from_numpy(self._all(emotion)[faces.numpy()])
        return self.faces.ground_truth(faces, emotion, intensity)

    def _all(self, emotion: str) -> np.ndarray:
        if emotion not in self._open:
            name = digest("answers", self.faces.fingerprint, self.n, emotion)
            path = self.folder / f"{name}.npy"
            if not path.is_file():
                write_atomic(path, self._rendered(emotion))
            self._open[emotion] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._open[emotion]

    def _rendered(self, emotion: str) -> bytes:
        parts = [
            self.faces.ground_truth(rows, emotion, 1.0).numpy()
            for rows in torch.arange(self.n).split(128)
        ]
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(parts), allow_pickle=False)
        return buffer.getvalue()
