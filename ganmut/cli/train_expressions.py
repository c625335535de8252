"""`ganmut train-expressions`: trains a method on expressions, which the expression model draws."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a method on expressions, which the expression model draws"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.cli.set_options import add_set_options
    from ganmut.cli.setting_options import add_options
    from ganmut.expression.conditional import STEPS, expression_methods, expression_settings
    from ganmut.methods.base import METHODS

    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for name in expression_methods():
        sub = methods.add_parser(name, help=METHODS[name].paper)
        add_set_options(sub)
        sub.add_argument("--steps", type=int, default=STEPS, help="(default: %(default)s)")
        sub.add_argument(
            "--gain",
            type=float,
            default=1.0,
            help="factor on the learned changes (default: %(default)s)",
        )
        sub.add_argument(
            "--seed",
            type=int,
            default=0,
            help="of the training; other seeds than 0 are written as METHOD_expression@SEED, which "
            "the bench takes as further trainings (default: %(default)s)",
        )
        config = METHODS[name].Config
        images = config.names() - expression_settings(name)
        add_options(sub, config, skip=tuple(images))


def run(args: argparse.Namespace) -> int:
    from ganmut.emotions import EMOTIONS
    from ganmut.expression.conditional import (
        expression_row,
        expression_settings,
        labelled_expressions,
        train_on_expressions,
    )
    from ganmut.expression.conditional_weight import LearnedDrawing, save_conditional
    from ganmut.expression.weight import landmarks_for, model_beside
    from ganmut.folders import check_output_folder

    check_output_folder(args.out)
    data, points = labelled_expressions(args.data, EMOTIONS)
    drawing = LearnedDrawing(points=points.name, learned=args.method, gain=args.gain)
    folder = Path(args.out) / expression_row(args.method, args.seed)
    model = model_beside(folder, points)
    landmarks_for(model, folder)  # before minutes of training: raises where it cannot be used
    chosen = {k: v for k, v in vars(args).items() if k in expression_settings(args.method)}
    method = train_on_expressions(
        args.method, data, model.rest, steps=args.steps, seed=args.seed, settings=chosen
    )
    facts = {"faces": len(data.values), "steps": args.steps, "seed": args.seed}
    print(save_conditional(folder, method, drawing, facts))
    return 0
