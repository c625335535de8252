"""Learning curves: headline metrics against the length of the training, one line a method."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..learning_curves import LearningCurves
from ..metrics.base import METRICS
from ..tables import heading

COLUMNS = 3  # panels in a row


def learning_curves(curves: LearningCurves) -> Figure:
    """One panel a metric, the 95 % interval over faces as a band."""
    rows = math.ceil(len(curves.metrics) / COLUMNS)
    figure = Figure(figsize=(3.4 * COLUMNS, 2.6 * rows + 0.4), layout="constrained")
    every = sorted({length for lengths in curves.rows.values() for length in lengths})
    for place, metric in enumerate(curves.metrics):
        axes = figure.add_subplot(rows, COLUMNS, place + 1)
        for number, method in enumerate(curves.rows):
            _line(axes, curves, method, metric, f"C{number}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(every, [f"{length:g}" for length in every], fontsize=8)
        axes.minorticks_off()
        axes.set_title(heading(metric), fontsize=9)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(METRICS[metric].unit if metric in METRICS else "", fontsize=8)
        axes.set_xlabel(curves.unit, fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _line(axes: Axes, curves: LearningCurves, method: str, metric: str, colour: str) -> None:
    """One method's values with their intervals."""
    lengths = list(curves.rows[method])
    records = [curves.record(method, length, metric) for length in lengths]
    axes.plot(lengths, [r["value"] for r in records], ".-", color=colour, label=method)
    low, high = zip(*(r["interval"] for r in records), strict=True)
    axes.fill_between(lengths, low, high, color=colour, alpha=0.15, linewidth=0)
