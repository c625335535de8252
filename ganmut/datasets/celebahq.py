"""Source "celebahq:PATH": CelebA-HQ (Karras et al. 2018), as CelebAMask-HQ packs it.

    CelebA-HQ-img/<n>.jpg                 30,000 pictures
    openface/<n>.csv                      or openface=PATH, a folder or one csv
    CelebA-HQ-to-CelebA-mapping.txt       optional: which picture of CelebA each one was
    identity_CelebA.txt                   optional, from CelebA: who that is

With the mapping the splits are CelebA's own (its first 162,770 pictures train, the next 19,867
validate, the rest test), which no person crosses. It has no emotions: the one that the units show
stands in (emotions.emotion_from_units).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter

MAPPING, WHO = "CelebA-HQ-to-CelebA-mapping.txt", "identity_CelebA.txt"
LAST_TRAIN, LAST_VALIDATION = 162770, 182637


@SOURCES.register("celebahq")
class CelebAHQ(DirectorySource):
    """CelebA-HQ with OpenFace's action units."""

    expected = "expected CelebA-HQ-img/<n>.jpg and openface/<n>.csv for each"
    label_by_units = True

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        origins = {row[0]: row[2] for row in columns(self.root / MAPPING, 3)}
        who = {row[0]: row[1] for row in columns(self.root / WHO, 2)}
        for path in list_images(self.folder("CelebA-HQ-img")):
            original = origins.get(path.stem)
            if origins and original is None:
                row_filter.reject(f"{path.parent.name}/{path.name}", f"not in {MAPPING}")
                continue
            person = who.get(original or "", "") if who else None
            yield from self.file_row(path, row_filter, "", split=split(original), person=person)


def split(original: str | None) -> str:
    """The split of a picture of CelebA, such as 119613.jpg; "" where it is not known."""
    if original is None or not Path(original).stem.isdecimal():
        return ""
    number = int(Path(original).stem)
    return "train" if number <= LAST_TRAIN else "val" if number <= LAST_VALIDATION else "test"


def columns(path: Path, count: int) -> list[list[str]]:
    """The words of each line of an optional table, its heading passed over."""
    if not path.is_file():
        return []
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    if any(len(words) != count for words in lines):
        raise BadData(f"{path} must have {count} columns in every line")
    return [words for words in lines if Path(words[-1 if count == 3 else 0]).suffix]
