"""`ganmut fit-expressions`: fits the expression model to photographs with landmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "fit the expression model to photographs with landmarks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="metadata.jsonl, blendshape_names.json and landmarks.npz beside the photographs",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the set to write: its weights expression and wheel",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.expression.fit import fit_expressions
    from ganmut.expression.landmark_data import read_landmark_set
    from ganmut.expression.recipes import RECIPES
    from ganmut.expression.weight import WEIGHT, save_expression_model, save_wheel

    faces = read_landmark_set(args.data, "train")
    model, facts = fit_expressions(faces, RECIPES)
    folder = Path(args.out) / Path(WEIGHT).name
    print(save_expression_model(model, folder, {"faces": len(faces), **facts}))
    print(save_wheel(folder.with_name("wheel"), model))
    return 0
