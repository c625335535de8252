"""Writing of action units into the metadata of a folder, from which data sources read them."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ganmut.action_units.base import PROVIDERS
from ganmut.datasets.base import BadData
from ganmut.datasets.directory import list_images
from ganmut.datasets.folder import METADATA, metadata_of, read_rows, read_table
from ganmut.datasets.records import RowFilter
from ganmut.files import folder_lock, remove_temporaries, to_text, write_atomic
from ganmut.images import BadImage, read_image

BATCH, SAVE = 32, 1024  # images per batch, and images between two saves


@dataclass
class Report:
    """The metadata file, the number of images with new and with earlier units, and the reasons of
    failures by file name."""

    file: Path
    done: int = 0
    before: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def write_units(
    folder: str | Path,
    provider: str,
    model: str = "",
    *,
    again: bool = False,
    progress: bool = True,
) -> Report:
    """Writes a column `units` into metadata.csv or .jsonl of a folder, created if it is missing.

    Every row gets 17 units in 0..1, or an empty list where the image cannot be read or shows no
    face, and `units_by`, the provider's name. Rows of this provider are skipped unless `again`. The
    file is replaced atomically every SAVE images, so that an interrupted run can continue. Raises
    BadData for a folder without images, UnknownNameError, ProviderUnavailable, InUse where another
    process writes there.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise BadData(f"{folder}: no such folder")
    with folder_lock(root):
        remove_temporaries(root)
        return _write_units(root, provider, model, again, progress)


def _write_units(root: Path, provider: str, model: str, again: bool, progress: bool) -> Report:
    metadata, rows = read_metadata(root)
    estimator = PROVIDERS[provider](model)
    report = Report(metadata)
    todo = [row for row in rows if again or row.get("units_by") != provider]
    report.before = len(rows) - len(todo)
    bar = tqdm(total=len(todo), unit="image", disable=not progress, file=sys.stderr)
    try:
        for start in range(0, len(todo), BATCH):
            batch = todo[start : start + BATCH]
            images = dict(_read_images(root, batch, report))
            estimated = estimator.estimate_units(list(images.values())) if images else []
            units = dict(zip(images, estimated, strict=True))
            for i, row in enumerate(batch):
                if i in units and units[i] is None:
                    report.failed[row["file_name"]] = "no face found"
                row["units"] = [round(float(value), 4) for value in units.get(i) or ()]
                row["units_by"] = provider
                report.done += bool(row["units"])
            bar.update(len(batch))
            # A save writes the whole file again: too dear for every batch.
            if (start + BATCH) % SAVE == 0:
                save(metadata, rows)
    finally:
        bar.close()
        if todo:
            save(metadata, rows)
    return report


def read_metadata(root: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The metadata file of a folder and its rows; without a file, rows from its class folders or
    images. Raises BadData for a folder without images and rows without a file name."""
    if metadata := metadata_of(root):
        rows = [columns for _, columns in read_table(metadata)]
        if any(not row.get("file_name") for row in rows):
            raise BadData(f"{metadata} has rows without a file_name")
        return metadata, rows
    if inner := [part.name for part in root.iterdir() if part.is_dir() and metadata_of(part)]:
        raise BadData(f"{root} has its metadata in {', '.join(sorted(inner))}; give these folders")
    bare = [path.relative_to(root).as_posix() for path in list_images(root)]
    known = {row.key: row for row in read_rows(root, RowFilter(root.name, "skip"))}
    rows = [{"file_name": name} for name in bare]
    # Labels are used only where every image has one.
    for row in rows if len(known) == len(bare) else ():
        row |= {"emotion": known[row["file_name"]].label}
        row |= {"split": known[row["file_name"]].split} if known[row["file_name"]].split else {}
    if not rows:
        raise BadData(f"{root} holds no images")
    return root / METADATA[1], rows


def save(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows as CSV (lists as JSON) or JSON lines, atomically; returns the path."""
    if path.suffix != ".csv":
        lines = (to_text(row) + "\n" for row in rows)
        return write_atomic(path, "".join(lines))
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    filled = [name for name in names if any(row.get(name) is not None for row in rows)]
    table = csv.DictWriter(buffer, filled, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for row in rows:
        lists = {name: json.dumps(cell) for name, cell in row.items() if isinstance(cell, list)}
        table.writerow(row | lists)
    return write_atomic(path, buffer.getvalue())


def _read_images(
    root: Path, rows: list[dict[str, Any]], report: Report
) -> Iterator[tuple[int, Any]]:
    """(index, image) of the rows whose image can be read; failures go to the report."""
    for i, row in enumerate(rows):
        try:
            yield i, read_image(root / row["file_name"])
        except BadImage as error:
            report.failed[row["file_name"]] = error.reason
