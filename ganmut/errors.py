"""Errors that name the parameter at fault, and the first line of other errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence

from ganmut.text import QUOTED, WORD, shorten


class ParameterError(ValueError):
    """A parameter with a value that cannot be used.

    The message never names a command-line option: `parameter` holds the name of the parameter, or
    several names joined by ", ", and the caller that shows the error adds its own word for it: the
    command line prints an option, the page a control.
    """

    def __init__(self, parameter: str, message: str):
        super().__init__(message)
        self.parameter = parameter

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        return type(self), (self.parameter, str(self))  # from one process to another


class UnusableFace(ValueError):
    """A face that was found and that no edit can be made of: another picture is the remedy."""


def hub_errors() -> tuple[type[Exception], ...]:
    """The errors that the Hub's client raises: OSError, its own, and those of the library below it,
    which are no OSErrors (a connection that breaks off)."""
    from huggingface_hub import errors

    return (OSError, *(kind for kind in errors.HfHubHTTPError.__bases__ if kind is not OSError))


def check_words(words: Sequence[str]) -> None:
    """Raises ValueError for the value "--" of an option: argparse takes that for the end of all
    options, and the value for an empty list."""
    if odd := next((word for word in words if re.fullmatch(r"--[^=]+=--", word)), None):
        raise ValueError(f"{shorten(odd)} gives no value; write another")


def describe_error(error: Exception, name: Callable[[str], str] = str) -> str:
    """The message of an error, after the parameters that it names: "size: ...". name: the caller's
    word for a parameter."""
    if isinstance(error, OSError):
        return describe_os_error(error)
    parameters = getattr(error, "parameter", "")  # of any class of error
    if not parameters:
        return str(error)
    return f"{', '.join(map(name, parameters.split(', ')))}: {error}"


def describe_os_error(error: OSError) -> str:
    """One sentence on an error of the system: its file, what is wrong and, for a full disk, the
    remedy."""
    if not error.filename or not error.strerror:
        return first_line(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "; free some space and run the same command again" if full else ""
    most = QUOTED if error.errno == errno.ENAMETOOLONG else WORD
    return f"{shorten(str(error.filename), most)}: {error.strerror}{remedy}"


def is_memory_error(error: Exception) -> bool:
    """Whether an error is about memory that cannot be had: Python's, or PyTorch's, which on the CPU
    is a RuntimeError like others."""
    own = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return own or "can't allocate memory" in str(error)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
