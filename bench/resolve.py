"""Resolve: turns the names of a command line into protocol, faces, editors and extractors. All
names are checked before any work starts.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganmut import extractors, weights
from ganmut.datasets import FaceSet, open_source
from ganmut.folders import subfolders
from ganmut.json_files import read_json
from ganmut.registry import did_you_mean
from ganmut.text import quote
from ganmut.weights.editors import FITTED

from .extractors import inception
from .features.extract import FEATURES, NON_NETWORK_ROLES
from .metrics import METRICS, NotMeasured
from .protocol import Protocol

log = logging.getLogger(__name__)

ROLES = {
    "emotion": "classifier",
    "identity": "face embedder",
    "units": "action-unit regressor",
    "second_emotion": "classifier of another architecture",
    "second_identity": "face embedder that no method trains against",
}
# The bundled network of a role that does not bear its name.
BUNDLED = {"second_emotion": "emotion_resnet", "second_identity": "identity_resnet"}
NO_EXTRACTOR = (
    "the bundled {role} extractor is for rendered faces only; for {data} pass --{option} SPEC{hint}"
)
HINTS = {
    "emotion": " (train one: python -m ganmut train-extractor emotion --data {data}), or "
    "--emotion-model PATH, an expression classifier's ONNX file",
    "identity": " (a trained folder), or --identity-model PACK|PATH, a face recognition ONNX",
    "units": " (train one on faces with action units: "
    "python -m ganmut train-extractor units --data ...)",
}


class UserError(ValueError):
    """An error that the user can correct: a one-sentence message, exit code 2."""


# Names --------------------------------------------------------------------------------------------


def choose(text: str, names: Iterable[str], kind: str, remedy: str = "") -> list[str]:
    """The names listed in `text` ("a,b", or "all"); raises UserError for an unknown name. remedy:
    the end of its message."""
    known = list(names)
    if text == "all":
        return known
    listed = [name.strip() for name in text.split(",") if name.strip()]
    for name in listed:
        if name not in known:
            hint = did_you_mean(name, known)
            there = ", ".join(known) or "none"
            raise UserError(f"unknown {kind} {quote(name)}{hint} There are: {there}{remedy}")
    return list(dict.fromkeys(listed))


def require_writable(folder: Path) -> None:
    """Creates a folder; raises UserError where that fails or it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be created ({error.strerror}); choose another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is not writable; choose another folder")


# Editors ------------------------------------------------------------------------------------------


def find_editors(spec: str) -> dict[str, str]:
    """Name -> what `ganmut.load` takes, of a set, a weight or run folder, a folder of these, or a
    repository of the Hub (one weight, or a set). Raises UserError where there is no editor."""
    try:
        root = weights.locate(spec)
    except weights.BadWeights as error:
        raise UserError(str(error)) from None
    if root is None:
        sets = weights.list_sets()
        raise UserError(
            f"no weights {quote(spec)}{did_you_mean(spec, sets)} Bundled sets: "
            f"{', '.join(sets) or 'none'}. Or give a folder, or hub:OWNER/NAME@REVISION"
            f"{weights.other_weights()}"
        )
    if spec.startswith("hub:") and (root / "config.json").is_file():
        return {_config(root)["method"]: str(root)}  # the folder is named by its commit
    editors: dict[str, str] = {}
    for folder in [root, root / "weights", *subfolders(root)]:
        with contextlib.suppress(FileNotFoundError):
            config = _config(folder)
            # A later run of the same method replaces an earlier one.
            if config.get("kind") == "editor":
                editors[_name(folder, config)] = str(folder)
    if not editors:
        inner = sorted({path.parents[1].name for path in root.glob("*/*/config.json")})
        hint = f"give one of its sets: {spec}/{inner[0]}" if inner else "train one first"
        raise UserError(f"{root} contains no editor (a folder with config.json); {hint}")
    return editors


def _name(folder: Path, config: dict[str, Any]) -> str:
    """The method's name for numbered run folders; the folder's for others and for ablations."""
    is_run = folder.name == "weights" or folder.name[:1].isdigit()
    if is_run and not config.get("ablation_of"):
        return config["method"]
    return folder.parent.name if folder.name == "weights" else folder.name


def _config(spec: str | Path) -> dict[str, Any]:
    """config.json of a weight or run folder; raises FileNotFoundError where there is none, and
    UserError where it is none of a weight."""
    folder = Path(spec)
    inner = folder / "weights" / "config.json"
    path = inner if inner.is_file() else folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(path)
    config = read_json(path)
    if not isinstance(config, dict):
        raise UserError(f"{path} is no config of a weight")
    if config.get("kind") == "editor":
        for key, kind in (("size", int), ("method", str)):
            if type(config.get(key)) is not kind:
                raise UserError(f"{path} lacks {key}; it is damaged: copy the weight again")
    return config


