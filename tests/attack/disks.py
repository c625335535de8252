"""Full disks: the same programs on a disk that is full from one of 20 moments on, and run again."""

from __future__ import annotations

import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import FOREIGN, Program, check, start, stop_everywhere

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
    for program, result in FOREIGN:
        name = f"{program.__name__} with a limit"
        whole = folder / name
        whole.mkdir()
        healthy = run(lambda program=program, whole=whole: start(program, whole), limit=120)
        assert healthy.status == 0, healthy.output
        expected, report.rest = result(whole), healthy.peak
        for size in SIZES:
            own = folder / f"{name} {size}"
            own.mkdir()

            def limited(
                program: Program = program, own: Path = own, size: int = size
            ) -> int | None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                return start(program, own)

            stopped = run(limited, limit=120)
            again = run(lambda program=program, own=own: start(program, own), limit=120)
            # Worker processes take seconds to begin: what may hang is what the stop adds.
            again = replace(again, seconds=again.seconds - healthy.seconds)
            made = result(own) if again.status == 0 else {}
            lost = "" if stopped.status == 0 else describe(stopped, errno.EFBIG)
            check(report, f"{name} of {size} bytes", stopped, again, lost, own, made, expected)
