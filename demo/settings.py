"""A setting: a method and what the visitor moved; as a code, in words, as a link, as Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import torch
from torch import Tensor

from demo.sessions.session import MethodChoice
from ganmut.codes import CodeSpace
from ganmut.device import generator
from ganmut.emotions import UNITS, emotion_index
from ganmut.text import quote

UNIT_KEYS = {str(unit): unit for unit in UNITS}
SEEDS = 9999  # styles that a visitor can ask for by number
START = 0.9  # intensity of the first edit
FARTHEST = 1e9  # coordinates that a link may ask for


@dataclass(frozen=True)
class Setting:
    """What a visitor asks of a method; of point, mix and units it reads what its kind of code is.

    point: x, y of a gamut, -1..1. mix: emotion -> share, 0..1, of labels, styles and expressions.
    seed: of a style, 0 is the one at rest. units: action unit -> 0..1; units that are not named
    stay as the mix has them, or, without one, as the face has them.
    """

    method: str
    point: tuple[float, float] = (0.0, 0.0)
    mix: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    units: Mapping[int, float] = field(default_factory=dict)


def number(value: Any, low: float, high: float, name: str) -> float:
    """The value as a float; raises ValueError for all but numbers from low to high."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not low <= value <= high:  # NaN is in no range
        raise ValueError(f"{name} must be a number from {low:g} to {high:g}, got {quote(value)}")
    return float(value)


def parse_shares(value: Any, emotions: tuple[str, ...]) -> dict[str, float]:
    """{emotion: share} of what a browser or an API call sent, at most 1 together; else ValueError.

    Neutral is what the others leave; it may be named, and need not be.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f'a mix is {{"happy": 0.8}}, got {quote(value)}')
    named = {emotions[emotion_index(str(n), emotions)]: share for n, share in value.items()}
    mix = {name: number(share, 0, 1, name) for name, share in named.items()}
    mix.pop(emotions[0], None)
    total = max(sum(mix.values()), 1.0)
    return {name: share / total for name, share in mix.items() if share > 0}


def parse_intensities(value: Any) -> dict[int, float]:
    """{unit: 0..1} of what a browser or an API call sent, {"12": 0.8}; else ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(f'action units are {{"12": 0.8}}, got {quote(value)}')
    units = {}
    for name, intensity in value.items():
        unit = UNIT_KEYS.get(str(name).upper().removeprefix("AU"))
        if unit is None:
            raise ValueError(
                f"unknown action unit {quote(name)}; there are: {', '.join(UNIT_KEYS)}"
            )
        units[unit] = number(intensity, 0, 1, f"AU{unit}")
    return units


def parse_setting(choice: MethodChoice, point: Any, mix: Any, seed: Any, units: Any) -> Setting:
    """The setting of one method, of what a browser or an API call sent; what its kind of code does
    not read is not looked at. Raises ValueError with a sentence."""
    setting = Setting(choice.key)
    if choice.kind == "gamut":
        return replace(setting, point=point)
    if choice.presets:
        setting = replace(setting, units=parse_intensities(units))
    if choice.kind == "units":
        return setting
    shares = parse_shares(mix, choice.emotions)
    if choice.kind == "expression" and mix and not shares:  # without a mix, the face stays
        shares = {choice.emotions[0]: 1.0}
    setting = replace(setting, mix=shares)
    if choice.kind == "styles":
        setting = replace(setting, seed=int(number(seed, 0, SEEDS, "seed")))
    return setting


def setting_of_emotion(
    choice: MethodChoice, emotion: Any, intensity: Any, seed: Any, own: Mapping[str, float]
) -> Setting:
    """The setting of an emotion at an intensity 0..1, whatever a method takes: a point on the way
    to it, a mix of it alone, or units between those that the face shows (own, 0 where it is empty)
    and those of the emotion. Raises ValueError with a sentence."""
    intensity = number(intensity, 0, 1, "intensity")
    if not isinstance(emotion, str) or emotion not in choice.emotions:
        raise ValueError(
            f"unknown emotion {quote(emotion)}; there are: {', '.join(choice.emotions)}"
        )
    if choice.kind == "gamut":
        return Setting(choice.key, point=choice.towards(emotion, intensity))
    if choice.kind != "units":
        return parse_setting(choice, None, {emotion: intensity}, seed, {})
    start = list(own.values()) or [0.0] * len(UNITS)
    mixed = (o + intensity * (t - o) for o, t in zip(start, choice.presets[emotion], strict=True))
    return Setting(choice.key, units=dict(zip(UNITS, (round(v, 2) for v in mixed), strict=True)))


def code_of(space: CodeSpace, setting: Setting, own: list[float] | None = None) -> Tensor:
    """The code `[dim]` of a setting; own: the code that the face shows. Raises ValueError where the
    setting leaves out units that nothing says of the face."""
    if space.kind == "gamut":
        return space.clamp(torch.tensor(setting.point, dtype=torch.float32))
    if space.kind == "units" or (space.has_units and not setting.mix):
        if own is None and len(setting.units) < len(UNITS):
            raise ValueError(
                f"{setting.method} cannot see which action units this face shows: "
                f"name all {len(UNITS)} of them"
            )
        return space.units(setting.units, own)
    if space.kind == "styles" and setting.seed:
        return styled_mix(space, setting.mix, setting.seed)
    code = space.mix(setting.mix)
    return space.units(setting.units, code.tolist()) if space.has_units else code


def styled_mix(space: CodeSpace, mix: Mapping[str, float], seed: int) -> Tensor:
    """The code of a mix, each emotion in the style of a seed."""
    code = (1 - sum(mix.values())) * space.of(space.emotions[0])
    for emotion, share in mix.items():
        code = code + share * space.sample_emotion(emotion, 1, generator(seed))[0]
    return space.clamp(code)


