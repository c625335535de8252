"""Figures of what an edit changes: differences from the source, flows, boxes of local branches."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from bench.figures.canvas import INCH, Person, bare, edits, lined_up
from bench.figures.lines import named
from ganmut import images as pictures
from ganmut.editor import Editor

GAIN = 4  # how much larger differences are drawn
ARROWS = 16  # arrows across a face
PAIR = ("ganimation", "defgan")  # what DefGAN's own difference images set side by side


def figures(
    editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]
) -> dict[str, Figure]:
    """Name -> figure: differences of all, GANimation against DefGAN where both are there, flows and
    boxes of the methods that have some.
    """
    made = {"change": differences(editors, person, emotions)}
    if all(name in editors for name in PAIR):
        made["change_" + "_".join(PAIR)] = against(editors, person, emotions)
    for name, editor in editors.items():
        flow = editor.edit_details(
            _repeated(editor, person, emotions), named(editor, emotions)
        ).flow
        if flow is not None:
            made[f"flow_{name}"] = arrows(name, flow.float().cpu(), person, emotions)
    boxes = {name: found for name, editor in editors.items() if (found := local_boxes(editor))}
    if boxes:
        made["boxes"] = framed(boxes, person)
    return made


def differences(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """|edited - source|, amplified, dark on white, a method a line; the truth's above them."""
    lines = {"truth": difference(person.answers(emotions), person)}
    for name, editor in editors.items():
        lines[name] = difference(edits(editor, person, named(editor, emotions)), person)
    return lined_up(f"change from the source, x {GAIN}", lines, list(emotions))


def against(editors: dict[str, Editor], person: Person, emotions: tuple[str, ...]) -> Figure:
    """Edits and differences of two methods, one under the other."""
    lines = {}
    for name in PAIR:
        made = edits(editors[name], person, named(editors[name], emotions))
        lines |= {name: made, f"{name}, change": difference(made, person)}
    return lined_up(f"{' against '.join(PAIR)}, change x {GAIN}", lines, list(emotions))


def difference(edited: Tensor, person: Person) -> Tensor:
    """uint8 m x 3 x S x S: white where nothing changed, black from a change of 255 / GAIN on."""
    source = pictures.resize(person.picture.float(), edited.shape[-1])
    moved = (edited.float() - source).abs().mean(1, keepdim=True)
    return (255 - GAIN * moved).clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)


def arrows(name: str, flow: Tensor, person: Person, emotions: tuple[str, ...]) -> Figure:
    """The displacement of every pixel (m x 2 x S x S, x and y in pixels) over the source."""
    side = flow.shape[-1]
    step = max(side // ARROWS, 1)
    at = np.arange(step // 2, side, step)
    figure = Figure(figsize=(2.2 * INCH * len(flow), 2.2 * INCH + 0.5), layout="constrained")
    longest = float(flow.norm(dim=1).max())
    figure.suptitle(f"{name}: where each pixel comes from (up to {longest:.1f} px)", fontsize=10)
    scale = max(longest, 1e-6) / (1.5 * step)  # the longest arrow reaches half over its neighbour
    face = pictures.to_array(pictures.resize(person.picture.float(), side)[0].to(torch.uint8))
    for number, (emotion, field) in enumerate(zip(emotions, flow.numpy(), strict=True)):
        axes = figure.add_subplot(1, len(flow), number + 1)
        axes.imshow(face, alpha=0.6)
        x, y = (component[np.ix_(at, at)] for component in field)
        size = np.hypot(x, y)
        axes.quiver(at, at, x, y, size, angles="xy", scale_units="xy", scale=scale)
        axes.set_title(emotion, fontsize=8)
        bare(axes)
    return figure


def local_boxes(editor: Editor) -> dict[str, tuple[float, float, float, float]]:
    """Name -> (left, top, width, height) in pixels of the parts that a method edits by themselves;
    empty where it publishes no `boxes`.
    """
    found = getattr(editor.method, "boxes", None) or {}
    return {name: (box.left, box.top, box.width, box.height) for name, box in found.items()}


def framed(boxes: dict[str, dict[str, tuple[float, ...]]], person: Person) -> Figure:
    """The boxes of local branches on the source, a method a panel."""
    figure = Figure(figsize=(2.6 * len(boxes), 3.0), layout="constrained")
    for number, (name, parts) in enumerate(boxes.items()):
        axes = figure.add_subplot(1, len(boxes), number + 1)
        axes.imshow(pictures.to_array(person.picture[0]))
        for i, (part, (left, top, width, height)) in enumerate(parts.items()):
            edge = {"fill": False, "edgecolor": f"C{i}", "linewidth": 1.5}
            axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, **edge))
            axes.text(left + 1, top + 1, part, color=f"C{i}", fontsize=8, va="top")
        axes.set_title(f"{name}: local branches", fontsize=9)
        bare(axes)
    return figure


def _repeated(editor: Editor, person: Person, emotions: tuple[str, ...]):
    face = editor.prepare(person.picture)
    return editor.select(face, torch.zeros(len(emotions), dtype=torch.long))
