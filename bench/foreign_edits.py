"""Edits made elsewhere as rows of the leaderboard: what is to be edited is exported with a
manifest, any program edits it, and the manifest leads back to its pictures.

An edit is a test face, an emotion and an intensity: what every editor of expressions can be asked
for. Metrics that search a code space have nothing to search, and say so.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganmut.codes import LabelSpace
from ganmut.datasets import FaceSet
from ganmut.datasets.tables import read_csv_columns
from ganmut.decoding import BadImage, read_image
from ganmut.emotions import PROTOTYPES, UNITS, canonical_emotion, prototype_units
from ganmut.files import replaced_folder, write_atomic
from ganmut.folders import real_path
from ganmut.images import to_tensor, write_png
from ganmut.json_files import read_json
from ganmut.rendering import SOURCE
from ganmut.text import quantity, quote

from . import edit_sets
from .metrics import METRICS
from .protocol import Protocol
from .resolve import UserError
from .stats import NotMeasured
from .systems import NoEditSystem, System, decode_one_hot

# Edit sets whose codes are an emotion at an intensity; `prior_fid` is a part of `prior`.
SETS = ("labels", "prior", "paths")
COLUMNS = ("source", "emotion", "intensity", "units", "edited")
MANIFEST, EXPORT = "manifest.csv", "export.json"
# What an export depends on: the options that have to be given again.
SETTINGS = ("protocol", "seed", "data", "split")


class Request(NamedTuple):
    """An edit: face (position in the test set), emotion, intensity 0..1 (of neutral always 1)."""

    face: int
    emotion: str
    intensity: float


def edit_sets_of(metrics: Iterable[str]) -> list[str]:
    """The names in SETS that these metrics read."""
    needs = {need.split(":")[0].removesuffix("_fid") for m in metrics for need in METRICS[m].needs}
    return [name for name in SETS if name in needs]


def requests(faces: FaceSet, protocol: Protocol, sets: Sequence[str]) -> list[Request]:
    """Every edit of some edit sets once, in order of the faces."""
    system = NoEditSystem(faces)
    system.space = LabelSpace(faces.emotions)
    found: set[Request] = set()
    for name in sets:
        edits = edit_sets.build(name, system, faces, protocol)
        found.update(_decode(edits.faces, edits.codes, faces.emotions))
    order = {emotion: place for place, emotion in enumerate(faces.emotions)}
    return sorted(found, key=lambda r: (r.face, order[r.emotion], r.intensity))


def _decode(faces: Tensor, codes: Tensor, emotions: Sequence[str]) -> list[Request]:
    emotion, intensity = decode_one_hot(codes)
    return [
        Request(face, emotions[index], round(share, 6))
        for face, index, share in zip(
            faces.tolist(), emotion.tolist(), intensity.tolist(), strict=True
        )
    ]


# Export -------------------------------------------------------------------------------------------


def export_sources(
    folder: Path, faces: FaceSet, protocol: Protocol, sets: Sequence[str], settings: dict[str, Any]
) -> str:
    """Writes the source pictures, a manifest with a row an edit, and the settings, and returns a
    sentence. Raises UserError for a folder that holds something, and where there is nothing to
    edit.

    settings: SETTINGS and what else the export depends on.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists; name a new folder, edits may lie in it")
    wanted = requests(faces, protocol, sets)
    if not wanted:
        raise UserError("no metric of --metrics measures edits that an emotion describes")
    origin = SOURCE if faces.ground_truth is not None else ""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, request in enumerate(wanted):
        units = describe_units(request, faces.emotions)
        source, edited = source_name(request.face), f"edited/{number:05d}.png"
        rows.writerow([source, request.emotion, f"{request.intensity:g}", units, edited])
    with replaced_folder(folder) as new:
        (new / "edited").mkdir()
        for face in sorted({request.face for request in wanted}):
            picture = faces.faces(torch.tensor([face]))[0]
            write_png(new / source_name(face), picture, origin)
        write_atomic(new / MANIFEST, table.getvalue())
        write_atomic(new / EXPORT, json.dumps(settings | {"sets": list(sets)}, indent=2) + "\n")
    sources = len({request.face for request in wanted})
    return (
        f"{quantity(len(wanted), 'edit')} of {quantity(sources, 'face')} to make, "
        f"{faces.size} x {faces.size} px: {folder / MANIFEST}"
    )


def source_name(face: int) -> str:
    """The file of a test face, relative to the manifest."""
    return f"sources/{face:04d}.png"


def describe_units(request: Request, emotions: Sequence[str]) -> str:
    """The request as action units, "1=0.2 12=0.8": the emotion's prototype at its intensity; empty
    for neutral and for an emotion without a prototype."""
    if request.emotion == emotions[0] or canonical_emotion(request.emotion) not in PROTOTYPES:
        return ""
    shown = zip(UNITS, prototype_units(request.emotion), strict=True)
    return " ".join(f"{unit}={request.intensity * value:.3g}" for unit, value in shown if value)


