"""Tables: selects the records that are comparable and arranges them in tables. All cells of a table
share protocol, data and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from ganmut.emotions import EMOTIONS

from .claims.papers import claims
from .claims.verdicts import ABSENT
from .features.extract import second
from .metrics.base import METRICS

REFERENCE_ROWS = ("real_split", "no_edit", "ground_truth")  # rows that are no methods
METRIC_ORDER = (
    "fed",
    "ere@1",
    "ere@2",
    "smoothness",
    "accuracy",
    "au_error",
    "fid",
    "identity_frechet",
    "identity_distance",
    "frontier",
    "ground_truth_l1",
    "edit_localisation",
    "real_neighbour_rate",
)
GROUPS = {
    "expression": "Expression",
    "preservation": "Identity preservation and realism",
    "frontier": "Recognition at equal identity",
    "spaces": "Code spaces",
}
NO_VALUE = "–"
FIRST = ("row", "supervision")  # the first columns of the tables of scores
MIN_RANKED = 3  # methods whose order can agree
UNITS_TITLE = ", conditioned on action units"
DRAWN_TITLE = ", drawn by the expression model"
MAX_METRICS = 6  # per table
ARROWS = {True: " ↑", False: " ↓", None: ""}
Record = dict[str, Any]
Table = tuple[list[str], list[list[str]]]  # header and lines


@dataclass(frozen=True)
class Leaderboard:
    """Comparable records. cells: (row, metric) -> record. claims: records of verdicts, with the
    current wording of each claim. left_out: how many scores are not comparable with these. seeds:
    (row, metric) -> record of further trainings, rows such as ganmut@1."""

    cells: dict[tuple[str, str], Record]
    claims: list[Record]
    left_out: int
    seeds: dict[tuple[str, str], Record] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        """Reference rows first, then the methods by name."""
        names = {row for row, _ in self.cells}
        return [row for row in REFERENCE_ROWS if row in names] + sorted(names - set(REFERENCE_ROWS))

    @property
    def metrics(self) -> list[str]:
        """The metrics that some row has a value of: METRIC_ORDER first, then others by name."""
        names = {metric for (_, metric), r in self.cells.items() if r["status"] != "not measured"}
        return [name for name in METRIC_ORDER if name in names] + sorted(names - set(METRIC_ORDER))

    def of_group(self, name: str) -> list[str]:
        """The metrics of a group."""
        group = {m: METRICS[m].group if m in METRICS else "preservation" for m in self.metrics}
        return [metric for metric in self.metrics if group[metric] == name]

    def families(self) -> dict[str, list[str]]:
        """What a table's title adds -> its rows: the reference rows and the methods that are
        compared with each other. Methods that are given action units, and those that share the
        drawing of the expression model, have tables of their own."""
        titles = {}
        for (row, _), record in self.cells.items():
            units = UNITS_TITLE if record.get("codes") == "units" else ""
            titles[row] = DRAWN_TITLE if record.get("drawing") else units
        return {
            title: [row for row in self.rows if row in REFERENCE_ROWS or titles[row] == title]
            for title in ("", UNITS_TITLE, DRAWN_TITLE)
        }

    def groups(self, widest: int) -> dict[str, list[str]]:
        """Title -> metrics of each main table, at most `widest`."""
        tables = {}
        for name, title in GROUPS.items():
            metrics = self.of_group(name)
            for start in range(0, len(metrics), widest):
                part = f" ({start // widest + 1})" if start else ""
                tables[title + part] = metrics[start : start + widest]
        return tables

    def first_columns(self, row: str) -> list[str]:
        """The name of a row and what its training knew of the faces."""
        known = (r.get("supervision", "") for (name, _), r in self.cells.items() if name == row)
        return [row, next((supervision for supervision in known if supervision), NO_VALUE)]

    def any_record(self) -> Record:
        """One record, for the fields that all of them share."""
        return next(iter(self.cells.values()))


def select(records: Iterable[Record]) -> Leaderboard:
    """The newest comparable records: one protocol, data fingerprint and seed; one weight per row;
    one version and one set of extractors per metric. Raises ValueError where there is no score."""
    records = list(records)
    scores = [r for r in records if r["kind"] == "score" and not _for_claims(r)]
    if not scores:
        raise ValueError("no results: run `python bench/run.py --methods all` first")
    key = _key(scores[-1])
    same = [r for r in scores if _key(r) == key]
    # The last record of a row or metric decides which weight or version the table shows.
    weight = {r["row"]: r["weights_sha256"] for r in same}
    version = {r["metric"]: _metric_key(r) for r in same if r["status"] == "ok"}
    comparable = [
        r
        for r in same
        if r["weights_sha256"] == weight[r["row"]]
        and (r["status"] != "ok" or _metric_key(r) == version[r["metric"]])
    ]
    cells = {(r["row"], r["metric"]): r for r in comparable}
    verdicts = _select_claims([r for r in records if r["kind"] == "claim"], key, weight)
    seeds = {
        (r["row"], r["metric"]): r
        for r in records
        if r["kind"] == "score" and "@" in r["row"] and _key(r) == key and r["status"] == "ok"
    }
    seeds = {at: r for at, r in seeds.items() if _metric_key(r) == version.get(at[1])}
    return Leaderboard(cells, verdicts, len(scores) - len(comparable), seeds)


def _for_claims(record: Record) -> bool:
    """Whether a row is measured for claims only: an ablation, or a further seed (ganmut@1)."""
    return bool(record["training"].get("ablation_of")) or "@" in record["row"]


def _key(record: Record) -> tuple[Any, ...]:
    return record["protocol_hash"], record["data_fingerprint"], record["seed"]


def _metric_key(record: Record) -> tuple[Any, ...]:
    return record["metric_version"], tuple(sorted(record["extractors"].items()))


def _select_claims(
    records: list[Record], key: tuple[Any, ...], weight: dict[str, str]
) -> list[Record]:
    """The newest verdict of each current claim on the selected weights of its own methods. A run
    that lacks a claim's methods does not replace its verdict."""
    rows = {row for record in records for row in record["weights"]}
    current = {claim.number: claim for claim in claims(EMOTIONS, tuple(rows))}
    newest: dict[str, Record] = {}
    for record in records:
        claim = current.get(record["number"])
        if claim is None or _key(record) != key:
            continue
        own = {*claim.metrics, *(term.row for term in claim.context)}
        made = {r: s for r, s in record["weights"].items() if r.partition("@")[0] in own}
        if any(weight.get(row, sha) != sha for row, sha in made.items()):
            continue
        known = newest.get(record["number"])
        if record["verdict"] == ABSENT and known is not None and known["verdict"] != ABSENT:
            continue
        newest[record["number"]] = record | {"sentence": claim.sentence, "source": claim.source}
    return [newest[number] for number in current if number in newest]


