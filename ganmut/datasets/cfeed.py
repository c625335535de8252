"""Source "cfeed:PATH": Compound Facial Expressions of Emotion (Du, Tao and Martinez 2014).

    CFEE_Database_230/01-04/Images1/02_339_3470.jpg   expression 02, person 339, picture 3470
    CFEE_Database_230/names.csv                       optional: id,name of all expressions

01 is neutral, 02..07 are the basic emotions, the others are compound expressions. To use these,
save the sheet "summary" of the owners' AU_annotation_all_subjects.xls as names.csv.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter
from ganmut.datasets.tables import read_csv
from ganmut.folders import subfolders

BASIC = ("neutral", "happy", "sad", "fearful", "angry", "surprised", "disgusted")
NAME = re.compile(r"(?P<expression>\d{2})_(?P<person>\d+)_\d+")


@SOURCES.register("cfeed")
class CFEED(DirectorySource):
    """CFEED; without names.csv the compound expressions are counted and left out."""

    expected = "expected CFEE_Database_230/<any>/Images<n>/02_339_3470.jpg"

    def __init__(self, argument: str, **options: Any):
        self.names = {number: name for number, name in enumerate(BASIC, 1)}
        super().__init__(argument, **options)

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        self.names = self._read_names() or self.names
        for path in list_images(self.root):
            match = NAME.fullmatch(path.stem)
            if not match:
                row_filter.reject(
                    path.relative_to(self.root).as_posix(), "not a file name of CFEED"
                )
            elif label := self.names.get(int(match["expression"])):
                yield from self.file_row(path, row_filter, label, person=match["person"])
            else:
                row_filter.skip(f"expression {match['expression']}, which names.csv does not name")

    def _read_names(self) -> dict[int, str]:
        """Id -> name of names.csv, {} without the file; raises BadData for unusable rows."""
        paths = (folder / "names.csv" for folder in (self.root, *subfolders(self.root)))
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return {}
        rows = [row for _, row in read_csv(path) if row[0].strip().isdecimal()]
        names = {int(row[0]): row[1].strip() if len(row) > 1 else "" for row in rows}
        if not names or any(not name for name in names.values()):
            raise BadData(f"{path} must have the columns id,name, such as 1,neutral")
        return names
