"""The gamut pad: a learned space drawn with one person's faces; a pointer becomes a point of it."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from demo.components.base import STATIC, JsonHTML, NoStubMeta
from demo.sessions.session import Gamut, MethodChoice
from demo.settings import number
from ganmut.emotions import emotion_color
from ganmut.text import quote

TILE = 72  # px of a mini face in the drawing
RIM = 0.07  # share of a face's sides that its mini leaves out: the expression is what counts
TURN = math.tau


def point(value: Any) -> tuple[float, float]:
    """(x, y), each in -1..1, of what a browser or an API call sent: {"x": number, "y": number}.

    Raises ValueError for anything else, numbers beyond -1..1 included.
    """
    if not isinstance(value, dict) or not {"x", "y"} <= value.keys():
        raise ValueError(f'a point is {{"x": number, "y": number}}, got {quote(value)}')
    return number(value["x"], -1, 1, "x"), number(value["y"], -1, 1, "y")


def sheet(tiles: np.ndarray, valid: np.ndarray, done: int | None = None) -> str:
    """The mini faces (n x n x S x S x 3 uint8, top row first), round, as one WebP data URI.

    done: how many of the valid ones are there; the others stay clear.
    """
    n = len(tiles)
    whole = Image.new("RGBA", (n * TILE, n * TILE))
    stencil = Image.new("L", (4 * TILE, 4 * TILE))
    ImageDraw.Draw(stencil).ellipse((6, 6, 4 * TILE - 7, 4 * TILE - 7), fill=255)
    stencil = stencil.resize((TILE, TILE), Image.Resampling.LANCZOS)
    for row, column in np.argwhere(valid)[:done]:
        face = Image.fromarray(tiles[row, column])
        rim = face.width * RIM
        box = (rim, rim, face.width - rim, face.height - rim)
        face = face.resize((TILE, TILE), Image.Resampling.LANCZOS, box)
        whole.paste(face, (int(column) * TILE, int(row) * TILE), stencil)
    return data_uri(whole, "WEBP", quality=82)


def sheet_value(key: str, made: Gamut | None = None) -> dict[str, Any]:
    """The value of `PadBackground`: what is drawn of a gamut. key: tells one face and method from
    others."""
    if made is None:
        return {"key": key, "sheet": "", "done": 0, "of": 0}
    tiles = sheet(made.tiles, made.valid, made.done)
    return {"key": key, "sheet": tiles, "done": made.done, "of": int(made.valid.sum())}


def data_uri(picture: Image.Image, kind: str, **options: Any) -> str:
    """A picture as a data URI: nothing is written to disk for it."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def labels(shape: str, marks: Sequence[tuple[str, float, float]]) -> list[dict[str, Any]]:
    """For each emotion its place (x, y), its colour, and where its name is written (tx, ty,
    anchor), y upwards.

    A disc's names stand outside the rim on its emotions' rays, moved apart where two would touch; a
    square's stand
    beside their modes.
    """
    spots = (
        [(tx, ty, "middle") for tx, ty in _beside(marks)] if shape == "square" else _around(marks)
    )
    return [
        {
            "name": html.escape(name),
            "x": round(x, 4),
            "y": round(y, 4),
            "colour": emotion_color(name),
            "tx": round(tx, 4),
            "ty": round(ty, 4),
            "anchor": anchor,
        }
        for (name, x, y), (tx, ty, anchor) in zip(marks, spots, strict=True)
    ]


def pad_properties(choice: MethodChoice) -> dict[str, Any]:
    """The properties of `GamutPad` for a method, all of them."""
    places = [(mark.name, mark.x, mark.y) for mark in choice.marks]
    shape = choice.shape or "disc"
    return {"shape": shape, "marks": labels(shape, places)}


def _around(marks: Sequence[tuple[str, float, float]]) -> list[tuple[float, float, str]]:
    """Places outside the rim; what lies in the middle (neutral) is named just above it."""
    outer = [i for i, (_, x, y) in enumerate(marks) if math.hypot(x, y) > 0.5]
    angles = spread([math.atan2(marks[i][2], marks[i][1]) for i in outer], math.radians(13))
    places = [(x, y + 0.1, "middle") for _, x, y in marks]
    for i, angle in zip(outer, angles, strict=True):
        x, y = 1.1 * math.cos(angle), 1.1 * math.sin(angle)
        beside = 0.35 < abs(math.cos(angle)) < 0.9
        if abs(x) > 1:  # at the sides there is no room beside: such a name stands above its dot
            x, y = math.copysign(1.1, x), y + (0.1 if y >= 0 else -0.1)
        anchor = ("start" if x > 0 else "end") if beside else "middle"
        places[i] = (x, y - 0.028, anchor)
    return places


