"""Learning curves: headline metrics against the length of the training, one line a method."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.metrics.base import METRICS
from bench.tables import Leaderboard, Record, heading

COLUMNS = 3  # panels in a row


def learning_curves(board: Leaderboard) -> Figure | None:
    """One panel a metric, the 95 % interval over faces as a band; None where no method was measured
    after trainings of different lengths."""
    curves = board.lengths()
    if not curves:
        return None
    names = board.curve_metrics()
    rows = math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(3.4 * COLUMNS, 2.8 * rows), layout="constrained")
    for place, metric in enumerate(names):
        axes = figure.add_subplot(rows, COLUMNS, place + 1)
        for colour, (method, lengths) in enumerate(curves.items()):
            known = {at: board.cells[row, metric] for at, row in lengths.items()}
            _line(axes, method, known, f"C{colour}")
        axes.set_xscale("log", base=2)
        every = sorted({at for lengths in curves.values() for at in lengths})
        axes.set_xticks(every, [f"{at:g}" for at in every], fontsize=8)
        axes.minorticks_off()
        axes.set_title(heading(metric), fontsize=9)
        axes.set_ylim(bottom=0)
        unit = METRICS[metric].unit if metric in METRICS else ""
        axes.set_ylabel(unit, fontsize=8)
        axes.set_xlabel(board.length_unit(), fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _line(axes: Axes, method: str, known: dict[float, Record], colour: str) -> None:
    """One method's values with their intervals, where they are measured."""
    points = {at: r for at, r in known.items() if r["value"] is not None and r["interval"]}
    at = list(points)
    axes.plot(at, [r["value"] for r in points.values()], ".-", color=colour, label=method)
    ends = [r["interval"] for r in points.values()]
    low, high = [end[0] for end in ends], [end[1] for end in ends]
    axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
