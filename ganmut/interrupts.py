"""Ctrl-C and SIGTERM: a command ends with one sentence and a status at any moment, also while it is
still importing."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ganmut.errors import describe_os_error


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command as Ctrl-C does, with another status."""


def exit_status(stop: KeyboardInterrupt) -> int:
    """The status of a command that was stopped, as a shell gives it: 143 after SIGTERM, 130 after
    Ctrl-C."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def install() -> None:
    """Lets SIGTERM raise Terminated in this process, and Ctrl-C KeyboardInterrupt.

    Either ends the process at once while it imports: extension modules replace an exception in
    their imports by one of their own, with a traceback. Nothing is lost, since every file that the
    project writes survives a kill.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    stop = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
    while frame:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            os.write(2, f"{describe(stop)} while starting\n".encode())
            os._exit(exit_status(stop))
        frame = frame.f_back
    raise stop


def describe(stop: KeyboardInterrupt) -> str:
    """The first words of the sentence about a command that was stopped."""
    return "terminated" if isinstance(stop, Terminated) else "interrupted"


def run(main: Callable[[], int | None]) -> NoReturn:
    """Ends the process with the status that `main` returns; with one sentence and 2 after a
    ValueError or an error of the system, 130 after Ctrl-C, 143 after SIGTERM."""
    install()
    try:
        status = main() or 0
    except OSError as error:
        print(describe_os_error(error), file=sys.stderr)
        status = 2
    except ValueError as error:
        print(error, file=sys.stderr)
        status = 2
    except KeyboardInterrupt as stop:
        print(describe(stop), file=sys.stderr)
        status = exit_status(stop)
    leave(status)


def leave(status: int) -> NoReturn:
    """Ends the process with a status; further signals end it without a word, since a traceback of
    the interpreter's own clean-up says nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    group = sys.modules.get("torch.distributed")
    if group and group.is_available() and group.is_initialized():
        # A training that ended early: threads of gloo outlive the interpreter and may abort it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
