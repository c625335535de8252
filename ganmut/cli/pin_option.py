"""--pin of the commands that take weights of the Hub."""

from __future__ import annotations

import argparse


def add_pin_option(parser: argparse.ArgumentParser, of: str) -> None:
    """Adds --pin; of: the argument with the weights."""
    parser.add_argument(
        "--pin",
        action="store_true",
        help=f"pin {of} hub:OWNER/NAME@REVISION, a tag or a branch (default main): from now on it "
        "means the commit that it is at now, also without a network",
    )


def apply_pin(args: argparse.Namespace, spec: str | None) -> None:
    """Pins a spec where --pin is given; to load it says what it is pinned to."""
    if args.pin:
        from ganmut import weights

        weights.pin(spec or "")
