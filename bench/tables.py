"""Board: json lines -> the cells that may stand in one table, and the tables. One table, one
protocol, one set of hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bench.claims import claims
from bench.metrics.base import METRICS
from bench.verdicts import ABSENT
from ganmut.emotions import EMOTIONS

ENDS = ("real", "identity", "oracle")  # rows that are no methods
FIRST = (
    "fed",
    "ere@1",
    "ere@2",
    "smoothness",
    "accuracy",
    "au_error",
    "fid",
    "identity",
    "oracle",
    "concentration",
    "tsne",
)
TABLES = {"expression": "what is shown", "picture": "what is kept, and how real it looks"}
WIDEST = 6  # metrics a table
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
        return [name for name in FIRST if name in found] + sorted(found - set(FIRST))

    def groups(self, widest: int) -> dict[str, list[str]]:
        """Title -> metrics of the main tables, one for each thing that numbers are read for; none
        of more than `widest`.
        """
        about = {m: METRICS[m].about if m in METRICS else "picture" for m in self.metrics}
        groups = {}
        for kind, title in TABLES.items():
            names = [name for name in self.metrics if about[name] == kind]
            for start in range(0, len(names), widest):
                part = f" ({start // widest + 1})" if start else ""
                groups[title + part] = names[start : start + widest]
        return groups

    def one(self) -> Record:
        """Any record: what all of them share can be read from it."""
        return next(iter(self.cells.values()))


def board(records: Iterable[Record]) -> Board:
    """The newest comparable records: one protocol, data fingerprint and seed; a row has one weight,
    a metric one version and one set of extractors. Others are counted as left out, never mixed in.
    """
    records = list(records)
    scores = [r for r in records if r["kind"] == "score" and not _for_claims(r)]
    if not scores:
        raise ValueError(
            "there are no results to report: run `python bench/run.py --methods all` first"
        )
    key = _key(scores[-1])
    same = [r for r in scores if _key(r) == key]
    weight = {r["row"]: r["weights_sha256"] for r in same}
    judged = {r["metric"]: _judges(r) for r in same if r["status"] == "ok"}
    kept = [
        r
        for r in same
        if r["weights_sha256"] == weight[r["row"]]
        and (r["status"] != "ok" or _judges(r) == judged[r["metric"]])
    ]
    cells = {(r["row"], r["metric"]): r for r in kept}
    claims = _claims([r for r in records if r["kind"] == "claim"], key, weight)
    return Board(cells, claims, len(scores) - len(kept))


def _for_claims(record: Record) -> bool:
    """Whether a row is measured for the claims only: an ablation, or one more seed (ganmut@1)."""
    return bool(record["training"].get("ablation_of")) or "@" in record["row"]


def _key(record: Record) -> tuple[Any, ...]:
    return record["protocol_hash"], record["data_fingerprint"], record["seed"]


def _claims(records: list[Record], key: tuple[Any, ...], weight: dict[str, str]) -> list[Record]:
    """The newest verdict of each claim that is still put, on the weights shown; measured before not
    measured.
    """
    order = [claim.number for claim in claims(EMOTIONS, ())]
    found: dict[str, Record] = {}
    for record in records:
        stale = any(weight.get(row, sha) != sha for row, sha in record["weights"].items())
        known = found.get(record["number"])
        empty = record["verdict"] == ABSENT and known is not None and known["verdict"] != ABSENT
        if record["number"] in order and _key(record) == key and not stale and not empty:
            found[record["number"]] = record
    return [found[number] for number in order if number in found]


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


def cell(record: Record | None, part: str = "", between: str = " [{}, {}]") -> str:
    """A value with its interval, or why there is none; `between`: how the interval is written."""
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
    return text + between.format(*(number(end, record["unit"]) for end in span))


def heading(name: str) -> str:
    """Title, unit and which way is better."""
    if name not in METRICS:
        return name
    metric = METRICS[name]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.title}{unit}{ARROWS[metric.higher_is_better]}"


def main_tables(
    found: Board, write: Callable[[Record | None], str] = cell, widest: int = WIDEST
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and lines of each main table, a cell as `write` puts it; a row stands where it
    has a number."""
    tables = []
    for title, metrics in found.groups(widest).items():
        lines = [[row, *(write(found.cells.get((row, m))) for m in metrics)] for row in found.rows]
        lines = [line for line in lines if any(line[1:])]
        tables.append((title, ["row", *(heading(m) for m in metrics)], lines))
    return tables


def equal_table(found: Board) -> tuple[list[str], list[list[str]]]:
    """Header and lines of ERE under the same budget for all; no lines where there is none."""
    names = [name for name in found.metrics if name.startswith("ere@")]
    rows = [[row, *(cell(found.cells.get((row, m)), "equal") for m in names)] for row in found.rows]
    return ["row", *(heading(name) for name in names)], [line for line in rows if any(line[1:])]


def parts_tables(found: Board, metric: str) -> list[tuple[list[str], list[list[str]]]]:
    """Header and lines of one metric by part: the parts with intervals (emotions, budgets), then
    those without (action units)."""
    records = {row: found.cells[row, metric] for row in found.rows if (row, metric) in found.cells}
    names = list(dict.fromkeys(part for r in records.values() for part in r["parts"]))
    sure = {part for r in records.values() for part in r["intervals"]}
    tables = []
    for chosen in ([n for n in names if n in sure], [n for n in names if n not in sure]):
        lines = [
            [row, *(cell(record, part) if part in record["parts"] else "" for part in chosen)]
            for row, record in records.items()
            if record["status"] == "ok"
        ]
        if chosen and lines:
            tables.append((["row", *chosen], lines))
    return tables


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
