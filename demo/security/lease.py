"""A lock that is served in order and that a thread which hangs does not keep."""

from __future__ import annotations

import threading
import time
from collections import deque
from types import TracebackType


class LeaseLock:
    """A re-entrant lock for `with`; a holder loses it after `seconds` where others wait.

    Threads get it in the order in which they asked. A holder that lost it goes on without it, and
    raises TimeoutError where its outermost `with` ends. What the lock guards must therefore stay
    readable under one stale writer: dictionaries of finished values do.
    """

    def __init__(self, seconds: float = 15.0):
        self.seconds = seconds
        self.changed = threading.Condition()
        self.line: deque[int] = deque()  # threads that wait, first come first
        self.holder: int | None = None
        self.depth = 0
        self.until = 0.0

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self.changed:
            if self.holder == me:
                self.depth += 1
                return
            self.line.append(me)
            while self.holder is not None or self.line[0] != me:
                left = self.until - time.monotonic()
                if self.holder is not None and left <= 0:
                    self.holder = None  # it hangs
                    self.changed.notify_all()
                else:
                    self.changed.wait(left if self.holder is not None else self.seconds)
            self.line.popleft()
            self.holder, self.depth, self.until = me, 1, time.monotonic() + self.seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.changed:
            if self.holder == threading.get_ident():
                self.depth -= 1
                if self.depth == 0:
                    self.holder = None
                    self.changed.notify_all()
            elif kind is None:
                raise TimeoutError(f"this thread held the lock for over {self.seconds:g} s")
