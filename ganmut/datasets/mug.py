"""Source "mug:PATH": the MUG Facial Expression Database (Aifanti et al. 2010), posed sequences.

    subjects3/<person>/<emotion>/take<nnn>/img_<nnnn>.jpg   (or with the person's folder twice, or a
    session's between)

A take of an emotion goes from neutral over the full expression back to neutral: its middle frames
show the emotion. Takes in the folder `neutral` show nothing throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter, parse_positive_int
from ganmut.emotions import EMOTIONS, canonical_emotion


@SOURCES.register("mug")
class MUG(DirectorySource):
    """MUG. frames: how many of the middle third of each take (default 5, evenly spread)."""

    expected = "expected <person>/<emotion>/take000/img_0000.jpg, as in the folder subjects3"

    def __init__(self, argument: str, *, frames: int | str = 5, **options: Any):
        self.frames = parse_positive_int("frames", frames)
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        root = self.root / "subjects3" if (self.root / "subjects3").is_dir() else self.root
        for take in sorted({path.parent for path in list_images(root)}):
            inside = take.relative_to(root).parts
            if len(inside) < 2:
                row_filter.reject(
                    take.relative_to(self.root).as_posix(), f"not a take; {self.expected}"
                )
                continue
            label = next(
                (name for name in inside[1:] if canonical_emotion(name) in EMOTIONS), inside[-2]
            )
            for path in middle_frames(list(list_images(take)), self.frames):
                yield from self.file_row(path, row_filter, label, person=inside[0])


def middle_frames(frames: list[Path], count: int) -> list[Path]:
    """`count` frames evenly spread over the middle third; all of it where it has fewer."""
    third = frames[len(frames) // 3 : max(len(frames) - len(frames) // 3, 1)]
    if len(third) <= count:
        return third
    return [third[round((i + 0.5) * len(third) / count - 0.5)] for i in range(count)]
