"""Kills: a training, a bench, an edit and an align, each killed at 20 moments and run again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import PROGRAMS, Program, left_over, prepare, start

MOMENTS = 20
# The calls of the system that change files: between two of them nothing on disk changes.
CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "ftruncate", "rmdir")


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
        for name in CALLS:
            setattr(os, name, wrap(getattr(os, name)))
        status = start(program, folder)
        sys.stdout.flush()
        with open(count, "w") as file:
            write(file.fileno(), str(seen).encode())
        return status

    outcome = run(counted, limit=120)
    return outcome, int(count.read_text()) if count.exists() else 0


def attack(report: Report, folder: Path) -> None:
    """Kills each program before calls spread evenly over all that change files, runs it again, and
    compares what it made with that of a run which nobody killed."""
    prepare(folder)
    for program, result in PROGRAMS:
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
