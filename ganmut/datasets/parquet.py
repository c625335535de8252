"""Parquet files of a folder as rows of labelled images: a data set of the Hub that was downloaded,
or that `faces --format parquet` wrote."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ganmut.datasets.base import BadData
from ganmut.datasets.records import (
    LABELS,
    SPLIT_WORDS,
    Row,
    RowFilter,
    cell_text,
    parse_fill,
    parse_units,
)
from ganmut.datasets.tables import check_distinct, readable_rows, row_columns
from ganmut.decoding import BadImage, read_image
from ganmut.errors import first_line
from ganmut.files import require_file
from ganmut.json_files import parse_json

MARK = "#"  # between a file's name and the number of a row
# Images are decoded by several threads. A file of pyarrow is for one: several ended the process, or
# waited for each other for ever.
READING = threading.Lock()


def parquet_files(root: Path) -> list[Path]:
    """The Parquet files of a data set: in the folder `data` below the root, or in the root."""
    return sorted(root.glob("data/*.parquet")) or sorted(root.glob("*.parquet"))


def parquet_rows(root: Path, row_filter: RowFilter) -> Iterator[Row]:
    """The rows of all files, keyed FILE#NUMBER. The split is a column, or the first word of the
    file's name ("train-00000-of-00004", "train"); other names without a hyphen ("faces") have none.
    Raises BadData for a file that cannot be read."""
    for path in parquet_files(root):
        file, name = _open(path), path.relative_to(root).as_posix()
        names = file.schema_arrow.names
        label = next((column for column in LABELS if column in names), "")
        if "image" not in names or not label:
            raise BadData(f"{path} has the columns {', '.join(names)}; it needs image and emotion")
        classes = _class_names(file.schema_arrow.metadata, label)
        columns = row_columns(names, label)
        check_distinct(path, ["image", *columns], names)
        stamp, number = path.stat(), 0
        word, hyphen, _ = path.stem.partition("-")
        of_file = word if hyphen or word.lower() in SPLIT_WORDS else ""
        batches = file.iter_batches(columns=columns)
        for cells in readable_rows((row for batch in batches for row in batch.to_pylist()), path):
            key, number = f"{name}{MARK}{number}", number + 1
            try:
                units, fill = parse_units(cells), parse_fill(cells.get("fill"))
            except (TypeError, ValueError, OverflowError) as error:
                row_filter.reject(key, str(error))
                continue
            value = cells[label]
            named = classes and isinstance(value, int) and 0 <= value < len(classes)
            yield Row(
                key,
                classes[value] if named else cell_text(value),
                split=cell_text(cells.get("split")) or of_file,
                person=cell_text(cells["person"]) if "person" in cells else None,
                units=units,
                fill=fill,
                bytes=stamp.st_size,
                stamp=stamp.st_mtime_ns,
            )


def read_parquet_image(root: Path, key: str) -> np.ndarray:
    """H x W x 3 uint8 of the image of a row; raises BadImage."""
    name, _, number = key.rpartition(MARK)
    with READING:
        cell = _image_cell(root / name, int(number), key)
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise BadImage("no image", key)
    try:
        return read_image(io.BytesIO(data))
    except BadImage as error:
        raise BadImage(error.reason, key) from None


def _image_cell(path: Path, place: int, key: str) -> Any:
    """The cell of an image: bytes, or a dictionary with them."""
    try:
        file = _open(path)
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if place < count:
                break
            place -= count
        return _images(path, path.stat().st_mtime_ns, group)[place].as_py()
    except Exception as error:  # noqa: BLE001 (pyarrow raises classes of its own and Python's)
        raise BadImage(f"damaged ({first_line(error)}); download the file again", key) from None


def is_parquet_key(key: str) -> bool:
    """Whether a row's key is one of `parquet_rows`."""
    return ".parquet" + MARK in key


@lru_cache(maxsize=2)
def _images(path: Path, changed: int, group: int) -> Any:
    """The column of images of a row group: rows are read in order."""
    return _open(path).read_row_group(group, ["image"]).column("image")


def _open(path: Path) -> Any:
    return _open_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _open_once(path: Path, changed: int) -> Any:
    parquet = _parquet()
    try:
        return parquet.ParquetFile(require_file(path))
    except Exception as error:  # noqa: BLE001 (pyarrow raises classes of its own and Python's)
        raise BadData(f"{path} cannot be read as Parquet: {first_line(error)}") from None


def _parquet() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError:
        raise BadData("Parquet files need `datasets`: pip install 'ganmut[data]'") from None
    return pyarrow.parquet


def _class_names(metadata: dict[bytes, bytes] | None, label: str) -> list[str]:
    """The names of the classes of a label column, as `datasets` stores them; empty without any."""
    try:
        told = parse_json((metadata or {})[b"huggingface"])
        return [str(name) for name in told["info"]["features"][label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []
