"""`ganmut fit-expressions`: fits the expression model to faces with landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fit the expression model to faces with landmarks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="photographs with metadata.jsonl, blendshape_names.json and landmarks.npz beside "
        "them, or procedural: rendered faces",
    )
    parser.add_argument(
        "--faces",
        type=int,
        default=0,
        metavar="N",
        help="of the training split (default: 7000 rendered ones, all photographs)",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the set to write: its weight expression and, of photographs, wheel",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.expression.fit import fit_expressions
    from ganmut.expression.point_set import MESH
    from ganmut.expression.recipes import recipes
    from ganmut.expression.rendered_landmarks import landmark_set
    from ganmut.expression.weight import (
        FOLDER,
        save_expression_model,
        save_wheel,
    )
    from ganmut.folders import check_output_folder

    check_output_folder(args.out)  # before the minutes of the fit
    faces = landmark_set(args.data, "train", args.faces)
    model, facts = fit_expressions(faces, recipes(faces.points))
    folder = Path(args.out) / FOLDER
    print(save_expression_model(model, folder, {"faces": len(faces), **facts}))
    if faces.points is MESH:  # rendered faces have gamuts that were learned
        print(save_wheel(folder.with_name("wheel"), model))
    return 0
