"""Provider "bundled": the project's own extractor of action units."""

from __future__ import annotations

import sys

import numpy as np
import torch

from ganmut.action_units.base import PROVIDERS, ProviderUnavailable
from ganmut.datasets.cache import crop_square
from ganmut.extractors import load
from ganmut.text import quote

RENDERED = "procedural/units"


@PROVIDERS.register("bundled")
class Bundled:
    """model: the spec of a units extractor: "" (bundled), a folder, or hub:OWNER/NAME@REV.

    The bundled one was trained on rendered faces; a warning on stderr says that its units of
    photographs are rough. Raises ProviderUnavailable for an extractor of another kind.
    """

    def __init__(self, model: str = ""):
        self.extractor = load(model or RENDERED)
        if self.extractor.name != "units":
            raise ProviderUnavailable(
                f"{model} is the extractor {quote(self.extractor.name)}; give a units extractor, "
                "as `python -m ganmut train-extractor units` writes"
            )
        if str(self.extractor.config.get("data", "")).startswith("procedural"):
            print(
                "this extractor was trained on rendered faces: units of photographs are rough",
                file=sys.stderr,
            )

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """Units of aligned faces; every image counts as a face."""
        faces = [crop_square(image, self.extractor.size) for image in images]
        outputs = self.extractor(torch.from_numpy(np.stack(faces))).outputs
        return [tuple(row) for row in outputs.clamp(0, 1).tolist()]
