"""`train METHOD`: trains a method; `train resume RUN`: continues a run."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "train a method; resume a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.cli.setting_options import add_options
    from ganmut.methods.base import METHODS
    from ganmut.training import presets
    from ganmut.training.config import Recipe

    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for name in METHODS:
        sub = methods.add_parser(name, help=METHODS[name].paper)
        for option, known, default in (
            ("objective", presets.OBJECTIVES, "stable"),
            ("budget", presets.BUDGETS, "cpu"),
            ("domain", presets.DOMAINS, "rendered"),
        ):
            sub.add_argument(
                f"--{option}", default=default, help=f"{', '.join(known)} (default {default})"
            )
        sub.add_argument("--out", default="runs", metavar="DIR", help="where run directories go")
        printed = sub.add_mutually_exclusive_group()
        printed.add_argument("--dry-run", action="store_true", help="print recipe.json and stop")
        printed.add_argument(
            "--explain", action="store_true", help="print every value and its origin, and stop"
        )
        _add_running_options(sub)
        add_options(sub, Recipe, skip=("method",))
        add_options(sub, METHODS[name].Config)
    resume = methods.add_parser("resume", help="continue a run")
    resume.add_argument("folder", type=Path, help="the run directory")
    resume.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="go on although the training data have changed; the weight's config says so",
    )
    _add_running_options(resume)


def _add_running_options(parser: argparse.ArgumentParser) -> None:
    from ganmut.training.logs import LOGS

    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)"
    )
    parser.add_argument(
        "--image-memory-gib",
        type=float,
        metavar="GIB",
        help="images that take more stay on disk and are streamed, with the same result (default: "
        "half of the free memory of the GPU, or of the machine)",
    )
    parser.add_argument(
        "--checkpoint-kimg",
        type=float,
        metavar="KIMG",
        help="keep the weight every KIMG thousand images in the run's checkpoints/, for learning "
        "curves (default: the last one alone)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile both networks (worth it on CUDA)"
    )
    parser.add_argument(
        "--log-to",
        nargs="+",
        default=[],
        choices=list(LOGS),
        help="show losses and sample grids there too, beside stats.jsonl",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.folders import check_output_folder
    from ganmut.training import config as recipes
    from ganmut.training import presets
    from ganmut.training.loop import train
    from ganmut.training.run_dir import RunDir

    if args.method == "resume":
        recipe, config = RunDir.open(args.folder).recipe()
        place = {"resume": args.folder, "accept_changed_data": args.accept_changed_data}
    else:
        own = {
            "out",
            "device",
            "compile",
            "image_memory_gib",
            "checkpoint_kimg",
            "log_to",
            "dry_run",
            "explain",
            "method",
            "run",
            "command",
        }
        settings = {k: v for k, v in vars(args).items() if k not in own}
        if args.explain:
            print(presets.explain(presets.trace_settings(args.method, **settings)), end="")
            return 0
        recipe, config = presets.resolve_settings(args.method, **settings)
        if args.dry_run:
            print(recipes.to_json(recipe, config), end="")
            return 0
        check_output_folder(args.out)  # before the data are loaded
        place = {"out": args.out}
    how = {
        "device": args.device,
        "compiled": args.compile,
        "log_to": args.log_to,
        "image_memory_gib": args.image_memory_gib,
        "checkpoint_kimg": args.checkpoint_kimg,
    }
    folder = train(recipe, config, **how, **place)
    if folder:  # None in all processes but the main one
        print(f"weights in {folder / 'weights'}")
    return 0
