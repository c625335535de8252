"""The code of each moment of a clip: one code, or stops in time with the method's own way between
them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ganmut.editor import Editor, PreparedFaces
from ganmut.errors import ParameterError
from ganmut.faces.pipeline import Target

STEPS = 65  # codes of a method's own interpolation between two stops; straight between these
SOURCE = "source"  # the stop at which the face shows its own expression
MEMORY = 4.0  # seconds over which a face's usual expression is averaged


@dataclass(frozen=True)
class Stop:
    """An emotion at an intensity 0..1, or SOURCE, reached at `seconds` of a clip."""

    emotion: str
    intensity: float
    seconds: float


@dataclass(frozen=True, eq=False)
class CodePath:
    """times: T seconds, ascending; codes: T x dim; shares: T in 0..1, how much of the edit is
    shown. Before the first and after the last stop they are those of the stop."""

    times: tuple[float, ...]
    codes: Tensor
    shares: Tensor

    def at(self, seconds: float) -> tuple[Tensor, float]:
        """(code [dim], share) of a moment."""
        place = int(torch.searchsorted(torch.tensor(self.times), seconds, right=True))
        if place in (0, len(self.times)):
            end = min(place, len(self.times) - 1)
            return self.codes[end], float(self.shares[end])
        before, after = self.times[place - 1], self.times[place]
        way = (seconds - before) / (after - before)
        code = torch.lerp(self.codes[place - 1], self.codes[place], way)
        return code, float(torch.lerp(self.shares[place - 1], self.shares[place], way))


def make_code_path(editor: Editor, stops: Sequence[Stop]) -> CodePath:
    """The CodePath through stops, along the interpolation of the editor's space. Raises
    ParameterError for fewer than two stops, times that do not rise, what the space does not have,
    and SOURCE for a method that does not read faces."""
    if len(stops) < 2:
        raise ParameterError("path", f"a path needs at least two stops, got {len(stops)}")
    seconds = [stop.seconds for stop in stops]
    if any(not 0 <= a < b for a, b in pairwise(seconds)) or seconds[-1] == float("inf"):
        raise ParameterError("path", f"the times of stops must rise, got {seconds}")
    shown = [stop for stop in stops if stop.emotion != SOURCE]
    if not shown:
        raise ParameterError("path", f"a path needs an emotion beside {SOURCE}")
    if len(shown) < len(stops) and not editor.method.reads_source:
        raise ParameterError("path", f"{editor.name} does not read what a face shows; use neutral")
    # Beside a stop SOURCE the code stays that of the neighbour: its share alone changes.
    nearest = [min(shown, key=lambda other: abs(other.seconds - stop.seconds)) for stop in stops]
    try:
        ends = [editor.space.of(stop.emotion, stop.intensity) for stop in nearest]
    except ValueError as error:
        raise ParameterError("path", str(error)) from None
    amounts = [0.0 if stop.emotion == SOURCE else 1.0 for stop in stops]
    times, codes, shares = [seconds[0]], [ends[0][None]], [torch.tensor(amounts[:1])]
    for number in range(1, len(stops)):
        a, b = number - 1, number
        codes.append(editor.space.path(ends[a], ends[b], STEPS)[1:])
        shares.append(torch.linspace(amounts[a], amounts[b], STEPS)[1:])
        length = seconds[b] - seconds[a]
        times += [seconds[a] + length * step / (STEPS - 1) for step in range(1, STEPS)]
    return CodePath(tuple(times), torch.cat(codes), torch.cat(shares))


class FrameCodes:
    """The codes of the frames of a clip, asked for in order.

    Methods that read what a face shows get the target, plus what the frame differs by from the
    face's usual expression: speech and blinks stay, a smile that lasts does not. Units are values
    of each frame, as in pictures.
    """

    def __init__(self, editor: Editor, target: Target | CodePath):
        self.editor, self.target = editor, target
        self.usual: Tensor | None = None  # the mean of the latest expressions
        self.weight = 0.0
        self.last: tuple[int, float] | None = None  # shot and time of the frame before

    def code(self, faces: PreparedFaces, seconds: float, shot: int) -> Tensor:
        """1 x dim or [dim]: the code of the face of a frame at `seconds` of the clip."""
        if isinstance(self.target, CodePath):
            code, share = self.target.at(seconds)
        elif isinstance(self.target, Tensor):
            code, share = self.target, 1.0
        else:
            return self.editor.code_of_units(faces, self.target)
        if not self.editor.method.reads_source or faces.source_codes is None:
            return code
        own = faces.source_codes.float().cpu()
        return torch.lerp(own, code + own - self._usual(own, seconds, shot), share)

    def _usual(self, own: Tensor, seconds: float, shot: int) -> Tensor:
        """The face's usual expression, with this frame's counted in."""
        if self.usual is None or self.last is None or self.last[0] != shot:
            self.usual, self.weight = own, 1.0
        else:
            # An average of all frames at first, which forgets those of more than MEMORY ago.
            fade = math.exp(-max(seconds - self.last[1], 0) / MEMORY)
            self.weight = 1 + fade * self.weight
            self.usual = torch.lerp(self.usual, own, 1 / self.weight)
        self.last = shot, seconds
        return self.usual

    def state(self) -> dict[str, Any]:
        """What the next code depends on, as JSON holds it, for `restore`."""
        usual = None if self.usual is None else self.usual.tolist()
        return {"usual": usual, "weight": self.weight, "last": self.last}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self.usual = None if state["usual"] is None else torch.tensor(state["usual"])
        self.weight = state["weight"]
        self.last = None if state["last"] is None else (state["last"][0], state["last"][1])
