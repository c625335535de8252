"""Where the faces are: numbered boxes over the picture, or a square that the visitor draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from demo.components.base import STATIC, JsonHTML, NoStubMeta
from demo.security.files import LONGEST
from demo.sessions.session import FaceSession, Spot
from demo.settings import number
from ganmut.text import quote

SHOWN = (210, 210)  # px of the picture on the page, at least
REACH = 40  # px there that a finger needs
FaceAmongEdits = tuple[Spot, dict[int, str]]
MOST_EDITS, MOST_LETTERS = 20, 500  # faces with edits beside the one in hand; of a link


def spot(value: Any) -> Spot:
    """The spot that a browser or an API call sent: {"number": 2} or {"square": [x, y, side]} in
    pixels; anything else raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError(f'a face is {{"number": 1}}, got {quote(value)}')
    square = value.get("square")
    if square is not None:
        if not isinstance(square, list | tuple) or len(square) != 3:
            raise ValueError(f"a square is [x, y, side] in pixels, got {quote(square)}")
        sides = (number(v, -LONGEST, LONGEST, "a side of the square") for v in square)
        return tuple(round(side, 1) for side in sides)
    which = number(value.get("number", 1), 1, 999, "number of the face")
    return int(which)


def picker_value(session: FaceSession) -> dict[str, Any]:
    """What is drawn over a picture whose faces are known."""
    x, y, w, _ = session.face.box
    return empty_value(session.picture) | {
        "number": session.number,
        "edited": sorted(session.edits),
        "boxes": [[round(v, 1) for v in face.box] for face in session.faces],
        "square": None if session.number else [x, y, w],
    }


def empty_value(picture: np.ndarray) -> dict[str, Any]:
    """What is drawn over a picture without a face: a square in its middle, to be moved."""
    height, width = picture.shape[:2]
    side = round(0.4 * min(height, width))
    square = [(width - side) // 2, (height - side) // 2, side]
    reach = round(REACH * max(width / SHOWN[0], height / SHOWN[1]))
    place = {"width": width, "height": height, "reach": reach}
    return place | {"number": 0, "edited": [], "boxes": [], "square": square}


class FacePicker(JsonHTML, metaclass=NoStubMeta):
    """Lies over the photograph. A click on a box chooses that face; where there is no box, a drag
    draws the crop. `input` fires on either."""

    schema = {  # noqa: RUF012
        "type": "object",
        "properties": {
            "number": {"type": "integer", "minimum": 0},
            "square": {"type": "array", "items": {"type": "number"}},
        },
    }

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        super().__init__(
            value or {"number": 1},
            html_template=(STATIC / "face_picker.html").read_text("utf-8"),
            js_on_load=(STATIC / "face_picker.js").read_text("utf-8"),
            **options,
        )

    def preprocess(self, payload: Any) -> Spot:
        return spot(payload)


class FaceInput(FacePicker, metaclass=NoStubMeta):
    """For programs: a face, and in "edits" those of other faces of the picture, number -> link."""

    schema = {  # noqa: RUF012
        "type": "object",
        "properties": FacePicker.schema["properties"]
        | {"edits": {"type": "object", "additionalProperties": {"type": "string"}}},
    }

    def preprocess(self, payload: Any) -> FaceAmongEdits:
        return spot(payload), edits(payload.get("edits", {}))


def edits(value: Any) -> dict[int, str]:
    """{number of a face: link of its edit} of what an API call sent; else ValueError."""
    if not isinstance(value, dict) or len(value) > MOST_EDITS:
        raise ValueError(f"edits are links by number of the face, at most {MOST_EDITS}")
    found = {}
    for name, link in value.items():
        if not name.isascii() or not name.isdigit() or not isinstance(link, str):
            raise ValueError(f'an edit is {{"1": "?method=ganmut"}}, got {quote({name: link})}')
        found[int(number(int(name[:4]), 1, 999, "number of the face"))] = link[:MOST_LETTERS]
    return found
