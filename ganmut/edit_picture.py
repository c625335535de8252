"""One picture in, the edited picture out: `ganmut.edit`, and what it shares with the command.

`choose_weight` alone knows which weight edits a picture by default; `open_edit` makes an editor and
a code of what a person asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ganmut import extractors
from ganmut.decoding import SUFFIXES, read_source
from ganmut.editor import Editor
from ganmut.encoding import compose_edit
from ganmut.errors import ParameterError
from ganmut.extractors.units import UnitsReader
from ganmut.faces.pipeline import EditSettings, SourceCode
from ganmut.faces.request import EditRequest
from ganmut.faces.target_code import make_target_code, source_code
from ganmut.folders import walk_files
from ganmut.images import AnyPicture, as_picture
from ganmut.rendering import SOURCE
from ganmut.video.code_path import make_code_path
from ganmut.weights import is_set, list_weights, load, resolve

# The sets of weights in the order in which a method is looked up, and the default method.
PHOTOGRAPHS = ("photos", "procedural"), "expression"
RENDERED = ("procedural", "photos"), "ganmut"


def edit(
    picture: AnyPicture,
    *,
    emotion: str | None = None,
    intensity: float | None = None,
    code: Sequence[float] | None = None,
    units: Mapping[int, float] | None = None,
    source_units: Mapping[int, float] | None = None,
    reference: AnyPicture | None = None,
    method: str | None = None,
    weights: str | Path | None = None,
    detector: str = "builtin",
    face: str | int = "largest",
    device: str | None = None,
) -> Image.Image:
    """The picture with the faces edited, as `python -m ganmut edit` writes it to a PNG file: with
    the colours, depth and transparency of the picture, and the mark (GANMUT_MARK=0: without).

    picture: a file, a Pillow image, H x W x 3 uint8 RGB (array), or 3 x H x W uint8 RGB (tensor).
    Exactly one of emotion (with intensity 0..1, default 1), code and units ({FACS number: 0..1})
    is the target; the other parameters are the options of the command. Editors stay in memory
    between calls. Raises ParameterError for a parameter that cannot be used, BadImage for a picture
    that cannot be read, NoFace for one without a face, UnusableFace for a face that cannot be
    edited, UnknownNameError or BadWeights for weights.
    """
    request = EditRequest(
        emotion=emotion,
        intensity=intensity,
        code=code,
        units=units,
        source_units=source_units,
        reference=reference,
        method=method,
        weights=weights,
        detector=detector,
        face=face,
        device=device,
    )
    source = as_picture(picture)
    _, settings = open_edit([picture], request)
    return compose_edit(source, settings.edit(source.pixels).pixels, "PNG")


def open_edit(pictures: Iterable[AnyPicture], request: EditRequest) -> tuple[str, EditSettings]:
    """(the name of the weight, such as "photos/expression"; what edits) of what is asked of
    pictures or clips. Raises as `edit`."""
    spec, member = choose_weight(request.weights, request.method, pictures)
    folder = resolve(spec, member=member)
    changed = (folder / "config.json").stat().st_mtime_ns
    editor = load_once(folder, request.device, changed)
    name = spec if Path(spec).name == folder.name else f"{spec}/{folder.name}"
    found = partial(EditSettings, editor, detector=request.detector, face=request.face)
    if request.path is not None:
        targets = ("emotion", "intensity", "code", "units")
        if given := [word for word in targets if getattr(request, word) is not None]:
            raise ParameterError(", ".join(["path", *given]), "a path of emotions stands alone")
        way = make_code_path(editor, request.path)
        return name, found(way.codes[-1], path=way)
    target = make_target_code(editor, request)
    shown: SourceCode | None = source_code(editor, request.source_units)
    if request.units and not request.source_units:
        shown = units_reader(editor, folder)
    return name, found(target, source_code=shown)


def choose_weight(
    weights: str | Path | None, method: str | None, pictures: Iterable[AnyPicture]
) -> tuple[str, str]:
    """(spec, member) of weights and method: a method SET/NAME alone is a spec, a method alone is
    looked up in the sets for what the pictures are. A set without a method means ganmut."""
    if weights is not None:
        return str(weights), method or (RENDERED[1] if is_set(weights) else "")
    method = method and str(method)
    if method and "/" in method:
        return method, ""
    sets, default = RENDERED if all(map(is_rendered, pictures)) else PHOTOGRAPHS
    method = method or default
    return next((s for s in sets if method in list_weights(s, ablations=True)), sets[0]), method


def is_rendered(picture: AnyPicture) -> bool:
    """Whether a file, every picture of a folder, or a Pillow image was rendered by the command
    `faces`. Arrays and tensors do not say."""
    if isinstance(picture, Image.Image):
        return picture.info.get("Source") == SOURCE
    if isinstance(picture, np.ndarray | Tensor):
        return False
    path = Path(picture)
    inside = walk_files(path) if path.is_dir() else ()
    files = [f for f in inside if f.suffix.lower() in SUFFIXES] or [path]
    return all(file.is_file() and read_source(file) == SOURCE for file in files)


def units_reader(editor: Editor, folder: Path) -> Callable[[np.ndarray], list[float]] | None:
    """What reads the action units of a face for a method that does not read them itself: the
    extractor `units` of its set, or None where there is none."""
    beside = folder.parent / "units"
    if editor.method.reads_source or not (beside / "config.json").is_file():
        return None
    return UnitsReader(extractors.load(beside, editor.device))


@lru_cache(maxsize=2)
def load_once(folder: Path, device: str | None, changed: int) -> Editor:
    """The editor of a weight folder, kept for later calls. changed: of its config.json, in ns."""
    return load(folder, device)
