"""Face, the detectors' protocol and their registry: ONE FILE in this folder = ONE DETECTOR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ganmut.registry import Registry

DETECTORS = Registry("detector", "ganmut.faces.detectors")


class NoFace(ValueError):
    """An image without the requested face."""


class FaceNumberError(NoFace):
    """A face number that an image does not have."""

    parameter = "face"  # see ganmut.errors

    def __init__(self, face: str | int, count: int):
        self.face, self.count = face, count
        numbers = "1" if count == 1 else f"1..{count}"
        faces = "1 face" if count == 1 else f"{count} faces"
        super().__init__(
            f"this image has {faces}; expected {numbers}, largest or all, got {face!r}"
        )


class DetectorMissing(ValueError):
    """A detector without its package or weights; the message says how to get them."""


@dataclass(frozen=True)
class Face:
    """One face, in pixels of its image (x right, y down, 0 = centre of the first pixel).

    points: float64 5 x 2: left eye, right eye, nose, left mouth corner, right mouth corner; left
    and right are the viewer's. box: (x, y, width, height). score: 0..1, confidence of the detector,
    not comparable between detectors.
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
        """Area of the box in square pixels; "largest" refers to it."""
        return self.box[2] * self.box[3]

    def rescale(self, scale: float) -> Face:
        """The same face in an image that is `scale` times as large."""
        x, y, width, height = self.box
        corner = (np.array([x, y]) + 0.5) * scale - 0.5
        points = (self.points + 0.5) * scale - 0.5
        return Face(points, (*corner, width * scale, height * scale), self.score)


class Detector(Protocol):
    """A registered detector, built from the text after the colon of `name:argument`."""

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB image, largest first; may be empty."""
        ...


def box_overlap(a: Face, b: Face) -> float:
    """Intersection of two boxes as a share of the smaller box, 0..1."""
    ax, ay, aw, ah = a.box
    bx, by, bw, bh = b.box
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(a.area, b.area), 1e-9)


def non_max_suppression(faces: list[Face], limit: float = 0.5) -> list[Face]:
    """Keeps of faces that overlap by more than `limit` the one of highest score; largest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(box_overlap(face, other) <= limit for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda face: -face.area)
