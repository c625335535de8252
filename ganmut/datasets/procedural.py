"""Source "procedural" or "procedural:DEVICE": rendered faces, the default; no download.

Identity, emotion, action units, pose and light of every face are known. The parameters come from
ganmut.rendering.sampler, the images from ganmut.rendering.shading.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from ganmut.datasets.base import SOURCES, BadData, FaceSet
from ganmut.datasets.cache import cached_array
from ganmut.device import select_device
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.rendering.sampler import SPLITS, sample_parameters, with_expression
from ganmut.rendering.shading import render
from ganmut.text import quote

CHUNK = 256  # faces rendered between two updates of the progress bar


@SOURCES.register("procedural")
class Procedural:
    """Rendered faces with ground truth; DEVICE is where they are rendered (default "cpu")."""

    emotions = EMOTIONS
    DEFAULT_COUNT: ClassVar[dict[str, int]] = {
        "train": 20000,
        "extractor": 12000,
        "test": 3500,
        "validation": 3500,
    }

    def __init__(self, argument: str = "", *, device: str | None = None):
        self.device = device or argument or "cpu"
        try:  # before minutes of sampling
            select_device(self.device)
        except ParameterError as error:
            raise BadData(f"procedural:{self.device}: {error}") from None

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """`n` faces of a split at size x size px. Raises BadData for an unknown split."""
        if split not in SPLITS:
            raise BadData(f"unknown split {quote(split)}; there are: {', '.join(SPLITS)}")
        count = self.DEFAULT_COUNT[split] if n is None else n
        parameters = sample_parameters(seed, split, range(count))

        def fill(images: np.ndarray) -> None:
            starts = range(0, count, CHUNK)
            bar = tqdm(starts, desc=f"rendering {split}", unit=f"x{CHUNK}", disable=not progress)
            for start in bar:
                rows = slice(start, start + CHUNK)
                images[rows] = render(parameters.select(rows), size, self.device).cpu().numpy()

        def ground_truth(indices: Tensor, emotion: str, intensity: float = 1.0) -> Tensor:
            target = with_expression(parameters.select(indices), emotion, intensity)
            return render(target, size, self.device).cpu()

        return FaceSet(
            source="procedural",
            split=split,
            emotions=EMOTIONS,
            images=cached_array(f"procedural-{parameters.fingerprint}", count, size, fill)[0],
            emotion=parameters.emotion,
            units=parameters.units,
            person=parameters.person,
            ground_truth=ground_truth,
            fingerprint=f"{parameters.fingerprint}-{size}",
        )
