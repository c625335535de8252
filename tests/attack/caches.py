"""Tampered results, logs and caches: every file that a program left, damaged in five ways."""

from __future__ import annotations

import shutil
from pathlib import Path

from attack.base import Report, run
from attack.programs import PROGRAMS, left_over, prepare, start
from attack.states import Tamper, cut, fifo, flip, folder

TAMPERS: dict[str, Tamper] = {
    "flipped": flip(0.6),
    "half": cut(0.5),
    "empty": cut(0),
    "a folder": folder,
    "a pipe": fifo,
}
OF_EACH = 6  # files of a kind (suffix and folder) that are tampered with


def chosen(whole: Path) -> list[Path]:
    """Some files of each kind that a program left, but not the pictures that it made: these are
    the user's from then on."""
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file()):
        if path.suffix not in (".png", ".md") and "weights" not in path.parts:
            kinds.setdefault((path.suffix, path.parts[0]), []).append(path)
    return [path for paths in kinds.values() for path in paths[:OF_EACH]]


def attack(report: Report, folder: Path) -> None:
    """Runs each program again on its tampered files: it makes the same, or says what it cannot
    use; it never shows a traceback, waits, or gives other results without a word."""
    prepare(folder)
    for program, result in PROGRAMS:
        name = program.__name__
        whole, copy = folder / name, folder / f"{name}-copy"
        whole.mkdir()
        run(lambda program=program, whole=whole: start(program, whole), limit=120)
        shutil.copytree(whole, copy, symlinks=True)
        report.rest = run(lambda program=program: start(program, copy)).peak  # noqa: B023
        expected = result(copy)
        shutil.rmtree(copy)
        for path in chosen(whole):
            for how, tamper in TAMPERS.items():
                shutil.copytree(whole, copy)
                tamper(copy / path)
                outcome = run(lambda program=program, copy=copy: start(program, copy))
                lost = ""
                if outcome.status == 0 and result(copy) != expected:
                    said = path.name in outcome.output or "left out" in outcome.output
                    lost = "" if said else "other results without a word"
                elif outcome.status == 0 and left_over(copy):
                    lost = f"left over: {', '.join(left_over(copy))}"
                elif outcome.status not in (0, 2):
                    lost = f"status {outcome.status}"
                report.add(f"{name}: {path} {how}", outcome, lost)
                shutil.rmtree(copy)
