"""What the service remembers of a visitor's face, and what it says of a method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.transform import SimilarityTransform

from ganmut import faces as photographs
from ganmut import weights
from ganmut.decoding import Picture
from ganmut.editor import Editor, PreparedFaces
from ganmut.emotions import UNIT_NAMES, UNITS
from ganmut.faces import Face
from ganmut.faces.align import template

VIEW = 400  # px: the part of the photograph around the face that is shown live
AROUND = 1.75  # sides of that part in sides of the face's box
LEAST = 24  # px: sides of a crop that a visitor draws
# The kinds of code spaces in the order in which a visitor meets them, and what each takes.
KINDS = ("gamut", "expression", "labels", "styles", "units")

# Where a face is: a number (largest first, from 1), or a square that a visitor drew: x, y, side.
Spot = int | tuple[float, float, float]


class SessionExpired(ValueError):
    """A face that is no longer, or never was, in memory."""


@dataclass(frozen=True)
class Mark:
    """An emotion in a gamut: where it is at full intensity."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class MethodChoice:
    """A method to choose, in one set of weights.

    key: what chooses it, "ganmut", or "set/ganmut" outside the first set. kind: that of its code
    space. shape: "disc" or "square" where it has a gamut, with marks. presets: emotion -> the
    seventeen units it means, where units can be moved. reads: whether the units that a face shows
    can be read. sharp: whether edits keep the photograph's resolution. space: the title of the
    method whose code space it is, where the expression model draws for that method.
    """

    key: str
    group: str
    title: str
    paper: str
    size: int
    emotions: tuple[str, ...]
    kind: str
    shape: str | None = None
    marks: tuple[Mark, ...] = ()
    presets: dict[str, tuple[float, ...]] = field(default_factory=dict)
    reads: bool = False
    sharp: bool = False
    space: str = ""

    @property
    def weight(self) -> str:
        """SET/NAME of the weight, as `ganmut.load` takes it."""
        return f"{self.group}/{self.key.rpartition('/')[2]}"

    @property
    def names(self) -> tuple[str, str]:
        """What chooses it by hand: its key, and SET/NAME as the command line and Python take it;
        the page leaves out its first set."""
        return self.key, self.weight

    @property
    def mixes(self) -> bool:
        """Whether emotions can be mixed."""
        return self.kind in ("labels", "styles", "expression")

    @property
    def favourite(self) -> str:
        """The emotion of the first edit: happy where the method knows it."""
        return "happy" if "happy" in self.emotions else self.emotions[-1]

    def towards(self, emotion: str, intensity: float) -> tuple[float, float]:
        """The point of a gamut that far from neutral to an emotion; the middle without a gamut."""
        places = {mark.name: (mark.x, mark.y) for mark in self.marks}
        if emotion not in places:
            return (0.0, 0.0)
        (ax, ay), (bx, by) = places[self.emotions[0]], places[emotion]
        x, y = ax + intensity * (bx - ax), ay + intensity * (by - ay)
        return round(x, 4), round(y, 4)  # as links write it


@dataclass(frozen=True)
class Gamut:
    """One person's face at the middle of each of GRID x GRID cells of a gamut, top row first.

    tiles: GRID x GRID x S x S x 3 uint8; valid: GRID x GRID bool, whether that cell's middle is a
    code at all; done: how many of the valid ones are there already, the first ones.
    """

    tiles: np.ndarray
    valid: np.ndarray
    done: int


@dataclass(frozen=True)
class Crop:
    """A face as one editor needs it: aligned source S x S x 3 uint8, picture -> crop, encoded.

    margin: see `Editor.crop_size`.
    """

    source: np.ndarray
    transform: SimilarityTransform
    ready: PreparedFaces
    margin: float = 1.0


@dataclass
class FaceSession:
    """One face of one photograph.

    origin: the picture with its file's own values; picture: its pixels, H x W x 3 uint8 sRGB, with
    the edits of its other faces (number -> link); view: VIEW x VIEW x 3 uint8 of the part around
    the face.
    """

    origin: Picture
    picture: np.ndarray
    edits: dict[int, str]
    whole: str  # what tells this picture from others
    faces: list[Face]
    face: Face
    number: int  # of the face, from 1; 0 where the visitor drew the crop
    view: np.ndarray
    to_picture: np.ndarray  # 3 x 3, view pixels -> picture pixels
    seen: float
    pinned: bool = False
    crops: dict[str, Crop] = field(default_factory=dict)
    # (side, margin) of a crop -> what pastes its edits into the view
    pasting: dict[tuple[int, float], photographs.PasteBack] = field(default_factory=dict)
    smaller: dict[tuple[str, int], Crop] = field(default_factory=dict)  # (method, side) -> fewer px
    gamuts: dict[str, Gamut] = field(default_factory=dict)
    emotion_previews: dict[str, np.ndarray] = field(default_factory=dict)
    people: dict[str, np.ndarray] = field(default_factory=dict)  # set -> the source's embedding
    units: dict[str, list[float]] = field(default_factory=dict)  # set -> what the source shows

    def size(self) -> int:
        """Bytes of its pictures."""
        tiles = [gamut.tiles for gamut in self.gamuts.values()]
        crops = [*self.crops.values(), *self.smaller.values()]
        origin = self.origin
        whole = [self.picture, origin.pixels, origin.own, origin.alpha]
        kept: list[Any] = [
            *{id(part): part for part in whole if part is not None}.values(),
            self.view,
            *tiles,
            *self.emotion_previews.values(),
            *(c.source for c in crops),
            *self.pasting.values(),
        ]
        ready = sum(encoded_size(crop.ready) for crop in crops)
        return sum(part.nbytes for part in kept) + ready


