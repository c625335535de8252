"""Figures of the gamut: the classifier's emotion at each code, the edits at each code, the
wheel."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from bench.features.cache import Features
from bench.figures.canvas import Person, edits
from ganmut import images as pictures
from ganmut.codes import CodeSpace
from ganmut.editor import Editor
from ganmut.emotions import emotion_color

# Radius -> half the side of a face: as large as twelve faces on that ring allow.
RINGS, ANGLES = {0.33: 0.058, 0.66: 0.112, 1.0: 0.15}, 12


def gamut_map(features: Features) -> Figure:
    """The classifier's mean softmax over the chart: the most probable emotion as colour, its
    probability as shade."""
    grid = features.system.space.chart(features.protocol.chart_side)
    if grid is None:
        raise ValueError(f"{features.system.name} has no two-dimensional code space")
    mean = features["chart:softmax"].mean(0)
    tints = np.array([matplotlib.colors.to_rgb(emotion_color(e)) for e in features.emotions])
    share = mean.max(1, keepdims=True)
    picture = np.ones((*grid.valid.shape, 3))
    picture[grid.valid.numpy()] = 1 - share * (1 - tints[mean.argmax(1)])
    figure, axes = _square(f"{features.system.name}: label distribution over the gamut")
    reach = 1 + 1 / (features.protocol.chart_side - 1)  # pixels are centred on their codes
    axes.imshow(picture, extent=(-reach, reach, -reach, reach), interpolation="nearest")
    _mark(axes, features.system.space, features.emotions)
    for emotion in features.emotions:
        axes.plot([], [], "s", color=emotion_color(emotion), label=emotion)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8)
    return figure


def gamut_faces(editor: Editor, person: Person, side: int = 9) -> Figure:
    """The codes of the chart as edits of one person."""
    grid = editor.space.chart(side)
    if grid is None:
        raise ValueError(f"{editor.name} has no two-dimensional code space")
    figure, axes = _square(f"{editor.name}: the gamut on one person")
    codes = grid.codes[grid.valid]
    _place(axes, codes, edits(editor, person, codes), [1 / (side - 1)] * len(codes))
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def emotion_wheel(editor: Editor, person: Person) -> Figure:
    """Edits at twelve angles and the radii of RINGS, neutral in the centre."""
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    around = torch.stack([angle.cos(), angle.sin()], 1)
    codes = torch.cat([torch.zeros(1, 2), *(radius * around for radius in RINGS)])
    figure, axes = _square(f"{editor.name}: emotion wheel")
    halves = [0.15, *(half for half in RINGS.values() for _ in range(ANGLES))]
    _place(axes, codes, edits(editor, person, codes), halves)
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def _place(axes: Axes, codes: Tensor, faces: Tensor, halves: list[float]) -> None:
    for (x, y), face, half in zip(codes.tolist(), pictures.to_array(faces), halves, strict=True):
        axes.imshow(face, extent=(x - half, x + half, y - half, y + half))


def _mark(axes: Axes, space: CodeSpace, emotions: tuple[str, ...], faces: bool = False) -> None:
    """Writes every emotion at its code: outside the rim of a disc, on its mode in a square."""
    disc = "directions" in space.state()
    for number, emotion in enumerate(emotions):
        x, y = space.of(emotion).tolist()
        rim = disc and number > 0
        if faces and disc and not rim:
            continue
        if not (faces and rim):
            axes.plot([0, x] if rim else [x], [0, y] if rim else [y], "k.-", linewidth=0.8)
        shift = 1 if not rim else 1.24 if faces else 1.12
        axes.annotate(
            emotion,
            (x * shift, y * shift),
            xytext=(0, 0 if rim else 7),
            ha="center",
            va="center",
            textcoords="offset points",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.7, "linewidth": 0},
        )
    if disc and not faces:
        axes.add_patch(Circle((0, 0), 1, fill=False, linewidth=0.8))
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35))


def _square(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    return figure, axes