# Reading back -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Export:
    """The settings of an export: what `export_sources` wrote, with its folder."""

    folder: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of its row: that of the folder."""
        return real_path(self.folder).name

    @property
    def size(self) -> int:
        return self.settings["size"]

    def require(self, settings: dict[str, Any]) -> None:
        """Raises UserError where a run has other settings than the export."""
        if any(self.settings[key] != settings[key] for key in SETTINGS):
            given = " ".join(f"--{key} {self.settings[key]}" for key in SETTINGS)
            raise UserError(f"{self.folder} was exported with {given}: give these options")


def read_export(folder: Path) -> Export:
    """The Export of a folder; raises UserError where it is none."""
    path = folder / EXPORT
    try:
        settings = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} is no export (it lacks {EXPORT}); write one with --export-sources DIR"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); export again") from None
    if not _are_settings(settings):
        raise UserError(f"{path} is damaged; export again")
    return Export(folder, settings)


def _are_settings(found: Any) -> bool:
    """Whether a value is what `export_sources` writes."""
    if not isinstance(found, dict):
        return False
    kinds = {"protocol": str, "seed": int, "data": str, "split": str, "size": int}
    if any(type(found.get(key)) is not kind for key, kind in kinds.items()):
        return False
    sets = found.get("sets")
    known = isinstance(sets, list) and bool(sets) and all(name in SETS for name in sets)
    return known and 1 <= found["size"] <= 1024 and isinstance(found.get("fingerprint"), str)


class FilesSystem(System):
    """Edits that lie in files: a row named by its folder.

    Raises UserError for a manifest that lacks edits or names one twice, and for pictures that are
    missing, damaged or of another size.
    """

    kind = "editor"

    def __init__(self, export: Export, faces: FaceSet, protocol: Protocol):
        if export.settings["fingerprint"] != faces.fingerprint:
            raise UserError(f"{export.folder} was exported from other faces; export again")
        self.faces, self.folder = faces, export.folder
        wanted = requests(faces, protocol, export.settings["sets"])
        # One row more than are wanted is one too many: of a million no more are read.
        rows = read_rows(export.folder / MANIFEST, len(wanted) + 1)
        self.files = match_rows(rows, wanted, export.folder)
        space = FilesSpace(faces.emotions)
        super().__init__(export.name, space, faces.emotions, self._check_pictures())

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        wanted = _decode(faces, codes, self.emotions)
        if any(request not in self.files for request in wanted):
            raise NotMeasured("its edits were not exported: --metrics chose others")
        return torch.stack([self._read(self.files[request]) for request in wanted])

    def _check_pictures(self) -> str:
        """Reads every picture once; the sha256 of all."""
        state = hashlib.sha256()
        for request, file in self.files.items():
            state.update(repr(request).encode())
            state.update(self._read(file).numpy().tobytes())
        return state.hexdigest()

    def _read(self, file: Path) -> Tensor:
        try:
            picture = read_image(file)
        except BadImage as error:
            raise UserError(f"{error}; make this edit again") from None
        size = self.faces.size
        if picture.shape != (size, size, 3):
            height, width = picture.shape[:2]
            raise UserError(
                f"{file} has {width} x {height} px, its source {size} x {size}; resize the edits"
            )
        return to_tensor(np.asarray(picture))


class FilesSpace(LabelSpace):
    """The space of edits that are there already: emotions and intensities, and nothing to
    search."""

    def grid(self, budget: int | None = None) -> Tensor:
        raise NotMeasured("edits made elsewhere have no code space that could be searched")


def read_rows(path: Path, most: int) -> list[tuple[int, dict[str, str]]]:
    """(line number, columns) of the first rows of a manifest, in any usual encoding; raises
    UserError for a file that is none."""
    if not path.exists():
        raise UserError(f"{path} is missing; export again")
    try:
        rows = list(islice(read_csv_columns(path), most))
    except ValueError as error:
        raise UserError(f"{error}, or export again") from None
    for column in ("source", "emotion", "intensity", "edited"):
        if rows and column not in rows[0][1]:
            raise UserError(
                f"{path} lacks the column {quote(column)}; its first line names columns, "
                "with commas"
            )
    return rows


def match_rows(
    rows: Sequence[tuple[int, dict[str, str]]], wanted: Sequence[Request], folder: Path
) -> dict[Request, Path]:
    """Request -> file of its edit; raises UserError for rows that are unknown, doubled or missing,
    and for files outside of the folder. rows: with their lines, counted as a text editor does."""
    known = {(source_name(r.face), r.emotion, r.intensity): r for r in wanted}
    files: dict[Request, Path] = {}
    lines: dict[Request, int] = {}
    for line, row in rows:
        said = [str(row.get(column) or "").strip() for column in COLUMNS]
        source, emotion, intensity, _, edited = said
        where = f"{folder / MANIFEST}, line {line}"
        try:
            request = known[source.replace("\\", "/"), emotion, round(float(intensity), 6)]
        except (KeyError, ValueError):
            raise UserError(
                f"{where}: {quote(source)}, {quote(emotion)}, {quote(intensity)} was not "
                "exported; change the column edited alone"
            ) from None
        if request in files:
            raise UserError(f"{where} is the same edit as line {lines[request]}; keep one")
        if not _is_inside(edited):
            raise UserError(f"{where}: {quote(edited)} leads out of the folder; move it there")
        if not _is_file(folder, edited):
            gone = sum(not _is_file(folder, row.get("edited", "").strip()) for _, row in rows)
            raise UserError(
                f"{where}: there is no edited picture {quote(edited) if edited else '(empty)'}; "
                f"{gone} of {len(rows)} are missing"
            )
        files[request], lines[request] = folder / edited, line
    if missing := [request for request in wanted if request not in files]:
        first = missing[0]
        raise UserError(
            f"{folder / MANIFEST} lacks {len(missing)} of {len(wanted)} rows, the first is "
            f"{source_name(first.face)}, {first.emotion}, {first.intensity:g}"
        )
    return {request: files[request] for request in wanted}


def _is_inside(name: str) -> bool:
    """Whether a path is relative and stays below the folder it starts from."""
    normal = os.path.normpath(name.replace("\\", "/"))
    return not os.path.isabs(normal) and normal.split(os.sep)[0] != os.pardir


def _is_file(folder: Path, name: str) -> bool:
    """Whether a name is that of a regular file in a folder; it may be all that a cell holds."""
    try:
        return bool(name) and (folder / name).is_file()
    except (OSError, ValueError):  # too long, or with a NUL
        return False
