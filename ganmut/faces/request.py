"""What a person asks of pictures, before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganmut.images import AnyPicture

if TYPE_CHECKING:
    from ganmut.video.code_path import Stop


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """The parameters of `ganmut.edit`, which are the options of the command `edit`.

    Exactly one of emotion, code, units and (for clips) path is the target. intensity, units,
    source_units: 0..1. None: the default, or not asked for.
    """

    method: str | None = None
    weights: str | Path | None = None
    emotion: str | None = None
    intensity: float | None = None
    code: Sequence[float] | None = None
    units: Mapping[int, float] | None = None
    source_units: Mapping[int, float] | None = None
    reference: AnyPicture | None = None
    path: Sequence[Stop] | None = None
    detector: str = "builtin"
    face: str | int = "largest"
    device: str | None = None
