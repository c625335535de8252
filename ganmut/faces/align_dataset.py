"""Writes the aligned faces of images to a folder, as training data for the source "folder:DIR"."""

from __future__ import annotations

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
from ganmut.decoding import is_unreadable
from ganmut.errors import ParameterError
from ganmut.faces.align import SIDE, BadPoints, crop_face
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.image_files import output_names, write_json_lines
from ganmut.faces.pipeline import detect_faces, open_detector, select_faces
from ganmut.files import (
    LOCK,
    append_lines,
    folder_lock,
    read_lines,
    remove_temporaries,
    to_line,
    write_atomic,
)
from ganmut.folders import real_path, walk_files

LOG, LEFT_OUT = "align.jsonl", "left_out.jsonl"


class Job(NamedTuple):
    """An image to align.

    row: its labels. read: returns H x W x 3 uint8. output: the path of its crop, below the output
    folder.
    """

    row: Row
    read: Callable[[], np.ndarray]
    output: Path


@dataclass
class Report:
    """Counts of a run. images: images found. faces, existing: faces written by this run and by
    earlier ones. skipped: image -> why it has no face."""

    out: Path
    images: int = 0
    faces: int = 0
    existing: int = 0
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

    face: "largest", "all" or a number from 1, largest first. size: side of the crop in pixels.
    out/metadata.jsonl holds the labels of each image (emotion, split, person, units), the
    detector's score, `fill` and the path of the image; out/left_out.jsonl lists images without a
    face. out/align.jsonl is a log: after an interruption the next run with the same settings
    continues from it, and aligns changed images again. Raises BadData where there are no images,
    ParameterError for a size below 16 and for an `out` that cannot be used, InUse where another
    process writes there.
    """
    out = Path(out).expanduser()
    if size < 16:
        raise ParameterError("size", f"must be at least 16, got {size}")
    settings = {"crop": CROP, "size": size, "detector": detector, "face": str(face)}
    jobs, rejected = list_jobs(str(what), out)
    if face == "all":
        jobs = apart_from_faces(jobs)
    open_detector(detector)  # a missing detector fails before any work
    if out.is_file():
        raise ParameterError("out", f"{out} is a file; choose a folder")
    report = Report(out, len(jobs), skipped=rejected)
    with folder_lock(out):
        remove_temporaries(out, recursive=True)
        entries = write_log(jobs, settings, report, progress)
        report.skipped |= {
            job.row.key: entry["error"] for job, entry in entries if "error" in entry
        }
        rows = (row for job, entry in entries for row in metadata_rows(job, entry))
        write_json_lines(out / "metadata.jsonl", rows)
        failures = ({"file": key, "error": why} for key, why in report.skipped.items())
        write_json_lines(out / LEFT_OUT, failures)
    return report


def write_log(
    jobs: list[Job], settings: dict[str, Any], report: Report, progress: bool
) -> list[tuple[Job, dict[str, Any]]]:
    """Aligns the images that the log of report.out does not hold yet, and returns the log entry of
    every image."""
    out, done = report.out, open_log(report.out, settings)
    detector, face, size = settings["detector"], settings["face"], settings["size"]
    for job in tqdm(jobs, unit="picture", disable=not progress, file=sys.stderr):
        entry = done.get(job.row.key)
        if entry and is_current(entry, job, out):
            report.existing += len(entry["faces"])
            continue
        entry = done[job.row.key] = {
            "key": job.row.key,
            "stamp": [job.row.bytes, job.row.stamp],
            **write_crops(job, out, detector, face, size),
        }
        report.faces += len(entry["faces"])
        # After the crops are written: an entry promises that they are there.
        append_lines(out / LOG, [entry])
    return [(job, done[job.row.key]) for job in jobs]


def list_jobs(what: str, out: Path) -> tuple[list[Job], dict[str, str]]:
    """(jobs, rejected: image -> reason) of a folder or of a data source's spec.

    Images below `out` are excluded: they are the results of earlier runs. Raises BadData where
    there are no images or a path leads out of the folder, ParameterError where `out` is the folder.
    """
    name = what.partition(":")[0]
    rejected: dict[str, str] = {}
    if not Path(what).is_dir() and name in SOURCES:
        # The spec's own on_error takes precedence.
        options = {"on_error": "skip"} if issubclass(SOURCES[name], TableSource) else {}
        source = open_source(what, **options)
        if not isinstance(source, TableSource):
            raise BadData(f"{what} has no image files to align; give a folder or a source of files")
        root, rows, read_row = getattr(source, "root", None), source.rows, source.read_image
        rejected.update(source.row_filter.rejected)
    else:
        root = Path(what).expanduser()
        if not root.is_dir():
            raise BadData(f"{what}: there is no such folder, and no such data source")
        if real_path(root) == real_path(out):
            raise ParameterError("out", f"{out} is the folder of the input images")
        rows = folder_rows(root, rejected)
        for file in filter(is_unreadable, walk_files(root)):
            rejected[file.relative_to(root).as_posix()] = "a picture in a format that is not read"

        def read_row(row: Row) -> np.ndarray:
            return images.read_image(root / row.key)

    if root and real_path(out).is_relative_to(real_path(root)):
        own = real_path(out).relative_to(real_path(root))
        rows = [row for row in rows if not Path(row.key).is_relative_to(own)]
        rejected = {key: why for key, why in rejected.items() if not Path(key).is_relative_to(own)}
    for row in rows:
        if ".." in Path(row.key).parts or Path(row.key).is_absolute():
            raise BadData(f"{row.key} leads out of {what}; give image paths below that folder")
    if not rows and rejected:
        key, why = next(iter(rejected.items()))
        raise BadData(f"{what} has no image that can be used: {key}: {why}")
    if not rows:
        raise BadData(f"{what} has no images; known formats are {', '.join(images.SUFFIXES)}")
    names = output_names([Path(row.key) for row in rows])
    return [
        Job(r, partial(read_row, r), name) for r, name in zip(rows, names, strict=True)
    ], rejected


def apart_from_faces(jobs: list[Job]) -> list[Job]:
    """The jobs, of which none writes what the second face of another would: an image of the name
    a.face2.png beside a.png becomes a.face2.face1.png."""
    outputs = {job.output for job in jobs}

    def is_taken(name: Path) -> bool:
        image, _, number = name.stem.rpartition(".face")
        return number.isdecimal() and name.with_name(image + name.suffix) in outputs

    return [
        job._replace(output=job.output.with_stem(f"{job.output.stem}.face1"))
        if is_taken(job.output)
        else job
        for job in jobs
    ]


def folder_rows(root: Path, rejected: dict[str, str]) -> list[Row]:
    """The rows of a folder, with the labels of its metadata file or class folders, if any.

    Adds rows that cannot be used to `rejected` (image -> reason).
    """
    row_filter = RowFilter(root.name, "skip")
    rows = list(read_rows(root, row_filter))
    keys = [path.relative_to(root).as_posix() for path in list_images(root)]
    listed = {row.key for row in rows} | {key for key, _ in row_filter.rejected}
    if not metadata_of(root) and not set(keys) <= listed:  # images outside the class folders
        rows = [row for key in keys for row in file_row(root, key, row_filter, "")]
    rejected.update(row_filter.rejected)
    return rows


def open_log(out: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The log entries of earlier runs by image; creates the log where there is none.

    Raises ParameterError where the folder holds a run with other settings or other files, or the
    log does not begin with settings.
    """
    path = out / LOG
    if not path.is_file() or path.stat().st_size == 0:  # a kill may leave an empty log
        if any(file.name not in (LOG, LOCK) for file in out.iterdir()):
            raise ParameterError("out", f"{out} is not empty and holds no earlier run of align")
        append_lines(path, [settings])
        return {}
    entries, invalid = read_lines(path)
    if not entries or entries[0].keys() != settings.keys():
        raise ParameterError("out", f"{path} is damaged: its first line holds no settings")
    if entries[0] != settings:
        earlier = ", ".join(f"{k} {v}" for k, v in entries[0].items())
        raise ParameterError("out", f"{out} holds a run with other settings: {earlier}")
    if invalid:  # said once, not by every later run
        write_atomic(path, "".join(map(to_line, entries)))
    return {entry["key"]: entry for entry in entries[1:]}


