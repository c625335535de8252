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


def print_failures(reasons: list[str], limit: int = 20) -> None:
    """Prints one line an image that was skipped, at most `limit` lines, on stderr."""
    for reason in reasons[:limit]:
        print(reason, file=sys.stderr)
    if len(reasons) > limit:
        print(f"and {len(reasons) - limit} more", file=sys.stderr)
