"""Full disks: the same programs on a disk that is full from one of 20 moments on, and run again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from attack.base import Outcome, Report
from attack.programs import stop_everywhere

CALLS = ("write", "fsync", "mkdir", "posix_fallocate")  # what takes space; removing takes none


def full() -> None:
    """What a system call on a full disk raises."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def describe(outcome: Outcome) -> str:
    """ "" where a program said that the disk is full and ended with a status of its own, or ended
    well because only a cache was not written."""
    if os.strerror(errno.ENOSPC) not in outcome.output:
        return f"nothing said: {outcome.output[-200:]}"
    return "" if outcome.status in (0, 1, 2) else f"status {outcome.status}"


def attack(report: Report, folder: Path) -> None:
    """Fills the disk of each program at moments spread evenly over all calls that take space."""
    stop_everywhere(report, folder, CALLS, full, describe)
