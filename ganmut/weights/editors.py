"""Weight folder to Editor and back: load, build, save and verify."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganmut import device as hardware
from ganmut import legacy
from ganmut.datasets.base import CROP
from ganmut.editor import MAX_CROP, Editor
from ganmut.methods.base import METHODS, Method
from ganmut.registry import Registry
from ganmut.weights.card import editor_card
from ganmut.weights.resolve import resolve
from ganmut.weights.storage import (
    REMEDY,
    BadWeights,
    Weights,
    build_module,
    parse_settings,
    read,
    read_golden,
    require,
    write,
)


def load(spec: str | Path, device: torch.device | str | None = None, member: str = "") -> Editor:
    """The editor of a spec: "procedural/ganmut" (bundled), a folder, a run, "hub:OWNER/NAME@REV"
    with "/FOLDER" for a repository of several, or "hub/procedural/ganmut" (see `resolve`).

    device: default CUDA where available. member: name of the weight where the spec is a set. Raises
    UnknownNameError or BadWeights.
    """
    return build_editor(read(resolve(spec, member=member), "editor"), device)


# What draws behind an Editor without having been trained: name -> its builder from checked weights.
FITTED = Registry("fitted method", "ganmut.expression")


def build_editor(weights: Weights, device: torch.device | str | None = None) -> Editor:
    """The editor of checked weights, on a device (default CUDA where available)."""
    return Editor(
        build_method(weights),
        weights.config,
        hardware.select_device(None if device is None else str(device)),
        weights.folder,
    )


def build_method(weights: Weights) -> Method:
    """The method of checked weights, on the CPU and without a discriminator.

    config.json says what is built; raises BadWeights where its settings or the tensors do not fit.
    """
    path, config = weights.folder / "config.json", weights.config
    require(weights, "method", "emotions", "size", "config")
    if config["method"] not in METHODS and config["method"] in FITTED:
        return FITTED[config["method"]](weights)
    kind: type[Method] = METHODS[config["method"]]
    # Old names first: a field that is renamed is no unknown one.
    given = legacy.read_config(config["config"], kind.Config.names())
    settings = parse_settings(kind.Config, given, path)
    emotions = tuple(config["emotions"])
    if getattr(settings, "controls", 0) and "drawing" not in config:
        raise BadWeights(f"{path}: {config['method']} works on expressions and nothing draws them")
    return build_module(
        lambda: kind(settings, emotions, config["size"], training=False),
        weights,
        lambda method: method.G,
    )


def save(
    folder: str | Path,
    method: Method,
    meta: dict[str, Any],
    golden_faces: Tensor,
    *,
    half: bool = True,
    card: str | None = None,
) -> Path:
    """Writes a method's generator as a weight folder, complete or not at all; returns the folder.

    golden_faces: uint8 N x 3 x S x S; two or three suffice. meta: facts of the training (recipe,
    data_fingerprint, kimg, minutes ...), and "grey" and "crop" where they are not colour and CROP.
    half: large tensors as float16. Raises ValueError where meta holds a key that `save` sets.
    """
    space = {name: value.tolist() for name, value in method.space().state().items()}
    built = {
        "method": method.name,
        "emotions": list(method.emotions),
        "size": method.size,
        "config": dataclasses.asdict(method.config),
        "space": space,
    }
    if clash := sorted({*built, "format", "kind", "sha256", "bytes", "parts"} & meta.keys()):
        raise ValueError(f"meta must not hold {', '.join(clash)}: save() sets them")
    config = {**built, "crop": CROP, "grey": False, **meta}
    text = card if card is not None else editor_card(config, method, Path(folder).name)

    def make_golden(written: Weights) -> dict[str, Tensor]:
        """Each emotion at full intensity on one of the faces, edited by the tensors as stored."""
        editor = build_editor(written, "cpu")
        codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
        # Few faces under all emotions: the file stays small and every direction is checked.
        rows = torch.arange(len(codes)) % len(golden_faces)
        faces = golden_faces.cpu()
        edited = _edit_rows(editor, faces, rows, codes)
        return {"faces": faces, "rows": rows, "codes": codes, "edited": edited}

    return write(folder, "editor", method.G.state_dict(), config, make_golden, text, half)


def verify(folder: str | Path) -> float:
    """Largest absolute difference, in grey levels, between the golden edits and edits made here.
    Raises BadWeights, also for golden tensors that no editor can have made."""
    golden = read_golden(folder, "faces", "rows", "codes", "edited")
    editor = build_editor(read(folder, "editor"), "cpu")
    faces, rows, codes, edited = (golden[name] for name in ("faces", "rows", "codes", "edited"))
    square = faces.dim() == 4 and faces.shape[1] == 3 and max(faces.shape[2:]) <= MAX_CROP
    fits = square and faces.dtype == edited.dtype == torch.uint8 and rows.dtype == torch.int64
    fits = fits and rows.dim() == 1 and len(rows) == len(codes) == len(edited) > 0
    fits = fits and 0 <= int(rows.min()) <= int(rows.max()) < len(faces)
    if not fits or codes.shape[1:] != (editor.space.dim,):
        raise BadWeights(f"{folder}: its golden tensors are not those of an editor; {REMEDY}")
    here = _edit_rows(editor, faces, rows, codes)
    if here.shape != edited.shape:
        raise BadWeights(f"{folder}: its golden edits have another size than its edits; {REMEDY}")
    return float((here.int() - edited.int()).abs().max())


def _edit_rows(editor: Editor, faces: Tensor, rows: Tensor, codes: Tensor) -> Tensor:
    """uint8 M x 3 x S x S: face rows[i] under codes[i]."""
    return editor.edit(editor.select(editor.prepare(faces), rows), codes)
