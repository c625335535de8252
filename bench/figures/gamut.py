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

from ganmut import images as pictures
from ganmut.codes import CodeSpace
from ganmut.editor import Editor
from ganmut.emotions import emotion_color

from ..features.cache import Features
from ..metrics.gamut_mixtures import same_mixture
from .canvas import Person, edits, hide_axes, image_rows

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
    _place(axes, codes, edits(editor, person.picture, codes), [1 / (side - 1)] * len(codes))
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def emotion_wheel(editor: Editor, person: Person) -> Figure:
    """Edits at twelve angles and the radii of RINGS, neutral in the centre."""
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    around = torch.stack([angle.cos(), angle.sin()], 1)
    codes = torch.cat([torch.zeros(1, 2), *(radius * around for radius in RINGS)])
    figure, axes = _square(f"{editor.name}: emotion wheel")
    halves = [0.15, *(half for half in RINGS.values() for _ in range(ANGLES))]
    _place(axes, codes, edits(editor, person.picture, codes), halves)
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def random_edits(editor: Editor, person: Person, rows: int = 4, columns: int = 9) -> Figure:
    """Random codes of the space's prior on one person and on others, other codes for each; the
    source comes first (GANmut, supplement, figures 6 to 8)."""
    generator = torch.Generator().manual_seed(0)
    people = torch.cat([person.picture, person.others[: rows - 1]])
    lines = {
        f"face {number + 1}": torch.cat(
            [picture, edits(editor, picture, editor.space.sample(columns, generator))]
        )
        for number, picture in enumerate(people.split(1))
    }
    return image_rows(f"{editor.name}: random codes", lines, ["source", *[""] * columns])


def mixtures(features: Features, editor: Editor, person: Person) -> Figure:
    """Codes that mix two, three and four emotions the most evenly, and two codes far apart that
    show the same mixture: the edit, and the classifier's mean softmax over test faces (GANmut,
    section 5.4 and supplement, figures 2 to 5 and 7)."""
    softmax = np.asarray(features["chart:softmax"], np.float64).mean(0)
    grid = features.edit_set("chart").codes[: len(softmax)]
    ranked = np.sort(softmax, 1)[:, ::-1]
    # Two emotions are mixed where the second is strong, three where the third is, and so on.
    most = min(4, ranked.shape[1])
    shown = {f"{k} emotions": int(ranked[:, k - 1].argmax()) for k in range(2, most + 1)}
    _, pair = same_mixture(grid.double().numpy(), softmax)
    if pair[0] != pair[1]:
        shown |= {"same mixture, one code": pair[0], "another code": pair[1]}
    faces = edits(editor, person.picture, grid[list(shown.values())])
    figure = Figure(figsize=(1.9 * len(shown), 3.6), layout="constrained")
    figure.suptitle(f"{editor.name}: mixtures of emotions", fontsize=10)
    panels = zip(shown.items(), pictures.to_array(faces), strict=True)
    for column, ((title, code), face) in enumerate(panels):
        above = figure.add_subplot(2, len(shown), column + 1)
        above.imshow(face)
        hide_axes(above)
        x, y = grid[code].tolist()
        above.set_title(f"{title}\n({x:.1f}, {y:.1f})", fontsize=8)
        below = figure.add_subplot(2, len(shown), len(shown) + column + 1)
        tints = [emotion_color(emotion) for emotion in features.emotions]
        below.barh(range(len(tints)), softmax[code], color=tints)
        below.set(xlim=(0, 1), xticks=(0, 0.5, 1))
        below.set_yticks(range(len(tints)), [] if column else features.emotions, fontsize=8)
        below.invert_yaxis()
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
