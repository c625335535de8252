"""Report: json lines -> the leaderboard, in the terminal and as Markdown.

`python bench/report.py --out DIR` writes DIR/LEADERBOARD.md again from DIR/results.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.table import Table

from bench import results
from bench.leaderboard import markdown
from bench.tables import WIDEST, Board, Record, board, cell, equal_table, main_tables, remarks
from ganmut.images import write_atomic

INTERVAL = len("0.0463–0.0902")  # the widest of what stands in a cell


def show(console: Console, found: Board) -> None:
    """Prints the leaderboard, the equal budget, the claims and the remarks."""
    one = found.one()
    caption = f"data: {one['data']} · protocol {one['protocol']} · 95 % intervals over faces"
    room = (console.width - max(map(len, found.rows)) - 4) // (INTERVAL + 3)
    for title, head, lines in main_tables(found, _stacked, max(1, min(WIDEST, room))):
        console.print(_rich(f"Leaderboard: {title}", head, lines, caption))
    head, lines = equal_table(found)
    if lines:
        console.print(_rich("ERE, equal budget", head, lines, ""))
    if found.claims:
        lines = [[c["number"], c["sentence"], c["verdict"], c["why"]] for c in found.claims]
        console.print(_rich("Claims of the papers", ["", "claim", "", "why"], lines, ""))
    for line in remarks(found):
        console.print(f"· {line}", highlight=False, markup=False)


def _stacked(record: Record | None) -> str:
    """The interval under its value: half as wide."""
    return cell(record, between="\n{}–{}")


def _rich(title: str, head: list[str], lines: list[list[str]], caption: str) -> Table:
    table = Table(
        title=title, caption=caption or None, title_justify="left", caption_justify="left"
    )
    table.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(text.replace("[", "\\[") for text in line))
    return table


def main(arguments: list[str] | None = None) -> int:
    """Writes DIR/LEADERBOARD.md from DIR/results.jsonl and prints the tables."""
    parser = argparse.ArgumentParser(prog="bench/report.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", default="bench/results", metavar="DIR", help="folder of results.jsonl"
    )
    folder = Path(parser.parse_args(arguments).out)
    try:
        found = board(results.read(folder))
    except ValueError as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 2
    show(Console(), found)
    write_atomic(folder / "LEADERBOARD.md", markdown(found, folder))
    print(f"wrote {folder / 'LEADERBOARD.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
