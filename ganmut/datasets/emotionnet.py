"""Source "emotionnet:PATH": EmotioNet (Benitez-Quiroz et al. 2016), downloaded from its addresses.

    any folders of images, openface/<name>.csv     (or openface=PATH, a folder or one csv)

The owners publish image addresses with units that are present or absent; intensities come from
OpenFace. The data has no emotion labels: each face is labelled by its action units
(ganmut.emotions.emotion_from_units).
"""

from __future__ import annotations

from collections.abc import Iterator

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter


@SOURCES.register("emotionnet")
class EmotionNet(DirectorySource):
    """EmotioNet with OpenFace's action units; without person ids."""

    expected = "expected pictures in any folders, and openface/<name>.csv for each"
    label_by_units = True

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        for path in list_images(self.root):
            yield from self.file_row(path, row_filter, "")
