"""Source "rafd:PATH": the Radboud Faces Database (Langner et al. 2010).

The labels are in the file names: Rafd090_01_Caucasian_female_angry_frontal.jpg is the camera at 90
degrees (frontal; 000 and 180 are profiles), person 01, angry, gaze frontal. Folders are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter

NAME = re.compile(
    r"rafd(?P<angle>\d{3})_(?P<model>\d+)_.+_(?P<emotion>[a-z]+)_(?P<gaze>frontal|left|right)", re.I
)


@SOURCES.register("rafd")
class RaFD(DirectorySource):
    """RaFD. angles: cameras to use, comma-separated ("045,090,135"). gazes: of frontal, left and
    right (default all)."""

    expected = "expected pictures named like Rafd090_01_Caucasian_female_angry_frontal.jpg"

    def __init__(self, argument: str, *, angles: str = "090", gazes: str = "", **options: Any):
        self.angles = angles.split(",")
        self.gazes = gazes.split(",") if gazes else ["frontal", "left", "right"]
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        for path in list_images(self.root):
            match = NAME.fullmatch(path.stem)
            if not match:
                row_filter.reject(path.relative_to(self.root).as_posix(), "not a file name of RaFD")
            elif match["angle"] not in self.angles:
                row_filter.skip(f"camera at {match['angle']} degrees")
            elif match["gaze"].lower() not in self.gazes:
                row_filter.skip(f"gaze {match['gaze'].lower()}")
            else:
                yield from self.file_row(path, row_filter, match["emotion"], person=match["model"])
