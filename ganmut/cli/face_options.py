"""Options of the commands that look for faces in photographs, and their report of failures."""

from __future__ import annotations

import argparse
import sys

from ganmut.text import quote


def add_face_options(parser: argparse.ArgumentParser) -> None:
    """Adds --detector and --face."""
    parser.add_argument(
        "--detector",
        default="builtin",
        metavar="SPEC",
        help="builtin, yunet:PATH, insightface[:PATH] (default builtin)",
    )
    parser.add_argument(
        "--face",
        type=_face,
        default="largest",
        help="largest, all, or a number from 1 (default largest)",
    )


def _face(text: str) -> str:
    """The value of --face; argparse shows the error with its option."""
    number = text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0
    if text not in ("largest", "all") and not number:
        raise argparse.ArgumentTypeError(
            f"expected largest, all or a number from 1, got {quote(text)}"
        )
    return text


def print_lines(lines: list[str], limit: int = 20) -> None:
    """Prints what is to be said of single images, at most `limit` lines, on stderr."""
    for line in lines[:limit]:
        print(line, file=sys.stderr)
    if len(lines) > limit:
        print(f"and {len(lines) - limit} more", file=sys.stderr)
