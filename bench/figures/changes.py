"""Figures of the change that an edit makes: difference images, flows, boxes of local branches."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ganmut import images as pictures
from ganmut.editor import Editor, PreparedFaces

from .canvas import FACE_INCHES, Person, edits, hide_axes, image_rows
from .lines import emotion_codes

GAIN = 4  # factor by which differences are amplified
ARROWS = 16  # per side of a face
PAIR = ("ganimation", "defgan")  # compared in DefGAN's own difference images


def figures(
    editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]
) -> dict[str, Figure]:
    """Name -> figure: differences of all editors, GANimation against DefGAN where both exist, and
    flows and boxes of the methods that have them."""
    made = {"change": differences(editors, person, emotions)}
    if all(name in editors for name in PAIR):
        made["change_" + "_".join(PAIR)] = compare_pair(editors, person, emotions)
    for name, editor in editors.items():
        flow = editor.edit_details(
            _repeat(editor, person, emotions), emotion_codes(editor, emotions)
        ).flow
        if flow is not None:
            made[f"flow_{name}"] = flow_figure(name, flow.float().cpu(), person, emotions)
    boxes = {name: parts for name, editor in editors.items() if (parts := local_boxes(editor))}
    if boxes:
        made["boxes"] = box_figure(boxes, person)
    return made


def differences(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """|edited - source|, amplified, dark on white, one method per line; the ground truth first."""
    lines = {"ground truth": difference(person.ground_truth(emotions), person)}
    for name, editor in editors.items():
        lines[name] = difference(
            edits(editor, person.picture, emotion_codes(editor, emotions)), person
        )
    return image_rows(f"change from the source, x {GAIN}", lines, list(emotions))


def compare_pair(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """Edits and differences of the two methods of PAIR."""
    lines: dict[str, Tensor] = {}
    for name in PAIR:
        made = edits(editors[name], person.picture, emotion_codes(editors[name], emotions))
        lines |= {name: made, f"{name}, change": difference(made, person)}
    return image_rows(f"{' against '.join(PAIR)}, change x {GAIN}", lines, list(emotions))


def difference(edited: Tensor, person: Person) -> Tensor:
    """uint8 m x 3 x S x S: white for no change, black from a change of 255 / GAIN on."""
    source = pictures.resize(person.picture.float(), edited.shape[-1])
    change = (edited.float() - source).abs().mean(1, keepdim=True)
    return (255 - GAIN * change).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def flow_figure(name: str, flow: Tensor, person: Person, emotions: tuple[str, ...]) -> Figure:
    """The flow (m x 2 x S x S, x and y in pixels) as arrows over the source, one panel per
    emotion."""
    side = flow.shape[-1]
    step = max(side // ARROWS, 1)
    at = np.arange(step // 2, side, step)
    panel = 2.2 * FACE_INCHES
    figure = Figure(figsize=(panel * len(flow), panel + 0.5), layout="constrained")
    longest = float(flow.norm(dim=1).max())
    figure.suptitle(f"{name}: where each pixel comes from (up to {longest:.1f} px)", fontsize=10)
    scale = max(longest, 1e-6) / (1.5 * step)  # the longest arrow is 1.5 steps
    face = pictures.to_array(pictures.resize(person.picture.float(), side)[0].to(torch.uint8))
    for number, (emotion, field) in enumerate(zip(emotions, flow.numpy(), strict=True)):
        axes = figure.add_subplot(1, len(flow), number + 1)
        axes.imshow(face, alpha=0.6)
        x, y = (component[np.ix_(at, at)] for component in field)
        size = np.hypot(x, y)
        axes.quiver(at, at, x, y, size, angles="xy", scale_units="xy", scale=scale)
        axes.set_title(emotion, fontsize=8)
        hide_axes(axes)
    return figure


def local_boxes(editor: Editor) -> dict[str, tuple[float, float, float, float]]:
    """Name -> (left, top, width, height) in pixels of the parts that a method edits separately;
    empty for a method without `boxes`."""
    boxes = getattr(editor.method, "boxes", None) or {}
    return {name: (box.left, box.top, box.width, box.height) for name, box in boxes.items()}


def box_figure(
    boxes: dict[str, dict[str, tuple[float, float, float, float]]], person: Person
) -> Figure:
    """The boxes of local branches on the source, one method per panel."""
    figure = Figure(figsize=(2.6 * len(boxes), 3.0), layout="constrained")
    for number, (name, parts) in enumerate(boxes.items()):
        axes = figure.add_subplot(1, len(boxes), number + 1)
        axes.imshow(pictures.to_array(person.picture[0]))
        for i, (part, (left, top, width, height)) in enumerate(parts.items()):
            corner = (left - 0.5, top - 0.5)
            box = Rectangle(corner, width, height, fill=False, edgecolor=f"C{i}", linewidth=1.5)
            axes.add_patch(box)
            axes.text(left + 1, top + 1, part, color=f"C{i}", fontsize=8, va="top")
        axes.set_title(f"{name}: local branches", fontsize=9)
        hide_axes(axes)
    return figure


def _repeat(editor: Editor, person: Person, emotions: tuple[str, ...]) -> PreparedFaces:
    face = editor.prepare(person.picture)
    return editor.select(face, torch.zeros(len(emotions), dtype=torch.long))
