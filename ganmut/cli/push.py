"""`push SPEC --to OWNER/NAME`: publishes weights on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
HELP = "for maintainers: publish a weight, or sets of weights, on the Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec", metavar="RUN|WEIGHT|SET", help="a run, a weight, a set, or a folder of sets"
    )
    parser.add_argument("--to", required=True, metavar="OWNER/NAME", help="the repository")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="results.jsonl files with the scores for the cards (default: a checkout's "
        "bench/results)",
    )
    parser.add_argument(
        "--default",
        action="store_true",
        help="names such as procedural/ganmut mean the published weights from now on "
        "(docs/weights.md)",
    )
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument("--dry-run", action="store_true", help="list the files and stop")


def run(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.weights import hub, publish

    results = args.results or (RESULTS if RESULTS.is_dir() else None)  # none in a package
    items = publish.plan_upload(args.spec, args.to, results)
    single = any(item.path == "config.json" for item in items)
    if args.default and single:
        raise ValueError("--default requires a weight set, such as `push weights`")
    for item in items:
        print(f"{item.size:>12,}  {item.path}")
    if args.dry_run:
        cards = (item.content for item in items if item.path == "README.md")
        text = next(card for card in cards if isinstance(card, bytes)).decode()
        print(f"\n{text}\nDry run: nothing was uploaded.")
        return 0
    address = hub.Address(args.to, publish.push(items, args.to, args.private))
    print(f"{address.page}/tree/{address.revision}")
    if args.default:
        print(f"{weights.set_default_hub(str(address))} holds the address: commit it")
    else:
        print(f"hub:{address}" if single else f"export GANMUT_HUB={address}")
    return 0
