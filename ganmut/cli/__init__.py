"""The command line, `python -m ganmut COMMAND`: ONE FILE = ONE COMMAND.

A command's file holds `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns the
exit status. It imports the library inside these two functions: `--help` does not load PyTorch. Only
this package knows options. Errors of the library name parameters, see `ganmut.errors`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ganmut import __version__, interrupts
from ganmut.cli import (
    align,
    bundle,
    convert,
    edit,
    export,
    fit_expressions,
    fit_transport,
    methods,
    push,
    render,
    reproduce,
    train,
    train_expressions,
    train_extractor,
    units,
)
from ganmut.cli.completion import add_completion_option
from ganmut.errors import check_words
from ganmut.folders import check_output
from ganmut.text import Parser

AFTER_STOP = (
    "continue a training with `python -m ganmut train resume RUN`, align, edit, units and "
    "reproduce with the same command"
)
COMMANDS: dict[str, ModuleType] = {
    "train": train,
    "edit": edit,
    "align": align,
    "units": units,
    "faces": render,
    "train-extractor": train_extractor,
    "fit-expressions": fit_expressions,
    "fit-transport": fit_transport,
    "train-expressions": train_expressions,
    "reproduce": reproduce,
    "methods": methods,
    "bundle": bundle,
    "push": push,
    "convert": convert,
    "export": export,
}


def build_parser(*names: str) -> argparse.ArgumentParser:
    """The parser of the command line. Only the commands `names` get their arguments: the others,
    which would import what they need for theirs, are listed with their help."""
    script = Path(sys.argv[0]).stem == "ganmut"  # of an installed package
    parser = Parser(
        prog="ganmut" if script else "python -m ganmut",
        description="Facial-expression editing with GANs.",
    )
    parser.add_argument("--version", action="version", version=f"ganmut {__version__}")
    add_completion_option(parser, lambda: build_parser(*COMMANDS))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP)
        if name in names:
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit status: 2 for input that cannot be used (every error
    class of the project is a ValueError), 130 after Ctrl-C, 143 after SIGTERM."""
    argv = sys.argv[1:] if argv is None else list(argv)
    command = next((word for word in argv if word in COMMANDS), "")

    def work() -> int:
        check_words(argv)
        args = build_parser(command).parse_args(argv)
        check_output(getattr(args, "out", None))
        return args.run(args)

    return interrupts.status_of(work, AFTER_STOP, option)


def option(parameter: str) -> str:
    """The option of a parameter: "--test-faces"."""
    return "--" + parameter.replace("_", "-")
