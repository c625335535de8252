"""What docs/models.md shows of a bundled editor beside its scores: a strip of edits, and the time
that one takes. Both are made again where an editor has changed, and not otherwise, since other
processors give other bytes."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as samples
from torch import Tensor

from ganmut import faces, images, weights
from ganmut.datasets.base import digest
from ganmut.device import one_thread
from ganmut.editor import Editor
from ganmut.files import write_atomic
from ganmut.json_files import read_json

from .figures.canvas import edits, rendered_person
from .figures.lines import emotion_codes
from .speed.run import processor

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "models"
TIMES = "times.json"
SHOWN = ("happy", "surprised", "sad", "angry")  # after the source
SIDE = 96  # px of a face in a strip
QUALITY = 74  # of a strip as JPEG
SPEED_SIDE = 128  # px of the faces that editors of any size are timed on
ROUNDS = 60


def list_editors() -> Iterator[tuple[str, str]]:
    """Yields ("SET/NAME", version) of every bundled editor: what its edits depend on."""
    for group in sorted(weights.list_sets()):
        for name in weights.list_weights(group):
            spec = f"{group}/{name}"
            editor = weights.load(spec, "cpu")
            others = editor.method.dependencies  # such as how the expression model draws
            yield spec, editor.config["sha256"] + (f"-{digest(*others)}" if others else "")


def strip_name(spec: str) -> str:
    """The file name of the strip of SET/NAME."""
    return spec.replace("/", "-") + ".jpg"


def read_times(folder: Path = FOLDER) -> dict[str, Any]:
    """The content of the file of times: processor, torch, and by SET/NAME version and milliseconds;
    no editors where there is none."""
    file = folder / TIMES
    return read_json(file) if file.is_file() else {"editors": {}}


def update(folder: Path = FOLDER) -> None:
    """Makes the strips of editors that have changed. Measures the times of all editors where one
    has changed: they are to be compared with each other."""
    known = dict(list_editors())
    for spec, version in known.items():
        path = folder / strip_name(spec)
        if not path.is_file() or strip_version(path) != version:
            write_atomic(path, make_strip(weights.load(spec, "cpu"), spec, version))
    timed = {spec: entry.get("version") for spec, entry in read_times(folder)["editors"].items()}
    if timed != known:
        write_atomic(folder / TIMES, json.dumps(measure_times(known), indent=1) + "\n")


def strip_version(path: Path) -> str:
    """The version of the editor that a strip was made with."""
    data = path.read_bytes()
    start = data.find(b"\xff\xfe") + 2  # the marker of a comment; its length counts itself
    end = start + int.from_bytes(data[start : start + 2])
    return data[start + 2 : end].decode("ascii", "replace")


def make_strip(editor: Editor, spec: str, version: str) -> bytes:
    """A JPEG: the source and the edits to SHOWN. Rendered faces, or for the set photos the portrait
    of NASA in scikit-image, which is in the public domain."""
    size = SIDE if editor.method.any_size else editor.size
    source = portrait(size) if spec.startswith("photos/") else rendered_person(size).picture
    made = torch.cat([source, edits(editor, source, emotion_codes(editor, SHOWN))])
    strip = np.concatenate(list(images.to_array(made)), axis=1)
    buffer = io.BytesIO()
    picture = Image.fromarray(strip).resize((SIDE * len(made), SIDE), Image.Resampling.BICUBIC)
    picture.save(buffer, "JPEG", quality=QUALITY, optimize=True, comment=version.encode())
    return buffer.getvalue()


def portrait(size: int) -> Tensor:
    """uint8 1 x 3 x size x size: the aligned face of the portrait."""
    picture = samples.astronaut()
    crop, _ = faces.crop_face(picture, faces.detect_faces(picture)[0], size)
    return images.to_tensor(crop[None])


def measure_times(known: dict[str, str]) -> dict[str, Any]:
    """The content of the file of times, on one thread: processor time depends less on what else
    runs than wall time does."""
    with one_thread():
        editors = {
            spec: {"version": version, "milliseconds": round(time_edit(spec), 1)}
            for spec, version in known.items()
        }
    return {"processor": processor(), "torch": torch.__version__, "editors": editors}


def time_edit(spec: str) -> float:
    """Processor milliseconds of one edit of a prepared face: the least of ROUNDS, since other
    programs on the same core can only add to it."""
    editor = weights.load(spec, "cpu")
    size = SPEED_SIDE if editor.method.any_size else editor.size
    face = editor.prepare(rendered_person(size).picture)
    code = editor.space.of("happy")
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        editor.edit(face, code)
        taken.append(time.process_time() - start)
    return 1000 * min(taken)
