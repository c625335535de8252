"""The grid of sample edits that a training writes at every tick."""

from __future__ import annotations

import torch
from torch import Tensor

from ganmut import images
from ganmut.datasets.base import FaceSet
from ganmut.editor import Editor
from ganmut.methods.base import Method


def choose_faces(faces: FaceSet, n: int = 6) -> Tensor:
    """uint8 n x 3 x S x S: the faces of the sample grid, neutral ones if there are n of them."""
    # From neutral faces every emotion has the same way to go.
    neutral = (faces.emotion == 0).nonzero()[:, 0].cpu()
    rows = neutral[:n] if len(neutral) >= n else torch.arange(min(n, len(faces)))
    return faces.faces(rows).cpu()


def render_grid(method: Method, shown: Tensor, grey: bool, device: torch.device) -> Tensor:
    """uint8 3 x H x W: one row per face, the source and every emotion at full intensity; below them
    mask and flow of the first face, for methods with them."""
    editor = Editor(method, {"grey": grey}, device)
    faces = editor.prepare(shown)
    edits = [editor.edit_details(faces, editor.space.of(e)) for e in editor.emotions]
    rows = torch.stack([shown, *(edit.images for edit in edits)], 1)
    for field in ("mask", "flow"):  # white: new pixels, or a long offset
        if getattr(edits[0], field) is not None:
            # One face is enough to see a mask saturate or a flow fold.
            marks = torch.stack([to_grey_image(getattr(edit, field)[:1]) for edit in edits], 1)
            rows = torch.cat([rows, torch.cat([shown[:1, None], marks.cpu()], 1)])
    return images.make_grid(rows.flatten(0, 1), rows.shape[1])


def to_grey_image(values: Tensor) -> Tensor:
    """uint8 B x 3 x S x S of a mask (0..1) or of the length of a flow (0..4 pixels)."""
    grey = values.float() if values.shape[1] == 1 else values.float().norm(dim=1, keepdim=True) / 4
    return (grey.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)
