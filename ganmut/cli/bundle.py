"""`bundle RUN SET/NAME`: copies a weight to the bundled ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from ganmut.text import quote

HELP = "for maintainers: add a weight to the bundled ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a run directory or a weight folder")
    parser.add_argument("spec", metavar="SET/NAME")
    parser.add_argument("--note", default="", help="a sentence for the card")
    parser.add_argument(
        "--ablation-of", default="", metavar="NAME", help="the bundled weight it differs from"
    )


def run(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.weights import publish

    group, _, name = args.spec.partition("/")
    if not group or not name or "/" in name:
        raise ValueError(f"SET/NAME is needed, such as procedural/ganmut; got {quote(args.spec)}")
    facts = {"note": args.note, "ablation_of": args.ablation_of}
    facts = {key: value for key, value in facts.items() if value}
    print(publish.bundle(weights.resolve(args.folder), group, name, **facts))
    return 0
