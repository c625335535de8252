"""`--print-completion SHELL`: the script that lets a shell complete commands, options and paths.

The script is printed once and complete in itself: a key press in the shell starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
FOLDERS = ("DIR", "FOLDER")  # metavars of what is completed with folders
FILES = ("FILE", "IMAGE", "PATH")


def add_completion_option(
    parser: argparse.ArgumentParser, build: Callable[[], argparse.ArgumentParser]
) -> None:
    """Adds --print-completion; build: makes the parser with the arguments of all commands."""

    class Print(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *args: Any) -> None:
            print(_script(build(), shell))
            parser.exit()

    parser.add_argument(
        "--print-completion",
        action=Print,
        default=argparse.SUPPRESS,  # no setting of a training
        choices=SHELLS,
        help="print the completions of a shell and stop (README, Set-up)",
    )


def _script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of a shell. Raises ValueError where the package that writes it is missing."""
    try:
        import shtab
    except ImportError:
        raise ValueError(
            "completions need the package shtab: pip install 'ganmut[completion]'"
        ) from None
    parser.prog = "ganmut"  # `python -m ganmut` is no word that a shell completes
    _annotate(parser, shtab)
    return shtab.complete(parser, shell)


def _annotate(parser: argparse.ArgumentParser, shtab: Any) -> None:
    """Marks the arguments of a parser that are paths as shtab reads it, and escapes what it does
    not."""
    for action in parser._actions:  # as shtab does: argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _annotate(inner, shtab)
            continue
        if isinstance(action.metavar, str):  # colons part the fields of an option in zsh
            action.metavar = action.metavar.replace(":", r"\:")
        if action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in FILES or action.type is Path or action.dest == "out":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
