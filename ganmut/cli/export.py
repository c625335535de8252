"""`export SPEC --onnx DIR`: writes an editor as ONNX graphs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ganmut.cli.pin_option import add_pin_option, apply_pin

HELP = "write an editor as ONNX graphs for other runtimes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="a weight, such as procedural/ganmut")
    parser.add_argument(
        "--onnx", required=True, type=Path, metavar="DIR", help="the folder to write"
    )
    parser.add_argument(
        "--faces",
        action="store_true",
        help="add faces.onnx and mouth.onnx, which find faces and covered mouths",
    )
    add_pin_option(parser, "SPEC")


def run(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.folders import check_output_folder
    from ganmut.weights.onnx_graphs import export_onnx

    check_output_folder(args.onnx, "onnx")
    apply_pin(args, args.spec)
    checked_weights = weights.read(weights.resolve(args.spec), "editor")
    folder, error = export_onnx(checked_weights, args.onnx, args.faces)
    checked = "not checked: onnxruntime is not installed"
    if error is not None:
        checked = f"largest difference to PyTorch {error:.1e} of images in [-1, 1]"
    print(f"{folder} ({checked})")
    return 0
