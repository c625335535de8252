"""`ganmut fit-expressions`: fits the expression model to photographs with landmarks."""

from __future__ import annotations

import argparse

HELP = "fit the expression model to photographs with landmarks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="metadata.jsonl, blendshape_names.json and landmarks.npz beside the photographs",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the weight folder to write")


def run(args: argparse.Namespace) -> int:
    from ganmut.expression.fit import fit_expressions
    from ganmut.expression.landmark_data import read_landmark_set
    from ganmut.expression.recipes import RECIPES
    from ganmut.expression.weight import save_expression_model

    faces = read_landmark_set(args.data, "train")
    model, facts = fit_expressions(faces, RECIPES)
    print(save_expression_model(model, args.out, {"faces": len(faces), **facts}))
    return 0
