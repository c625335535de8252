"""How a program of the bench starts: its file as a script, its module by `-m`, or a console script.

A file that is run imports none of its packages: `run` imports it again as a module of the package,
so that a missing package ends in a sentence. The folder is the package `bench` of a checkout and
`ganmut.bench` of an installed one.
"""

from __future__ import annotations

from typing import NoReturn

from ganmut import interrupts


def run(module: str) -> NoReturn:
    """Ends the process with the status of `main` in a module of the bench, such as "speed.run"."""
    interrupts.run_module(f"{__package__}.{module}", "bench")
