"""Figures with lines of faces: all methods on one face, paths to an emotion, single action
units."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ganmut.editor import Editor
from ganmut.emotions import UNIT_NAMES, UNITS

from .canvas import Person, edits, image_rows

SWEEP_UNITS = (1, 4, 9, 12, 26, 45)  # brows up and down, nose, mouth, jaw, lids


def emotion_codes(editor: Editor, emotions: tuple[str, ...]) -> Tensor:
    """m x dim: the codes of emotions at full intensity."""
    return torch.stack([editor.space.of(emotion) for emotion in emotions])


def method_grid(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """One person under each emotion, one method per line; the ground truth first."""
    lines = {"ground truth": torch.cat([person.picture, person.ground_truth(emotions)])}
    for name, editor in editors.items():
        made = edits(editor, person.picture, emotion_codes(editor, emotions))
        lines[name] = torch.cat([person.picture, made])
    return image_rows("one face, every method", lines, ["source", *emotions])


def emotion_path(editors: dict[str, Editor], person: Person, emotion: str, steps: int) -> Figure:
    """One person on each method's path from neutral to an emotion, one method per line."""
    lines = {}
    for name, editor in editors.items():
        space = editor.space
        codes = space.path(space.of(editor.emotions[0]), space.of(emotion), steps)
        lines[name] = edits(editor, person.picture, codes)
    return image_rows(f"neutral to {emotion}", lines)


def unit_sweep(editor: Editor, person: Person, steps: int) -> Figure:
    """One person under single action units from 0 to 1, the others as in neutral, one unit per
    line."""
    lines = {}
    for unit in SWEEP_UNITS:
        codes = _unit_codes(editor, unit, steps)
        lines[f"{UNIT_NAMES[unit]} (AU {unit})"] = edits(editor, person.picture, codes)
    return image_rows(f"{editor.name}: single action units from 0 to 1", lines)


def style_rows(
    editor: Editor, person: Person, emotions: tuple[str, ...], styles: int = 6
) -> Figure:
    """One person under each emotion with random styles, the same latents for all emotions; one
    style a line, the emotion's own code first (GANmut, supplement, figures 12 and 13)."""
    generator = torch.Generator()
    drawn = [
        editor.space.sample_emotion(emotion, styles, generator.manual_seed(0))
        for emotion in emotions
    ]
    lines = {"own code": edits(editor, person.picture, emotion_codes(editor, emotions))}
    for number in range(styles):
        codes = torch.stack([codes[number] for codes in drawn])
        lines[f"style {number + 1}"] = edits(editor, person.picture, codes)
    return image_rows(f"{editor.name}: random styles", lines, list(emotions))


def unit_transfer(editors: dict[str, Editor], person: Person, columns: int = 8) -> Figure:
    """One person under the action units of other faces, one method per line (EF-GAN, supplement,
    figures 2, 3 and 5)."""
    lines = {"units of": person.others[:columns]}
    for name, editor in editors.items():
        codes = editor.space.clamp(person.units[:columns])
        lines[name] = edits(editor, person.picture, codes)
    return image_rows("action units of another face", lines)


def warped_sweep(editor: Editor, person: Person, steps: int) -> Figure | None:
    """The same sweep before new pixels are drawn: the source moved by the flow alone (DefGAN,
    figures 6 and 11); None for a method without a flow."""
    face, lines = editor.prepare(person.picture), {}
    faces = editor.select(face, torch.zeros(steps, dtype=torch.long))
    for unit in SWEEP_UNITS:
        flow = editor.edit_details(faces, _unit_codes(editor, unit, steps)).flow
        if flow is None:
            return None
        lines[f"{UNIT_NAMES[unit]} (AU {unit})"] = editor.warp_source(faces, flow)
    return image_rows(f"{editor.name}: the same, moved pixels alone", lines)


def _unit_codes(editor: Editor, unit: int, steps: int) -> Tensor:
    """steps x dim: one action unit from 0 to 1, the others as in neutral."""
    codes = editor.space.of(editor.emotions[0]).repeat(steps, 1)
    codes[:, UNITS.index(unit)] = torch.linspace(0, 1, steps)
    return codes
