"""Target codes from what a person specifies: an emotion, a code's numbers, or action units."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping

import torch
from torch import Tensor

from ganmut import images
from ganmut.editor import Editor
from ganmut.errors import ParameterError
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.pipeline import Target, encode_reference
from ganmut.faces.request import EditRequest


def make_target_code(editor: Editor, request: EditRequest) -> Target:
    """What `edit_image` takes, of exactly one of: an emotion at an intensity 0..1 (default 1),
    a code's numbers, or action units {FACS number: 0..1}.

    source_units: units that the face shows already; those that `units` does not name keep these
    values. Without them, units stay units: what each face shows is read when it is edited.
    reference: a picture whose face sets the style of the emotion. Raises ParameterError for none or
    several of the three and for what the method's space does not have, BadImage or NoFace for an
    unusable reference.
    """
    given = sum(target is not None for target in (request.emotion, request.code, request.units))
    if given != 1:
        raise ParameterError(
            "emotion, code, units", f"exactly one of the three is required, got {given}"
        )
    if request.emotion is not None:
        return _emotion_code(editor, request.emotion, request)
    if request.intensity is not None:
        raise ParameterError("intensity", "an intensity requires an emotion; scale the code itself")
    if request.reference is not None:
        raise ParameterError("reference", "a reference image requires an emotion")
    if request.units is not None:
        source = source_code(editor, request.source_units)
        if not editor.space.has_units:
            raise ParameterError("units", f"{editor.name} is not controlled by action units")
        units = _unit_numbers(request.units, "units")
        named = editor.space.units(units, None if source is None else source.tolist())
        return units if source is None else named
    asked = _numbers(request.code)
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
    return editor.space.units(_unit_numbers(source_units, "source_units"))


def _numbers(code: object) -> Tensor:
    """float [n] of a code in any form; raises ParameterError."""
    try:
        numbers = torch.as_tensor(code, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):  # PyTorch at what is no number
        numbers = torch.zeros(())
    if numbers.dim() != 1:
        raise ParameterError("code", "a code is a list of numbers, such as [0.6, -0.2]")
    return numbers


def _unit_numbers(units: object, parameter: str) -> dict[int, float]:
    """{FACS number: value} of action units in any form; raises ParameterError."""
    if isinstance(units, Mapping):
        try:  # JSON has words for keys
            return {
                int(unit) if isinstance(unit, str) else operator.index(unit): float(value)
                for unit, value in units.items()
            }
        except (TypeError, ValueError, OverflowError):
            pass
    raise ParameterError(parameter, "action units are {FACS number: 0..1}, such as {12: 0.8}")


def _emotion_code(editor: Editor, emotion: str, request: EditRequest) -> Tensor:
    """The code [dim] of an emotion at the request's intensity, in the style of its reference."""
    if not isinstance(emotion, str):
        raise ParameterError(
            "emotion", f"expected the name of an emotion, got {type(emotion).__name__}"
        )
    intensity = 1.0 if request.intensity is None else request.intensity
    try:
        code = editor.space.of(emotion, intensity)
    except TypeError:
        raise ParameterError("intensity", "an intensity is a number between 0 and 1") from None
    reference = request.reference
    if reference is None:
        return code
    picture = images.as_picture(reference, "reference").pixels
    try:
        style = encode_reference(picture, editor, emotion, detector=request.detector)
    except NoFace as error:
        name = reference if isinstance(reference, str | os.PathLike) else "the reference"
        raise NoFace(f"{name}: {error}") from None
    return torch.lerp(editor.space.of(emotion, 0), style, intensity)
