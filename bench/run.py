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

if not __package__:  # run as a script: again as a module of the package, in this process
    import runpy

    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("bench.run", run_name=__name__, alter_sys=True)

from ganmut import interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command line, 2 where a package that the bench needs is missing."""
    try:
        from .cli import main as run  # a signal during this import has its sentence too

        return run(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "bench", "ganmut"):  # a fault of ours
            raise
        checkout = __package__ == "bench"
        install = "-r requirements-bench.txt" if checkout else "'ganmut[bench]'"
        print(f"error: the bench needs {package}: pip install {install}", file=sys.stderr)
        return 2


def start() -> NoReturn:
    """Ends the process with the status of the command line."""
    interrupts.run(main)


if __name__ == "__main__":
    start()
