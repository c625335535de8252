"""Source "celebahq:PATH": CelebA-HQ (Karras et al. 2018) in the layout of CelebAMask-HQ.

    CelebA-HQ-img/<n>.jpg                 30,000 pictures
    openface/<n>.csv                      or openface=PATH, a folder or one csv
    CelebA-HQ-to-CelebA-mapping.txt       optional: the CelebA image of each image
    identity_CelebA.txt                   optional, from CelebA: the person in each CelebA image

With the mapping the splits are CelebA's own, which share no person: its first 162,770 images train,
the next 19,867 are validation, the rest is test. The data has no emotion labels: each face is
labelled by its action units (ganmut.emotions.emotion_from_units).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, list_images
from ganmut.datasets.records import Row, RowFilter
from ganmut.datasets.tables import read_lines

MAPPING, PERSONS = "CelebA-HQ-to-CelebA-mapping.txt", "identity_CelebA.txt"
LAST_TRAIN, LAST_VALIDATION = 162770, 182637


@SOURCES.register("celebahq")
class CelebAHQ(DirectorySource):
    """CelebA-HQ with OpenFace's action units."""

    expected = "expected CelebA-HQ-img/<n>.jpg and openface/<n>.csv for each"
    label_by_units = True

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        originals = {row[0]: row[2] for row in read_columns(self.root / MAPPING, 3)}
        persons = {row[0]: row[1] for row in read_columns(self.root / PERSONS, 2)}
        for path in list_images(self.folder("CelebA-HQ-img")):
            original = originals.get(path.stem)
            if originals and original is None:
                row_filter.reject(f"{path.parent.name}/{path.name}", f"not in {MAPPING}")
                continue
            person = persons.get(original or "", "") if persons else None
            split = celeba_split(original)
            yield from self.file_row(path, row_filter, "", split=split, person=person)


def celeba_split(original: str | None) -> str:
    """The split of a CelebA image such as "119613.jpg", or "" where it is unknown."""
    if original is None or not Path(original).stem.isdecimal():
        return ""
    number = int(Path(original).stem)
    return "train" if number <= LAST_TRAIN else "val" if number <= LAST_VALIDATION else "test"


def read_columns(path: Path, count: int) -> list[list[str]]:
    """The words of each line of an optional table without its header; [] without the file.

    Raises BadData for a line with another number of words.
    """
    if not path.is_file():
        return []
    lines = [line.split() for line in read_lines(path)]
    if any(len(words) != count for words in lines):
        raise BadData(f"{path} must have {count} columns in every line")
    # Lines of data name an image file, in the last column of the mapping, else in the first one.
    return [words for words in lines if Path(words[-1 if count == 3 else 0]).suffix]