def split_ablations(text: str, editors: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The editors listed in `text`, and those that only claims need: ablations of the listed ones
    and trainings from other seeds (folders such as ganmut@1). "all" lists those of the commonest
    size, since one run measures one size."""
    base = {
        name: _config(spec).get("ablation_of") or (name.partition("@")[0] if "@" in name else None)
        for name, spec in editors.items()
    }
    complete = [name for name in editors if not base[name]]
    bundled = all(Path(spec).is_relative_to(weights.bundled_root()) for spec in editors.values())
    remedy = weights.other_weights() if bundled else ""
    chosen = choose(text, editors, "method", remedy)
    names = _of_one_size(complete, editors) if text == "all" else chosen
    if not names:
        raise UserError(f"no methods in {quote(text)}; there are: {', '.join(editors)}")
    methods = {name: editors[name] for name in names}
    ablations = {
        name: editors[name] for name in editors if base[name] in methods and name not in methods
    }
    return methods, ablations


def require_distinct(rows: Iterable[str]) -> None:
    """Raises UserError where two rows of a leaderboard have one name."""
    name, count = Counter(rows).most_common(1)[0]
    if count > 1:
        raise UserError(f"two rows are named {name}; rename the folder of the edits")


def _of_one_size(names: list[str], editors: dict[str, str]) -> list[str]:
    """The names whose weights work at the commonest size; a warning lists the others."""
    sizes = _fixed_sizes({name: editors[name] for name in names})
    common = max(sizes.values(), key=list(sizes.values()).count, default=0)
    others = [f"{name} {size} px" for name, size in sizes.items() if size != common]
    if others:
        left_out = ", ".join(others)
        log.warning("all: %d px; left out: %s (name them in a run of their own)", common, left_out)
    return [name for name in names if sizes.get(name, common) == common]


def common_size(specs: dict[str, str], others: Mapping[str, int] | None = None) -> int:
    """The image side in pixels that all these weights share, and `others` (row -> side), or 128
    where each takes any; raises UserError where they differ."""
    sizes = _fixed_sizes(specs) | dict(others or {})
    if len(set(sizes.values())) > 1:
        each = ", ".join(f"{name} {side} px" for name, side in sizes.items())
        raise UserError(f"these rows differ in size: {each}; measure each size in its own run")
    return next(iter(sizes.values()), 128)


def _fixed_sizes(specs: dict[str, str]) -> dict[str, int]:
    """The image side in pixels of the weights that have one: the expression model draws faces of
    any size."""
    configs = {name: _config(spec) for name, spec in specs.items()}
    return {
        name: int(config["size"])
        for name, config in configs.items()
        if config.get("method", "") not in FITTED
    }


def require_emotions(specs: Mapping[str, str], emotions: tuple[str, ...]) -> None:
    """Raises UserError where an editor lacks an emotion of the data: before the first row, not at
    its own."""
    for name, spec in specs.items():
        known = _config(spec).get("emotions")
        known = known if isinstance(known, list) else list(emotions)  # else damaged: `load` says so
        if absent := [emotion for emotion in emotions if emotion not in known]:
            raise UserError(
                f"{name} has no emotion {', '.join(absent)}, which the data have; it has "
                f"{', '.join(map(str, known))}. Leave it out of --methods, or the emotion out of "
                "the data: --data 'SPEC?emotions=neutral,...'"
            )


# Faces and extractors -----------------------------------------------------------------------------


def load_faces(
    spec: str, split: str, size: int, protocol: Protocol
) -> tuple[FaceSet, FaceSet | None]:
    """The source faces of a split in a seeded order, and as many others for the row real_split
    (None where too few are left)."""
    test = open_source(spec).load(split, size, 2 * protocol.n_test, seed=protocol.seed)
    test = replace(test, images=test.faces())  # in memory: 49 KB a face at 128 px
    order = torch.from_numpy(np.random.default_rng(protocol.seed).permutation(len(test)))
    n = min(protocol.n_test, len(test))
    rest = order[n : 2 * n]
    return test.select(order[:n]), test.select(rest) if len(rest) >= n // 2 else None


def load_extractors(
    args: argparse.Namespace, metrics: list[str], device: torch.device
) -> tuple[dict[str, Any], dict[str, str]]:
    """Role -> network, of the roles that the metrics need, and role -> why it has none.

    Raises UserError where there is no emotion classifier for the data, and for an extractor of the
    command line that no metric needs.
    """
    roles = {FEATURES[need.split(":")[1]][1] for name in metrics for need in METRICS[name].needs}
    if not args.no_figures:
        roles.add("emotion")  # for the gamut maps
    for role in (*ROLES, "inception"):
        for option in (role, f"{role}_model"):
            if role not in roles and getattr(args, option, None):
                raise UserError(
                    f"--{option.replace('_', '-')}: no metric of --metrics {args.metrics} uses it"
                )
    networks: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for role in sorted(roles - NON_NETWORK_ROLES - {"inception"}):
        spec = extractor_spec(args, role)
        if spec is None and not args.data.startswith("procedural"):
            hint = HINTS.get(role, "").format(data=args.data)
            option = role.replace("_", "-")
            reason = NO_EXTRACTOR.format(role=role, data=args.data, option=option, hint=hint)
            if role == "emotion":
                raise UserError(reason)
            missing[role] = reason
            continue
        bundled = f"procedural/{BUNDLED.get(role, role)}"
        networks[role] = extractors.load(spec or bundled, device)
    if "inception" in roles:
        try:
            networks["inception"] = _load_inception(args.inception, device)
        except NotMeasured as reason:
            missing["inception"] = str(reason)
    return networks, missing


def extractor_spec(args: argparse.Namespace, role: str) -> str | None:
    """The extractor that the command line gives for a role, or None; --identity-model and
    --emotion-model are ONNX files. Raises UserError where it gives two."""
    spec, model = getattr(args, role, None), getattr(args, f"{role}_model", None)
    if spec and model:
        raise UserError(f"--{role} and --{role}-model exclude each other; give one of them")
    return f"onnx:{model}{':' if role == 'emotion' else ''}" if model else spec


def _load_inception(path: str | None, device: torch.device) -> inception.Inception:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # seconds; without internet the download would block for minutes
    try:
        return inception.find(path, device)
    finally:
        socket.setdefaulttimeout(before)
