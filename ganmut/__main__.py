"""`python -m ganmut VERB`: parses, calls, prints. Exit code 2 for what the user can mend, 130 for Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ganmut.data.base import SOURCES
from ganmut.models.base import METHODS


def add_train(verbs: argparse._SubParsersAction) -> None:
    from ganmut import recipe as recipes

    parser = verbs.add_parser("train", help="train a method; resume a run")
    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for name in METHODS:
        sub = methods.add_parser(name, help=METHODS[name].paper)
        sub.add_argument("--recipe", default="cpu", metavar="NAME", help=f"settings to start from: {', '.join(recipes.PRESETS)} (default cpu)")
        sub.add_argument("--out", default="runs", metavar="DIR", help="where run directories go")
        sub.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)")
        sub.add_argument("--compile", action="store_true", help="torch.compile both networks (worth it on CUDA)")
        sub.add_argument("--dry-run", action="store_true", help="print the recipe and stop")
        recipes.add_options(sub, recipes.Recipe, skip=("method",))
        recipes.add_options(sub, METHODS[name].Config)
        sub.set_defaults(run=run_train)
    again = methods.add_parser("resume", help="go on with a run directory")
    again.add_argument("folder", type=Path)
    again.add_argument("--device", metavar="NAME")
    again.add_argument("--compile", action="store_true")
    again.set_defaults(run=run_resume)


def run_train(args: argparse.Namespace) -> int:
    from ganmut import recipe as recipes
    from ganmut.train import train

    own = {"recipe", "out", "device", "compile", "dry_run", "method", "run", "verb"}
    settings = {k: v for k, v in vars(args).items() if k not in own}
    recipe, config = recipes.assemble(args.method, args.recipe, **settings)
    if args.dry_run:
        print(recipes.to_json(recipe, config), end="")
        return 0
    folder = train(recipe, config, args.out, device=args.device, compiled=args.compile)
    print(f"weights in {folder / 'weights'}")
    return 0


def run_resume(args: argparse.Namespace) -> int:
    from ganmut.rundir import RunDir
    from ganmut.train import train

    recipe, config = RunDir.open(args.folder).recipe()
    folder = train(recipe, config, device=args.device, resume=args.folder, compiled=args.compile)
    print(f"weights in {folder / 'weights'}")
    return 0


def add_methods(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("methods", help="list methods, data sources and bundled weights")
    parser.set_defaults(run=run_methods)


def run_methods(args: argparse.Namespace) -> int:
    from ganmut import weights

    bundled = {name: spec for spec in weights.available() for name in [spec]}
    for name in METHODS:
        mark = "bundled weights" if name in bundled else ""
        print(f"{name:12} {METHODS[name].title:12} {METHODS[name].paper}  {mark}".rstrip())
    print("data sources:", ", ".join(SOURCES))
    return 0


VERBS: tuple[Callable[[argparse._SubParsersAction], None], ...] = (add_train, add_methods)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="python -m ganmut", description="Facial-expression editing with GANs.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in VERBS:
        add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:  # bad input: every error class of the project is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing is lost: `python -m ganmut train resume RUN` goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
