"""`units FOLDER`: writes action units into the metadata of aligned faces."""

from __future__ import annotations

import argparse

from ganmut.cli.face_options import print_lines
from ganmut.text import quantity

HELP = "write action units into a folder's metadata"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.action_units.base import PROVIDERS

    parser.add_argument("folder", metavar="FOLDER", help="aligned faces, with or without metadata")
    parser.add_argument(
        "--provider", default="mediapipe", help=f"{', '.join(PROVIDERS)} (default mediapipe)"
    )
    parser.add_argument(
        "--model", default="", metavar="PATH", help="the provider's model (face_landmarker.task)"
    )
    parser.add_argument("--again", action="store_true", help="also faces that have units already")


def run(args: argparse.Namespace) -> int:
    from ganmut.action_units.files import write_units

    report = write_units(args.folder, args.provider, args.model, again=args.again)
    print_lines([f"{name}: {reason}" for name, reason in report.failed.items()])
    print(
        f"{quantity(report.done, 'face')} got units now, {report.before} had them before, "
        f"{len(report.failed)} without: {report.file}"
    )
    return 1 if report.failed else 0
