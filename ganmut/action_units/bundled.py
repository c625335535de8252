"""The project's own extractor of action units."""

from __future__ import annotations

import sys

import numpy as np
import torch

from ganmut.action_units.base import PROVIDERS, ProviderUnavailable
from ganmut.datasets.cache import crop_square
from ganmut.extractors import load

RENDERED = "procedural/units"


@PROVIDERS.register("bundled")
class Bundled:
    """`model` is the spec of a units extractor: the bundled one, a folder, hub:OWNER/NAME@REV.

    The bundled one has only seen rendered faces, and says so: on photographs its numbers are rough.
    """

    def __init__(self, model: str = ""):
        self.extractor = load(model or RENDERED)
        if self.extractor.name != "units":
            raise ProviderUnavailable(
                f"{model} is the extractor {self.extractor.name!r}; give one that "
                "`python -m ganmut train-extractor units` wrote"
            )
        if str(self.extractor.config.get("data", "")).startswith("procedural"):
            print(
                "this extractor was trained on rendered faces: rough on photographs",
                file=sys.stderr,
            )

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """The units of aligned faces (it looks for none: every picture is one)."""
        faces = [crop_square(picture, self.extractor.size) for picture in images]
        outputs = self.extractor(torch.from_numpy(np.stack(faces))).outputs
        return [tuple(row) for row in outputs.clamp(0, 1).tolist()]
