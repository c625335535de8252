"""Source "mug:PATH": the MUG Facial Expression Database (Aifanti et al. 2010), posed sequences.

    subjects3/<person>/<emotion>/take<nnn>/img_<nnnn>.jpg

Other folders, such as a session, may lie between person and emotion. A take goes from neutral to
the full expression and back, so its middle frames show the emotion.
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
    """MUG. frames: number of frames from the middle third of each take."""

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
    """At most `count` frames, evenly spaced over the middle third of a take."""
    third = frames[len(frames) // 3 : max(len(frames) - len(frames) // 3, 1)]
    if len(third) <= count:
        return third
    return [third[round((i + 0.5) * len(third) / count - 0.5)] for i in range(count)]
