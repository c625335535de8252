"""Roster: which editors a command line means; names checked, ablations set apart."""

from __future__ import annotations

import contextlib
import difflib
import json
from pathlib import Path
from typing import Any

from ganmut import weights


class UserError(ValueError):
    """What the user can mend: one sentence, exit code 2."""


def choose(text: str, names: list[str], kind: str) -> list[str]:
    """The names of "a,b" or "all"; raises UserError saying what is near and what exists."""
    if text == "all":
        return list(names)
    asked = [name.strip() for name in text.split(",") if name.strip()]
    for name in asked:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UserError(
                f"unknown {kind} {name!r}{hint} There are: {', '.join(names) or 'none'}"
            )
    return list(dict.fromkeys(asked))


def discover(spec: str) -> dict[str, str]:
    """Name -> what `ganmut.load` takes, for a set, a weight or run folder, a folder of such, or a
    repository of the Hub (one weight, or a set of them).
    """
    try:
        root = weights.locate(spec)
    except weights.BadWeights as error:
        raise UserError(str(error)) from None
    if root is None:
        sets = weights.list_sets()
        near = difflib.get_close_matches(spec, sets, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise UserError(
            f"no weights {spec!r}{hint} Bundled sets: {', '.join(sets) or 'none'}. "
            "Or give a folder, or hub:OWNER/NAME@REVISION"
        )
    if spec.startswith("hub:") and (root / "config.json").is_file():
        return {_config(root)["method"]: str(root)}  # its folder is called by its commit
    folders = [root, root / "weights", *sorted(root.iterdir())]
    found: dict[str, str] = {}
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            config = _config(folder)
            # A newer run of the same method takes the place of an older one.
            if config.get("kind") == "editor":
                found[_name(folder, config)] = str(folder)
    if not found:
        inner = sorted({path.parents[1].name for path in root.glob("*/*/config.json")})
        hint = f"say which of its sets: {spec}/{inner[0]}" if inner else "train some first"
        raise UserError(f"{root} holds no trained editors (folders with config.json); {hint}")
    return found


def _name(folder: Path, config: dict[str, Any]) -> str:
    """Numbered run folders go by their method; others, and ablations, by the folder's name."""
    plain = folder.name == "weights" or folder.name[:1].isdigit()
    if plain and not config.get("ablation_of"):
        return config["method"]
    return folder.parent.name if folder.name == "weights" else folder.name


def _config(spec: str | Path) -> dict[str, Any]:
    """config.json of a weight; FileNotFoundError where a folder has none."""
    folder = Path(spec)
    inner = folder / "weights" / "config.json"
    path = inner if inner.is_file() else folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(path)
    return json.loads(path.read_text(encoding="utf-8"))


def pick_methods(text: str, found: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The asked-for editors, and what claims need beside them and "all" leaves out of the table:
    their ablations, and trainings of the same from other seeds (folders such as ganmut@1).
    """
    base = {
        name: _config(spec).get("ablation_of") or (name.partition("@")[0] if "@" in name else None)
        for name, spec in found.items()
    }
    whole = [name for name in found if not base[name]]
    names = whole if text == "all" else choose(text, list(found), "method")
    if not names:
        raise UserError(f"no methods in {text!r}; there are: {', '.join(found)}")
    methods = {name: found[name] for name in names}
    ablations = {
        name: found[name] for name in found if base[name] in methods and name not in methods
    }
    return methods, ablations


def one_size(specs: dict[str, str]) -> int:
    """The image side that all these weights share, from their configs.

    Raises UserError naming each size where they differ: an edit of 64 px is not compared with one
    of 128 px.
    """
    sizes = {name: int(_config(spec)["size"]) for name, spec in specs.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {side} px" for name, side in sizes.items())
        raise UserError(f"these weights differ in size: {told}; measure each size in its own run")
    return next(iter(sizes.values()))
