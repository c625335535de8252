"""Action units from the output of OpenFace 2: seventeen columns `AUxx_r`, 0..5.

`FaceLandmarkImg -fdir IMAGES -out_dir FOLDER` writes FOLDER/NAME.csv with a row per face.
`FeatureExtraction` writes the same columns with a row per frame, and a column `success`.
"""

from __future__ import annotations

from pathlib import Path

from ganmut.datasets.base import BadData
from ganmut.datasets.records import parse_units
from ganmut.datasets.tables import read_csv_columns
from ganmut.text import quote

MIN_CONFIDENCE = 0.5  # least confidence of OpenFace in its own landmarks
NAMES = ("file_name", "filename", "name", "image", "file")


class OpenFace:
    """Action units by image, from a folder with a csv per image or from one csv with a name column.

    Raises BadData where the path does not exist or the csv names no images.
    """

    def __init__(self, path: Path):
        self.path = path
        self._by_name: dict[str, str] = {}  # name without folder and suffix -> image found by it
        self._with_path: set[str] = set()  # such names of images that were found by their paths
        if path.is_dir():
            self.table = None
        elif path.is_file():
            self.table = self._one_file()
        else:
            raise BadData(
                f"{path}: there is no OpenFace output; run FaceLandmarkImg -fdir IMAGES "
                f"-out_dir {path}, or name it with openface=PATH"
            )

    def units(self, key: str) -> tuple[float, ...]:
        """17 units in 0..1 of an image (key: its path below the root of the dataset).

        Raises ValueError with the reason where OpenFace has none, BadData where two images would
        have the same ones because their names differ in their folders alone.
        """
        rows = self._rows(key)
        if rows:
            self._with_path.add(Path(key).stem)
        elif self.table is None or Path(key).stem not in self._with_path:
            rows = self._rows(self._only_name(key))
        if not rows:
            raise ValueError("no row in OpenFace's output")
        best = max(rows, key=_confidence)  # of several faces in the image
        if _confidence(best) < MIN_CONFIDENCE:
            raise ValueError("OpenFace found no face")
        units = parse_units(best)
        if units is None:
            raise ValueError("no AU01_r .. AU45_r in OpenFace's row")
        return units

    def _rows(self, key: str) -> list[dict[str, str]]:
        """OpenFace's rows of an image's path, or name."""
        if self.table is not None:
            return self.table.get(key, [])
        file = self.path / Path(key).with_suffix(".csv")
        return read(file) if file.is_file() else []

    def _only_name(self, key: str) -> str:
        """The name of an image without its folder and suffix, which no other image may have."""
        name = Path(key).stem
        other = self._by_name.setdefault(name, key)
        if other != key and self._rows(name):
            raise BadData(
                f"{self.path} has one result {quote(name)} for {other} and {key}; write it with "
                "the folders of the images, as FOLDER/NAME.csv or in the column of names"
            )
        return name

    def _one_file(self) -> dict[str, list[dict[str, str]]]:
        rows = read(self.path)
        column = next((name for name in NAMES if rows and name in rows[0]), None)
        if column is None:
            raise BadData(
                f"{self.path} names no images; it needs one of the columns {', '.join(NAMES)}"
            )
        table: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            for key in {row[column], Path(row[column]).stem}:
                table.setdefault(key, []).append(row)
        return table


def read(path: Path) -> list[dict[str, str]]:
    """The rows of OpenFace's csv, whose header has a space after each comma."""
    return [columns for _, columns in read_csv_columns(path)]


def _confidence(row: dict[str, str]) -> float:
    """OpenFace's confidence in a row, 0..1; 0 where it reports a failure."""
    try:
        failed = "success" in row and float(row["success"]) < 1
        return 0.0 if failed else float(row.get("confidence") or 1)
    except ValueError:
        return 0.0
