"""Pictures below one folder: what the sources share that read a dataset as its owners hand it out.

Such a source is a class with `expected` (its layout, for messages) and `scan`, which says where the
pictures lie, what they show and who it is; everything else is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ganmut import images
from ganmut.datasets.base import BadData
from ganmut.datasets.openface import OpenFace
from ganmut.datasets.records import Row, RowFilter, TableSource
from ganmut.emotions import emotion_from_units

# Researchers' releases are cropped each in its own way: `python -m ganmut align` makes them ours.
AS_FOUND = "as found"
OPENFACE = "openface"  # where OpenFace's output lies by default; it draws pictures there too


class DirectorySource(TableSource):
    """Pictures below a folder. openface: what OpenFace wrote of them, a folder or one csv file
    (default: the folder `openface` below the root, if it is there); the rest as TableSource."""

    name: ClassVar[str]
    expected: ClassVar[str]
    crop_found: ClassVar[str] = AS_FOUND
    unlabelled: ClassVar[bool] = False  # no emotions in the data: the action units name them

    def __init__(
        self, argument: str, *, on_error: str = "raise", openface: str = "", **options: Any
    ):
        if not argument:
            raise BadData(f"{self.name}: needs a path, {self.name}:PATH; {self.expected}")
        self.root = Path(argument).expanduser().resolve()
        if not self.root.is_dir():
            raise BadData(f"{argument}: there is no such folder; {self.expected}")
        source = f"{self.name}:{self.root.name}"
        sieve = RowFilter(source, on_error)
        rows = list(self._measured(self.scan(sieve), openface, sieve))
        if not rows and not sieve.bad:
            raise BadData(f"{argument} holds no labelled pictures; {self.expected}")
        super().__init__(source, rows, sieve, **({"crop": self.crop_found} | options))

    @abstractmethod
    def scan(self, sieve: RowFilter) -> Iterator[Row]:
        """The rows; what cannot be used goes to the sieve."""

    def picture(self, row: Row) -> np.ndarray:
        return images.read_image(self.root / row.key)

    def identity(self) -> str:
        return str(self.root)

    def at(self, path: Path, sieve: RowFilter, label: str, **known: Any) -> Iterator[Row]:
        """The row of a picture file below the root; none, and a note, where it is not there."""
        yield from row_at(self.root, path.relative_to(self.root).as_posix(), sieve, label, **known)

    def folder(self, *names: str) -> Path:
        """The first of these folders that is there; raises BadData where none is."""
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise BadData(f"{self.root} has no folder {names[0]}; {self.expected}")

    def _measured(self, rows: Iterator[Row], openface: str, sieve: RowFilter) -> Iterator[Row]:
        """The rows with OpenFace's units, and with the emotion that these show if there is none."""
        given = Path(openface).expanduser() if openface else self.root / OPENFACE
        if openface or given.exists() or self.unlabelled:
            table = OpenFace(given)
        else:
            yield from rows
            return
        for row in rows:
            try:
                units = table.units(row.key)
            except ValueError as error:
                sieve.drop(row.key, str(error))
                continue
            yield replace(row, units=units, label=row.label or emotion_from_units(units))


def row_at(root: Path, key: str, sieve: RowFilter, label: str, **known: Any) -> Iterator[Row]:
    """The row of the file root/key, or none and a note where it is not there."""
    try:
        state = (root / key).stat()
    except (FileNotFoundError, NotADirectoryError):
        sieve.drop(key, "missing file")
        return
    yield Row(key, label, bytes=state.st_size, stamp=state.st_mtime_ns, **known)


def pictures(folder: Path) -> Iterator[Path]:
    """The picture files in and below a folder, sorted; without hidden ones and OpenFace's own."""
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".") or OPENFACE in path.relative_to(folder.parent).parts
        if path.suffix.lower() in images.SUFFIXES and not hidden and not path.is_dir():
            yield path
