"""`methods`: lists methods, data sources and bundled weights."""

from __future__ import annotations

import argparse

HELP = "list methods, data sources and bundled weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.datasets.base import SOURCES
    from ganmut.methods.base import METHODS

    bundled = weights.list_weights()
    for name in METHODS:
        mark = "bundled" if name in bundled else "no bundled weights"
        print(f"{name:12} {METHODS[name].title:12} {mark:20} {METHODS[name].paper}")
    print("data sources:", ", ".join(SOURCES))
    return 0
