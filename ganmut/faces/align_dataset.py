"""Aligned training data from any images: a folder that the source "folder:DIR" reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from skimage.transform import SimilarityTransform
from tqdm import tqdm

from ganmut import images
from ganmut.datasets.base import CROP, SOURCES, BadData, open_source
from ganmut.datasets.directory import file_row, list_images
from ganmut.datasets.folder import metadata_of, read_rows
from ganmut.datasets.records import Row, RowFilter, TableSource
from ganmut.errors import ParameterError
from ganmut.faces.align import SIDE, BadPoints, crop_face
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.image_files import png_names
from ganmut.faces.pipeline import detect_faces, open_detector, select_faces

LOG, LEFT_OUT = "align.jsonl", "left_out.jsonl"


class Job(NamedTuple):
    """One picture: what is known of it, how to read it, and where its crop goes."""

    row: Row
    read: Callable[[], np.ndarray]
    target: Path


@dataclass
class Report:
    """What became of the pictures: faces written now and before, reasons by picture."""

    out: Path
    images: int = 0
    faces: int = 0
    before: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def align_files(
    what: str | Path,
    out: str | Path,
    *,
    detector: str = "builtin",
    face: str | int = "largest",
    size: int = SIDE,
    progress: bool = True,
) -> Report:
    """Writes the aligned faces of a folder, or of a data source ("rafd:PATH"), as PNG below `out`.

    `metadata.jsonl` there carries what the source or the folder says of each picture (emotion,
    split, person, units) and `fill`, score and origin; `left_out.jsonl` lists what gave no face. A
    run may be broken off: `align.jsonl` remembers each picture, and the next run with the same
    settings goes on after it; a picture that changed is done again. Raises BadData for what holds
    no pictures, ParameterError where `out` cannot be used.
    """
    out = Path(out).expanduser()
    if size < 16:
        raise ParameterError("size", f"must be at least 16, got {size}")
    settings = {"crop": CROP, "size": size, "detector": detector, "face": str(face)}
    jobs, left = listing(str(what), out)
    open_detector(detector)  # fails here, before any work, where it is not installed
    done = resume(out, settings)
    report = Report(out, len(jobs), skipped=left)
    with open(out / LOG, "a", encoding="utf-8") as log:
        for job in tqdm(jobs, unit="picture", disable=not progress, file=sys.stderr):
            entry = done.get(job.row.key)
            if entry and still(entry, job, out):
                report.before += len(entry["faces"])
                continue
            entry = done[job.row.key] = {
                "key": job.row.key,
                "stamp": [job.row.bytes, job.row.stamp],
                **cut(job, out, detector, face, size),
            }
            report.faces += len(entry["faces"])
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")
            log.flush()
    entries = [(job, done[job.row.key]) for job in jobs]
    report.skipped |= {job.row.key: entry["error"] for job, entry in entries if "error" in entry}
    write_lines(out / "metadata.jsonl", (row for pair in entries for row in described(*pair)))
    write_lines(out / LEFT_OUT, ({"file": key, "error": v} for key, v in report.skipped.items()))
    return report


def listing(what: str, out: Path) -> tuple[list[Job], dict[str, str]]:
    """The pictures of a folder or of a source's spec, and the rows that cannot be used; what lies
    in `out` is left aside, so that a second run does not align the results of the first."""
    name, left = what.partition(":")[0], {}
    if not Path(what).is_dir() and name in SOURCES:
        options = {"on_error": "skip"} if issubclass(SOURCES[name], TableSource) else {}
        source = open_source(what, **options)  # "skip" unless the spec says otherwise
        if not isinstance(source, TableSource):
            raise BadData(f"{what} has no pictures to align; give a folder or a source of files")
        root, rows, picture = getattr(source, "root", None), source.rows, source.read_image
        left.update(source.row_filter.rejected)
    else:
        root = Path(what).expanduser()
        if not root.is_dir():
            raise BadData(f"{what}: there is no such folder, and no such data source")
        if root.resolve() == out.resolve():
            raise ParameterError("out", f"{out} is the folder of the input images")
        rows = rows_of(root, left)

        def picture(row: Row) -> np.ndarray:
            return images.read_image(root / row.key)

    if root and out.resolve().is_relative_to(root.resolve()):
        own = out.resolve().relative_to(root.resolve())
        rows = [row for row in rows if not Path(row.key).is_relative_to(own)]
        left = {key: why for key, why in left.items() if not Path(key).is_relative_to(own)}
    for row in rows:
        if ".." in Path(row.key).parts or Path(row.key).is_absolute():
            raise BadData(f"{row.key} leads out of {what}; name pictures by their path below it")
    if not rows:
        raise BadData(f"{what} holds no pictures; known are {', '.join(images.SUFFIXES)}")
    targets = png_names([Path(row.key) for row in rows])
    jobs = [
        Job(row, partial(picture, row), target) for row, target in zip(rows, targets, strict=True)
    ]
    return jobs, left


def rows_of(root: Path, left: dict[str, str]) -> list[Row]:
    """The rows of a folder, with labels where its layout says any: metadata or class folders."""
    row_filter = RowFilter(root.name, "skip")
    rows = list(read_rows(root, row_filter))
    bare = [path.relative_to(root).as_posix() for path in list_images(root)]
    accounted = {row.key for row in rows} | {key for key, _ in row_filter.rejected}
    if not metadata_of(root) and not set(bare) <= accounted:  # pictures outside any class folder
        rows = [row for key in bare for row in file_row(root, key, row_filter, "")]
    left.update(row_filter.rejected)
    return rows


def resume(out: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What an earlier run noted, by picture; starts the log where there is none.

    Raises ParameterError where the folder holds a run with other settings, or something else.
    """
    path = out / LOG
    if not path.is_file():
        if out.is_file() or (out.is_dir() and any(out.iterdir())):
            raise ParameterError("out", f"{out} is not empty and holds no earlier run of align")
        images.write_atomic(path, json.dumps(settings) + "\n")
        return {}
    lines = [entry for line in path.read_text(encoding="utf-8").splitlines() if (entry := of(line))]
    if not lines or lines[0] != settings:
        earlier = ", ".join(f"{k} {v}" for k, v in (lines[0] if lines else {}).items())
        raise ParameterError(
            "out", f"{out} holds a run with other settings: {earlier or 'unknown'}"
        )
    # The last line of a run that was killed can be incomplete.
    write_lines(path, lines)
    return {entry["key"]: entry for entry in lines[1:]}


