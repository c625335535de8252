"""Kills: a training, a bench, an edit and an align, each killed at 20 moments and run again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from skimage import data as samples
from toys import TINY, ToySource, write_bundle

from attack.base import Outcome, Report, run
from attack.states import OPTIONS, tensors
from bench import protocol, resolve, results
from bench import run as bench
from ganmut import files, images
from ganmut.cli import main

MOMENTS = 20
# The calls of the system that change files: between two of them nothing on disk changes.
CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "ftruncate", "rmdir")
Program = Callable[[Path], int | None]


def train(folder: Path) -> int:
    """A training of three ticks; goes on where there is one."""
    for path in folder.glob("*/recipe.json"):
        return main(["train", "resume", str(path.parent), "--device=cpu"])
    return main(["train", "stargan", *OPTIONS, f"--out={folder}"])


def measure(folder: Path) -> int:
    """A bench of one editor on toy faces."""
    os.environ["GANMUT_WEIGHTS"] = str(folder.parent / "weights")
    resolve.open_source = lambda spec: ToySource()
    protocol.PROTOCOLS["tiny"] = TINY
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache"), "--device", "cpu"]
    what = ["--methods", "stargan", "--metrics", "accuracy,identity_distance,fed", "--no-figures"]
    return bench.main(["--protocol", "tiny", *what, *where])


def edit(folder: Path) -> int:
    """An edit of a folder of pictures."""
    weight = str(folder.parent / "weights" / "procedural" / "stargan")
    source, out = str(folder.parent / "pictures"), str(folder / "out")
    return main(["edit", source, "--weights", weight, "--emotion", "happy", "--out", out])


def align(folder: Path) -> int:
    """The aligned faces of a folder of pictures."""
    return main(["align", str(folder.parent / "pictures"), "--out", str(folder / "out")])


def left_over(folder: Path) -> list[str]:
    """Temporaries and locks, which no finished program leaves."""
    return [path.name for path in folder.rglob(".*")]


def pictures(folder: Path) -> dict[str, bytes]:
    """The edited or aligned pictures of a folder and their records, in their order."""
    found = {path.name: path.read_bytes() for path in sorted((folder / "out").glob("*.png"))}
    for log in (folder / "out").glob("faces.jsonl"):
        records, invalid = files.read_lines(log)
        found["log"] = repr([(Path(r["file"]).name, r["box"]) for r in records] + invalid).encode()
    for log in (folder / "out").glob("metadata.jsonl"):
        found["log"] = log.read_bytes()
    return found


def trained(folder: Path) -> dict[str, bytes]:
    """The weights of a training, and the steps in its log."""
    (run_folder,) = folder.glob("*/recipe.json")
    records, invalid = files.read_lines(run_folder.parent / "stats.jsonl")
    steps = [record["step"] for record in records]
    return {"weights": tensors(run_folder.parent), "steps": repr((steps, invalid)).encode()}


def measured(folder: Path) -> dict[str, bytes]:
    """The newest value of each cell of a bench."""
    records = results.read(folder / "out")
    cells = {f"{r['row']} {r['metric']}": r["value"] for r in records if r["kind"] == "score"}
    return {name: repr(value).encode() for name, value in cells.items()}


def kill_at(program: Program, folder: Path, moment: int) -> tuple[Outcome, int]:
    """Runs a program that kills itself before its call number `moment` that changes files, 0 for
    never; returns how it ended, and the number of such calls."""
    count = folder.with_name(f"{folder.name}.count")

    def counted() -> int | None:
        seen = 0

        def wrap(real: Callable) -> Callable:
            def call(*arguments: object, **options: object) -> object:
                nonlocal seen
                seen += 1
                if seen == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        write = os.write
        os.environ["GANMUT_CACHE"] = str(folder / "faces")  # each case makes its own
        for name in CALLS:
            setattr(os, name, wrap(getattr(os, name)))
        status = program(folder)
        sys.stdout.flush()
        with open(count, "w") as file:
            write(file.fileno(), str(seen).encode())
        return status

    outcome = run(counted, limit=120)
    return outcome, int(count.read_text()) if count.exists() else 0


def attack(report: Report, folder: Path) -> None:
    """Kills each program before calls spread evenly over all that change files, runs it again, and
    compares what it made with that of a run which nobody killed."""
    write_bundle(folder / "weights", "stargan")
    for number in range(4):
        face = samples.astronaut()[:260, 110 + number : 370 + number]
        images.write_png(folder / "pictures" / f"{number}.png", face)
    programs: list[tuple[Program, Callable[[Path], dict[str, bytes]]]] = [
        (train, trained),
        (measure, measured),
        (edit, pictures),
        (align, pictures),
    ]
    for program, result in programs:
        name = program.__name__
        whole = folder / name
        whole.mkdir()
        healthy, calls = kill_at(program, whole, 0)
        assert healthy.status == 0 and calls > MOMENTS, healthy.output
        expected, report.rest = result(whole), healthy.peak
        for i in range(MOMENTS):
            moment = 1 + i * (calls - 1) // (MOMENTS - 1)
            own = folder / f"{name}{i}"
            own.mkdir()
            killed, _ = kill_at(program, own, moment)
            again, _ = kill_at(program, own, 0)
            lost = ""
            if killed.status != -signal.SIGKILL:
                lost = f"the case did not kill: {killed.output[-200:]}"
            elif again.status != 0:
                lost = f"the next run ends with {again.status}: {again.output[-200:]}"
            elif (found := result(own)) != expected:
                changed = sorted(k for k in expected if found.get(k) != expected[k])
                lost = f"differs in {', '.join(changed)}"
            elif left_over(own):
                lost = f"left over: {', '.join(left_over(own))}"
            report.add(f"{name} killed before call {moment} of {calls}", again, lost)
