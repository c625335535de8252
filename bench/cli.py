"""Command line of the bench: measures editors and prints the leaderboard.

Needs nothing but the repository: rendered faces, bundled weights, bundled extractors; an installed
package needs the address of published weights for most of them. Finished edits and features stay in
the cache when the run is stopped; the same command continues from there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ganmut import __version__, interrupts
from ganmut.errors import check_words
from ganmut.folders import check_output
from ganmut.registry import UnknownNameError
from ganmut.text import Parser

from . import user_study
from .metrics import METRICS
from .protocol import PROTOCOLS, get_protocol
from .resolve import BUNDLED, ROLES, UserError
from .runner import export, resolve, run


def parser() -> argparse.ArgumentParser:
    """The command line."""
    script = __package__ == "bench"  # of a checkout
    prog = "bench/run.py" if script else "ganmut-bench"
    it = Parser(prog=prog, description="Measure expression editors.")
    add = it.add_argument
    add("--version", action="version", version=f"ganmut {__version__}")
    add(
        "--methods",
        metavar="A,B",
        help="names of weights, or all (default; with --edits alone: none)",
    )
    add(
        "--weights",
        default="procedural",
        metavar="SET|PATH|hub|hub:ID@REV",
        help="set, weight or run folder, folder of these, GANMUT_HUB or an id (default procedural)",
    )
    add(
        "--data",
        default="procedural",
        metavar="SPEC",
        help="procedural, folder:PATH or hub:ID@REV (default procedural)",
    )
    add(
        "--split",
        default="test",
        choices=("test", "validation"),
        help="validation: other rendered people, to choose settings on; "
        "leaderboards are of test (default test)",
    )
    add("--metrics", default="all", metavar="A,B", help=f"of {', '.join(METRICS)} (default all)")
    add(
        "--protocol",
        type=protocol_name,
        default="default",
        metavar="NAME",
        help=f"one of {', '.join(PROTOCOLS)}",
    )
    for role, network in ROLES.items():
        add(
            option(role),
            metavar="SPEC",
            help=f"{network}: bundled name, folder, Hub id "
            f"(default procedural/{BUNDLED.get(role, role)})",
        )
    add(
        "--identity-model",
        metavar="PACK|PATH",
        help="a face recognition ONNX as --identity: a file, or a pack of insightface (buffalo_l)",
    )
    add(
        "--emotion-model",
        metavar="PATH",
        help="an expression ONNX as --emotion, its labels in PATH's .json (docs/classifiers.md)",
    )
    add(
        "--inception",
        metavar="PATH",
        help="Inception-v3 weights for FID (torch-fidelity's file, or .safetensors)",
    )
    add(
        "--out",
        default="out/bench",
        metavar="DIR",
        help="results, leaderboard, figures (default out/bench)",
    )
    add(
        "--cache",
        default="cache/bench",
        metavar="DIR",
        help="extracted features (default cache/bench)",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of faces and codes (default 0)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if available)")
    add(
        "--edits",
        nargs="+",
        metavar="DIR",
        help="edits made elsewhere: folders of --export-sources with the edited pictures",
    )
    add(
        "--export-sources",
        metavar="DIR",
        help="write the faces that --edits needs and a manifest of the edits, and stop",
    )
    add("--size", type=int, metavar="PX", help="of exported faces (default: that of --weights)")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes that share the work, each with the memory of one (default: one a core, on "
        "a GPU one)",
    )
    add("--no-figures", action="store_true", help="write no figures")
    add("--study", metavar="FILE", help="analyse the votes of the Space's user study, and stop")
    return it


def protocol_name(text: str) -> str:
    """The text, where it names a protocol; what is wrong is said before anything else is read."""
    try:
        return get_protocol(text).name
    except UnknownNameError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


# What an export depends on; the other options have no effect on it.
EXPORT_OPTIONS = ("methods", "weights", "data", "split", "metrics", "protocol", "seed", "size")


def require_alone(args: argparse.Namespace, mode: str, allowed: Sequence[str] = ()) -> None:
    """Raises UserError where an option stands beside `mode` that it does not read."""
    others = [
        option(name)
        for name, value in vars(args).items()
        if name not in (mode, *allowed) and value != parser().get_default(name)
    ]
    if others:
        raise UserError(f"{option(mode)} measures nothing: omit {', '.join(others)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 where a metric failed, 2 for a user error or a full disk, 130 after
    Ctrl-C, 143 after SIGTERM."""
    words = sys.argv[1:] if arguments is None else arguments
    args, console = parser().parse_args(arguments), Console()

    def work() -> int:
        check_words(words)
        if args.study:
            require_alone(args, "study")
            print(user_study.report(Path(args.study)))
            return 0
        if args.export_sources:
            require_alone(args, "export_sources", EXPORT_OPTIONS)
            check_output(args.export_sources, "export_sources")
            print(export(args))
            return 0
        if args.size is not None:
            raise UserError("--size belongs to --export-sources; weights have their own size")
        check_output(args.out)
        check_output(args.cache, "cache")
        return run(resolve(args, console), console)

    after = f"finished features are in {args.cache}: run the same command to continue"
    return interrupts.status_of(work, after, option, "bench")


def option(parameter: str) -> str:
    """The option of a parameter: "--no-figures"."""
    return "--" + parameter.replace("_", "-")
