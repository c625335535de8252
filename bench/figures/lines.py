"""Figures that line faces up: all methods on one face, ways to an emotion, single action units."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from bench.figures.canvas import Person, edits, lined_up
from ganmut.editor import Editor
from ganmut.emotions import UNIT_NAMES, UNITS

SWEPT = (1, 4, 9, 12, 26, 45)  # brows up and down, nose, mouth, jaw, lids


def named(editor: Editor, emotions: tuple[str, ...]) -> Tensor:
    """m x dim codes of named emotions at full intensity."""
    return torch.stack([editor.space.of(emotion) for emotion in emotions])


def sheet(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """One person under each emotion, a method a line; the truth above them."""
    lines = {"truth": torch.cat([person.picture, person.answers(emotions)])}
    for name, editor in editors.items():
        made = edits(editor, person, named(editor, emotions))
        lines[name] = torch.cat([person.picture, made])
    return lined_up("one face, every method", lines, ["source", *emotions])


def strip(editors: dict[str, Editor], person: Person, emotion: str, steps: int) -> Figure:
    """One person from neutral to an emotion, a method a line; the method's own path."""
    lines = {}
    for name, editor in editors.items():
        space = editor.space
        codes = space.path(space.of(editor.emotions[0]), space.of(emotion), steps)
        lines[name] = edits(editor, person, codes)
    return lined_up(f"neutral to {emotion}", lines)


def sweep(editor: Editor, person: Person, steps: int) -> Figure:
    """One person under single action units from 0 to 1, the others as in neutral, a unit a line."""
    lines = {}
    for unit in SWEPT:
        codes = editor.space.of(editor.emotions[0]).repeat(steps, 1)
        codes[:, UNITS.index(unit)] = torch.linspace(0, 1, steps)
        lines[f"{UNIT_NAMES[unit]} (AU {unit})"] = edits(editor, person, codes)
    return lined_up(f"{editor.name}: single action units from 0 to 1", lines)
