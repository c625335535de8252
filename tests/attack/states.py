"""Tampered states: run folders, logs and caches, as a bad disk or another program leaves them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import OPTIONS, tensors

Tamper = Callable[[Path], None]


def flip(share: float) -> Tamper:
    """Flips a bit at a share of a file's length."""

    def tamper(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 4
        path.write_bytes(data)

    return tamper


def cut(share: float) -> Tamper:
    """Keeps a share of a file."""
    return lambda path: (
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)]) and None
    )


def fill(data: bytes) -> Tamper:
    """Replaces the content of a file."""
    return lambda path: path.write_bytes(data) and None


def append(data: bytes) -> Tamper:
    """Adds to the end of a file, as a write that was cut short."""

    def tamper(path: Path) -> None:
        with open(path, "ab") as file:
            file.write(data)

    return tamper


def folder(path: Path) -> None:
    """Puts a folder in the place of a file."""
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    """Puts a pipe in the place of a file, which nobody writes to."""
    path.unlink()
    os.mkfifo(path)


def zeros(path: Path) -> None:
    """Puts a link to an endless file in the place of a file."""
    path.unlink()
    path.symlink_to("/dev/zero")


def edit(key: str, value: object) -> Tamper:
    """Changes a setting of recipe.json, in the recipe or in the method's config."""

    def tamper(path: Path) -> None:
        both = json.loads(path.read_text())
        part = both["recipe"] if key in both["recipe"] else both["config"]
        part[key] = value
        path.write_text(json.dumps(both))

    return tamper


def gone(path: Path) -> None:
    """Removes a file."""
    path.unlink()


NEW, BOTH = "snapshots/00000003.safetensors", "snapshots/*.safetensors"
# Name -> (files of a run folder, what is done to each).
RUN: dict[str, tuple[str, Tamper]] = {
    "header of the newest snapshot flipped": (NEW, flip(0.001)),
    "middle of the newest snapshot flipped": (NEW, flip(0.5)),
    "end of the newest snapshot flipped": (NEW, flip(1.0)),
    "newest snapshot empty": (NEW, cut(0)),
    "half of the newest snapshot": (NEW, cut(0.5)),
    "newest snapshot is text": (NEW, fill(b"hello " * 900)),
    "newest snapshot has a huge header": (NEW, fill(b"\xff" * 7 + b"\x7f" + b"{}")),
    "newest snapshot is a folder": (NEW, folder),
    "newest snapshot is a pipe": (NEW, fifo),
    "newest snapshot is endless": (NEW, zeros),
    "newest snapshot gone": (NEW, gone),
    "both snapshots flipped": (BOTH, flip(0.7)),
    "both snapshots empty": (BOTH, cut(0)),
    "both snapshots gone": (BOTH, gone),
    "stats torn": ("stats.jsonl", append(b'{"step": 4, "kim')),
    "stats torn after a bracket": ("stats.jsonl", append(b'{"step": 4, "a": {"b": 1}')),
    "stats of zeros": ("stats.jsonl", append(b"\0" * 4096)),
    "stats flipped": ("stats.jsonl", flip(0.3)),
    "stats empty": ("stats.jsonl", cut(0)),
    "stats are a list": ("stats.jsonl", fill(b"[1, 2]\n")),
    "stats are nested": ("stats.jsonl", append(b'{"a":' * 100_000)),
    "stats in one long line": ("stats.jsonl", append(b"x" * 30_000_000)),
    "stats are a folder": ("stats.jsonl", folder),
    "stats gone": ("stats.jsonl", gone),
    "recipe empty": ("recipe.json", cut(0)),
    "half a recipe": ("recipe.json", cut(0.5)),
    "recipe is a list": ("recipe.json", fill(b"[]")),
    "recipe of lists": ("recipe.json", fill(b'{"recipe": [], "config": []}')),
    "recipe is nested": ("recipe.json", fill(b"[" * 200_000)),
    "recipe is not text": ("recipe.json", fill(b"\xff\xfe\0")),
    "recipe is a folder": ("recipe.json", folder),
    "recipe of another width": ("recipe.json", edit("width", 16)),
    "recipe of another method": ("recipe.json", edit("method", "ganmut")),
    "recipe of an unknown method": ("recipe.json", edit("method", "stylegan")),
    "recipe of another size": ("recipe.json", edit("size", 64)),
    "recipe with a text for a number": ("recipe.json", edit("batch", "many")),
    "recipe with nothing for a number": ("recipe.json", edit("kimg", None)),
    "recipe without an end": ("recipe.json", edit("kimg_per_tick", float("nan"))),
    "recipe of a huge width": ("recipe.json", edit("width", 10**12)),
    "recipe of a batch of no face": ("recipe.json", edit("batch", 0)),
    "lock of nobody": (".lock", fill(b"process 1 on nowhere")),
}


def resume(path: Path) -> Outcome:
    """Resumes a training."""
    from ganmut.cli import main

    return run(lambda: main(["train", "resume", str(path), "--device=cpu"]))


def attack(report: Report, folder: Path) -> None:
    """Resumes a training from each tampered run folder, and reads each tampered log."""
    from ganmut.cli import main

    done = run(lambda: main(["train", "stargan", *OPTIONS, f"--out={folder}"]))
    assert done.status == 0, done.output
    (whole,) = folder.iterdir()
    expected = tensors(whole)
    report.rest = resume(whole).peak
    for name, (pattern, tamper) in RUN.items():
        copy = folder / "copy"
        shutil.copytree(whole, copy)
        shutil.rmtree(copy / "weights")
        for path in sorted(copy.glob(pattern)) or [copy / pattern]:
            tamper(path)
        outcome = resume(copy)
        lost = ""
        if outcome.status == 0 and tensors(copy) != expected:
            lost = "other weights without a word"
        elif outcome.status not in (0, 2) and not outcome.traceback:
            lost = f"status {outcome.status}"
        elif outcome.status == 2 and outcome.output.count("error: ") != 1:
            lost = "no sentence"
        report.add(name, outcome, lost)
        shutil.rmtree(copy)
