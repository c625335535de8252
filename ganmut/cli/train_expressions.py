"""`ganmut train-expressions`: trains a method on expressions, which the expression model draws."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a method on expressions, which the expression model draws"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.expression.conditional import STEPS, expression_methods

    parser.add_argument("method", choices=expression_methods(), help="the method to train")
    parser.add_argument(
        "--data",
        default="procedural",
        metavar="FOLDER",
        help="procedural: rendered faces (default), or a folder of photographs with landmarks",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="the set to write to; its weight expression draws the edits, else the bundled one",
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="(default: %(default)s)")
    parser.add_argument(
        "--gain",
        type=float,
        default=1.0,
        help="factor on the learned changes (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the training; other seeds than 0 are written as METHOD_expression@SEED, which the "
        "bench takes as further trainings (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.emotions import EMOTIONS
    from ganmut.expression.conditional import (
        expression_row,
        labelled_expressions,
        train_on_expressions,
    )
    from ganmut.expression.conditional_weight import Drawing, save_conditional
    from ganmut.expression.weight import landmarks_for, model_beside
    from ganmut.folders import check_output_folder

    check_output_folder(args.out)
    data, points = labelled_expressions(args.data, EMOTIONS)
    drawing = Drawing(args.method, points.name, args.gain)
    folder = Path(args.out) / expression_row(args.method, args.seed)
    model = model_beside(folder, points)
    landmarks_for(model, folder)  # before minutes of training: raises where it cannot be used
    method = train_on_expressions(args.method, data, model.rest, steps=args.steps, seed=args.seed)
    facts = {"faces": len(data.values), "steps": args.steps, "seed": args.seed}
    print(save_conditional(folder, method, drawing, facts))
    return 0
