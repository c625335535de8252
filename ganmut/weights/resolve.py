"""Weights: find, load, save and verify editors, from `weights/`, a run folder or the Hub.

Names such as "procedural/ganmut" mean the bundled weights; where GANMUT_HUB=OWNER/NAME@REVISION or
the file hub.txt beside the bundled ones says so, they mean the published ones of that repository
first, as "hub/procedural/ganmut" does (docs/weights.md).

`storage.py` knows the folder; here a folder becomes an Editor and a trained method a folder.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganmut import device as hardware
from ganmut import legacy
from ganmut.datasets.base import CROP
from ganmut.editor import Editor
from ganmut.images import write_atomic
from ganmut.methods.base import METHODS, Method
from ganmut.registry import UnknownNameError, did_you_mean
from ganmut.weights import hub
from ganmut.weights.card import editor_card
from ganmut.weights.storage import (
    REMEDY,
    BadWeights,
    Weights,
    fill_module,
    read,
    read_config,
    read_golden,
    sha256,
    write,
)

__all__ = [
    "BadWeights",
    "Weights",
    "build_editor",
    "build_method",
    "bundled_root",
    "list_sets",
    "list_weights",
    "load",
    "locate",
    "read",
    "read_golden",
    "resolve",
    "save",
    "sha256",
    "verify",
]

WANTED = ["*.safetensors", "*.json", "README.md"]  # of a repository: nothing else is fetched
PUBLISHED = "hub.txt"  # among the bundled weights: the line that says where they are published


def bundled_root() -> Path:
    """Where the bundled weights lie: `weights/` of the repository, or what GANMUT_WEIGHTS says."""
    return Path(os.environ.get("GANMUT_WEIGHTS") or Path(__file__).resolve().parents[2] / "weights")


def published() -> str:
    """OWNER/NAME@REVISION of the published weights, or "": what GANMUT_HUB says (set but empty:
    none), else the line in `hub.txt` among the bundled ones, which `push --default` writes."""
    said = os.environ.get("GANMUT_HUB")
    if said is None and (line := bundled_root() / PUBLISHED).is_file():
        said = line.read_text(encoding="utf-8")
    return (said or "").strip().removeprefix("hub:")


def set_default_hub(spec: str) -> Path:
    """Makes the weights of OWNER/NAME@REVISION those that names mean here; returns the file that
    says so, which is to be committed."""
    write_atomic(bundled_root() / PUBLISHED, f"{hub.parse(spec)}\n")
    return bundled_root() / PUBLISHED


def published_root() -> Path:
    """Where the published weights lie, fetched once; raises BadWeights."""
    if not (spec := published()):
        raise BadWeights(
            "hub means the weights that somebody published: say which with "
            "GANMUT_HUB=OWNER/NAME@REVISION (docs/weights.md)"
        )
    return download(f"hub:{spec}")


def roots() -> tuple[Path, ...]:
    """The folders of sets that a bundled name is looked up in: the published ones, then ours."""
    if not published():
        return (bundled_root(),)
    try:
        return published_root(), bundled_root()
    except BadWeights as error:
        raise BadWeights(f"{error}; GANMUT_HUB= (empty) takes the bundled weights") from None


def list_sets() -> list[str]:
    """Names of the sets of weights that there are, such as "procedural"."""
    inner = (path for root in roots() if root.is_dir() for path in root.iterdir())
    return sorted({path.name for path in inner if path.is_dir()})


def list_weights(
    set: str = "procedural", kind: str = "editor", ablations: bool = False
) -> list[str]:
    """Names of the bundled weights of a set and kind, sorted; empty where there are none.

    Ablations (weights that exist for one comparison of the bench) only where they are asked for.
    """
    group = locate(set, roots())
    folders = sorted(path.parent for path in group.glob("*/config.json")) if group else []
    configs = {folder.name: read_config(folder) for folder in folders}
    return [
        name
        for name, config in configs.items()
        if config["kind"] == kind and (ablations or not config.get("ablation_of"))
    ]


def locate(spec: str | Path, within: tuple[Path, ...] | None = None) -> Path | None:
    """The folder that a spec means, whatever it holds, or None: a weight, a run, a set, sets.

    "hub:OWNER/NAME@REVISION[/FOLDER]", "hub[/SET[/NAME]]" (the published ones; the set procedural
    where none is named), SET[/NAME], or a path. Raises BadWeights for what the Hub does not give.
    """
    spec = str(spec)
    if spec.startswith("hub:"):
        return download(spec)
    if spec == "hub" or spec.startswith("hub/"):
        return locate(spec.partition("/")[2] or "procedural", (published_root(),))
    candidates = [root / spec for root in within or roots()]
    candidates += [] if within else [Path(spec)]
    return next((folder for folder in candidates if folder.is_dir()), None)


def resolve(spec: str | Path, kind: str = "editor", member: str = "") -> Path:
    """The weight folder of a spec: bundled "set/name", a run folder, or the Hub's (see `locate`).

    member: which weight, where the spec is a set of them. Raises UnknownNameError (what is near,
    what exists) or BadWeights (a folder that holds no weight).
    """
    spec, there = str(spec), locate(spec)
    folders = (there, there / "weights", there / (member or "weights")) if there else ()
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    groups: list[str] = []
    if there:
        inner = [*there.glob("*/config.json"), *there.glob("*/*/config.json")]
        groups = sorted(path.parent.relative_to(there).as_posix() for path in inner)
    if groups and not member:
        raise BadWeights(f"{spec} holds several weights: add one of /{', /'.join(groups)}")
    if there and not groups:
        raise BadWeights(f"{spec} has no config.json: neither a weight folder nor a finished run")
    names = [f"{group}/{name}" for group in list_sets() for name in list_weights(group, kind, True)]
    asked = f"{spec}/{member}" if there else spec
    by_end = [name for name in names if name.rsplit("/")[-1] == spec]
    hint = f"; did you mean {by_end[0]!r}?" if by_end else did_you_mean(asked, names)
    raise UnknownNameError(
        f"unknown weight {asked!r}{hint} Bundled in {roots()[0]}: {', '.join(names) or 'none'}. "
        "Or give a folder, or hub:OWNER/NAME@REVISION"
    )


@functools.lru_cache
def download(spec: str) -> Path:
    """The local folder of "hub:OWNER/NAME@REVISION[/FOLDER]", fetched once, every weight in it
    checked against its sha256; raises BadWeights."""
    try:
        address = hub.parse(spec)
        there = hub.cached(address, WANTED)
        folder = there if there and not _damaged(there) else hub.fetch(address, WANTED)
        if there and _damaged(folder):  # a file that the client takes for whole
            folder = hub.fetch(address, WANTED, again=True)
    except hub.HubError as error:
        raise BadWeights(str(error)) from None
    if damage := _damaged(folder):
        raise BadWeights(f"{address} on the Hub cannot be used: {damage}")
    return folder


def _damaged(folder: Path) -> str:
    """What is wrong with the first bad weight in a folder, as a sentence, or ""."""
    configs = sorted(folder.rglob("config.json"))
    if not configs:
        return f"it has no config.json, so there is no weight in it; it has {_listed(folder)}"
    for path in configs:
        try:
            read(path.parent)
        except BadWeights as error:
            return str(error)
    return ""


def _listed(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.glob("*"))) or "no file that is wanted"


def save(
    folder: str | Path,
    method: Method,
    meta: dict[str, Any],
    golden_faces: Tensor,
    *,
    half: bool = True,
    card: str | None = None,
) -> Path:
    """Writes a method's generator as a weight folder and returns it; all or nothing.

    golden_faces: uint8 N x 3 x S x S, two or three are enough. meta: how it was trained (recipe,
    data_fingerprint, kimg, minutes ...), and "grey" and "crop" where they are not colour and CROP.
    half: large tensors as float16.
    """
    space = {name: value.tolist() for name, value in method.space().state().items()}
    what = {
        "method": method.name,
        "emotions": list(method.emotions),
        "size": method.size,
        "config": dataclasses.asdict(method.config),
        "space": space,
    }
    if clash := sorted({*what, "format", "kind", "sha256", "bytes", "parts"} & meta.keys()):
        raise ValueError(
            f"{', '.join(clash)} cannot be given as facts of the training: save() sets them"
        )
    config = {**what, "crop": CROP, "grey": False, **meta}
    text = card if card is not None else editor_card(config, method, Path(folder).name)

    def examples(written: Weights) -> dict[str, Tensor]:
        editor = build_editor(written, "cpu")
        codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
        rows = torch.arange(len(codes)) % len(golden_faces)
        faces = golden_faces.cpu()
        return {
            "faces": faces,
            "rows": rows,
            "codes": codes,
            "edited": _edited(editor, faces, rows, codes),
        }

    return write(folder, "editor", method.G.state_dict(), config, examples, text, half)


def build_editor(weights: Weights, device: torch.device | str | None = None) -> Editor:
    """The editor of a weight: config.json rules what is built, the tensors must fit it exactly."""
    return Editor(
        build_method(weights),
        weights.config,
        hardware.select_device(None if device is None else str(device)),
    )


def build_method(weights: Weights) -> Method:
    """The method of a weight, on the CPU, without a discriminator: what an Editor is made of and
    what a training can start from."""
    path, config = weights.folder / "config.json", weights.config
    missing = [name for name in ("method", "emotions", "size", "config") if name not in config]
    if missing:
        raise BadWeights(f"{path} lacks {', '.join(missing)}; {REMEDY}")
    kind: type[Method] = METHODS[config["method"]]
    known = {field.name for field in dataclasses.fields(kind.Config)}
    given = legacy.read_config(config["config"], known)
    if unknown := sorted(given.keys() - known):
        raise BadWeights(
            f"{path}: {unknown[0]!r} is not a setting of {kind.name}; "
            "it was written by another version of ganmut"
        )
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    emotions = tuple(config["emotions"])
    with torch.random.fork_rng([]):  # loading changes nobody's random numbers
        method = kind(kind.Config(**settings), emotions, config["size"], training=False)
    fill_module(method.G, weights)
    return method


def load(spec: str | Path, device: torch.device | str | None = None, member: str = "") -> Editor:
    """The editor of a spec: "procedural/ganmut" (bundled), a run folder, "hub:OWNER/NAME@REV" with
    "/FOLDER" where a repository holds several, "hub/procedural/ganmut" (GANMUT_HUB's).

    device: CUDA where there is one by default. member: which one, where the spec is a set. Raises
    UnknownNameError or BadWeights.
    """
    return build_editor(read(resolve(spec, member=member), "editor"), device)


def verify(folder: str | Path) -> float:
    """Largest difference, in grey levels, between the golden edits and the same edits made here."""
    known = read_golden(folder)
    here = _edited(
        build_editor(read(folder, "editor"), "cpu"), known["faces"], known["rows"], known["codes"]
    )
    return float((here.int() - known["edited"].int()).abs().max())


def _edited(editor: Editor, faces: Tensor, rows: Tensor, codes: Tensor) -> Tensor:
    return editor.edit(editor.select(editor.prepare(faces), rows), codes)
