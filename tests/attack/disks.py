"""Full disks: the same programs on a disk that is full from one of 20 moments on, and run again."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import Program, start, stop_everywhere, stop_foreign

CALLS = ("write", "fsync", "mkdir", "posix_fallocate")  # what takes space; removing takes none


def full() -> None:
    """What a system call on a full disk raises."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def describe(outcome: Outcome, number: int = errno.ENOSPC) -> str:
    """ "" where a program said that the disk is full and ended with a status of its own, or ended
    well because only a cache was not written."""
    if os.strerror(number) not in outcome.output:
        return f"nothing said: {outcome.output[-200:]}"
    return "" if outcome.status in (0, 1, 2) else f"status {outcome.status}"


SIZES = (0, 1, 100, 1000, 4000, 10_000, 16_000, 32_000, 64_000, 130_000)  # bytes that fit


def attack(report: Report, folder: Path) -> None:
    """Fills the disk of each program at moments spread evenly over all calls that take space, and
    lets no file of those that write through other libraries grow over a size."""
    stop_everywhere(report, folder, CALLS, full, describe)

    def limited(program: Program, own: Path, size: float) -> Outcome:
        def work() -> int | None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))
            return start(program, own)

        return run(work, limit=120)

    def told(stopped: Outcome) -> str:
        # Semaphores of processes are files, too: the sentence about them has no number of an error.
        shared = stopped.status == 2 and "/dev/shm" in stopped.output
        return "" if shared else describe(stopped, errno.EFBIG)

    stop_foreign(report, folder, "with a limit, bytes", lambda seconds: SIZES, limited, told)
