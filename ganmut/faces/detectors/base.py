"""Face, the protocol and the registry of detectors. Each other file of this folder is a
detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from ganmut.registry import Registry
from ganmut.text import quantity, quote

DETECTORS = Registry("detector", "ganmut.faces.detectors")


class NoFace(ValueError):
    """The image does not show the requested face."""


class FaceNumberError(NoFace):
    """The image does not have a face of this number."""

    parameter = "face"  # see ganmut.errors

    def __init__(self, face: str | int, count: int):
        self.face, self.count = face, count
        numbers = "1" if count == 1 else f"1..{count}"
        faces = quantity(count, "face")
        super().__init__(
            f"this image has {faces}; expected {numbers}, largest or all, got {quote(face)}"
        )


class DetectorMissing(ValueError):
    """A detector lacks its package or weights; the message says how to get them."""


@dataclass(frozen=True)
class Face:
    """A face, in pixels of its image (x right, y down, pixel centres at integers).

    points: float64 5 x 2, left eye, right eye, nose, left and right mouth corner, as the viewer
    sees them. box: (x, y, width, height). score: confidence of the detector in 0..1, not comparable
    between detectors. turn: degrees counter-clockwise by which the image was turned to find the
    face. Raises ValueError for points of another shape or that are not finite.
    """

    points: np.ndarray
    box: tuple[float, float, float, float]
    score: float
    turn: int = 0

    def __post_init__(self) -> None:
        points = np.asarray(self.points, np.float64)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise ValueError(f"a face has 5 finite points (5 x 2), got shape {points.shape}")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "box", tuple(float(value) for value in self.box))
        object.__setattr__(self, "score", float(self.score))

    @property
    def area(self) -> float:
        """Area of the box in square pixels, by which faces are ordered."""
        return self.box[2] * self.box[3]

    def rescale(self, scale: float) -> Face:
        """The same face in its image resized by `scale`."""
        x, y, width, height = self.box
        corner = (np.array([x, y]) + 0.5) * scale - 0.5
        points = (self.points + 0.5) * scale - 0.5
        return Face(points, (*corner, width * scale, height * scale), self.score, self.turn)

    def rotate_back(self, quarters: int, height: int, width: int) -> Face:
        """The face, found in an image after `quarters` turns of np.rot90, in pixels of the image
        itself, height x width px."""

        def back(x: float, y: float) -> tuple[float, float]:
            if quarters == 1:
                return width - 1 - y, x
            return (width - 1 - x, height - 1 - y) if quarters == 2 else (y, height - 1 - x)

        x, y, w, h = self.box
        ends = np.array([back(x, y), back(x + w, y + h)])
        points = np.array([back(*point) for point in self.points])
        box = (*ends.min(0), *np.ptp(ends, axis=0))
        return Face(points, box, self.score, 90 * quarters)


class Detector(Protocol):
    """A registered detector, built from the text after the colon of `name:argument`."""

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB image, largest first; may be empty."""
        ...


def box_overlap(a: Face, b: Face) -> float:
    """Area of the intersection of two boxes divided by that of the smaller box, 0..1."""
    ax, ay, aw, ah = a.box
    bx, by, bw, bh = b.box
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(a.area, b.area), 1e-9)


def non_max_suppression(faces: list[Face], limit: float = 0.5) -> list[Face]:
    """The faces, largest first, without those that overlap a face of higher score by more than
    `limit` (`box_overlap`)."""
    selected: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(box_overlap(face, other) <= limit for other in selected):
            selected.append(face)
    return sorted(selected, key=lambda face: -face.area)


def downscale(picture: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """(picture with a longer side of at most `longest` px, its scale in 0..1)."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1:
        return picture, 1.0
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)), scale
