"""Source "affectnet:PATH": AffectNet (Mollahosseini et al. 2017), either release.

The release of 2017:
    Manually_Annotated_Images/<number>/<hash>.jpg
    Manually_Annotated_file_lists/training.csv, validation.csv (COLUMNS; validation may lack them)
The release with 8 labels:
    train_set/images/<n>.jpg, train_set/annotations/<n>_exp.npy, and val_set likewise
    (as class folders: train/<0..7>/*.jpg, and val likewise, where the numbers of images show that
    the folders are AffectNet's ids; else with the option label_map)
The published validation set serves as `test`, because the test set was never published. The data
has no person ids.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, class_rows, list_images
from ganmut.datasets.records import NO_LABEL, SPLIT_WORDS, Row, RowFilter
from ganmut.datasets.tables import read_csv
from ganmut.folders import subfolders
from ganmut.text import quote

IDS = (
    "neutral",
    "happy",
    "sad",
    "surprised",
    "fearful",
    "disgusted",
    "angry",
    "contempt",
    "none",
    "uncertain",
    "no-face",
)
COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)


@SOURCES.register("affectnet")
class AffectNet(DirectorySource):
    """AffectNet in its published layout; none, uncertain and no-face are counted and left out."""

    expected = (
        "expected Manually_Annotated_Images and Manually_Annotated_file_lists/training.csv (2017), "
        "or train_set/images and train_set/annotations (8 labels)"
    )
    rest = "not listed by the dataset"

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        if folder := self._images_2017():
            yield from self._rows_2017(folder, row_filter)
            return
        for folder in subfolders(self.root):
            word = folder.name.lower().removesuffix("_set").removesuffix("_class")
            split = SPLIT_WORDS.get(word, "")
            split = "test" if split == "validation" else split
            if split and (folder / "annotations").is_dir():
                yield from self._annotated(folder, split, row_filter)
            elif split:
                yield from self._classes(folder, split, row_filter)

    def _images_2017(self) -> Path | None:
        """The image folder of the release of 2017, at the root or one level below it, or None."""
        folders = (f / "Manually_Annotated_Images" for f in (self.root, *subfolders(self.root)))
        return next((folder for folder in folders if folder.is_dir()), None)

    def _rows_2017(self, folder: Path, row_filter: RowFilter) -> Iterator[Row]:
        """The rows of training.csv and validation.csv; raises BadData without training.csv."""
        parents = (folder.parent, self.root)
        places = [place for p in parents for place in (p / "Manually_Annotated_file_lists", p)]
        lists = next((place for place in places if (place / "training.csv").is_file()), None)
        if lists is None:
            raise BadData(f"{folder.parent} has no training.csv; {self.expected}")
        for file, split in (("training.csv", "train"), ("validation.csv", "test")):
            if (lists / file).is_file():
                yield from self._csv_rows(lists / file, folder, split, row_filter)

    def _csv_rows(
        self, path: Path, folder: Path, split: str, row_filter: RowFilter
    ) -> Iterator[Row]:
        inside = folder.relative_to(self.root)
        for number, cells in read_csv(path):
            if cells[0] == COLUMNS[0]:
                continue
            if len(cells) < 7:
                row_filter.reject(f"{path.name} line {number}", "fewer columns than published")
                continue
            key = posixpath.normpath((inside / cells[0]).as_posix())
            if label := parse_label(cells[6], key, row_filter):
                yield from self.file_row(folder / cells[0], row_filter, label, split=split)

    def _annotated(self, folder: Path, split: str, row_filter: RowFilter) -> Iterator[Row]:
        files = list(list_images(folder / "images"))
        for path in tqdm(files, desc=f"labels of {folder.name}", disable=len(files) < 5000):
            annotation = folder / "annotations" / f"{path.stem}_exp.npy"
            key = f"{folder.name}/images/{path.name}"
            try:
                cell = np.load(annotation, allow_pickle=False)  # 0-d, text in most copies
            except FileNotFoundError:
                row_filter.reject(key, "no annotation")
                continue
            except (OSError, ValueError):
                row_filter.reject(key, "annotation cannot be read")
                continue
            text = str(cell.reshape(-1)[0]) if cell.size == 1 else ""
            if label := parse_label(text, key, row_filter):
                yield from self.file_row(path, row_filter, label, split=split)

    def _classes(self, folder: Path, split: str, row_filter: RowFilter) -> Iterator[Row]:
        """The rows of class folders. Numbers are AffectNet's ids where the images say so."""
        names = {}
        if not self.label_map:
            groups = [group.name for group in subfolders(folder) if group.name.isdecimal()]
            if groups:
                self._check_order()
            names = {n: IDS[int(n)] for n in groups if int(n) < len(IDS)}
        yield from class_rows(self.root, folder, row_filter, split, names)

    def _check_order(self) -> None:
        """Raises BadData where the numbers of images in class folders are not in AffectNet's order:
        copies number the emotions in the order of the alphabet, too."""
        train = next((f for f in subfolders(self.root) if f.name.lower().startswith("train")), None)
        groups = subfolders(train) if train else []
        count = Counter({group.name: sum(1 for _ in list_images(group)) for group in groups})
        others = max([n for name, n in count.items() if name not in ("0", "1")], default=0)
        rare = max(count["5"], count["7"])
        if not count["1"] > count["0"] > others or not min(count["2"], count["6"]) > rare:
            numbers = ", ".join(f"{name} {n}" for name, n in sorted(count.items()))
            raise BadData(
                f"{self.root}: its class folders are numbered, and their numbers of images "
                f"({numbers or 'no training images'}) are not those of AffectNet's ids (1, happy, "
                "has most, then 0, neutral; 5 and 7 have fewest). Look at the images and name each "
                "folder: label_map=0:neutral,1:happy,..."
            )


def parse_label(cell: str, key: str, row_filter: RowFilter) -> str:
    """The emotion of an id 0..10, or "" where the row is skipped (no emotion) or rejected (no
    id)."""
    try:
        label = IDS[int(float(cell))] if float(cell) >= 0 else ""
    except (ValueError, IndexError, OverflowError):
        label = ""
    if not label:
        row_filter.reject(key, f"unknown label {quote(cell)}, ids are 0..{len(IDS) - 1}")
    elif label in NO_LABEL:
        row_filter.skip(f"labelled {label}", key)
        return ""
    return label
