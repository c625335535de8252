"""The frontier: recognised share against identity distance over strengths, one curve an editor."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..features.cache import Features
from ..metrics.frontier import SHARE, curve, fixed_distance, points


def curves(systems: list[Features]) -> Figure:
    """One curve for each system, a dot for each step from neutral to full intensity; the mean over
    faces and emotions."""
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    styles = ("-", "--", ":")
    for number, features in enumerate(systems):
        share, distance = curve(*points(features))
        style = styles[number // 10 % len(styles)]
        axes.plot(distance, share, style, marker=".", label=features.system.name)
    axes.axvline(fixed_distance(systems[0]), color="0.7", linewidth=0.8, zorder=0)
    axes.axhline(SHARE, color="0.7", linewidth=0.8, zorder=0)
    axes.set(
        xlabel="identity distance to the source",
        ylabel="target recognised, %",
        title="strength from 0 to 1: up and to the left is better",
        ylim=(0, 100),
        xlim=(0, None),
    )
    axes.legend(fontsize="small", ncols=2)
    return figure