def align_crop(crop: np.ndarray, margin: float) -> np.ndarray:
    """The aligned crop in the middle of one with a margin: what classifiers were trained on."""
    rim = round(len(crop) * (1 - 1 / margin) / 2)
    return crop[rim : len(crop) - rim, rim : len(crop) - rim]


def fingerprint(picture: np.ndarray) -> str:
    return hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).hexdigest()


def identify(origin: Picture, spot: Spot, edits: Mapping[int, str]) -> tuple[str, str]:
    """(what tells the pixels of a picture from others, the id of the face at a spot). The id is
    another for files of the same pixels with other values, transparency or profile, and for other
    edits of the picture's other faces."""
    whole = fingerprint(origin.pixels)
    parts = [origin.profile, str(origin.notes).encode()]
    parts += [b"" if origin.own is origin.pixels else origin.own.tobytes()]
    parts += [b"" if origin.alpha is None else origin.alpha.tobytes()]
    file = hashlib.sha256(b"/".join(parts)).hexdigest()
    beside = "".join(f"/{number}{link}" for number, link in sorted(edits.items()))
    return whole, hashlib.sha256(f"{whole}/{file}/{spot}{beside}".encode()).hexdigest()


def encoded_size(ready: Any) -> int:
    """Bytes of the tensors of what an editor made of a crop, however they are nested."""
    if isinstance(ready, torch.Tensor):
        return ready.nbytes
    if is_dataclass(ready):
        return sum(encoded_size(getattr(ready, part.name)) for part in fields(ready))
    return sum(map(encoded_size, ready)) if isinstance(ready, tuple | list) else 0


def choice(editor: Editor, key: str, group: str, estimator: bool = False) -> MethodChoice:
    """What a visitor needs to know of an editor; asks its code space, never which method it is.

    estimator: whether its set of weights has an estimator of action units.
    """
    space, method, emotions = editor.space, editor.method, tuple(editor.emotions)
    about = (key, group, method.title, method.paper, editor.size, emotions, space.kind)
    learned = getattr(method, "learned", None)
    drawn: dict[str, Any] = {"sharp": method.any_size, "space": learned.title if learned else ""}
    chart = space.chart(3)
    if chart is not None:
        places = ((name, space.of(name).tolist()) for name in emotions)
        shape = "square" if bool(chart.valid.all()) else "disc"
        marks = tuple(Mark(name, *place) for name, place in places)
        return MethodChoice(*about, shape, marks, **drawn)
    if space.has_units:
        presets = {name: tuple(space.units_of(space.of(name)).tolist()) for name in emotions}
        reads = estimator or method.reads_source
        return MethodChoice(*about, presets=presets, reads=reads, **drawn)
    return MethodChoice(*about, **drawn)


def unit_label(unit: int) -> str:
    """What a slider is called: "AU12 lip corner puller"."""
    return f"AU{unit} {UNIT_NAMES[unit]}"


def units_text(values: tuple[float, ...], least: float = 0.35) -> str:
    """The units that make an emotion, "6 + 12 + 25"; "none" where no unit reaches `least`."""
    return " + ".join(str(u) for u, v in zip(UNITS, values, strict=True) if v >= least) or "none"


def square_face(picture: np.ndarray, spot: tuple[float, float, float]) -> Face:
    """The face that a visitor says is in a square: its points are where they are in every crop.

    x, y, side in pixels; brought inside the picture.
    """
    height, width = picture.shape[:2]
    side = min(max(spot[2], LEAST), height, width)
    x, y = min(max(spot[0], 0), width - side), min(max(spot[1], 0), height - side)
    return Face(template(side) + np.array([x, y]), (x, y, side, side), 0.0)


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


def choose_face(picture: np.ndarray, faces: list[Face], spot: Spot) -> tuple[Face, int]:
    """(the face at a spot, its number or 0); raises NoFace where it is not there."""
    if isinstance(spot, tuple):
        return square_face(picture, spot), 0
    number = photographs.select_faces(faces, spot)[0]
    return faces[number - 1], number


def sets() -> tuple[str, ...]:
    """The sets of bundled weights, rendered faces first."""
    root = weights.bundled_root()
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return tuple(sorted(names, key=lambda name: name != "procedural")) or ("procedural",)