def of(line: str) -> dict[str, Any] | None:
    """A line of the log; None for half a line."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def still(entry: dict[str, Any], job: Job, out: Path) -> bool:
    """Whether a picture is as it was when it was done, and its crops are there."""
    same = entry["stamp"] == [job.row.bytes, job.row.stamp]
    return same and all((out / face["file_name"]).is_file() for face in entry["faces"])


def cut(job: Job, out: Path, detector: str, face: str | int, size: int) -> dict[str, Any]:
    """Writes the crops of a picture; what the log says of them, or the reason why there are
    none."""
    try:
        picture = job.read()
        faces = detect_faces(picture, detector)
        made = []
        for number in select_faces(faces, face):
            view, transform = crop_face(picture, faces[number - 1], size)
            name = job.target if number == 1 or face != "all" else numbered(job.target, number)
            images.write_png(out / name, view)
            made.append(
                {
                    "file_name": name.as_posix(),
                    "face": number,
                    "of": len(faces),
                    "score": round(faces[number - 1].score, 4),
                    "fill": round(covered(picture, transform, size), 3),
                }
            )
    except images.BadImage as error:  # its message begins with the file's name
        return {"faces": [], "error": str(error).partition(": ")[2] or str(error)}
    except (NoFace, BadPoints) as error:
        return {"faces": [], "error": str(error)}
    return {"faces": made}


def numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.face{number}{path.suffix}")


def covered(picture: np.ndarray, transform: SimilarityTransform, size: int) -> float:
    """Share of the crop, 0..1, that the picture covers; beyond it the border is repeated."""
    x, y = transform.inverse(np.indices((size, size)).reshape(2, -1).T[:, ::-1]).T
    height, width = picture.shape[:2]
    return float(((x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)).mean())


def described(job: Job, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The metadata rows of a picture's faces; what the source knows, it knows of the first."""
    known = {
        "emotion": job.row.label or None,
        "split": job.row.split or None,
        "person": job.row.person,
        "units": job.row.units and list(job.row.units),
    }
    for i, face in enumerate(entry["faces"]):
        own = {"split": known["split"]} if i else known
        told = {name: value for name, value in own.items() if value is not None}
        yield {"file_name": face["file_name"], **told, **face, "origin": job.row.key}


def write_lines(path: Path, rows: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Path:
    """Writes json lines, whole or not at all; removes the file where there is nothing to say."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if text:
        return images.write_atomic(path, text)
    path.unlink(missing_ok=True)
    return path
