"""The code that a person asks for: an emotion by its name, numbers, action units, or the way that a
reference picture shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganmut import images
from ganmut.codes import ActionUnitSpace
from ganmut.editor import Editor
from ganmut.faces.base import NoFace
from ganmut.faces.pipeline import encode_reference


def make_target_code(
    editor: Editor,
    *,
    emotion: str | None = None,
    intensity: float = 1.0,
    code: Sequence[float] | None = None,
    units: Mapping[int, float] | None = None,
    reference: str | Path | None = None,
    detector: str = "builtin",
) -> Tensor:
    """The code [dim] of exactly one of: an emotion at an intensity 0..1, a code's own numbers, or
    units by their FACS number, 0..1. A reference picture says how the emotion is shown.

    Raises ValueError for none or several of them and for what the method's space does not have;
    BadImage or NoFace for a reference that holds no face.
    """
    if sum(option is not None for option in (emotion, code, units)) != 1:
        raise ValueError(
            "say what to show, in one way: --emotion NAME [--intensity 0..1], --code NUMBERS "
            "or --units AU=VALUE"
        )
    if reference is not None and emotion is None:
        raise ValueError("--reference says how to show an emotion: give --emotion NAME too")
    space = editor.space
    if emotion is not None:
        named = space.of(emotion, intensity)
        if reference is None:
            return named
        picture = images.read_image(reference)
        try:
            shown = encode_reference(picture, editor, emotion, detector=detector)
        except NoFace as error:
            raise NoFace(f"{reference}: {error}") from None
        return torch.lerp(space.of(emotion, 0), shown, intensity)
    if units is not None:
        if not isinstance(space, ActionUnitSpace):
            raise ValueError(
                f"{editor.name} is not steered by action units; "
                "give --emotion or --code, or a --method such as defgan"
            )
        return space.units(units)
    asked = torch.tensor(code)
    nearest = space.clamp(asked)
    if not torch.allclose(nearest, asked, atol=1e-6):
        numbers = " ".join(f"{value:.3g}" for value in nearest.tolist())
        raise ValueError(f"this code is outside of {editor.name}'s space; the nearest is {numbers}")
    return nearest
