"""Deletes the files of visits: by their age while the page runs, and all of its own when it stops.

Gradio's own cleaner forgets its files when the program ends and can fail while files are added.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from demo import errors

MAX_TOTAL = 2**30  # bytes of all files; beyond, the oldest go first
EVERY = 30.0  # seconds between two looks


class Sweeper:
    """Deletes files in `folder` that are older than `seconds`, whichever process made them.

    pinned: returns the files that the page itself shows; they are marked as used at each sweep, so
    that no other process on the same folder deletes them. own: returns the files that this process
    made.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        pinned: Callable[[], Iterable[str]] = tuple,
        own: Callable[[], Iterable[str]] = tuple,
        total: int = MAX_TOTAL,
    ):
        self.folder, self.seconds, self.total = folder, seconds, total
        self.pinned, self.own = pinned, own

    def start(self) -> None:
        """Sweeps now and from now on, in a daemon thread, and deletes its own files at exit."""
        self.sweep()
        atexit.register(self.close)
        threading.Thread(target=self._run, daemon=True, name="sweep").start()

    def _run(self) -> None:
        while True:
            time.sleep(min(EVERY, self.seconds / 2))
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 (the next sweep must come)
                errors.note(error)

    def sweep(self, now: float | None = None) -> int:
        """Deletes what is too old or too much and returns the number of files. Folders that have
        been empty for that long go, too."""
        now = time.time() if now is None else now
        pinned = {os.path.realpath(path) for path in self.pinned()}
        for path in pinned:
            with contextlib.suppress(OSError):
                os.utime(path)
        files, folders = self._found()
        loose = sorted((age, size, path) for path, age, size in files if path not in pinned)
        excess = sum(size for _, _, size in files) - self.total
        removed = 0
        for changed, size, path in loose:
            if now - changed > self.seconds or excess > 0:
                removed += _remove(path)
                excess -= size
        for path, changed in reversed(folders):  # the innermost first
            if now - changed > self.seconds:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        return removed

    def _found(self) -> tuple[list[tuple[str, float, int]], list[tuple[str, float]]]:
        """([(file, time of its last change, bytes)], [(folder, time)]), outer folders first."""
        files, folders = [], []
        root = os.path.realpath(self.folder)
        for folder, inner, names in os.walk(root):
            for name in (*inner, *names):
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    state = os.lstat(path)
                    if name in inner and not os.path.islink(path):
                        folders.append((path, state.st_ctime))
                    else:
                        files.append((path, state.st_ctime, state.st_size))
        return files, folders

    def close(self) -> None:
        """Deletes the files that this process made, and their folders."""
        for path in {*self.own(), *self.pinned()}:
            real = os.path.realpath(path)
            if Path(real).is_relative_to(os.path.realpath(self.folder)):
                _remove(real)
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(real))


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
