"""Score: what a metric finds, and the two ways in which it may find nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


class TooFew(ValueError):
    """Fewer samples than the metric needs; the message says how many it needs."""


class NotMeasured(Exception):
    """Why a cell stays empty without anything being wrong, in one sentence for the table."""


@dataclass(frozen=True)
class Score:
    """value over n faces, 95 % interval over faces; parts and intervals by name (emotions,
    budgets).

    draws: bootstrap draws of the value (under "") and of the parts, paired over rows: what claims
    are judged on. note: what a reader must know beside the number.
    """

    value: float
    n: int
    parts: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    note: str = ""

    def join(self, other: Score) -> Score:
        """This score with the parts of another beside its own."""
        own = {name: draws for name, draws in other.draws.items() if name}
        return Score(
            self.value,
            self.n,
            {**self.parts, **other.parts},
            self.interval,
            {**self.intervals, **other.intervals},
            {**self.draws, **own},
            self.note,
        )
