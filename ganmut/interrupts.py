"""How a command ends: with one sentence and a status, for bad input, at Ctrl-C and SIGTERM at any
moment, and where a package is missing."""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ganmut.errors import describe_error, first_line, is_memory_error
from ganmut.text import sentence

ROOT = Path(__file__).resolve().parents[1]  # of a checkout
OWN = ("", "bench", "demo", "ganmut")  # packages whose modules cannot be missing


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


def status_of(
    work: Callable[[], int | None],
    after_stop: str = "",
    name: Callable[[str], str] = str,
    extra: str = "",
) -> int:
    """The exit status of a program that does `work`: what that returns, or, with one sentence, 2
    for input that cannot be used, an error of the system, too little memory or a missing package,
    130 after Ctrl-C and 143 after SIGTERM. Other errors are faults of the program: they are raised.

    after_stop: what the sentence about a stop adds. name: the program's word for a parameter of the
    library. extra: the extra of the package that the program needs, such as "bench".
    """
    for stream in (sys.stdout, sys.stderr):  # names of files may hold bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except (ValueError, OSError) as error:  # every error class of the project is a ValueError
        said = describe_error(error, name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OWN:
            raise
        said = f"this Python lacks the package {package}: {remedy(extra)}"
    except (MemoryError, RuntimeError) as error:
        if not is_memory_error(error):
            raise
        said = (
            "the memory does not suffice; smaller images, batches or networks need less "
            f"({first_line(error)})"
        )
    except KeyboardInterrupt as stop:
        print(f"\n{describe(stop)}{after_stop and '; '}{after_stop}", file=sys.stderr)
        return exit_status(stop)
    print(f"error: {sentence(said)}", file=sys.stderr)
    return 2


def remedy(extra: str) -> str:
    """How to get the packages of an extra: the file of a checkout, or the extra of the package."""
    file = ROOT / f"requirements{extra and '-'}{extra}.txt"
    what = f"-r {file.name}" if file.is_file() else f"'ganmut[{extra}]'" if extra else "ganmut"
    return f"activate the environment that has it, or pip install {what}"


def run(main: Callable[[], int | None], extra: str = "") -> NoReturn:
    """Ends the process as `status_of` says, from now on also at signals."""
    install()
    leave(status_of(main, extra=extra))


def run_module(name: str, extra: str = "") -> NoReturn:
    """The same with `main` of a module, which is imported only then. A file that is run with this
    before its imports ends in a sentence where a package is missing."""
    run(lambda: importlib.import_module(name).main(), extra)


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
    gc.freeze()  # the interpreter's last search for cycles in PyTorch's modules takes .3 s
    sys.exit(status)
