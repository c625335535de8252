"""Source "emotionnet:PATH": EmotionNet (Benitez-Quiroz et al. 2016), as you downloaded it.

    any folders of pictures, openface/<name>.csv   (or openface=PATH, a folder or one csv)

The owners hand out addresses of pictures with units that are present or absent; intensities come
from OpenFace. It has no emotions: each face is labelled by its action units
(ganmut.emotions.emotion_from_units).
"""

from __future__ import annotations

from collections.abc import Iterator

from ganmut.datasets.base import SOURCES
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter


@SOURCES.register("emotionnet")
class EmotionNet(DirectorySource):
    """EmotionNet with OpenFace's action units; nobody is named."""

    expected = "expected pictures in any folders, and openface/<name>.csv for each"
    label_by_units = True

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        for path in list_images(self.root):
            yield from self.file_row(path, row_filter, "")
