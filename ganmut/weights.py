"""Weights: find, load, save and verify editors, from `weights/`, a run folder or the Hub.

`storage.py` knows the folder; here a folder becomes an Editor and a trained method a folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganmut import device as hardware
from ganmut import storage
from ganmut.card import editor_card
from ganmut.data.base import CROP
from ganmut.editor import Editor
from ganmut.images import write_atomic
from ganmut.models.base import METHODS, Method
from ganmut.registry import Unknown
from ganmut.storage import (
    REMEDY,
    BadWeights,
    Weights,
    fill,
    golden,
    read,
    read_config,
    sha256,
    write,
)  # fmt: skip

__all__ = [
    "BadWeights", "Weights", "available", "build", "bundled_root", "find", "golden", "load",
    "read", "restore", "save", "sha256", "verify",
]  # fmt: skip


def bundled_root() -> Path:
    """Where the bundled weights lie: `weights/` of the repository, or what GANMUT_WEIGHTS says."""
    return Path(os.environ.get("GANMUT_WEIGHTS") or Path(__file__).resolve().parents[1] / "weights")


def available(set: str = "procedural", kind: str = "editor", ablations: bool = False) -> list[str]:
    """Names of the bundled weights of a set and kind, sorted; empty where there are none.

    Ablations (weights that exist for one comparison of the bench) only where they are asked for.
    """
    folders = sorted(path.parent for path in (bundled_root() / set).glob("*/config.json"))
    configs = {folder.name: read_config(folder) for folder in folders}
    return [
        name
        for name, config in configs.items()
        if config["kind"] == kind and (ablations or not config.get("ablation_of"))
    ]


def find(spec: str | Path, kind: str = "editor") -> Path:
    """The weight folder of a spec: bundled "set/name", a run folder, "hub:OWNER/NAME@REV".

    Raises Unknown (what is near, what exists) or BadWeights (a folder that holds no weight).
    """
    spec = str(spec)
    if spec.startswith("hub:"):
        return download(spec)
    for folder in (bundled_root() / spec, Path(spec), Path(spec) / "weights"):
        if (folder / "config.json").is_file():
            return folder
    if Path(spec).is_dir():
        raise BadWeights(f"{spec} has no config.json: neither a weight folder nor a finished run")
    root = bundled_root()
    sets = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    names = [f"{group}/{name}" for group in sets for name in available(group, kind, True)]
    by_end = [name for name in names if name.rsplit("/")[-1] == spec]
    near = by_end or difflib.get_close_matches(spec, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise Unknown(
        f"unknown weight {spec!r}{hint} Bundled in {root}: {', '.join(names) or 'none'}. "
        "Or give a folder, or hub:OWNER/NAME@REVISION"
    )


def download(spec: str) -> Path:
    """The local folder of "hub:OWNER/NAME@REVISION", fetched once; raises BadWeights."""
    match = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})", spec)
    if not match:
        raise BadWeights(
            f"{spec!r}: write hub:OWNER/NAME@REVISION with the 40 hex digits of a commit, "
            "so that the weight cannot change under you"
        )
    from huggingface_hub import errors, snapshot_download

    name, revision = match.groups()
    wanted = ["*.safetensors", "*.json", "README.md"]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except errors.RevisionNotFoundError:
        raise BadWeights(f"{name} on the Hub has no revision {revision}") from None
    except errors.RepositoryNotFoundError:
        raise BadWeights(f"the Hub has no model {name}, or it is private: log in first") from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadWeights(
            f"{name} could not be fetched from the Hub ({reason}); try again later"
        ) from None


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
        "method": method.name, "emotions": list(method.emotions), "size": method.size,
        "config": dataclasses.asdict(method.config), "space": space,
    }  # fmt: skip
    if clash := sorted({*what, "format", "kind", "sha256", "bytes"} & meta.keys()):
        raise ValueError(
            f"{', '.join(clash)} cannot be given as facts of the training: save() sets them"
        )
    config = {**what, "crop": CROP, "grey": False, **meta}
    text = card if card is not None else editor_card(config, method, Path(folder).name)

    def examples(written: Weights) -> dict[str, Tensor]:
        editor = build(written, "cpu")
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


def bundle(folder: str | Path, set: str, name: str, **facts: Any) -> Path:
    """Copies a trained weight to `weights/<set>/<name>`; facts (note, ablation_of ...) join its
    config and its card."""
    source = read(folder, "editor")
    config = {**source.config, "set": set, **facts}
    target = bundled_root() / set / name
    partial = target.with_name(f".{name}.{os.getpid()}.tmp")
    shutil.copytree(folder, partial)
    try:
        write_atomic(partial / "config.json", json.dumps(config, indent=2, allow_nan=False) + "\n")
        card = editor_card(config, METHODS[config["method"]], name)
        write_atomic(partial / "README.md", card)
        storage.swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def build(weights: Weights, device: torch.device | str | None = None) -> Editor:
    """The editor of a weight: config.json rules what is built, the tensors must fit it exactly."""
    return Editor(
        restore(weights), weights.config, hardware.pick(None if device is None else str(device))
    )


def restore(weights: Weights) -> Method:
    """The method of a weight, on the CPU, without a discriminator: what an Editor is made of and
    what a training can start from."""
    path, config = weights.folder / "config.json", weights.config
    missing = [name for name in ("method", "emotions", "size", "config") if name not in config]
    if missing:
        raise BadWeights(f"{path} lacks {', '.join(missing)}; {REMEDY}")
    kind: type[Method] = METHODS[config["method"]]
    known = {field.name for field in dataclasses.fields(kind.Config)}
    if unknown := sorted(config["config"].keys() - known):
        raise BadWeights(
            f"{path}: {unknown[0]!r} is not a setting of {kind.name}; "
            "it was written by another version of ganmut"
        )
    settings = {
        name: tuple(v) if isinstance(v, list) else v for name, v in config["config"].items()
    }
    emotions = tuple(config["emotions"])
    with torch.random.fork_rng([]):  # loading changes nobody's random numbers
        method = kind(kind.Config(**settings), emotions, config["size"], training=False)
    fill(method.G, weights)
    return method


def load(spec: str | Path, device: torch.device | str | None = None) -> Editor:
    """The editor of a spec: "procedural/ganmut" (bundled), a run folder, "hub:OWNER/NAME@REV".

    device: CUDA where there is one by default. Raises Unknown or BadWeights.
    """
    return build(read(find(spec), "editor"), device)


def verify(folder: str | Path) -> float:
    """Largest difference, in grey levels, between the golden edits and the same edits made here."""
    known = golden(folder)
    here = _edited(
        build(read(folder, "editor"), "cpu"), known["faces"], known["rows"], known["codes"]
    )
    return float((here.int() - known["edited"].int()).abs().max())


def _edited(editor: Editor, faces: Tensor, rows: Tensor, codes: Tensor) -> Tensor:
    return editor.edit(editor.pair(editor.prepare(faces), rows), codes)
