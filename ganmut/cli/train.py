"""`train METHOD`: trains a method; `train resume RUN`: continues a run."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a method; resume a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.methods.base import METHODS
    from ganmut.training import config as recipes

    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for name in METHODS:
        sub = methods.add_parser(name, help=METHODS[name].paper)
        sub.add_argument(
            "--recipe",
            default="cpu",
            metavar="NAME",
            help=f"settings to start from: {', '.join(recipes.PRESETS)} (default cpu)",
        )
        sub.add_argument("--out", default="runs", metavar="DIR", help="where run directories go")
        sub.add_argument("--dry-run", action="store_true", help="print the recipe and stop")
        _add_hardware_options(sub)
        recipes.add_options(sub, recipes.Recipe, skip=("method",))
        recipes.add_options(sub, METHODS[name].Config)
    resume = methods.add_parser("resume", help="continue a run")
    resume.add_argument("folder", type=Path, help="the run directory")
    _add_hardware_options(resume)


def _add_hardware_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)"
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile both networks (worth it on CUDA)"
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.training import config as recipes
    from ganmut.training.loop import train
    from ganmut.training.run_dir import RunDir

    if args.method == "resume":
        recipe, config = RunDir.open(args.folder).recipe()
        place = {"resume": args.folder}
    else:
        own = {"recipe", "out", "device", "compile", "dry_run", "method", "run", "command"}
        settings = {k: v for k, v in vars(args).items() if k not in own}
        recipe, config = recipes.resolve_settings(args.method, args.recipe, **settings)
        if args.dry_run:
            print(recipes.to_json(recipe, config), end="")
            return 0
        place = {"out": args.out}
    folder = train(recipe, config, device=args.device, compiled=args.compile, **place)
    if folder:  # None in all processes but the first
        print(f"weights in {folder / 'weights'}")
    return 0
