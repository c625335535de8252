"""Canvas: functions that all figures use. The person in figures is always rendered, never a
photograph."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from ganmut import images as pictures
from ganmut.datasets import open_source
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS, canonical_emotion
from ganmut.files import write_atomic

MAX_BYTES = 400_000  # per figure
FACE_INCHES = 0.85  # side of a face in figures with lines of faces


@dataclass(frozen=True)
class Person:
    """One rendered test face. picture: uint8 1 x 3 x S x S. render(emotion): the same person with
    that emotion, the same shape. others, units: other rendered test faces (uint8 m x 3 x S x S) and
    their action units (m x 17)."""

    picture: Tensor
    render: Callable[[str], Tensor]
    others: Tensor
    units: Tensor

    def ground_truth(self, emotions: Sequence[str]) -> Tensor:
        """uint8 m x 3 x S x S: the person under each emotion; white where the renderer lacks it."""
        blank = torch.full_like(self.picture, 255)
        known = [canonical_emotion(emotion) in EMOTIONS for emotion in emotions]
        pairs = zip(emotions, known, strict=True)
        return torch.cat(
            [self.render(emotion) if is_known else blank for emotion, is_known in pairs]
        )


def rendered_person(size: int, seed: int = 0) -> Person:
    """One rendered test face; a neutral one if the first fourteen include one."""
    faces = open_source("procedural").load("test", size, 14, seed=seed, progress=False)
    neutral = (faces.emotion == 0).nonzero()[:, 0].tolist()
    row = torch.tensor(neutral[:1] or [0])
    render, units = faces.ground_truth, faces.units
    if render is None or units is None:
        raise ValueError("the source procedural renders no ground truth")
    others = torch.tensor([other for other in range(len(faces)) if other != row])
    return Person(
        faces.faces(row),
        lambda emotion: render(row, emotion, 1.0),
        faces.faces(others),
        units[others],
    )


def edits(editor: Editor, picture: Tensor, codes: Tensor) -> Tensor:
    """uint8 m x 3 x S x S: one face (uint8 1 x 3 x S x S) under m codes (m x dim), in batches of
    16."""
    face = editor.prepare(picture)
    parts = [
        editor.edit(editor.select(face, torch.zeros(len(part), dtype=torch.long)), part)
        for part in codes.split(16)
    ]
    return torch.cat(parts)


def image_rows(title: str, lines: dict[str, Tensor], columns: list[str] | None = None) -> Figure:
    """A figure with one line of pictures per name (uint8 m x 3 x S x S), and column names above."""
    m = max(len(line) for line in lines.values())
    high = FACE_INCHES * len(lines) + (0.6 if columns else 0.4)
    beside = 0.3 + 0.08 * max(map(len, lines))  # inches for the names, at 8 points
    figure = Figure(figsize=(FACE_INCHES * m + beside, high), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for number, (name, line) in enumerate(lines.items()):
        axes = figure.add_subplot(len(lines), 1, number + 1)
        axes.imshow(pictures.to_array(pictures.make_grid(line, columns=m)))
        hide_axes(axes)
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
        if columns and not number:
            side = line.shape[-1]
            middles = [i * (side + 2) + side / 2 for i in range(len(columns))]
            axes.set_xticks(middles, columns, fontsize=8)
            axes.tick_params(labeltop=True, labelbottom=False, length=0)
    return figure


def hide_axes(axes: Axes) -> None:
    """Removes ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def write(path: Path, figure: Figure) -> Path:
    """Saves a figure as PNG of at most MAX_BYTES and returns its path. Larger figures get a palette
    of 256 colours and are then scaled down."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = Image.fromarray(pictures.read_image(buffer))
    content = buffer.getvalue()
    while len(content) > MAX_BYTES:
        buffer = io.BytesIO()
        picture.quantize(256).save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
        picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5))
    return write_atomic(path, content)