# Cells --------------------------------------------------------------------------------------------


def number(value: float | None, unit: str = "") -> str:
    """A value with about three significant figures; a dash for None."""
    if value is None:
        return NO_VALUE
    if unit == "%" or abs(value) >= 100:
        return f"{value:.1f}"
    if abs(value) < 5e-5:
        return "0"
    digits = 2 if abs(value) >= 1 else 3 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def cell(record: Record | None, part: str = "", interval: str = " [{}, {}]") -> str:
    """The value of a record or of one of its parts, with the interval in the given format; "error"
    for an error, "" for no record."""
    if record is None:
        return ""
    if record["status"] == "error":
        return "error"
    value, ends = (
        (record["parts"].get(part), record["intervals"].get(part))
        if part
        else (record["value"], record["interval"])
    )
    text = number(value, record["unit"])
    if value is None or ends is None:
        return text
    return text + interval.format(*(number(end, record["unit"]) for end in ends))


def heading(name: str) -> str:
    """A metric's title and unit, with an arrow in the better direction."""
    if name not in METRICS:
        return name
    metric = METRICS[name]
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.title}{unit}{ARROWS[metric.higher_is_better]}"


# Tables -------------------------------------------------------------------------------------------


def main_tables(
    board: Leaderboard, write: Callable[[Record | None], str] = cell, widest: int = MAX_METRICS
) -> list[tuple[str, Table]]:
    """Title and table of each main table, without empty lines; `write` formats a cell."""
    tables = []
    for suffix, rows in board.families().items():
        if set(rows) <= set(REFERENCE_ROWS):
            continue
        for title, metrics in board.groups(widest).items():
            lines = [
                board.first_columns(row) + [write(board.cells.get((row, m))) for m in metrics]
                for row in rows
            ]
            if lines := _filled(lines):
                tables.append((title + suffix, ([*FIRST, *(heading(m) for m in metrics)], lines)))
    return tables


def _filled(lines: list[list[str]]) -> list[list[str]]:
    """The lines that have a value after the first columns."""
    return [line for line in lines if set(line[len(FIRST) :]) - {"", NO_VALUE}]


def equal_table(board: Leaderboard) -> Table:
    """ERE with the same budget for all methods; no lines where ERE is not measured."""
    names = [name for name in board.metrics if name.startswith("ere@")]
    lines = [
        board.first_columns(row) + [cell(board.cells.get((row, m)), "equal") for m in names]
        for row in board.rows
    ]
    return [*FIRST, *(heading(name) for name in names)], _filled(lines)


def seed_table(board: Leaderboard) -> Table:
    """Mean, least and greatest value, by the first judge, over the trainings of each method that
    was trained from several seeds; no lines where there is none."""
    known = {metric for _, metric in board.seeds}
    names = [m for group in GROUPS for m in board.of_group(group) if m in known]
    lines = []
    for row in board.rows:
        seeds = sorted({seed for seed, _ in board.seeds if seed.partition("@")[0] == row})
        if not seeds:
            continue
        line = [*board.first_columns(row), str(1 + len(seeds))]
        for name in names:
            records = [board.cells.get((row, name)), *(board.seeds.get((s, name)) for s in seeds)]
            values = [r["value"] for r in records if r is not None and r["value"] is not None]
            if len(values) < len(records):  # a mean of some trainings is another quantity
                line.append("")
                continue
            unit = METRICS[name].unit
            mean, *ends = (number(v, unit) for v in (np.mean(values), min(values), max(values)))
            line.append(f"{mean} [{', '.join(ends)}]")
        lines.append(line)
    return [*FIRST, "trainings", *(heading(name) for name in names)], lines


