"""Ground truth: the test people rendered with the target expression, cached for all systems and
runs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganmut.datasets import FaceSet
from ganmut.datasets.base import digest
from ganmut.datasets.cache import stored_array
from ganmut.errors import describe_os_error

from ..stats import NotMeasured

log = logging.getLogger(__name__)


class GroundTruth:
    """Renders test faces with an expression, and caches the first n of them at full intensity in
    `folder`; other intensities are rendered anew."""

    def __init__(self, faces: FaceSet, n: int, folder: Path):
        self.faces, self.n, self.folder = faces, min(n, len(faces)), folder
        self._arrays: dict[str, np.ndarray] = {}

    @property
    def available(self) -> bool:
        """Whether the data source can render its people with another expression."""
        return self.faces.ground_truth is not None

    def render(self, faces: Tensor, emotion: str, intensity: float = 1.0) -> Tensor:
        """uint8 m x 3 x S x S: test faces (positions, `[m]`) with an expression."""
        if intensity == 1 and len(faces) and int(faces.max()) < self.n:
            return torch.from_numpy(self._read_cache(emotion)[faces.numpy()])
        return self._render(faces, emotion, intensity)

    def _render(self, faces: Tensor, emotion: str, intensity: float) -> Tensor:
        if self.faces.ground_truth is None:
            raise NotMeasured("only rendered faces have a ground truth")
        return self.faces.ground_truth(faces, emotion, intensity)

    def _read_cache(self, emotion: str) -> np.ndarray:
        if emotion not in self._arrays:
            name = digest("ground truth", self.faces.fingerprint, self.n, emotion)
            shape = (self.n, 3, self.faces.size, self.faces.size)

            def fill(target: np.ndarray) -> None:
                for rows in torch.arange(self.n).split(128):
                    target[rows.numpy()] = self._render(rows, emotion, 1.0).numpy()

            try:
                array, _ = stored_array(self.folder / f"{name}.npy", shape, fill)
            except OSError as error:  # a full disk costs the cache, not the result
                log.warning("%s; the ground truth is kept in memory", describe_os_error(error))
                array = np.empty(shape, np.uint8)
                fill(array)
            self._arrays[emotion] = array
        return self._arrays[emotion]
