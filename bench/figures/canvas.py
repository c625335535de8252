"""Canvas: what all figures share. The person in them is always rendered, never a photograph."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganmut import images as pictures
from ganmut.datasets import open_source
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS, canonical_emotion
from ganmut.images import write_atomic

LIMIT = 400_000  # bytes a figure
INCH = 0.85  # side of a face in figures that line faces up
COLOURS = {
    "neutral": "#8a8a8a",
    "happy": "#e8b500",
    "sad": "#2f6fbb",
    "surprised": "#f07c1d",
    "fearful": "#7d4aa8",
    "disgusted": "#4c9a3d",
    "angry": "#c8322b",
}


@dataclass(frozen=True)
class Person:
    """One rendered test face: picture uint8 1 x 3 x S x S; answer(emotion): the same person showing
    it, the same shape.
    """

    picture: Tensor
    answer: Callable[[str], Tensor]

    def answers(self, emotions: Sequence[str]) -> Tensor:
        """uint8 m x 3 x S x S: the person under each emotion; white for what nobody can render."""
        known = [canonical_emotion(emotion) in EMOTIONS for emotion in emotions]
        blank = torch.full_like(self.picture, 255)
        shown = zip(emotions, known, strict=True)
        return torch.cat([self.answer(emotion) if there else blank for emotion, there in shown])


def rendered_person(size: int, seed: int = 0) -> Person:
    """One rendered test face, neutral where the first few hold such a one."""
    faces = open_source("procedural").load("test", size, 14, seed=seed, progress=False)
    neutral = (faces.emotion == 0).nonzero()[:, 0].tolist()
    row = torch.tensor(neutral[:1] or [0])
    return Person(faces.faces(row), lambda emotion: faces.ground_truth(row, emotion, 1.0))


def colour(emotion: str, number: int) -> str:
    """The emotion's colour in every figure."""
    return COLOURS.get(emotion) or matplotlib.colors.to_hex(
        matplotlib.colormaps["tab20"](number % 20)
    )


def edits(editor: Editor, person: Person, codes: Tensor) -> Tensor:
    """uint8 m x 3 x S x S: one person under m codes, in small batches."""
    face = editor.prepare(person.picture)
    parts = [
        editor.edit(editor.select(face, torch.zeros(len(part), dtype=torch.long)), part)
        for part in codes.split(16)
    ]
    return torch.cat(parts)


def lined_up(title: str, lines: dict[str, Tensor], columns: list[str] | None = None) -> Figure:
    """Pictures in lines under a title: name -> uint8 m x 3 x S x S; names of the columns above."""
    m = max(len(line) for line in lines.values())
    high = INCH * len(lines) + (0.6 if columns else 0.4)
    beside = 0.3 + 0.08 * max(map(len, lines))  # inches for the names, at 8 points
    figure = Figure(figsize=(INCH * m + beside, high), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for number, (name, line) in enumerate(lines.items()):
        axes = figure.add_subplot(len(lines), 1, number + 1)
        axes.imshow(pictures.to_array(pictures.make_grid(line, columns=m)))
        bare(axes)
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
        if columns and not number:
            side = line.shape[-1]
            middles = [i * (side + 2) + side / 2 for i in range(len(columns))]
            axes.set_xticks(middles, columns, fontsize=8)
            axes.tick_params(labeltop=True, labelbottom=False, length=0)
    return figure


def bare(axes: Axes) -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def write(path: Path, figure: Figure) -> Path:
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