def second_judge_tables(board: Leaderboard) -> list[tuple[str, Table]]:
    """Title and table of the metrics by the second judge, one for each family, and of how far the
    two judges agree on the order of a family's methods; none where no second judge measured."""
    names = board.of_group("second")
    if not names:
        return []
    tables, ranks = [], []
    firsts = [name for name in board.metrics if second(name) in names]
    for suffix, rows in board.families().items():
        methods = [row for row in rows if row not in REFERENCE_ROWS]
        lines = [
            board.first_columns(row) + [cell(board.cells.get((row, m))) for m in names]
            for row in rows
        ]
        if not methods or not (lines := _filled(lines)):
            continue
        title = f"By the second judge{suffix}"
        tables.append((title, ([*FIRST, *(heading(m) for m in names)], lines)))
        family = suffix.removeprefix(", ") or "on images and labels"
        ranks += [
            [heading(m), family, *rank_agreement(board, methods, m, second(m))] for m in firsts
        ]
    header = ["metric", "methods", "number", "Kendall's tau", "first by each judge"]
    ranks.sort(key=lambda line: [heading(m) for m in firsts].index(line[0]))
    return [*tables, ("Agreement of the judges", (header, ranks))]


def rank_agreement(board: Leaderboard, rows: list[str], first: str, other: str) -> list[str]:
    """The number of these methods that both metrics measure, Kendall's tau-b of their values (1:
    the same order, -1: the reverse) where they are at least MIN_RANKED, and the best method by each
    where one direction is better."""
    known = [board.cells.get((row, metric)) for row in rows for metric in (first, other)]
    values = np.array([np.nan if r is None or r["value"] is None else r["value"] for r in known])
    a, b = values.reshape(-1, 2).T
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < MIN_RANKED:
        return [str(both.sum()), NO_VALUE, ""]
    tau = kendalltau(a[both], b[both]).statistic
    better = METRICS[first].higher_is_better
    if better is None:  # none is first
        return [str(both.sum()), f"{tau:.2f}", ""]
    best = np.argmax if better else np.argmin
    names = [row for row, known in zip(rows, both, strict=True) if known]
    leaders = dict.fromkeys(names[int(best(side[both]))] for side in (a, b))
    return [str(both.sum()), f"{tau:.2f}", ", ".join(leaders)]


def claim_lines(board: Leaderboard) -> Table:
    """The claims with source, verdict and reasons; a column for the verdict by the second judge
    where there is one."""
    judged = any(c.get("second") for c in board.claims)
    header = ["", "claim", "source", "here", *(["second judge"] if judged else []), "why"]
    lines = [
        [
            *(c["number"], c["sentence"], c["source"], c["verdict"]),
            *([c.get("second", "")] if judged else []),
            c["why"],
        ]
        for c in board.claims
    ]
    return header, lines


def parts_tables(board: Leaderboard, metric: str) -> list[Table]:
    """One metric by part: a table of the parts with intervals (emotions, budgets), and one of those
    without (action units)."""
    records = {row: board.cells[row, metric] for row in board.rows if (row, metric) in board.cells}
    names = list(dict.fromkeys(part for r in records.values() for part in r["parts"]))
    with_interval = {part for r in records.values() for part in r["intervals"]}
    tables = []
    for parts in (
        [name for name in names if name in with_interval],
        [name for name in names if name not in with_interval],
    ):
        lines = [
            board.first_columns(row)
            + [cell(record, part) if part in record["parts"] else "" for part in parts]
            for row, record in records.items()
            if record["status"] == "ok"
        ]
        if parts and lines:
            tables.append(([*FIRST, *parts], lines))
    return tables


def remarks(board: Leaderboard) -> list[str]:
    """One line per remark on the cells: notes, errors, reasons, a different number of faces."""
    lines = []
    unmeasured = sorted({metric for _, metric in board.cells} - set(board.metrics))
    for metric in [*board.metrics, *unmeasured]:
        records = [r for (_, m), r in board.cells.items() if m == metric]
        usual = max((r["n"] for r in records if r["status"] == "ok"), default=0)
        rows_by_text: dict[str, list[str]] = {}
        for record in records:
            text = record["note"]
            if record["status"] == "ok" and record["n"] != usual:
                text = f"n = {record['n']}" + (f"; {text}" if text else "")
            if text:
                rows_by_text.setdefault(text, []).append(record["row"])
        lines += [f"{metric}, {', '.join(rows)}: {text}" for text, rows in rows_by_text.items()]
    return lines