def spread(angles: Sequence[float], gap: float) -> list[float]:
    """The angles (radians), each moved a little until all stand at least `gap` apart."""
    order = sorted(range(len(angles)), key=lambda i: angles[i])
    moved = list(angles)
    for _ in range(200):
        for first, second in zip(order, order[1:] + order[:1], strict=True):
            apart = (moved[second] - moved[first]) % TURN if len(order) > 1 else gap
            apart = 0.0 if apart > 1.5 * math.pi else apart  # one has overtaken the other
            if apart < gap:
                moved[first] -= (gap - apart) / 2
                moved[second] += (gap - apart) / 2
    return moved


def _beside(marks: Sequence[tuple[str, float, float]]) -> list[tuple[float, float]]:
    """Places above the modes, pushed upwards one after the other where two names would touch."""
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(marks)
    done: list[tuple[float, float]] = []
    for i in sorted(range(len(marks)), key=lambda i: marks[i][2]):
        _, x, y = marks[i]
        spot = (min(max(x, -0.85), 0.85), min(y + 0.08, 0.93))
        while any(abs(spot[0] - x) < 0.5 and abs(spot[1] - y) < 0.1 for x, y in done):
            spot = (spot[0], spot[1] + 0.02)
        places[i] = spot
        done.append(spot)
    return places


class GamutPad(gr.HTML, metaclass=NoStubMeta):
    """A pad whose value is {"x", "y"} in -1..1. Drag, click, tap, or move it with the arrow keys
    (Shift: larger steps); a double click goes to the nearest emotion.

    `input` fires while the point moves, `release` when it has come to rest. shape: "disc" or
    "square"; marks: what `labels` returned.
    """

    def __init__(
        self,
        value: dict[str, float] | None = None,
        *,
        shape: str = "disc",
        marks: list | None = None,
        **options: Any,
    ):
        super().__init__(
            value or {"x": 0.0, "y": 0.0},
            apply_default_css=False,
            html_template=(STATIC / "gamut_pad.html").read_text("utf-8"),
            js_on_load=(STATIC / "gamut_pad.js").read_text("utf-8"),
            shape=shape,
            marks=marks or [],
            **options,
        )

    def get_block_name(self) -> str:
        return "html"

    def preprocess(self, payload: Any) -> tuple[float, float]:
        return point(payload)

    def postprocess(self, value: Any) -> dict[str, float]:
        x, y = value if isinstance(value, tuple) else (value["x"], value["y"])
        return {"x": round(float(x), 4), "y": round(float(y), 4)}

    def api_info(self) -> dict[str, Any]:
        axis = {"type": "number", "minimum": -1, "maximum": 1}
        return {"type": "object", "properties": {"x": axis, "y": axis}, "required": ["x", "y"]}

    def example_payload(self) -> dict[str, float]:
        return {"x": 0.4, "y": -0.6}

    def example_value(self) -> dict[str, float]:
        return self.example_payload()


class PadBackground(JsonHTML, metaclass=NoStubMeta):
    """Lays the faces behind the pad of the same column, and tells how many are there already.

    Not a property of the pad: it comes while the point is being dragged. value: see `sheet_value`;
    "begin" is true in the first one of a face and method, and from then on those of other faces,
    which may still be being drawn, are left out.
    """

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        line = (
            "<p class='progress' role='status'>${value.done < value.of ? `Drawing this face all "
            "over the pad: ${value.done} of ${value.of}` : ''}</p>"
        )
        show = (
            "const column = element.closest('.controls-card');\n"
            "let key;\n"
            "const show = () => {\n"
            "  if (props.value.begin || key === undefined) key = props.value.key;\n"
            "  if (props.value.key !== key) return;\n"
            "  const faces = props.value.sheet ? `url(\"${props.value.sheet}\")` : 'none';\n"
            "  column.style.setProperty('--faces', faces);\n"
            "};\n"
            "watch('value', show);\nshow();"
        )
        value = value or sheet_value("")
        super().__init__(value, html_template=line, js_on_load=show, **options)
