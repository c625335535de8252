"""The code of each moment of a clip: one code, or stops in time with the method's own way between
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ganmut.editor import Editor, PreparedFaces
from ganmut.errors import ParameterError
from ganmut.faces.pipeline import Target

STEPS = 65  # codes of a method's own interpolation between two stops; straight between these


@dataclass(frozen=True)
class Stop:
    """An emotion at an intensity 0..1, reached at `seconds` of a clip."""

    emotion: str
    intensity: float
    seconds: float


@dataclass(frozen=True, eq=False)
class CodePath:
    """times: T seconds, ascending; codes: T x dim. Before the first and after the last stop the
    code is theirs."""

    times: tuple[float, ...]
    codes: Tensor

    def at(self, seconds: float) -> Tensor:
        """The code [dim] of a moment."""
        times = torch.tensor(self.times)
        place = int(torch.searchsorted(times, seconds, right=True))
        if place in (0, len(times)):
            return self.codes[min(place, len(times) - 1)]
        before, after = self.times[place - 1], self.times[place]
        share = (seconds - before) / (after - before)
        return torch.lerp(self.codes[place - 1], self.codes[place], share)


def make_code_path(editor: Editor, stops: Sequence[Stop]) -> CodePath:
    """The CodePath through stops, along the interpolation of the editor's space. Raises
    ParameterError for fewer than two stops, times that do not rise, and what the space does not
    have."""
    if len(stops) < 2:
        raise ParameterError("path", f"a path needs at least two stops, got {len(stops)}")
    seconds = [stop.seconds for stop in stops]
    if any(not 0 <= a < b for a, b in pairwise(seconds)) or seconds[-1] == float("inf"):
        raise ParameterError("path", f"the times of stops must rise, got {seconds}")
    try:
        ends = [editor.space.of(stop.emotion, stop.intensity) for stop in stops]
    except ValueError as error:
        raise ParameterError("path", str(error)) from None
    times, codes = [seconds[0]], [ends[0][None]]
    for (a, b), (start, end) in zip(pairwise(ends), pairwise(seconds), strict=True):
        codes.append(editor.space.path(a, b, STEPS)[1:])
        times += [start + (end - start) * step / (STEPS - 1) for step in range(1, STEPS)]
    return CodePath(tuple(times), torch.cat(codes))


def frame_code(
    editor: Editor, faces: PreparedFaces, target: Target | CodePath, seconds: float
) -> Tensor:
    """N x dim or [dim]: the code of a frame at `seconds` of a clip.

    Methods that read what a face shows get the target's change from neutral, added to what the
    frame shows: speech and blinks stay. Units are values of each frame, as in pictures.
    """
    if isinstance(target, CodePath):
        code = target.at(seconds)
    elif isinstance(target, Tensor):
        code = target
    else:
        return editor.code_of_units(faces, target)
    if not editor.method.reads_source or faces.source_codes is None:
        return code
    return faces.source_codes.float().cpu() + code - neutral_code(editor)


def check_change(editor: Editor, target: Target | CodePath) -> None:
    """Raises ParameterError where a clip would stay as it is: neutral adds nothing to what frames
    show."""
    codes = target.codes if isinstance(target, CodePath) else target
    if not editor.method.reads_source or not isinstance(codes, Tensor):
        return
    if torch.allclose(codes, neutral_code(editor).expand_as(codes), atol=1e-6):
        raise ParameterError(
            "path" if isinstance(target, CodePath) else "emotion",
            f"in a clip {editor.name} adds the change from neutral to what each frame shows, and "
            "neutral adds nothing; give another emotion or another method",
        )


def neutral_code(editor: Editor) -> Tensor:
    """The code [dim] of a neutral face."""
    return editor.space.of(editor.emotions[0], 0)
