"""Face, the detectors' contract and their registry: ONE FILE in this folder = ONE DETECTOR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ganmut.registry import Registry

DETECTORS = Registry("detector", "ganmut.faces")


class NoFace(ValueError):
    """A picture without the face that was asked for; the message says what was found and what to try."""


class DetectorMissing(ValueError):
    """A detector whose package or weights are not at hand; the message says how to get them."""


@dataclass(frozen=True)
class Face:
    """One face of a picture, in pixels of that picture (x to the right, y down, 0 = centre of the first pixel).

    points: float64 5 x 2: left eye, right eye, nose, left mouth corner, right mouth corner, left as the viewer sees it.
    box: (x, y, width, height). score: 0..1, how sure the detector is; scores of two detectors do not compare.
    """

    points: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float64)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise ValueError(f"a face has 5 finite points (5 x 2), got shape {points.shape}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "box", tuple(float(value) for value in self.box))
        object.__setattr__(self, "score", float(self.score))

    @property
    def area(self) -> float:
        """Size of the box in square pixels: what "largest" means."""
        return self.box[2] * self.box[3]

    def moved(self, scale: float, shift: tuple[float, float] = (0.0, 0.0)) -> Face:
        """The same face in a picture that is `scale` times as large (pixel centres kept), then shifted."""
        x, y, width, height = self.box
        corner = (np.array([x, y]) + 0.5) * scale - 0.5 + shift
        points = (self.points + 0.5) * scale - 0.5 + shift
        return Face(points, (*corner, width * scale, height * scale), self.score)


class Detector(Protocol):
    """What a file in this folder registers: built from the text after the colon of `name:argument`."""

    def find(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first; an empty list where there is none."""
        ...


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, 0..1."""
    ax, ay, aw, ah = a.box
    bx, by, bw, bh = b.box
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(a.area + b.area - shared, 1e-9)


def distinct(faces: list[Face], limit: float = 0.3) -> list[Face]:
    """One face per place, the surest of those that overlap by more than `limit`; largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face, other) <= limit for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.area)