def is_current(entry: dict[str, Any], job: Job, out: Path) -> bool:
    """Whether the image is unchanged since its log entry and all its crops exist."""
    same = entry["stamp"] == [job.row.bytes, job.row.stamp]
    return same and all((out / face["file_name"]).is_file() for face in entry["faces"])


def write_crops(job: Job, out: Path, detector: str, face: str | int, size: int) -> dict[str, Any]:
    """Writes the crops of an image and returns {"faces": [...]} for the log, or the "error"."""
    try:
        picture = job.read()
        faces = detect_faces(picture, detector)
        crops = []
        for number in select_faces(faces, face):
            crop, transform = crop_face(picture, faces[number - 1], size)
            name = job.output
            if number > 1 and face == "all":
                name = name.with_name(f"{name.stem}.face{number}{name.suffix}")
            images.write_png(out / name, crop)
            crops.append(
                {
                    "file_name": name.as_posix(),
                    "face": number,
                    "of": len(faces),
                    "score": round(faces[number - 1].score, 4),
                    "fill": round(crop_fill(picture, transform, size), 3),
                }
            )
    except images.BadImage as error:
        return {"faces": [], "error": error.reason}
    except (NoFace, BadPoints) as error:
        return {"faces": [], "error": str(error)}
    return {"faces": crops}


def crop_fill(picture: np.ndarray, transform: SimilarityTransform, size: int) -> float:
    """Share of the crop, 0..1, that lies inside the picture."""
    x, y = transform.inverse(np.indices((size, size)).reshape(2, -1).T[:, ::-1]).T
    height, width = picture.shape[:2]
    return float(((x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)).mean())


def metadata_rows(job: Job, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The metadata rows of an image's faces.

    The labels of the image describe its first face; the other faces have only the split.
    """
    labels = {
        "emotion": job.row.label or None,
        "split": job.row.split or None,
        "person": job.row.person,
        "units": job.row.units and list(job.row.units),
    }
    for i, face in enumerate(entry["faces"]):
        own = {"split": labels["split"]} if i else labels
        columns = {name: value for name, value in own.items() if value is not None}
        yield {"file_name": face["file_name"], **columns, **face, "origin": job.row.key}
