"""Face, the detectors' contract and their registry: ONE FILE in this folder = ONE DETECTOR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ganmut.registry import Registry

DETECTORS = Registry("detector", "ganmut.faces.detectors")


class NoFace(ValueError):
    """A picture without the face that was asked for; the message says what to try."""


class DetectorMissing(ValueError):
    """A detector whose package or weights are not at hand; the message says how to get them."""


@dataclass(frozen=True)
class Face:
    """One face, in pixels of its picture (x right, y down, 0 = centre of the first pixel).

    points: float64 5 x 2: left eye, right eye, nose, left mouth corner, right mouth corner, left as
    the viewer sees it. box: (x, y, width, height). score: 0..1, how sure the detector is; scores of
    two detectors do not compare.
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

    def rescale(self, scale: float) -> Face:
        """The same face in a picture that is `scale` times as large."""
        x, y, width, height = self.box
        corner = (np.array([x, y]) + 0.5) * scale - 0.5
        points = (self.points + 0.5) * scale - 0.5
        return Face(points, (*corner, width * scale, height * scale), self.score)


class Detector(Protocol):
    """What a file here registers: built from the text after the colon of `name:argument`."""

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first; may be empty."""
        ...


def box_overlap(a: Face, b: Face) -> float:
    """Share of the smaller box that the two boxes have in common, 0..1."""
    ax, ay, aw, ah = a.box
    bx, by, bw, bh = b.box
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(a.area, b.area), 1e-9)


def non_max_suppression(faces: list[Face], limit: float = 0.5) -> list[Face]:
    """One face a place: of those that overlap by more than `limit` the surest; largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(box_overlap(face, other) <= limit for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.area)
