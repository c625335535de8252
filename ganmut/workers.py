"""Work in several processes: results come in order, and a process that ends early ends the
others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

import torch

from ganmut.errors import ParameterError, first_line

Work = Callable[..., Any]
_work: list[Work] = []  # of a worker process: what it does with each item

MAX_WORKERS = 64  # each takes the memory of one


def check_count(workers: int) -> None:
    """Raises ParameterError for a number of processes that cannot be had."""
    if not 1 <= workers <= MAX_WORKERS:
        raise ParameterError("workers", f"expected 1 to {MAX_WORKERS} processes, got {workers}")


def map_items(
    work: Work, items: Sequence[tuple[Any, ...]], workers: int
) -> Generator[Any, None, None]:
    """Yields `work(*item)` of each item in order; made in this process where `workers` is 1.

    work: can be pickled. An exception of it is raised here. Where this generator is closed, or
    raises, the worker processes end at once, and what they were writing stays a temporary. Raises
    ParameterError where a worker was killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from (work(*item) for item in items)
        return
    # Spawned: a process that has computed with PyTorch must not be forked.
    context = multiprocessing.get_context("spawn")
    # As many threads as here: convolutions round differently with fewer, by a grey level.
    threads = torch.get_num_threads()
    before = set(multiprocessing.active_children())
    try:
        pool = ProcessPoolExecutor(workers, context, _start, (work, threads))
    except OSError as error:  # of a semaphore, a small file in shared memory; names nothing
        raise ParameterError(
            "workers",
            f"the system has no room for what {workers} processes share ({first_line(error)}); "
            "free some of /dev/shm, or ask for one",
        ) from None
    waiting, ahead = iter(items), deque[Future[Any]]()
    done = False
    try:
        # Enough that a long item at the head leaves the other workers something to do.
        for item in islice(waiting, 8 * workers):
            ahead.append(pool.submit(_run, *item))
        while ahead:
            yield ahead.popleft().result()
            # One in, one out: a folder of a million files is not queued at once.
            ahead.extend(pool.submit(_run, *item) for item in islice(waiting, 1))
        done = True
    except BrokenProcessPool:
        raise ParameterError(
            "workers",
            f"one of {workers} processes was killed, perhaps for lack of memory; the same command "
            "goes on, with fewer if need be",
        ) from None
    finally:
        if not done:  # a worker that edits a clip would go on for minutes
            for child in set(multiprocessing.active_children()) - before:
                child.terminate()
        pool.shutdown()


def _start(work: Work, threads: int) -> None:
    """Sets up a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _work.append(work)


def _end_with_parent() -> None:
    """Ends this process when the parent has gone: a killed one tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(*item: Any) -> Any:
    return _work[0](*item)
