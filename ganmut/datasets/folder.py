"""Source "folder:PATH": aligned faces on disk, in class folders or described by a metadata file.

PATH/<emotion>/*.jpg                       class folders
PATH/<split>/<emotion>/*.jpg               the same under train, validation, test
PATH/metadata.csv (or .jsonl)              the imagefolder convention of `datasets`: file_name and
PATH/<split>/metadata.csv (or .jsonl)      emotion; optional split, person, fill, action units
PATH/data/*.parquet                        a data set of the Hub, with the same columns
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ganmut.datasets.base import CROP, SOURCES, BadData
from ganmut.datasets.directory import DirectorySource, class_rows, file_row
from ganmut.datasets.parquet import (
    is_parquet_key,
    parquet_files,
    parquet_rows,
    read_parquet_image,
)
from ganmut.datasets.records import (
    LABELS,
    SPLIT_WORDS,
    Row,
    RowFilter,
    cell_text,
    parse_fill,
    parse_units,
)
from ganmut.datasets.tables import open_text, parse_line, read_csv_columns
from ganmut.folders import subfolders

METADATA = ("metadata.csv", "metadata.jsonl")
EXPECTED = (
    "expected PATH/<emotion>/*.jpg, PATH/<split>/<emotion>/*.jpg, PATH/metadata.csv (or .jsonl) "
    "with the columns file_name and emotion, or PATH/data/*.parquet"
)


@SOURCES.register("folder")
class Folder(DirectorySource):
    """Aligned faces in a folder; options as DirectorySource."""

    expected = EXPECTED
    default_crop = CROP

    def list_rows(self, row_filter: RowFilter) -> Iterator[Row]:
        tables = [metadata_of(folder) for folder in (self.root, *subfolders(self.root))]
        names = sorted({table.name for table in tables if table})
        self.rest = f"not listed in {names[0]}" if names else "not in a class folder"
        return read_rows(self.root, row_filter)

    def read_image(self, row: Row) -> np.ndarray:
        if is_parquet_key(row.key):
            return read_parquet_image(self.root, row.key)
        return super().read_image(row)


def read_rows(root: Path, row_filter: RowFilter) -> Iterator[Row]:
    """The rows of a folder in any of the layouts; missing files are rejected."""
    if metadata := metadata_of(root):
        yield from _metadata_rows(root, metadata, "", row_filter)
        return
    if parquet_files(root):
        yield from parquet_rows(root, row_filter)
        return
    splits = [path for path in subfolders(root) if path.name.lower() in SPLIT_WORDS]
    for part in splits:
        if metadata := metadata_of(part):
            yield from _metadata_rows(root, metadata, part.name, row_filter)
        else:
            yield from class_rows(root, part, row_filter, part.name)
    if not splits:
        yield from class_rows(root, root, row_filter)


def metadata_of(folder: Path) -> Path | None:
    """The metadata file of a folder, or None; raises BadData for two."""
    found = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(found) > 1:
        raise BadData(f"{folder} has both {' and '.join(METADATA)}; keep one")
    return found[0] if found else None


def _metadata_rows(root: Path, metadata: Path, split: str, row_filter: RowFilter) -> Iterator[Row]:
    base = metadata.parent.relative_to(root)
    label = None
    for number, columns in read_table(metadata):
        # The first row decides: JSON lines have no header.
        label = label or _label_column(metadata, columns)
        name = str(columns.get("file_name") or "")
        if not name:
            row_filter.reject(f"{metadata.name} line {number}", "no file_name")
            continue
        try:
            units, fill = parse_units(columns), parse_fill(columns.get("fill"))
        except (TypeError, ValueError, OverflowError) as error:
            row_filter.reject(name, str(error))
            continue
        person = cell_text(columns["person"]) if "person" in columns else None
        yield from file_row(
            root,
            (base / name).as_posix(),
            row_filter,
            cell_text(columns.get(label)),
            split=cell_text(columns.get("split")) or split,
            person=person,
            units=units,
            fill=fill,
        )


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, columns) of a csv or jsonl file; raises BadData where it cannot be read."""
    if path.suffix == ".csv":
        for number, cells in read_csv_columns(path):
            columns: dict[str, Any] = dict(cells)
            # CSV has no lists: they are JSON in a cell.
            for name in ("units", "blendshapes"):
                if name in columns:
                    columns[name] = parse_line(columns[name] or "null", path, number)
            yield number, columns
        return
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                columns = parse_line(line, path, number)
                if not isinstance(columns, dict):
                    raise BadData(f"{path.name} line {number} is not a JSON object")
                yield number, columns


def _label_column(path: Path, columns: dict[str, Any]) -> str:
    for name in LABELS:
        if name in columns and "file_name" in columns:
            return name
    raise BadData(
        f"{path} has the columns {', '.join(columns)}; it needs file_name and {' or '.join(LABELS)}"
    )
