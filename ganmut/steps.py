"""A plan of commands, each in a process of its own: run in their order, with the time left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganmut.files import append_lines

GRACE = 60  # seconds that a stopped step has to end by itself


@dataclass(frozen=True)
class Step:
    """A command of the plan: words after the interpreter (made when it starts, since they depend on
    what the steps before left), the file that it leaves, and expected minutes on a core."""

    name: str
    words: Callable[[], list[str]]
    result: Callable[[], Path | None]
    minutes: float


def work_through(steps: list[Step], out: Path, limit: float | None) -> int:
    """Runs the steps that are not done, with the time left before each. Returns 0, or 1 where a
    step failed (the others run all the same) or the time was over."""
    start, failed, spent = time.monotonic(), [], 0.0
    expected = 0.0
    waiting = [step for step in steps if not step.result()]
    for number, step in enumerate(waiting):
        rest = None if limit is None else limit - (time.monotonic() - start) / 60
        if rest is not None and rest <= 0:
            print(f"time is over; {len(waiting) - number} steps are left: run the command again")
            return 1
        # The machine's speed against a core's, as far as the steps done show it.
        pace = spent / expected if expected else 1.0
        left = sum(later.minutes for later in waiting[number:]) * pace
        print(f"[{number + 1}/{len(waiting)}] {step.name}; about {left:.0f} min left", flush=True)
        began = time.monotonic()
        status = execute(step.words(), out / "weights", rest and rest * 60)
        minutes = (time.monotonic() - began) / 60
        record = {"step": step.name, "status": status, "minutes": round(minutes, 2)}
        append_lines(out / "reproduce.jsonl", [record])
        if step.result():
            spent, expected = spent + minutes, expected + step.minutes
        elif rest is None or minutes < rest:
            failed.append(step.name)
    if failed:
        print(f"failed: {', '.join(failed)}; see above", file=sys.stderr)
    elif not all(step.result() for step in steps):
        print("time is over: run the command again to continue")
        return 1
    return 1 if failed else 0


def execute(words: list[str], weights: Path, seconds: float | None) -> int:
    """The status of a command in a process of its own, ended by SIGTERM after `seconds`; it may
    then write what it has. Weights are looked up below `weights` alone."""
    environment = os.environ | {"GANMUT_WEIGHTS": str(weights), "GANMUT_HUB": ""}
    with subprocess.Popen([sys.executable, *words], env=environment) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            with_grace(process)
            return process.returncode
        except BaseException:  # Ctrl-C reaches the child by itself; SIGTERM does not
            process.send_signal(signal.SIGTERM)
            with_grace(process)
            raise


def with_grace(process: subprocess.Popen[bytes]) -> None:
    """Waits for a process that was told to end, at most GRACE seconds."""
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
