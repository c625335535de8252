"""Report: json lines -> the leaderboard, in the terminal and as Markdown. One table, one protocol,
one set of hashes.

`python bench/report.py --out DIR` writes DIR/LEADERBOARD.md again from DIR/results.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.table import Table

from bench import results
from bench.claims import ABSENT
from bench.metrics.base import METRICS
from ganmut.images import write_atomic

ENDS = ("real", "identity", "oracle")  # rows that are no methods
ARROWS = {True: " ↑", False: " ↓", None: ""}
Record = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """The records that may stand in one table: (row, metric) -> record; claims; what was left out
    and why.
    """

    cells: dict[tuple[str, str], Record]
    claims: list[Record]
    left_out: int

    @property
    def rows(self) -> list[str]:
        """Ends first, then the methods by name."""
        found = {row for row, _ in self.cells}
        return [row for row in ENDS if row in found] + sorted(found - set(ENDS))

    @property
    def metrics(self) -> list[str]:
        """Metrics that some row has, in a fixed order: the papers' first."""
        found = {metric for _, metric in self.cells}
        first = ["fed", "ere@1", "ere@2", "smoothness", "accuracy", "fid", "identity", "oracle"]
        return [name for name in first if name in found] + sorted(found - set(first))

    def one(self) -> Record:
        """Any record: what all of them share can be read from it."""
        return next(iter(self.cells.values()))


def board(records: Iterable[Record]) -> Board:
    """The newest comparable records: one protocol, data fingerprint and seed; a row has one weight,
    a metric one version and one set of extractors. Others are counted as left out, never mixed in.
    """
    records = list(records)
    scores = [r for r in records if r["kind"] == "score" and not r["training"].get("ablation_of")]
    if not scores:
        raise ValueError(
            "there are no results to report: run `python bench/run.py --methods all` first"
        )
    key = _key(scores[-1])
    same = [r for r in scores if _key(r) == key]
    weight = {r["row"]: r["weights_sha256"] for r in same}
    judged = {r["metric"]: _judges(r) for r in same if r["status"] == "ok"}
    kept = [
        r for r in same
        if r["weights_sha256"] == weight[r["row"]]
        and (r["status"] != "ok" or _judges(r) == judged[r["metric"]])
    ]  # fmt: skip
    cells = {(r["row"], r["metric"]): r for r in kept}
    claims = _claims([r for r in records if r["kind"] == "claim"], key, weight)
    return Board(cells, claims, len(scores) - len(kept))


def _key(record: Record) -> tuple[Any, ...]:
    return record["protocol_hash"], record["data_fingerprint"], record["seed"]


def _claims(records: list[Record], key: tuple[Any, ...], weight: dict[str, str]) -> list[Record]:
    """The newest verdict of each claim on the weights shown; measured before not measured."""
    found: dict[str, Record] = {}
    for record in records:
        stale = any(weight.get(row, sha) != sha for row, sha in record["weights"].items())
        known = found.get(record["number"])
        empty = record["verdict"] == ABSENT and known is not None and known["verdict"] != ABSENT
        if _key(record) == key and not stale and not empty:
            found[record["number"]] = record
    return list(found.values())


def _judges(record: Record) -> tuple[Any, ...]:
    return record["metric_version"], tuple(sorted(record["extractors"].items()))


# Numbers ------------------------------------------------------------------------------------------


def number(value: float | None, unit: str = "") -> str:
    """Three significant figures or so; a dash for what is not there."""
    if value is None:
        return "–"
    if unit == "%" or abs(value) >= 100:
        return f"{value:.1f}"
    if abs(value) < 5e-5:
        return "0"
    digits = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def cell(record: Record | None, part: str = "") -> str:
    """A value with its interval, or why there is none."""
    if record is None:
        return ""
    if record["status"] == "error":
        return "error"
    value, span = (
        (record["parts"].get(part), record["intervals"].get(part))
        if part
        else (record["value"], record["interval"])
    )
    text = number(value, record["unit"])
    if value is None or span is None:
        return text
    return f"{text} [{number(span[0], record['unit'])}, {number(span[1], record['unit'])}]"


def heading(name: str) -> str:
    """Title, unit and which way is better."""
    if name not in METRICS:
        return name
    metric = METRICS[name]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.title}{unit}{ARROWS[metric.higher_is_better]}"


def main_table(found: Board) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the leaderboard."""
    head = ["row", *(heading(m) for m in found.metrics)]
    lines = [[row, *(cell(found.cells.get((row, m))) for m in found.metrics)] for row in found.rows]
    return head, lines


def parts_table(found: Board, metric: str) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one metric by part (emotions, budgets)."""
    records = {row: found.cells[row, metric] for row in found.rows if (row, metric) in found.cells}
    names = list(dict.fromkeys(part for r in records.values() for part in r["parts"]))
    lines = [
        [row, *(cell(record, part) for part in names)]
        for row, record in records.items()
        if record["status"] == "ok"
    ]
    return ["row", *names], lines


def remarks(found: Board) -> list[str]:
    """One line for every number that needs a word: notes, errors, reasons, other n."""
    lines = []
    for metric in found.metrics:
        records = [r for (_, m), r in found.cells.items() if m == metric]
        usual = max((r["n"] for r in records if r["status"] == "ok"), default=0)
        said: dict[str, list[str]] = {}
        for record in records:
            text = record["note"]
            if record["status"] == "ok" and record["n"] != usual:
                text = f"n = {record['n']}" + (f"; {text}" if text else "")
            if text:
                said.setdefault(text, []).append(record["row"])
        lines += [f"{metric}, {', '.join(rows)}: {text}" for text, rows in said.items()]
    return lines


# Terminal -----------------------------------------------------------------------------------------


def show(console: Console, found: Board) -> None:
    """Prints the leaderboard, the equal budget, the claims and the remarks."""
    one = found.one()
    head, lines = main_table(found)
    caption = f"data: {one['data']} · protocol {one['protocol']} · 95 % intervals over faces"
    console.print(_rich("Leaderboard", head, lines, caption))
    equal = [m for m in found.metrics if m.startswith("ere@")]
    if equal:
        rows = [
            [row, *(cell(found.cells.get((row, m)), "equal") for m in equal)] for row in found.rows
        ]
        rows = [line for line in rows if any(line[1:])]
        console.print(_rich("ERE, equal budget", ["row", *(heading(m) for m in equal)], rows, ""))
    if found.claims:
        lines = [[c["number"], c["sentence"], c["verdict"], c["why"]] for c in found.claims]
        console.print(_rich("Claims of the papers", ["", "claim", "", "why"], lines, ""))
    for line in remarks(found):
        console.print(f"· {line}", highlight=False, markup=False)


def _rich(title: str, head: list[str], lines: list[list[str]], caption: str) -> Table:
    table = Table(
        title=title, caption=caption or None, title_justify="left", caption_justify="left"
    )
    for name in head:
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(*(text.replace("[", "\\[") for text in line))
    return table


# Command line -------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Writes DIR/LEADERBOARD.md from DIR/results.jsonl and prints the tables."""
    from bench.leaderboard import markdown

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
