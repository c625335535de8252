"""How far a measurement is: a bar with the time left on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.progress import Progress

EVERY = 60.0  # s between the lines of a log


@contextlib.contextmanager
def track(progress: Progress, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields what to call with the number of items that were done. Without a terminal, a line a
    minute with the time left, and one at the end."""
    start = last = time.perf_counter()
    lines, done = not progress.console.is_terminal, 0
    task = progress.add_task(label, total=total)

    def advance(count: int) -> None:
        nonlocal done, last
        progress.advance(task, count)
        done, now = done + count, time.perf_counter()
        if lines and now - last >= EVERY and done < total:
            last, left = now, (now - start) * (total - done) / done
            print(f"{label}: {done} of {total}, about {left / 60:.0f} min left", flush=True)

    try:
        yield advance
    finally:
        progress.remove_task(task)
    if lines:
        print(f"{label}: {total}, {time.perf_counter() - start:.1f} s", flush=True)
