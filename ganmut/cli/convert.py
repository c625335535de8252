"""`convert FILE --from FORMAT`: turns a checkpoint that authors released into a weight."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "for maintainers: convert an authors' checkpoint to a weight"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.convert.base import FORMATS

    parser.add_argument("file", type=Path, metavar="FILE", help="the checkpoint of the generator")
    parser.add_argument("--from", required=True, dest="format", help=", ".join(FORMATS))
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--labels",
        default="",
        metavar="A,B,...",
        help="emotions in the order of the file, neutral among them (default: AffectNet's seven)",
    )
    parser.add_argument("--size", type=int, default=128, help="training pixels (default 128)")


def run(args: argparse.Namespace) -> int:
    from ganmut.convert import convert

    labels = tuple(label for label in args.labels.split(",") if label.strip())
    print(convert(args.file, args.format, args.out, labels=labels, size=args.size))
    return 0
