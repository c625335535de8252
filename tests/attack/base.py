"""What the parts of an attack share: one case in a process of its own, and the report."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

HANG = 10.0  # seconds from which on a case counts as hanging; it is killed after three times that
MEMORY = 256  # MiB over the same program with whole files that count as a fault


TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Outcome:
    """How a case ended. status: of the process, negative for a signal, None where it was killed for
    hanging. output: what its user saw. peak: MiB of its largest resident size. log: what a server
    wrote for whoever runs it."""

    status: int | None
    seconds: float
    output: str
    peak: float
    log: str = ""

    @property
    def traceback(self) -> bool:
        """Whether the user was shown a traceback."""
        return TRACEBACK in self.output


def run(program: Callable[[], int | None], limit: float = 3 * HANG) -> Outcome:
    """Runs a program in a forked process, which starts with the modules that this one has imported,
    and reports how it ended."""
    # A pipe, not a file: a program with a limit on its files must be able to speak.
    output, entry = os.pipe()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        os.close(output)
        _run_child(program, entry)
    os.close(entry)
    parts: list[bytes] = []
    reader = threading.Thread(target=_read, args=(output, parts), daemon=True)
    reader.start()
    status, usage = _wait(process, start + limit)
    seconds = time.monotonic() - start
    reader.join(HANG)  # processes that a killed one started may hold the other end for a while
    text = b"".join(parts).decode(errors="replace")
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return Outcome(code, seconds, text, usage.ru_maxrss / 1024)


def _read(output: int, parts: list[bytes]) -> None:
    with os.fdopen(output, "rb", 0) as pipe:
        while part := pipe.read(1 << 16):
            parts.append(part)


def _run_child(program: Callable[[], int | None], output: int) -> None:
    os.dup2(output, 1)
    os.dup2(output, 2)
    # New objects: those of this process may hold text of its parent, or be a test's.
    sys.stdout, sys.stderr = map(os.fdopen, (1, 2), "ww")
    status = 1
    try:
        status = program() or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 # as the interpreter shows it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(process: int, deadline: float) -> tuple[int | None, resource.struct_rusage]:
    while True:
        done, status, usage = os.wait4(process, os.WNOHANG)
        if done:
            return status, usage
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
            return None, os.wait4(process, 0)[2]
        time.sleep(0.005)


@dataclass
class Report:
    """The cases of all parts and their faults. rest: MiB of the program with whole files, which
    each part sets before its cases. allowed: MiB over it that are no fault."""

    rest: float = 0.0
    allowed: float = MEMORY
    part: str = ""
    cases: dict[str, int] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    faults: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, case: str, outcome: Outcome, lost: str = "") -> None:
        """Counts a case. lost: what the user lost by it, "" for nothing."""
        part = self.part
        self.cases[part] = self.cases.get(part, 0) + 1
        self.slowest[part] = max(self.slowest.get(part, 0.0), outcome.seconds)
        over = outcome.peak - self.rest
        self.largest[part] = max(self.largest.get(part, 0.0), over)
        words = outcome.output.strip().splitlines()
        last = words[-1][:200] if words else ""
        if outcome.traceback:
            self.faults.append((part, case, "traceback", last))
        elif outcome.status is not None and outcome.status < 0 and not lost:
            self.faults.append((part, case, "signal", f"ended by signal {-outcome.status}"))
        if TRACEBACK in outcome.log:
            last = outcome.log.strip().splitlines()[-1][:200]
            self.faults.append((part, case, "logged", last))
        if outcome.status is None or outcome.seconds > HANG:
            self.faults.append((part, case, "hang", f"{outcome.seconds:.0f} s"))
        if over > self.allowed:
            self.faults.append((part, case, "memory", f"{over:.0f} MiB over rest"))
        if lost:
            self.faults.append((part, case, "lost", lost))

    def table(self) -> str:
        """One line a part: cases, faults by kind, the slowest case, the largest memory."""
        kinds = ("traceback", "logged", "signal", "hang", "memory", "lost")
        lines = [f"{'part':10} cases {' '.join(f'{k:>9}' for k in kinds)}  slowest  memory"]
        for part, cases in self.cases.items():
            counts = [sum(f[0] == part and f[2] == kind for f in self.faults) for kind in kinds]
            lines.append(
                f"{part:10} {cases:5} {' '.join(f'{n:9}' for n in counts)}"
                f"  {self.slowest[part]:5.1f} s  {self.largest[part]:+.0f} MiB"
            )
        return "\n".join(lines)
