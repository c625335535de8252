"""`python bench/run.py` of a checkout, and `ganmut-bench` of an installed package: the command line
of `cli`.

The folder is the package `bench` of a checkout and `ganmut.bench` of an installed one (setup.py).
Its modules therefore import each other relatively, and never by the package's name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

if not __package__:  # run as a script
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "bench"

from . import script


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command line."""
    from .cli import main as run

    return run(arguments)


def start() -> NoReturn:
    """Ends the process with the status of the command line."""
    script.run("run")


if __name__ == "__main__":
    start()
