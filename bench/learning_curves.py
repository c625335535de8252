"""Learning curves: the rows of a leaderboard that are one method after trainings of different
lengths, such as ganmut-24 beside ganmut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .tables import Leaderboard, Record, Table, cell, heading

LENGTHS = {"kimg": "thousand images", "steps": "steps"}  # how trainings record their length
MOVED = " moved"  # a value that a training of half the length does not give


@dataclass(frozen=True)
class LearningCurves:
    """rows: method -> length of its training -> row, shortest first; unit: what the lengths count;
    metrics: those of the main tables that every one of these rows has a value of."""

    board: Leaderboard
    rows: dict[str, dict[float, str]]
    unit: str
    metrics: list[str]

    def record(self, method: str, length: float, metric: str) -> Record:
        """The cell of a method after a training of a length."""
        return self.board.cells[self.rows[method][length], metric]


def learning_curves(board: Leaderboard) -> LearningCurves | None:
    """The methods that were measured after trainings of different lengths, or None. A row without a
    number has its length to itself: its training ended there."""
    found: dict[str, dict[float, str]] = {}
    units = set()
    for row in board.rows:
        method, length = re.sub(r"-[\d.]+$", "", row), _length(board, row)
        if length is not None and (method == row or length[0] not in found.get(method, ())):
            found.setdefault(method, {})[length[0]] = row
            units.add(length[1])
    rows = {method: dict(sorted(known.items())) for method, known in found.items()}
    rows = {method: known for method, known in rows.items() if len(known) > 1}
    if not rows:
        return None
    every = [row for known in rows.values() for row in known.values()]
    names = [m for group in ("expression", "preservation") for m in board.of_group(group)]
    metrics = [m for m in names if all(_is_known(board.cells.get((row, m))) for row in every)]
    return LearningCurves(board, rows, " or ".join(sorted(units)), metrics)


def curve_table(curves: LearningCurves) -> Table:
    """The headline metrics by method and length. A value outside of the interval that the training
    of half its length has (or the longest of at most half) is marked."""
    lines = []
    for method, lengths in curves.rows.items():
        for length in lengths:
            line = [method, f"{length:g}"]
            half = max((at for at in lengths if at <= length / 2), default=None)
            for name in curves.metrics:
                record = curves.record(method, length, name)
                ends = None if half is None else curves.record(method, half, name)["interval"]
                moved = ends is not None and not ends[0] <= record["value"] <= ends[1]
                line.append(cell(record) + (MOVED if moved else ""))
            lines.append(line)
    return ["method", curves.unit, *(heading(name) for name in curves.metrics)], lines


def _length(board: Leaderboard, row: str) -> tuple[float, str] | None:
    """The length of a row's training and its unit; None where it is not recorded."""
    training = next(r["training"] for (name, _), r in board.cells.items() if name == row)
    for key, unit in LENGTHS.items():
        if key in training:
            return float(training[key]), unit
    return None


def _is_known(record: Record | None) -> bool:
    return record is not None and record["value"] is not None and record["interval"] is not None
