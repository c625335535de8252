"""Action units as OpenFace 2 writes them: seventeen columns `AUxx_r`, 0..5.

`FaceLandmarkImg -fdir PICTURES -out_dir FOLDER` writes FOLDER/NAME.csv, a row a face;
`FeatureExtraction` writes the same columns with a row a frame, and `success` beside them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from ganmut.datasets.base import BadData
from ganmut.datasets.records import parse_units

MIN_CONFIDENCE = 0.5  # least confidence of OpenFace in its own landmarks
NAMES = ("file_name", "filename", "name", "image", "file")


class OpenFace:
    """Units by picture: of a folder with one csv a picture, or of one csv that names the pictures.

    Raises BadData where there is neither.
    """

    def __init__(self, path: Path):
        self.path = path
        if path.is_dir():
            self.table = None
        elif path.is_file():
            self.table = self._one_file()
        else:
            raise BadData(
                f"{path}: there is no OpenFace output; run FaceLandmarkImg -fdir PICTURES "
                f"-out_dir {path}, or name it with openface=PATH"
            )

    def units(self, key: str) -> tuple[float, ...]:
        """17 units in 0..1 of a picture (its path below the dataset's root); raises ValueError with
        the reason where OpenFace has none."""
        if self.table is not None:
            rows = self.table.get(key) or self.table.get(Path(key).stem, [])
        else:
            near = self.path / Path(key).with_suffix(".csv")
            file = near if near.is_file() else self.path / f"{Path(key).stem}.csv"
            rows = read(file) if file.is_file() else []
        if not rows:
            raise ValueError("no row of OpenFace")
        best = max(rows, key=_confidence)  # several faces in a picture: the surest
        if _confidence(best) < MIN_CONFIDENCE:
            raise ValueError("OpenFace found no face")
        units = parse_units(best)
        if units is None:
            raise ValueError("no AU01_r .. AU45_r in the row of OpenFace")
        return units

    def _one_file(self) -> dict[str, list[dict[str, str]]]:
        rows = read(self.path)
        column = next((name for name in NAMES if rows and name in rows[0]), None)
        if column is None:
            raise BadData(f"{self.path} names no pictures: it needs a column {', '.join(NAMES)}")
        table: dict[str, list[dict[str, str]]] = {}
        for row in rows:
            for key in {row[column], Path(row[column]).stem}:
                table.setdefault(key, []).append(row)
        return table


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a csv of OpenFace, whose header has a space after each comma."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        return [
            {str(name).strip(): value or "" for name, value in row.items() if name is not None}
            for row in reader
        ]


def _confidence(row: dict[str, str]) -> float:
    """How sure OpenFace is, 0..1; 0 where it says itself that it failed."""
    try:
        failed = "success" in row and float(row["success"]) < 1
        return 0.0 if failed else float(row.get("confidence") or 1)
    except ValueError:
        return 0.0
