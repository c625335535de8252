"""What maintainers do with weights, as verbs of the command line: publish them, and turn the
checkpoints that authors released into them."""

from __future__ import annotations

import argparse
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"


def add_push(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "push", help="for maintainers: publish a weight, or sets of them, on the Hub"
    )
    parser.add_argument(
        "spec", metavar="RUN|WEIGHT|SET", help="a run, a weight, a set, or a folder of sets"
    )
    parser.add_argument("--to", required=True, metavar="OWNER/NAME")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        metavar="DIR",
        help="results.jsonl files with the numbers for the cards (default bench/results)",
    )
    parser.add_argument(
        "--default",
        action="store_true",
        help="from now on names such as procedural/ganmut mean what was published (WEIGHTS.md)",
    )
    parser.add_argument("--private", action="store_true", help="if it is to be made first")
    parser.add_argument("--dry-run", action="store_true", help="print what would go and stop")
    parser.set_defaults(run=run_push)


def run_push(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.weights import hub, publish

    items = publish.plan(args.spec, args.to, args.results)
    alone = any(item.path == "config.json" for item in items)
    if args.default and alone:
        raise ValueError("--default is for sets of weights, such as `push weights`: one is no set")
    for item in items:
        print(f"{item.size:>12,}  {item.path}")
    if args.dry_run:
        card = next(item.content for item in items if item.path == "README.md")
        print(f"\n{card.decode()}\nnothing was sent: this was a dry run")
        return 0
    address = hub.Address(args.to, publish.push(items, args.to, args.private))
    print(f"{address.page}/tree/{address.revision}")
    if args.default:
        print(f"{weights.prefer(str(address))} says so from now on: commit it")
    else:
        print(f"hub:{address}" if alone else f"export GANMUT_HUB={address}")
    return 0


def add_convert(verbs: argparse._SubParsersAction) -> None:
    from ganmut.convert.base import FORMATS

    parser = verbs.add_parser(
        "convert", help="for maintainers: turn an authors' checkpoint into a weight"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the checkpoint of the generator")
    parser.add_argument("--from", required=True, dest="format", help=", ".join(FORMATS))
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--labels",
        default="",
        metavar="A,B,...",
        help="emotions in the order of the file, neutral among them (default: AffectNet's seven)",
    )
    parser.add_argument("--size", type=int, default=128, help="px it was trained at (default 128)")
    parser.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> int:
    from ganmut.convert import convert

    labels = tuple(label for label in args.labels.split(",") if label.strip())
    print(convert(args.file, args.format, args.out, labels=labels, size=args.size))
    return 0
