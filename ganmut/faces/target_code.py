"""Target codes from what a person specifies: an emotion, a code's numbers, or action units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ganmut import images
from ganmut.editor import Editor
from ganmut.errors import ParameterError
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.pipeline import Target, encode_reference


def make_target_code(
    editor: Editor,
    *,
    emotion: str | None = None,
    intensity: float = 1.0,
    code: Sequence[float] | None = None,
    units: Mapping[int, float] | None = None,
    source_units: Mapping[int, float] | None = None,
    reference: str | Path | None = None,
    detector: str = "builtin",
) -> Target:
    """What `edit_image` takes, of exactly one of: an emotion at an intensity 0..1, a code's
    numbers, or action units {FACS number: 0..1}.

    source_units: units that the face shows already; those that `units` does not name keep these
    values. Without them, units stay units: what each face shows is read when it is edited.
    reference: an image whose face sets the style of the emotion. Raises ParameterError for none or
    several of the three and for what the method's space does not have, BadImage or NoFace for an
    unusable reference.
    """
    given = sum(option is not None for option in (emotion, code, units))
    if given != 1:
        raise ParameterError(
            "emotion, code, units", f"exactly one of the three is required, got {given}"
        )
    if reference is not None and emotion is None:
        raise ParameterError("reference", "a reference image requires an emotion")
    if emotion is not None:
        return _emotion_code(editor, emotion, intensity, reference, detector)
    if units is not None:
        source = source_code(editor, source_units)
        if not editor.space.has_units:
            raise ParameterError("units", f"{editor.name} is not controlled by action units")
        named = editor.space.units(units, None if source is None else source.tolist())
        return units if source is None else named
    asked = torch.tensor(code)
    nearest = editor.space.clamp(asked)
    if not torch.allclose(nearest, asked, atol=1e-6):
        numbers = " ".join(f"{value:.3g}" for value in nearest.tolist())
        raise ParameterError(
            "code", f"outside of {editor.name}'s code space; the nearest code is {numbers}"
        )
    return nearest


def source_code(editor: Editor, source_units: Mapping[int, float] | None) -> Tensor | None:
    """The code [dim] of the action units {FACS number: 0..1} that a face shows, or None for None.

    Raises ParameterError where the method has no action units, or reads what a face shows itself.
    """
    if not source_units:
        return None
    if not editor.space.has_units:
        raise ParameterError("source_units", f"{editor.name} is not controlled by action units")
    if editor.method.reads_source:
        raise ParameterError("source_units", f"{editor.name} reads itself what a face shows")
    return editor.space.units(source_units)


def _emotion_code(
    editor: Editor, emotion: str, intensity: float, reference: str | Path | None, detector: str
) -> Tensor:
    code = editor.space.of(emotion, intensity)
    if reference is None:
        return code
    picture = images.read_image(reference)
    try:
        style = encode_reference(picture, editor, emotion, detector=detector)
    except NoFace as error:
        raise NoFace(f"{reference}: {error}") from None
    return torch.lerp(editor.space.of(emotion, 0), style, intensity)
