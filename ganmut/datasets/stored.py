"""StoredImages: images that stay in the files of the cache and are read when they are indexed."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from ganmut.images import luma


@dataclass(frozen=True)
class ImageFile:
    """`count` images of one size behind each other in a file, from byte `start` on. to_grey: read
    with their luma in all channels."""

    path: str
    start: int
    count: int
    to_grey: bool = False


@dataclass(frozen=True, eq=False)
class StoredImages:
    """uint8 N x 3 x S x S RGB in files: `images[rows]` reads them, and keeps nothing.

    Unlike a memory-mapped array it adds no pages of the files to this process, can be sent to
    another one, and selects rows or joins files without a copy. rows: int64, of the files one after
    the other; None: all.
    """

    files: tuple[ImageFile, ...]
    side: int
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, images: Any) -> StoredImages | None:
        """The same images where they lie in a file (a memory-mapped .npy file), else None."""
        if isinstance(images, StoredImages):
            return images
        # A view of a mapped array has its attributes too, and another length.
        if not isinstance(images, np.memmap) or not isinstance(images.base, mmap.mmap):
            return None
        file = ImageFile(str(images.filename), int(images.offset), len(images))
        return cls((file,), int(images.shape[-1]))

    @classmethod
    def join(cls, parts: Sequence[StoredImages], to_grey: Sequence[bool]) -> StoredImages:
        """The images of several one after the other; to_grey: whether a part's become grey."""
        files: list[ImageFile] = []
        rows = []
        for part, grey in zip(parts, to_grey, strict=True):
            first = sum(file.count for file in files)
            rows.append(first + part._numbers(slice(None)))
            files += [replace(file, to_grey=file.to_grey or grey) for file in part.files]
        return cls(tuple(files), parts[0].side, np.concatenate(rows))

    def __len__(self) -> int:
        return sum(file.count for file in self.files) if self.rows is None else len(self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), 3, self.side, self.side

    def select(self, rows: np.ndarray) -> StoredImages:
        """The images of these rows (int64 n)."""
        return replace(self, rows=self._numbers(np.asarray(rows)))

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """uint8 n x 3 x S x S. Raises OSError where a file is gone or shorter."""
        numbers = self._numbers(rows)
        found = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        starts = list(accumulate((file.count for file in self.files), initial=0))
        which = np.searchsorted(starts, numbers, side="right") - 1
        for number in np.unique(which):
            file, places = self.files[number], np.flatnonzero(which == number)
            with open(file.path, "rb", buffering=0) as stream:
                for place in places:
                    offset = int(numbers[place] - starts[number]) * found[0].nbytes
                    stream.seek(file.start + offset)
                    if stream.readinto(found[place]) != found[0].nbytes:  # type: ignore[arg-type]
                        raise OSError(None, "the file is shorter than it was", file.path)
            if file.to_grey:
                pixels = torch.from_numpy(found[places])
                found[places] = luma(pixels.float()).round().clamp(0, 255).byte().numpy()
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.uint8, copy=False)

    def _numbers(self, rows: np.ndarray | slice) -> np.ndarray:
        """Positions of rows in all the files."""
        if self.rows is not None:
            return self.rows[rows]
        numbers = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        return np.asarray(numbers, np.int64)
