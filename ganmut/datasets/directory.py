"""Base class of the sources that read images below one folder, in the layout of a dataset's owners.

A subclass sets `expected` (the layout, for messages) and writes `list_rows`.
"""

from __future__ import annotations

import posixpath
import stat
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ganmut import images
from ganmut.datasets.base import BadData
from ganmut.datasets.openface import OpenFace
from ganmut.datasets.records import Row, RowFilter, TableSource
from ganmut.decoding import is_unreadable
from ganmut.emotions import emotion_from_units
from ganmut.folders import real_path, subfolders, walk_files

# Name of the crop of images that are not aligned; `python -m ganmut align` writes images with CROP.
UNALIGNED = "as found"
NO_NAMES: Mapping[str, str] = {}
OPENFACE = "openface"  # default folder of OpenFace's output, which includes annotated images


class DirectorySource(TableSource):
    """Images below a folder.

    openface: OpenFace's output for them, a folder or one csv file (default: the folder `openface`
    below the root, if there is one). Other options as TableSource. Raises BadData.
    """

    name: ClassVar[str]
    expected: ClassVar[str]
    default_crop: ClassVar[str] = UNALIGNED
    label_by_units: ClassVar[bool] = False  # the data has no emotions
    # Why images below the root are left out that no row names; "" where all have a row or a reason.
    rest: str = ""

    def __init__(
        self, argument: str, *, on_error: str = "raise", openface: str = "", **options: Any
    ):
        if not argument:
            raise BadData(f"{self.name}: needs a path, {self.name}:PATH; {self.expected}")
        self.root = real_path(Path(argument).expanduser())
        if not self.root.is_dir():
            raise BadData(f"{argument}: there is no such folder; {self.expected}")
        source = f"{self.name}:{self.root.name}"
        row_filter = RowFilter(source, on_error)
        self.label_map = options.get("label_map", "")
        rows = list(self._add_units(self.list_rows(row_filter), openface, row_filter))
        self._count_rest(rows, row_filter)
        if not rows and not row_filter.rejected:
            raise BadData(f"{argument} has no labelled images; {self.expected}")
        super().__init__(source, rows, row_filter, **({"crop": self.default_crop} | options))

    @abstractmethod
    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        """The rows of the dataset; rows that cannot be used are rejected by the row_filter."""

    def read_image(self, row: Row) -> np.ndarray:
        return images.read_image(self.root / row.key)

    def location(self) -> str:
        return str(self.root)

    def file_row(
        self, path: Path, row_filter: RowFilter, label: str, **columns: Any
    ) -> Iterator[Row]:
        """The row of an image file below the root; rejected where the file is missing."""
        yield from file_row(
            self.root, path.relative_to(self.root).as_posix(), row_filter, label, **columns
        )

    def folder(self, *names: str) -> Path:
        """The first existing one of these folders below the root; raises BadData without one."""
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise BadData(f"{self.root} has no folder {names[0]}; {self.expected}")

    def _count_rest(self, rows: list[Row], row_filter: RowFilter) -> None:
        """Counts the images below the root that the dataset does not name, where `rest` says why,
        and pictures in formats that are not read."""
        known = {row.key for row in rows} | {key for key, _ in row_filter.rejected}
        known |= row_filter.skipped_keys
        for path in walk_files(self.root):
            key = path.relative_to(self.root)
            suffix = path.suffix.lower()
            if OPENFACE in key.parts:
                continue
            if suffix in images.SUFFIXES and self.rest and key.as_posix() not in known:
                row_filter.skip(self.rest)
            elif is_unreadable(path):
                row_filter.skip(f"format {suffix} is not read")

    def _add_units(
        self, rows: Iterator[Row], openface: str, row_filter: RowFilter
    ) -> Iterator[Row]:
        """The rows with OpenFace's units; rows without a label get the emotion of their units."""
        given = Path(openface).expanduser() if openface else self.root / OPENFACE
        if openface or given.exists() or self.label_by_units:
            table = OpenFace(given)
        else:
            yield from rows
            return
        for row in rows:
            try:
                units = table.units(row.key)
            except BadData:  # of all rows
                raise
            except ValueError as error:
                row_filter.reject(row.key, str(error))
                continue
            yield replace(row, units=units, label=row.label or emotion_from_units(units))


def file_row(
    root: Path, key: str, row_filter: RowFilter, label: str, **columns: Any
) -> Iterator[Row]:
    """The row of the file root/key; rejected where it is missing, no file, or outside the root."""
    key = posixpath.normpath(key)
    if key.startswith(("/", "../")):
        row_filter.reject(key, "leads out of the folder")
        return
    try:
        state = (root / key).stat()
    except (FileNotFoundError, NotADirectoryError):
        row_filter.reject(key, "missing file")
    except OSError as error:  # a link to itself, a name that is too long, no permission
        row_filter.reject(key, error.strerror or "cannot be read")
    except ValueError:
        row_filter.reject(key.replace("\0", "?"), "no name of a file")
    else:
        if not stat.S_ISREG(state.st_mode):
            row_filter.reject(key, "not a file")
            return
        yield Row(key, label, bytes=state.st_size, stamp=state.st_mtime_ns, **columns)


def list_images(folder: Path) -> Iterator[Path]:
    """The image files in and below a folder, sorted; without those of systems and OpenFace's."""
    if folder.name == OPENFACE:
        return
    for path in walk_files(folder):
        inside = path.relative_to(folder).parts
        if path.suffix.lower() in images.SUFFIXES and OPENFACE not in inside:
            yield path


def class_rows(
    root: Path,
    folder: Path,
    row_filter: RowFilter,
    split: str = "",
    names: Mapping[str, str] = NO_NAMES,
) -> Iterator[Row]:
    """The rows of the images in the class folders of a folder. names: label of a folder's name,
    in lower case; by default the name itself."""
    for group in subfolders(folder):
        label = names.get(group.name.lower(), group.name)
        for path in list_images(group):
            key = path.relative_to(root).as_posix()
            yield from file_row(root, key, row_filter, label, split=split)
