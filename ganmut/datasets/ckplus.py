"""Source "ckplus:PATH": the Extended Cohn-Kanade Dataset (Lucey et al. 2010).

    cohn-kanade-images/S005/001/S005_001_00000011.png   frames from neutral (first) to peak (last)
    Emotion/S005/001/S005_001_00000011_emotion.txt      an id, "   3.0000000e+00"; optional
    FACS/S005/001/S005_001_00000011_facs.txt            lines "unit intensity" of the peak

Sequences without a label are counted and left out. Intensities A..E are coded 1..5; 0, where the
coder gave none, is read as 3. AU27 (mouth stretch) is read as AU26 (jaw drop) at intensity 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter, parse_positive_int
from ganmut.datasets.tables import read_lines
from ganmut.emotions import UNITS
from ganmut.text import quote

IDS = ("neutral", "angry", "contempt", "disgusted", "fearful", "happy", "sad", "surprised")


@SOURCES.register("ckplus")
class CKPlus(DirectorySource):
    """CK+. frames: number of last frames of a sequence with its emotion as label; the first frame
    is neutral."""

    expected = "expected cohn-kanade-images/S005/001/*.png and Emotion/S005/001/*_emotion.txt"

    def __init__(self, argument: str, *, frames: int | str = 3, **options: Any):
        self.frames = parse_positive_int("frames", frames)
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        images = self.folder("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
        emotions, facs = self.folder("Emotion", "Emotion_labels/Emotion"), self._facs_folder()
        for sequence in sorted({path.parent for path in list_images(images)}):
            name = sequence.relative_to(images)
            labels = sorted((emotions / name).glob("S*_emotion.txt"))
            if not labels:
                row_filter.skip("sequence without a label")
                continue
            try:
                label = IDS[parse_id("".join(read_lines(labels[0])))]
                units = read_facs(facs / name) if facs else None
            except (ValueError, OverflowError):
                reason = f"{labels[0].name} or its FACS codes cannot be read"
                row_filter.reject(name.as_posix(), reason)
                continue
            frames, person = list(list_images(sequence)), name.parts[0]
            neutral = None if units is None else (0.0,) * len(UNITS)
            yield from self.file_row(frames[0], row_filter, "neutral", person=person, units=neutral)
            for path in frames[max(1, len(frames) - self.frames) :]:
                yield from self.file_row(path, row_filter, label, person=person, units=units)

    def _facs_folder(self) -> Path | None:
        places = (self.root / name for name in ("FACS", "FACS_labels/FACS"))
        return next((place for place in places if place.is_dir()), None)


def parse_id(text: str) -> int:
    """The id of a label file; raises ValueError where it is no number from 0."""
    number = float(text)
    if not 0 <= number < len(IDS):
        raise ValueError(f"no id: {quote(text)}")
    return int(number)


def read_facs(folder: Path) -> tuple[float, ...] | None:
    """17 units in 0..1 (order of UNITS) of the *_facs.txt of a folder, or None without one.

    Raises ValueError for a line that is not "unit intensity".
    """
    paths = sorted(folder.glob("S*_facs.txt"))
    if not paths:
        return None
    found = dict.fromkeys(UNITS, 0.0)
    for line in read_lines(paths[0]):
        unit, intensity = (int(float(word)) for word in line.split())
        unit, intensity = (26, 5) if unit == 27 else (unit, intensity or 3)
        if unit in found:
            found[unit] = min(max(intensity / 5, 0.0), 1.0)
    return tuple(found[unit] for unit in UNITS)
