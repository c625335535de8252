"""Rows of sliders as one value: seventeen action units, or the emotions of a mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demo.components.base import STATIC, JsonHTML, NoStubMeta
from demo.sessions.session import MethodChoice
from ganmut.emotions import UNIT_NAMES, UNITS

# What a unit does, for those who do not know the name.
HINTS = {
    1: "inner ends of the brows up",
    2: "outer ends of the brows up",
    4: "brows down and together",
    5: "eyes wide",
    6: "cheeks up, crow's feet",
    7: "eyes narrowed",
    9: "nose wrinkled",
    10: "upper lip up",
    12: "corners of the mouth up: a smile",
    14: "corners pressed in: dimples",
    15: "corners of the mouth down",
    17: "chin up, lower lip pushed",
    20: "mouth pulled wide",
    23: "lips pressed thin",
    25: "lips apart",
    26: "jaw down, mouth open",
    45: "eyes closed",
}


class Sliders(JsonHTML, metaclass=NoStubMeta):
    """Sliders 0..1; the value is {key: number} of those that were moved. `input` fires while one
    moves, `release` when it rests. rows: [[key, name, hint, where it stands unmoved]]."""

    schema = {  # noqa: RUF012
        "type": "object",
        "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
    }

    def __init__(
        self, value: dict[str, float] | None = None, *, rows: list | None = None, **options: Any
    ):
        row = (
            "<div class='sliders'>${rows.map(r => [...r.slice(0, 3), value[r[0]] ?? r[3]]).map("
            "r => `<label title='${r[2]}'><span>${r[1]}</span>"
            "<input type='range' min='0' max='1' step='0.01' data-key='${r[0]}' "
            "value='${r[3]}' style='--v:${r[3]}' aria-label='${r[2]}'>"
            "<b>${r[3].toFixed(2)}</b></label>`).join('')}</div>"
        )
        super().__init__(
            value or {},
            html_template=row,
            rows=rows or [],
            js_on_load=(STATIC / "sliders.js").read_text("utf-8"),
            **options,
        )


def unit_rows(shown: Sequence[float] | None = None) -> list[list]:
    """The seventeen action units with their FACS names, what they do, and where they stand."""
    return [
        [str(u), f"<em>AU{u}</em> {UNIT_NAMES[u]}", HINTS[u].replace("'", "&#39;"), value]
        for u, value in zip(UNITS, shown or [0.0] * len(UNITS), strict=True)
    ]


def mix_rows(choice: MethodChoice) -> list[list]:
    """The emotions of a mix; neutral is what they leave."""
    return [[name, name, f"share of {name}", 0.0] for name in choice.emotions[1:]]
