"""Source "rafdb:PATH": RAF-DB (Li, Deng and Du 2017), the basic emotions.

    basic/Image/aligned/train_00001_aligned.jpg, test_0001_aligned.jpg    100 px, the owners' crop
    basic/EmoLabel/list_patition_label.txt                                "train_00001.jpg 5"
As class folders: train/<1..7>/*.jpg and test/<1..7>/*.jpg, also below a folder such as DATASET.

The first word of a file name, or the folder, is the split. The data has no person ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, class_rows
from ganmut.datasets.records import SPLIT_WORDS, Row, RowFilter
from ganmut.datasets.tables import read_lines
from ganmut.folders import subfolders
from ganmut.text import quote

IDS = ("surprised", "fearful", "disgusted", "happy", "sad", "angry", "neutral")  # from 1
NAMES = {str(number): name for number, name in enumerate(IDS, 1)}
LIST = "list_patition_label.txt"  # the owners' spelling


@SOURCES.register("rafdb")
class RAFDB(DirectorySource):
    """RAF-DB as its owners hand it out, or as class folders. Aligned images are used where they
    are, else the original ones."""

    expected = f"expected Image/aligned and EmoLabel/{LIST}, or train/<1..7> and test/<1..7>"
    rest = "not listed by the dataset"

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        table = next((p for p in places(self.root, f"EmoLabel/{LIST}", LIST) if p.is_file()), None)
        images = [p for p in places(self.root, "Image/aligned", "aligned") if p.is_dir()]
        originals = [p for p in places(self.root, "Image/original", "original") if p.is_dir()]
        if table and (images or originals):
            if images and originals:
                self.rest = "an original or unlisted image; the aligned ones are used"
            yield from self._listed(table, (images or originals)[0], row_filter)
            return
        for folder in (self.root, *subfolders(self.root)):
            parts = [part for part in subfolders(folder) if part.name.lower() in SPLIT_WORDS]
            for part in parts:
                names = {} if self.label_map else NAMES
                yield from class_rows(self.root, part, row_filter, part.name, names)
            if parts:
                return

    def _listed(self, table: Path, images: Path, row_filter: RowFilter) -> Iterator[Row]:
        aligned = "_aligned" if images.name == "aligned" else ""
        for line in read_lines(table):
            name, _, cell = line.strip().rpartition(" ")
            split, stem = name.partition("_")[0], Path(name.strip()).stem
            if split not in ("train", "test"):
                raise BadData(
                    f"{table}: expected lines such as train_00001.jpg 5, got {quote(line)}"
                )
            label = cell if self.label_map else NAMES.get(cell, "")
            path = images / f"{stem}{aligned}.jpg"
            if not label:
                key = path.relative_to(self.root).as_posix()
                row_filter.reject(key, f"unknown label {quote(cell)}, ids are 1..{len(IDS)}")
                continue
            yield from self.file_row(path, row_filter, label, split=split)


def places(root: Path, *names: str) -> Iterator[Path]:
    """Where a file or folder of these names may be: below the root, or one folder further."""
    for folder in (root, *subfolders(root)):
        yield from (folder / name for name in names)