def words(setting: Setting, choice: MethodChoice) -> str:
    """The setting as a line of text."""
    if choice.kind == "gamut":
        x, y = setting.point
        angle, radius = math.degrees(math.atan2(y, x)) % 360, math.hypot(x, y)
        return f"angle {angle:.0f}°, radius {radius:.2f}"
    mixed = [f"{name} {share:.2f}" for name, share in setting.mix.items()]
    if choice.presets:
        least = 0.1 if choice.kind == "units" else 0.0  # all of them may be named there
        shown = ((unit, value) for unit, value in sorted(setting.units.items()) if value >= least)
        moved = [f"AU{unit} {value:.2f}" for unit, value in shown]
        return ", ".join(mixed + moved) or "as it is"
    mixed = mixed or [choice.emotions[0]]
    return ", ".join(mixed) + (f", style {setting.seed}" if setting.seed else "")


def outside(setting: Setting, choice: MethodChoice, code: list[float]) -> str:
    """A sentence where a gamut has no such point, or ""; code: what was edited with."""
    if choice.kind != "gamut" or math.dist(code, setting.point) < 1e-3:
        return ""
    asked, used = (f"({x:.4g}, {y:.4g})" for x, y in (setting.point, code))
    return f"The point {asked} lies outside the gamut; the nearest point of it, {used}, was used."


def emotion_button(choice: MethodChoice, setting: Setting) -> tuple[str, float]:
    """(name of the emotion button that is pressed or "", intensity) for a setting."""
    if choice.kind == "expression" and len(setting.mix) != 1:
        return "", START
    if choice.mixes and not setting.mix:  # neutral is drawn
        return choice.emotions[0], 1.0
    return next(iter(setting.mix.items()), (choice.favourite, START))


def names_values(query: Mapping[str, str], choice: MethodChoice) -> bool:
    """Whether a link says what to draw, and not the method alone. Expressions and units that it
    leaves out are those of the face."""
    named = set("xy") if choice.kind == "gamut" else set(choice.emotions)
    return choice.kind in ("expression", "units") or bool(named & set(query))


def link(setting: Setting, choice: MethodChoice) -> str:
    """The query of a setting: "?method=ganmut&x=0.4&y=-0.6"; never anything of a picture.

    Four digits: `parse_link` gives the setting again, and of that the same link.
    """
    terms: dict[str, Any] = {"method": setting.method}
    if choice.kind == "gamut":
        terms |= {axis: digits(v) for axis, v in zip("xy", setting.point, strict=True)}
    else:
        # Rounded up, the shares of a mix could be over 1 together, and be divided by that.
        neutral = {choice.emotions[0]: 1.0} if choice.kind in ("labels", "styles") else {}
        mix = setting.mix or neutral
        terms |= {name: digits(share - 4e-5) for name, share in mix.items()}
        terms |= {f"au{unit}": digits(value) for unit, value in setting.units.items()}
        terms |= {"seed": setting.seed} if setting.seed else {}
    return "?" + urlencode(terms)


def digits(value: float) -> str:
    """Four digits after the point, without zeros at the end."""
    return f"{round(value, 4) + 0.0:g}"


def query_of(link: str) -> dict[str, str]:
    """The terms of a link that `link` made."""
    return dict(parse_qsl(link.removeprefix("?")))


def find_choice(name: Any, choices: Mapping[str, MethodChoice]) -> MethodChoice | None:
    """The method of this name, or None; see `MethodChoice.names`."""
    return next((choice for choice in choices.values() if name in choice.names), None)


def parse_link(query: Mapping[str, str], choices: Mapping[str, MethodChoice]) -> Setting | None:
    """The setting that a link carries, or None where it names none; what it spells wrong is left
    out: a link is no place for an error."""
    choice = find_choice(query.get("method"), choices)
    if choice is None:
        return None
    values = {name: value for name, text in query.items() if (value := _value(text)) is not None}
    share = {name: min(max(value, 0.0), 1.0) for name, value in values.items()}
    units = {n[2:]: v for n, v in share.items() if n[:2] == "au" and n[2:] in UNIT_KEYS}
    mix = {name: value for name, value in share.items() if name in choice.emotions}
    # Not clamped yet: who opens it is told which point was asked for, see `outside`.
    point = tuple(min(max(values.get(axis, 0.0), -FARTHEST), FARTHEST) for axis in "xy")
    seed = min(max(values.get("seed", 0.0), 0.0), SEEDS)
    return parse_setting(choice, point, mix, seed, units)


def _value(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def exact_numbers(code: Tensor) -> list[float]:
    """The shortest decimal numbers that give the same float32 code."""
    return [float(str(value)) for value in code.numpy()]


def snippet(edits: Sequence[tuple[MethodChoice, Tensor, int, list[float] | None]]) -> str:
    """Python that makes the same edits of a photograph, one face after the other.

    edits: of each the method, the code, the number of the face, and the code that the face shows
    where the method does not read it, see `Editor.prepare`.
    """
    made = "\n".join(_edit_lines(*edit) for edit in edits)
    return f"""import ganmut, torch
from ganmut import faces, images

picture = images.read_image("photo.jpg")
{made}
images.write_png("edited.png", picture)"""


def _edit_lines(
    choice: MethodChoice, code: Tensor, number_of_face: int, own: list[float] | None
) -> str:
    numbers = ", ".join(map(str, exact_numbers(code)))
    face = f", face={number_of_face}" if number_of_face > 1 else ""
    face += f", source_code=torch.tensor({own})" if own else ""
    return f"""editor = ganmut.load("{choice.weight}")
code = torch.tensor([{numbers}])
picture = faces.edit_image(picture, editor, code{face}).pixels"""
