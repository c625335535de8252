"""Source "ckplus:PATH": the Extended Cohn-Kanade Dataset (Lucey et al. 2010).

    cohn-kanade-images/S005/001/S005_001_00000011.png   from neutral (first) to the peak (last)
    Emotion/S005/001/S005_001_00000011_emotion.txt      one id, "   3.0000000e+00"; not everywhere
    FACS/S005/001/S005_001_00000011_facs.txt            lines "unit intensity" of the peak

Sequences without a label are left out and counted. Intensities are A..E = 1..5, 0 where the coder
gave none: taken for 3. AU27 (mouth stretch) is a jaw dropped as far as it goes: AU26 at 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter, parse_positive_int
from ganmut.emotions import UNITS

IDS = ("neutral", "angry", "contempt", "disgusted", "fearful", "happy", "sad", "surprised")


@SOURCES.register("ckplus")
class CKPlus(DirectorySource):
    """CK+. frames: how many of a sequence's last frames show the emotion (default 3); its first
    one is neutral."""

    expected = "expected cohn-kanade-images/S005/001/*.png and Emotion/S005/001/*_emotion.txt"

    def __init__(self, argument: str, *, frames: int | str = 3, **options: Any):
        self.frames = parse_positive_int("frames", frames)
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        shown = self.folder("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
        emotions, codes = self.folder("Emotion", "Emotion_labels/Emotion"), self._facs()
        for sequence in sorted({path.parent for path in list_images(shown)}):
            inside = sequence.relative_to(shown)
            notes = sorted((emotions / inside).glob("*_emotion.txt"))
            if not notes:
                row_filter.skip("sequence without a label")
                continue
            key = inside.as_posix()
            try:
                label = IDS[int(float(notes[0].read_text()))]
                units = read_facs(codes / inside) if codes else None
            except (ValueError, IndexError):
                row_filter.reject(key, f"{notes[0].name} or its FACS codes cannot be read")
                continue
            frames, person = list(list_images(sequence)), inside.parts[0]
            rest = None if units is None else (0.0,) * len(UNITS)
            yield from self.file_row(frames[0], row_filter, "neutral", person=person, units=rest)
            for path in frames[max(1, len(frames) - self.frames) :]:
                yield from self.file_row(path, row_filter, label, person=person, units=units)

    def _facs(self) -> Path | None:
        places = (self.root / name for name in ("FACS", "FACS_labels/FACS"))
        return next((place for place in places if place.is_dir()), None)


def read_facs(folder: Path) -> tuple[float, ...] | None:
    """17 units in 0..1 of the one *_facs.txt in a folder, None where there is none; raises
    ValueError."""
    notes = sorted(folder.glob("*_facs.txt"))
    if not notes:
        return None
    found = dict.fromkeys(UNITS, 0.0)
    for line in notes[0].read_text().splitlines():
        if line.strip():
            unit, intensity = (int(float(word)) for word in line.split())
            unit, intensity = (26, 5) if unit == 27 else (unit, intensity or 3)
            if unit in found:
                found[unit] = min(intensity / 5, 1.0)
    return tuple(found[unit] for unit in UNITS)
