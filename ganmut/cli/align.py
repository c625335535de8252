"""`align FOLDER --out DIR`: writes aligned face crops for training."""

from __future__ import annotations

import argparse

from ganmut.cli.face_options import add_face_options, print_lines
from ganmut.text import quantity

HELP = "crop the faces of images for training; run again to continue"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="FOLDER", help="a folder of images, or a data source such as rafd:PATH"
    )
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--size", type=int, default=128, help="pixels of the crop (default 128)")
    add_face_options(parser)


def run(args: argparse.Namespace) -> int:
    from ganmut.faces import align_files

    report = align_files(
        args.source, args.out, detector=args.detector, face=args.face, size=args.size
    )
    print_lines([f"{name}: {reason}" for name, reason in report.skipped.items()])
    print(
        f"{quantity(report.faces, 'face')} of {quantity(report.images, 'image')} written, "
        f"{report.existing} written before, {quantity(len(report.skipped), 'image')} skipped: "
        f"{report.out}"
    )
    return 1 if report.skipped else 0
