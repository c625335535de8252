"""Source "fer2013:PATH": FER2013 (Goodfellow et al. 2013), grey faces of 48 px from web search.

    fer2013.csv, icml_face_data.csv or train.csv     columns emotion (0..6), pixels, Usage
As class folders: train/<emotion>/*.jpg and test/<emotion>/*.jpg.

PublicTest is the validation split and PrivateTest the test split. The data has no person ids.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, class_rows
from ganmut.datasets.records import SPLIT_WORDS, Row, RowFilter
from ganmut.datasets.tables import read_csv_columns
from ganmut.folders import subfolders
from ganmut.text import quote

IDS = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
NAMES = {str(number): name for number, name in enumerate(IDS)}
TABLES = ("fer2013.csv", "icml_face_data.csv", "train.csv")  # the first that is there
USAGE = {"training": "train", "publictest": "validation", "privatetest": "test", "": ""}
SIDE = 48


@SOURCES.register("fer2013")
class FER2013(DirectorySource):
    """FER2013, from the table of pixels or from class folders."""

    expected = f"expected {', '.join(TABLES)}, or train/<emotion>/*.jpg and test/<emotion>/*.jpg"

    def __init__(self, argument: str, **options: Any):
        self.pixels: dict[str, np.ndarray] = {}  # key -> 48 x 48 uint8
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        names = {} if self.label_map else NAMES
        for folder in (self.root, *subfolders(self.root)):
            table = next((folder / t for t in TABLES if (folder / t).is_file()), None)
            if table:
                for number, columns in read_csv_columns(table):
                    yield from self._pixel_row(f"{table.stem}/{number}", columns, row_filter, names)
                return
        self.rest = "not in a class folder"
        for folder in (self.root, *subfolders(self.root)):
            parts = [part for part in subfolders(folder) if part.name.lower() in SPLIT_WORDS]
            for part in parts:
                yield from class_rows(self.root, part, row_filter, part.name, names)
            if parts:
                return

    def _pixel_row(
        self, key: str, columns: dict[str, str], row_filter: RowFilter, names: dict[str, str]
    ) -> Iterator[Row]:
        if not {"emotion", "pixels"} <= columns.keys():
            raise BadData(f"{key.partition('/')[0]}.csv needs the columns emotion and pixels")
        usage, label = columns.get("Usage", "").strip(), columns["emotion"].strip()
        pixels = parse_pixels(columns["pixels"])
        if pixels is None:
            row_filter.reject(key, f"not {SIDE} x {SIDE} pixels in 0..255")
        elif usage.lower() not in USAGE:
            row_filter.reject(key, f"unknown Usage {quote(usage)}")
        else:
            self.pixels[key] = pixels
            split, check = USAGE[usage.lower()], zlib.crc32(pixels.tobytes())
            yield Row(key, names.get(label, label), split=split, bytes=check)

    def read_image(self, row: Row) -> np.ndarray:
        if row.key in self.pixels:
            return np.repeat(self.pixels[row.key][..., None], 3, axis=2)
        return super().read_image(row)


def parse_pixels(text: str) -> np.ndarray | None:
    """48 x 48 uint8 of numbers in 0..255, separated by spaces, row by row; None for other text."""
    try:
        values = np.array(text.split(), np.int16)
    except (ValueError, OverflowError):
        return None
    if values.size != SIDE * SIDE or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(SIDE, SIDE)
