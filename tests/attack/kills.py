"""Kills: trainings, benches, edits, aligns and exports, each killed at 20 moments and run again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

from attack.base import Outcome, Report
from attack.programs import MOMENTS, stop_after, stop_everywhere, stop_foreign

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

    def moments(seconds: float) -> Iterable[float]:
        count = MOMENTS // 2
        return (round(seconds * (i + 0.5) / count, 2) for i in range(count))

    stop_foreign(
        report,
        folder,
        "by the clock, s",
        moments,
        lambda program, own, seconds: stop_after(program, own, seconds, kill),
        describe,
    )
