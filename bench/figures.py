"""Figures: gamut maps, interpolation strips, the emotion wheel. Faces in figures are always
rendered, never photographs.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image
from torch import Tensor

from bench.evidence import Evidence
from bench.rows import EditorRow
from ganmut import images as pictures
from ganmut.codes import CodeSpace
from ganmut.data import open_source
from ganmut.editor import Editor
from ganmut.images import write_atomic

LIMIT = 400_000  # bytes a figure
COLOURS = {
    "neutral": "#8a8a8a", "happy": "#e8b500", "sad": "#2f6fbb", "surprised": "#f07c1d",
    "fearful": "#7d4aa8", "disgusted": "#4c9a3d", "angry": "#c8322b",
}  # fmt: skip
# Radius -> half the side of a face there: as large as twelve neighbours on that ring allow.
RINGS, ANGLES = {0.33: 0.058, 0.66: 0.112, 1.0: 0.15}, 12


def draw(evidence: list[Evidence], folder: Path, seed: int = 0) -> list[Path]:
    """Writes all figures of some editors' evidence to a folder and returns their paths."""
    editors = {e.row.name: e.row.editor for e in evidence if isinstance(e.row, EditorRow)}
    if not editors:
        return []
    person = rendered_person(max(editor.size for editor in editors.values()), seed)
    made = []
    for one in evidence:
        space = one.row.space
        if space.chart(2) is None:
            continue
        name = one.row.name
        made.append(_write(folder / f"gamut_{name}.png", gamut_map(one)))
        made.append(_write(folder / f"faces_{name}.png", gamut_faces(editors[name], person)))
        if "directions" in space.state():
            made.append(_write(folder / f"wheel_{name}.png", wheel(editors[name], person)))
    for emotion in evidence[0].emotions[1:]:
        path = folder / f"strip_{emotion}.png"
        made.append(_write(path, strip(editors, person, emotion, evidence[0].protocol.steps)))
    return made


def rendered_person(size: int, seed: int = 0) -> Tensor:
    """uint8 1 x 3 x S x S: one rendered test face, neutral where the first few hold such a one."""
    faces = open_source("procedural").load("test", size, 14, seed=seed, progress=False)
    neutral = (faces.emotion == 0).nonzero()[:, 0].tolist()
    return faces.faces(torch.tensor(neutral[:1] or [0]))


def colour(emotion: str, number: int) -> str:
    """The emotion's colour in every figure."""
    return COLOURS.get(emotion) or matplotlib.colors.to_hex(
        matplotlib.colormaps["tab20"](number % 20)
    )


# Gamut --------------------------------------------------------------------------------------------


def gamut_map(evidence: Evidence) -> Figure:
    """The classifier's mean softmax over the chart: most probable emotion as colour, its
    probability as shade.
    """
    sheet = evidence.row.space.chart(evidence.protocol.chart_side)
    mean = evidence["chart:softmax"].mean(0)
    tints = np.array(
        [matplotlib.colors.to_rgb(colour(e, i)) for i, e in enumerate(evidence.emotions)]
    )
    share = mean.max(1, keepdims=True)
    picture = np.ones((*sheet.valid.shape, 3))
    picture[sheet.valid.numpy()] = 1 - share * (1 - tints[mean.argmax(1)])
    figure, axes = _square(f"{evidence.row.name}: label distribution over the gamut")
    reach = 1 + 1 / (evidence.protocol.chart_side - 1)  # pixels are centred on their codes
    axes.imshow(picture, extent=(-reach, reach, -reach, reach), interpolation="nearest")
    _mark(axes, evidence.row.space, evidence.emotions)
    for i, emotion in enumerate(evidence.emotions):
        axes.plot([], [], "s", color=colour(emotion, i), label=emotion)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False, fontsize=8)
    return figure


def gamut_faces(editor: Editor, person: Tensor, side: int = 9) -> Figure:
    """The chart as edits of one person."""
    sheet = editor.space.chart(side)
    figure, axes = _square(f"{editor.name}: the gamut on one person")
    codes = sheet.codes[sheet.valid]
    _place(axes, codes, edits(editor, person, codes), [1 / (side - 1)] * len(codes))
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def wheel(editor: Editor, person: Tensor) -> Figure:
    """Angles around, radii .33, .66 and 1, neutral in the middle."""
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    around = torch.stack([angle.cos(), angle.sin()], 1)
    codes = torch.cat([torch.zeros(1, 2), *(radius * around for radius in RINGS)])
    figure, axes = _square(f"{editor.name}: emotion wheel")
    halves = [0.15, *(half for half in RINGS.values() for _ in range(ANGLES))]
    _place(axes, codes, edits(editor, person, codes), halves)
    _mark(axes, editor.space, editor.emotions, faces=True)
    return figure


def edits(editor: Editor, person: Tensor, codes: Tensor) -> Tensor:
    """uint8 m x 3 x S x S: one person under m codes, in small batches."""
    face = editor.prepare(person)
    parts = [
        editor.edit(editor.pair(face, torch.zeros(len(part), dtype=torch.long)), part)
        for part in codes.split(16)
    ]
    return torch.cat(parts)


def _place(axes: Axes, codes: Tensor, faces: Tensor, halves: list[float]) -> None:
    for (x, y), face, half in zip(codes.tolist(), pictures.array(faces), halves, strict=True):
        axes.imshow(face, extent=(x - half, x + half, y - half, y + half))


def _mark(axes: Axes, space: CodeSpace, emotions: tuple[str, ...], faces: bool = False) -> None:
    """Names every emotion at its code: outside the rim of a disc, on its mode in a square."""
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
            emotion, (x * shift, y * shift), xytext=(0, 0 if rim else 7), ha="center", va="center",
            textcoords="offset points", fontsize=8,
            bbox={"boxstyle": "round,pad=0.1", "color": "white", "alpha": 0.7, "linewidth": 0},
        )  # fmt: skip
    if disc and not faces:
        axes.add_patch(Circle((0, 0), 1, fill=False, linewidth=0.8))
    axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35))


def _square(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()
    return figure, axes


# Strips -------------------------------------------------------------------------------------------


def strip(editors: dict[str, Editor], person: Tensor, emotion: str, steps: int) -> Figure:
    """One person from neutral to an emotion, a method a line; the method's own path."""
    figure = Figure(figsize=(0.85 * steps + 0.8, 0.85 * len(editors) + 0.4), layout="constrained")
    figure.suptitle(f"neutral to {emotion}", fontsize=10)
    for line, (name, editor) in enumerate(editors.items()):
        space = editor.space
        codes = space.path(space.of(editor.emotions[0]), space.of(emotion), steps)
        sheet = pictures.array(pictures.grid(edits(editor, person, codes), columns=steps))
        axes = figure.add_subplot(len(editors), 1, line + 1)
        axes.imshow(sheet)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def _write(path: Path, figure: Figure) -> Path:
    """Saves a figure as PNG under LIMIT bytes: with a palette, then smaller, where it would be
    larger.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = Image.open(buffer).convert("RGB")
    content = buffer.getvalue()
    while len(content) > LIMIT:
        buffer = io.BytesIO()
        picture.quantize(256).save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5))
    return write_atomic(path, content)
