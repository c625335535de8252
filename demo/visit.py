"""What the service remembers of a visitor's face, and what it says of a method."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from skimage import data as samples
from skimage.transform import SimilarityTransform

from ganmut import faces as photographs
from ganmut import images
from ganmut.data.procedural import express, render, sample
from ganmut.editor import Editor, Faces

VIEW = 336  # px: the part of the photograph around the face that is shown live
AROUND = 1.75  # sides of that part in sides of the face's box
EXAMPLES = (4, 14, 12, 17, 7)  # people of the rendered test split who stand on the front page


@dataclass(frozen=True)
class Mark:
    """An emotion in a gamut: where it is at full intensity."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Choice:
    """A method to choose; `shape`: "disc" or "square" for a gamut, None for named emotions."""

    name: str
    title: str
    paper: str
    emotions: tuple[str, ...]
    shape: str | None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Gamut:
    """One person's face at the middle of each of GRID x GRID cells of a gamut, top row first.

    tiles: GRID x GRID x S x S x 3 uint8; valid: GRID x GRID bool, whether that cell's middle is a
    code at all.
    """

    tiles: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class Crop:
    """A face as one editor needs it: aligned source S x S x 3 uint8, picture -> crop, encoded."""

    source: np.ndarray
    transform: SimilarityTransform
    ready: Faces


@dataclass
class Visit:
    """One face of one photograph.

    picture: H x W x 3 uint8; view: VIEW x VIEW x 3 uint8 of the part around the face.
    """

    picture: np.ndarray
    faces: list[photographs.Face]
    number: int
    view: np.ndarray
    to_picture: np.ndarray  # 3 x 3, view pixels -> picture pixels
    seen: float
    pinned: bool = False
    crops: dict[str, Crop] = field(default_factory=dict)
    gamuts: dict[str, Gamut] = field(default_factory=dict)
    casts: dict[str, np.ndarray] = field(default_factory=dict)


def choice(editor: Editor) -> Choice:
    """What a visitor needs to know of an editor; asks its code space, never which method it is."""
    chart = editor.space.chart(3)
    about = (editor.name, editor.method.title, editor.method.paper, tuple(editor.emotions))
    if chart is None:
        return Choice(*about, None)
    places = ((name, editor.space.of(name).tolist()) for name in editor.emotions)
    shape = "square" if bool(chart.valid.all()) else "disc"
    return Choice(*about, shape, tuple(Mark(name, *place) for name, place in places))


def window(
    picture: np.ndarray, box: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(VIEW x VIEW x 3 uint8, 3 x 3 view -> picture pixels): the square around a face's box."""
    height, width = picture.shape[:2]
    x, y, w, h = box
    side = min(round(max(w, h) * AROUND), height, width)
    left = round(min(max(x + w / 2 - side / 2, 0), width - side))
    top = round(min(max(y + h / 2 - side / 2, 0), height - side))
    part = Image.fromarray(picture[top : top + side, left : left + side])
    view = np.asarray(part.resize((VIEW, VIEW), Image.Resampling.LANCZOS))
    step = side / VIEW
    shift = 0.5 * step - 0.5  # pixel centres stay where they are
    return view, np.array([[step, 0, left + shift], [0, step, top + shift], [0, 0, 1]])


def examples() -> list[tuple[str, np.ndarray]]:
    """(name, H x W x 3 uint8): rendered people, and NASA's portrait of Eileen Collins."""
    truth = express(sample(0, "test", [7 * person for person in EXAMPLES]), "neutral")
    rendered = images.array(render(truth, 256, "cpu"))
    people = [(f"rendered {i}", face) for i, face in enumerate(rendered, 1)]
    return [*people, ("astronaut", samples.astronaut())]
