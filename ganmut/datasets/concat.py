"""Source "SPEC + SPEC ...": the faces of several sources as one set, such as photographs with
rendered faces for the emotions that are rare among photographs.

Emotions of the same name are one label. Balanced training shows every emotion of every source
equally often; an emotion of which a source has fewer than LEAST faces is left to the others.
Where one source is grey all become grey, or colour alone would tell the sources apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmut import images
from ganmut.datasets.base import SOURCES, BadData, FaceSet, digest, open_source

LEAST = 20  # fewer would be learned by heart
CHUNK = 1024  # pictures turned grey at a time


@SOURCES.register("mix")
class Mix:
    """The sources of a spec, `emotions` in the order in which they first come. Raises BadData."""

    def __init__(self, argument: str, **options: Any):
        self.specs = [spec.strip() for spec in argument.split(" + ")]
        if len(self.specs) < 2 or not all(self.specs):
            raise BadData(f"a mixture is SPEC + SPEC, got {argument!r}")
        self.sources = [open_source(spec, **options) for spec in self.specs]
        self.emotions = tuple(dict.fromkeys(e for s in self.sources for e in s.emotions))

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """One split of all the sources, at most n faces of each."""
        sets = [s.load(split, size, n, seed=seed, progress=progress) for s in self.sources]
        if len({faces.crop for faces in sets}) > 1:
            crops = ", ".join(f"{faces.source}: {faces.crop}" for faces in sets)
            raise BadData(f"these sources are cropped differently ({crops}); align them first")
        sets = [faces.select(self.common(faces)) for faces in sets]
        grey = any(faces.grey for faces in sets)
        people, known = [], 0
        for faces in sets:
            if faces.person is not None:
                people.append(faces.person + known)
                known += int(faces.person.max()) + 1
        units = [faces.units for faces in sets]
        return FaceSet(
            source=" + ".join(faces.source for faces in sets),
            split=split,
            crop=sets[0].crop,
            emotions=self.emotions,
            images=torch.cat([pixels(faces, grey) for faces in sets]),
            emotion=torch.cat([self.labels(faces) for faces in sets]),
            units=None if any(u is None for u in units) else torch.cat(units),
            person=torch.cat(people) if len(people) == len(sets) else None,
            source_id=torch.cat([torch.full((len(f),), i) for i, f in enumerate(sets)]),
            skip_counts={why: n for faces in sets for why, n in faces.skip_counts.items()},
            fingerprint=digest(*(faces.fingerprint for faces in sets)),
        )

    def common(self, faces: FaceSet) -> Tensor:
        """Rows whose emotion this set has at least LEAST of."""
        count = torch.bincount(faces.emotion, minlength=len(faces.emotions))
        rows = (count[faces.emotion] >= LEAST).nonzero()[:, 0]
        if not len(rows):
            raise BadData(f"{faces.source}: no emotion has {LEAST} faces, too few for a mixture")
        return rows

    def labels(self, faces: FaceSet) -> Tensor:
        """The labels of a set as indices into `emotions`."""
        return torch.tensor([self.emotions.index(e) for e in faces.emotions])[faces.emotion]


def pixels(faces: FaceSet, grey: bool) -> Tensor:
    """uint8 N x 3 x S x S, without colour where wanted."""
    if not grey or faces.grey:
        return faces.faces()
    out = np.empty(tuple(faces.images.shape), np.uint8)
    for at in range(0, len(faces), CHUNK):
        rows = slice(at, at + CHUNK)
        out[rows] = images.luma(faces.faces(rows).float()).round().clamp(0, 255).byte().numpy()
    return torch.from_numpy(out)
