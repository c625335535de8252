"""Hostile weights, numbers and places of commands that write folders: graphs, data, logs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import OPTIONS, left_over, prepare
from ganmut.cli import main

SPECS = (
    "gone",
    "procedural/gone",
    "",
    "/",
    "..",
    "procedural",
    "a" * 5000,
    "hub:nobody/nothing",
    "hub:",
    "http://127.0.0.1/x",
    "stargan\0",
    "/dev/zero",
    "\udcff",
)
# Of the data set: options, each of which cannot be used.
NUMBERS = (
    ["--n", "0"],
    ["--n", "-1"],
    ["--n", "60"],
    ["--n", "x"],
    ["--n", "1e3"],
    ["--n", "9" * 5000],
    ["--size", "0"],
    ["--size", "99999"],
    ["--size", "nan"],
    ["--seed", "x"],
    ["--intensity", "1"],
    ["--per-emotion", "2"],
    ["--format", "zip"],
    ["--format", "png", "--n", "9"],
)
LOGS = (["wand"], ["tensorboard", "x"], [""], ["wandb"], [])
PLACES: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_text("mine"),
    "a folder that holds something": lambda path: (
        path.mkdir(),
        (path / "mine").write_text("mine"),
    ),
    "a pipe": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/full"),
    "below a file": lambda path: path.with_name("mine").write_text("mine"),
}


def attack(report: Report, folder: Path) -> None:
    """Each command ends with one sentence, and what was in its place stays."""
    prepare(folder)
    weight, own = folder / "weights" / "procedural" / "stargan", folder / "own"

    def attempt(words: list[str], make: Callable[[Path], object] | None = None) -> Outcome:
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        if make is not None:
            make(own / "out")
        return run(lambda: main(words))

    def flaw(outcome: Outcome) -> str:
        if outcome.status != 2 or outcome.output.count("error: ") != 1:
            return f"status {outcome.status}, {outcome.output.count('error: ')} sentences"
        return ", ".join(left_over(own))

    export = ["export", str(weight), "--onnx", str(own / "out")]
    render = [
        "faces",
        "--format",
        "parquet",
        "--size",
        "16",
        "--out",
        str(own / "out"),
        "--n",
        "80",
    ]
    train = ["train", "stargan", *OPTIONS, f"--out={own / 'out'}", "--log-to", "tensorboard"]
    report.rest = attempt(export).peak
    for spec in SPECS:
        outcome = attempt(["export", spec, "--onnx", str(own / "out")])
        report.add(f"export {spec[:30]!a}", outcome, flaw(outcome))
    for words in NUMBERS:
        outcome = attempt([*render, *words])
        report.add(f"faces {words}"[:60], outcome, flaw(outcome))
    for words in LOGS:
        outcome = attempt([*train[:-1], *words])
        report.add(f"log to {words}", outcome, flaw(outcome))
    for name, make in PLACES.items():
        for words in (export, render, train):
            at = [w.replace(f"{own}/out", f"{own}/mine/out") for w in words]
            outcome = attempt(at if name == "below a file" else words, make)
            lost = flaw(outcome)
            if words is train and name == "a folder that holds something":
                lost = "" if outcome.status == 0 else lost  # runs lie beside one another
            mine = [p for p in own.rglob("*") if p.is_file() and p.read_bytes() == b"mine"]
            if name in ("a file", "a folder that holds something", "below a file") and not mine:
                lost = "what was there"
            report.add(f"{words[0]} to {name}", outcome, lost)
