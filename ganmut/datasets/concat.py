"""Source "SPEC + SPEC ...": the faces of several sources as one set.

For example photographs, with rendered faces for the emotions that are rare among photographs.
Emotions of the same name become one label. `FaceSet.source_id` lets balanced training show every
emotion of every source equally often. An emotion with fewer than MIN_FACES faces in a source is
left out of that source. If one source is grey, all images become grey, so that colour does not
reveal the source.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmut import images
from ganmut.datasets.base import SOURCES, BadData, FaceSet, digest, open_source
from ganmut.datasets.spec import HINT, split_sources
from ganmut.datasets.stored import StoredImages
from ganmut.registry import UnknownNameError
from ganmut.text import quantity, quote

MIN_FACES = 20  # of an emotion in a source; a discriminator overfits fewer
CHUNK = 1024  # images made grey at a time


@SOURCES.register("concat")
class Concat:
    """The sources of a spec; `emotions` in the order of first occurrence. Raises BadData."""

    def __init__(self, argument: str, **options: Any):
        self.specs = split_sources(argument)
        if len(self.specs) < 2 or not all(self.specs):
            raise BadData(f"several sources are written SPEC + SPEC, got {quote(argument)}; {HINT}")
        try:
            self.sources = [open_source(spec, **options) for spec in self.specs]
        except (UnknownNameError, BadData) as error:
            whole = Path(argument.partition(":")[2])
            if isinstance(error, BadData) and not whole.exists():
                raise
            raise type(error)(f"{error}. In {quote(argument)}: {HINT}") from None
        self.emotions = tuple(dict.fromkeys(e for s in self.sources for e in s.emotions))

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """One split of all sources, at most n faces of each. Raises BadData for different crops."""
        sets = [s.load(split, size, n, seed=seed, progress=progress) for s in self.sources]
        if len({faces.crop for faces in sets}) > 1:
            crops = ", ".join(f"{faces.source}: {faces.crop}" for faces in sets)
            raise BadData(f"these sources are cropped differently ({crops}); align them first")
        skipped: Counter[str] = Counter()
        for at, faces in enumerate(sets):
            sets[at] = faces.select(self.frequent_rows(faces))
            rare = len(faces) - len(sets[at])
            skipped.update(faces.skip_counts)
            if rare:
                reason = f"an emotion with fewer than {MIN_FACES} faces"
                skipped[reason] += rare
                print(f"{faces.source}: left out {quantity(rare, 'face')} of {reason}")
        grey = any(faces.grey for faces in sets)
        people, known = [], 0
        for faces in sets:
            if faces.person is not None:
                people.append(faces.person + known)
                known += int(faces.person.max()) + 1
        units = [faces.units for faces in sets if faces.units is not None]
        return FaceSet(
            source=" + ".join(faces.source for faces in sets),
            split=split,
            crop=sets[0].crop,
            emotions=self.emotions,
            images=join_images(sets, grey),
            emotion=torch.cat([self.labels(faces) for faces in sets]),
            units=torch.cat(units) if len(units) == len(sets) else None,
            person=torch.cat(people) if len(people) == len(sets) else None,
            source_id=torch.cat([torch.full((len(f),), i) for i, f in enumerate(sets)]),
            skip_counts=dict(skipped),
            fingerprint=digest(*(faces.fingerprint for faces in sets)),
            content=digest(*(faces.content for faces in sets)),
        )

    def frequent_rows(self, faces: FaceSet) -> Tensor:
        """int64 n: the faces whose emotion has at least MIN_FACES faces in this set."""
        count = torch.bincount(faces.emotion, minlength=len(faces.emotions))
        rows = (count[faces.emotion] >= MIN_FACES).nonzero()[:, 0]
        if not len(rows):
            raise BadData(f"{faces.source}: no emotion has {MIN_FACES} faces")
        return rows

    def labels(self, faces: FaceSet) -> Tensor:
        """The labels of a set as indices into `emotions`."""
        return torch.tensor([self.emotions.index(e) for e in faces.emotions])[faces.emotion]


def join_images(sets: list[FaceSet], grey: bool) -> Tensor | StoredImages:
    """uint8 N x 3 x S x S of all sets; in files where all of them are."""
    stored = [StoredImages.of(faces.images) for faces in sets]
    found = [images for images in stored if images is not None]
    if len(found) == len(sets):
        return StoredImages.join(found, [grey and not faces.grey for faces in sets])
    return torch.cat([load_images(faces, grey) for faces in sets])


def load_images(faces: FaceSet, grey: bool) -> Tensor:
    """uint8 N x 3 x S x S of all faces; their luma in all channels if `grey`."""
    if not grey or faces.grey:
        return faces.faces()
    out = np.empty(tuple(faces.images.shape), np.uint8)
    for at in range(0, len(faces), CHUNK):
        rows = slice(at, at + CHUNK)
        out[rows] = images.luma(faces.faces(rows).float()).round().clamp(0, 255).byte().numpy()
    return torch.from_numpy(out)
