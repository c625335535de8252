"""Kills: trainings, benches, edits, aligns and exports, each killed at 20 moments and run again."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import FOREIGN, MOMENTS, check, start, stop_after, stop_everywhere

# The calls of the system that change files: between two of them nothing on disk changes.
CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "ftruncate", "rmdir")


def kill() -> None:
    """Ends this process as the system does for lack of memory: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def describe(outcome: Outcome) -> str:
    """ "" where a program was killed."""
    return "" if outcome.status == -signal.SIGKILL else f"not killed: {outcome.output[-200:]}"


def attack(report: Report, folder: Path) -> None:
    """Kills each program before calls spread evenly over all that change files, and those that
    write through other libraries at times spread evenly over their run."""
    stop_everywhere(report, folder, CALLS, kill, describe)
    for program, result in FOREIGN:
        name = f"{program.__name__} by the clock"
        whole = folder / name
        whole.mkdir()
        healthy = run(lambda program=program, whole=whole: start(program, whole), limit=120)
        assert healthy.status == 0, healthy.output
        expected, report.rest = result(whole), healthy.peak
        for moment in range(MOMENTS // 2):
            seconds = healthy.seconds * (moment + 0.5) / (MOMENTS // 2)
            own = folder / f"{name} {moment}"
            own.mkdir()
            stopped = stop_after(program, own, seconds, kill)
            again = run(lambda program=program, own=own: start(program, own), limit=120)
            # Worker processes take seconds to begin: what may hang is what the stop adds.
            again = replace(again, seconds=again.seconds - healthy.seconds)
            made = result(own) if again.status == 0 else {}
            # A run that was quicker than the first one ended before.
            lost = "" if stopped.status == 0 else describe(stopped)
            check(report, f"{name} {seconds:.2f} s", stopped, again, lost, own, made, expected)
