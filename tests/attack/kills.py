"""Kills: a training, a bench, an edit and an align, each killed at 20 moments and run again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from attack.base import Outcome, Report
from attack.programs import stop_everywhere

# The calls of the system that change files: between two of them nothing on disk changes.
CALLS = ("open", "write", "fsync", "replace", "unlink", "mkdir", "ftruncate", "rmdir")


def kill() -> None:
    """Ends this process as the system does for lack of memory: nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


def describe(outcome: Outcome) -> str:
    """ "" where a program was killed."""
    return "" if outcome.status == -signal.SIGKILL else f"not killed: {outcome.output[-200:]}"


def attack(report: Report, folder: Path) -> None:
    """Kills each program before calls spread evenly over all that change files."""
    stop_everywhere(report, folder, CALLS, kill, describe)
