"""Options of the commands that look for faces in photographs, and their report of failures."""

from __future__ import annotations

import argparse
import sys


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """Adds --detector and --face."""
    parser.add_argument(
        "--detector",
        default="builtin",
        metavar="SPEC",
        help="builtin, yunet:PATH, insightface[:PATH] (default builtin)",
    )
    parser.add_argument(
        "--face", default="largest", help="largest, all, or a number from 1 (default largest)"
    )


def print_lines(lines: list[str], limit: int = 20) -> None:
    """Prints what is to be said of single images, at most `limit` lines, on stderr."""
    for line in lines[:limit]:
        print(line, file=sys.stderr)
    if len(lines) > limit:
        print(f"and {len(lines) - limit} more", file=sys.stderr)
