"""The options of commands that add a weight on expressions to a set."""

from __future__ import annotations

import argparse


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Adds --data and --out."""
    parser.add_argument(
        "--data",
        default="procedural",
        metavar="FOLDER",
        help="procedural: rendered faces (default), or a folder of photographs with landmarks",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the set to write to; its weight expression draws the edits, else the bundled one",
    )
