"""What goes wrong: the sentence that a visitor reads, and the line that the log gets.

`Page` (demo/security/limits.py) turns every error of a handler into one sentence by `to_error`. The
log has neither messages nor values, which may hold names of files: only the kind of an error and
its place.
"""

from __future__ import annotations

import contextlib
import errno
import html
import logging
import os
import re
import threading
import time
import traceback
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.route_utils import GradioMultiPartParser
from uvicorn.config import LOGGING_CONFIG

from ganmut.faces import NoFace
from ganmut.text import sentence

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[1]
OWN = tuple(str(ROOT / name) for name in ("demo", "ganmut"))
LONGEST_SENTENCE = 600  # characters
LOG_BYTES, LOG_FILES = 2**20, 3  # of the file GANMUT_LOG, and how many older ones stay
LINES = 30  # of the log, a minute
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_FACE = (
    "no face was found. Draw a square over it in the picture, from the brows to the chin, "
    "or try a picture where it is larger and seen from the front"
)
TOO_LONG = "this took too long and was stopped; try again, or with a smaller picture"
DISK_FULL = "the disk of the server is full; try again in a few minutes"
UNEXPECTED = "something went wrong on the server; try again, or with another picture"
NO_CALL = "this is no call of this page; 'Use via API' lists what each endpoint takes"
WRONG_VALUES = (
    "a value of this call is missing, out of range or of a wrong type; "
    "'Use via API' lists what each endpoint takes"
)


def as_sentence(text: str) -> str:
    """The text with a capital, one stop at its end and a bounded length, safe in HTML."""
    text = sentence(text, LONGEST_SENTENCE)
    end = "" if text.endswith(("!", "?", "…")) else "."
    return html.escape(text[:1].upper() + text[1:].rstrip(".") + end, quote=False)


def to_sentence(error: BaseException) -> str:
    """What a visitor reads of an error; only the texts of this project's own errors are shown."""
    if isinstance(error, NoFace) and "no face" in str(error):
        return as_sentence(NO_FACE)  # a visitor cannot choose another detector
    if isinstance(error, TimeoutError):
        return as_sentence(TOO_LONG)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return as_sentence(DISK_FULL)
    if isinstance(error, ValueError | gr.Error) and is_own(error):
        return as_sentence(error.message if isinstance(error, gr.Error) else str(error))
    return as_sentence(UNEXPECTED)


def to_error(error: BaseException, text: str | None = None) -> gr.Error:
    """The error as Gradio shows it. text: what is said of an error that a library raised at a
    visitor's value; without it such an error is a fault of ours, and noted."""
    inner = error.__cause__ or error.__context__  # Gradio wraps what a component raises
    if (isinstance(inner, ValueError) and is_own(inner) and error.__cause__) or (
        isinstance(inner, OSError) and inner.errno in NO_ROOM
    ):
        error = inner
    if isinstance(error, ValueError | gr.Error) and is_own(error):
        said = to_sentence(error)
    elif text is not None:
        said = as_sentence(text)
    else:
        note(error)
        said = to_sentence(error)
    return gr.Error(said, title="That did not work", print_exception=False)


def is_own(error: BaseException) -> bool:
    """Whether this project raised the error, not a library that it called."""
    frames = traceback.extract_tb(error.__traceback__)
    return not frames or frames[-1].filename.startswith(OWN)


def note(error: BaseException) -> None:
    """One line of the log: the kind of an error, its innermost place in this project, and where a
    library raised it."""
    log.error(describe(error))


def describe(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(OWN)]
    kind = type(error).__name__
    if not frames:
        return kind
    places = [f"{Path(f.filename).name}, line {f.lineno}" for f in (*own[-1:], frames[-1])]
    return f"{kind} in {' by '.join(dict.fromkeys(places))}"


def set_up_log() -> None:
    """Makes all logging of this process nameless, bounded, and where GANMUT_LOG names a file,
    rotated there. Errors of threads go to the log, too."""
    logging.setLogRecordFactory(nameless(logging.LogRecord))
    threading.excepthook = lambda args: note(args.exc_value or args.exc_type())
    path = os.environ.get("GANMUT_LOG")
    handler: logging.Handler = logging.StreamHandler()
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Bound())
    logging.getLogger().addHandler(handler)
    # The server's own lines, such as one a broken request, go the same way.
    LOGGING_CONFIG["loggers"] = {"uvicorn": {"level": "WARNING", "propagate": True}}


def nameless(record: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """A factory of records that hold neither values nor tracebacks."""

    def make(
        name: str,
        level: int,
        path: str,
        line: int,
        text: Any,
        values: Any,
        error: Any,
        *rest: Any,
        **named: Any,
    ) -> logging.LogRecord:
        shown = re.sub(r"\S*/\S*", "…", str(text)[:200].split("\n")[0])
        kind = error[1] if isinstance(error, tuple) else error
        if isinstance(kind, BaseException):
            shown = describe(kind)
        return record(name, level, path, line, shown, None, None, *rest, **named)

    return make


class Bound(logging.Filter):
    """Passes LINES records a minute and counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.minute, self.passed = 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        minute = int(time.monotonic() / 60)
        if minute != self.minute:
            if self.passed > LINES:
                record.msg = f"{record.msg} ({self.passed - LINES} lines left out before)"
            self.minute, self.passed = minute, 0
        self.passed += 1
        return self.passed <= LINES


def remove_partial_uploads(error: BaseException) -> None:
    """Deletes the files of an upload that an error cut short; Gradio leaves them, and on a full
    disk they keep it full."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for value in frame.f_locals.values():
            if isinstance(value, GradioMultiPartParser):
                for file in value._files_to_close_on_error:
                    with contextlib.suppress(OSError):
                        file.close()  # its last bytes may find no room
                    with contextlib.suppress(OSError):
                        os.unlink(file.name)
