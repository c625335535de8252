"""The builtin detector: LBP cascade proposals, refined and verified by the five-point network."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from ganmut.faces.align import BadPoints, similarity, template
from ganmut.faces.detectors.base import DETECTORS, Face, downscale, non_max_suppression
from ganmut.faces.landmarks.five_points import (
    LUMA,
    SIZE,
    load_network,
    locate_points,
    read_windows,
)
from ganmut.text import quote

# The cascade's box relative to the aligned crop, measured on photographs: its side in sides of the
# crop, and the centre of the crop (x, y) in sides of the box.
BOX_SIDE, CROP_CENTRE = 0.8, np.array([0.5, 0.48])
# Longest side in pixels of the image for the cascade, and for the scan without a cascade. The
# points are then located once more at full resolution.
CASCADE_SIDE, SCAN_SIDE = 512, 256


@DETECTORS.register("builtin")
class Builtin:
    """Finds upright faces from about 1/17 of the longer side; needs only the bundled weight.

    The cascade runs at a low threshold. A proposal becomes a face if the network classifies it as
    one in three successive passes and its points converge. Without any, the network scans the image
    itself in sliding windows.
    """

    min_score = 0.95  # of a face proposed by the cascade
    min_scan_score = 0.995  # of a face found by the scan, which has more windows to go wrong
    max_shift = 0.15  # of the points between the last two passes, mean, in eye distances

    def __init__(self, argument: str = ""):
        if argument:
            raise ValueError(f"the builtin detector takes no argument, got {quote(argument)}")
        self.network = load_network()
        self.cascade = open_cascade()

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first."""
        small, scale = downscale(picture, CASCADE_SIDE)
        faces = self._verify(small, self._propose(small), self.min_score)
        if not faces:
            tiny, ratio = downscale(small, SCAN_SIDE)
            faces = self._verify(tiny, self._scan(tiny), self.min_scan_score)
            faces = [face.rescale(1 / ratio) for face in faces]
        faces = [face.rescale(1 / scale) for face in faces]
        return [self._refine(picture, face) for face in faces] if scale < 1 else faces

    def _propose(self, picture: np.ndarray) -> np.ndarray:
        """Initial points N x 5 x 2 from the boxes of the cascade: the template in each box."""
        grey = np.asarray(Image.fromarray(picture).convert("L"))
        unit = template(1) / BOX_SIDE + CROP_CENTRE
        points = [unit * side + [x, y] for x, y, side in cascade_boxes(self.cascade, grey)]
        return np.array(points).reshape(-1, 5, 2)

    def _scan(self, picture: np.ndarray, count: int = 12) -> np.ndarray:
        """Points count x 5 x 2 of the windows with the highest scores, over all scales."""
        grey = torch.from_numpy(picture @ LUMA)[None, None]
        found, scores = [], []
        # Larger than the picture: a face may fill it and more.
        side = 1.25 * max(picture.shape[:2])
        while side > 48:
            # Windows stay at SIZE px: the image is resized so that `side` pixels fill one.
            ratio = SIZE / side
            shape = [max(1, round(length * ratio)) for length in grey.shape[-2:]]
            level = F.interpolate(grey, shape, mode="bilinear", antialias=True, align_corners=False)
            level = F.pad(level, [SIZE // 2] * 4, mode="replicate")
            step = SIZE // 4
            windows = level.unfold(2, SIZE, step).unfold(3, SIZE, step)
            rows, columns = windows.shape[2:4]
            points, logits = read_windows(self.network, windows.reshape(-1, 1, SIZE, SIZE) / 255)
            corner = (
                torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1) * step
                - SIZE // 2
            )
            # From pixels of the window to pixels of the picture; pixel centres are at integers.
            found.append((points + corner[:, None] + 0.5) / ratio - 0.5)
            scores.append(logits)
            # 1.3 a scale and a quarter of a window a step: within what the first pass corrects.
            side /= 1.3
        if not found:
            return np.zeros((0, 5, 2))
        best = torch.cat(scores).argsort(descending=True)[:count]
        return torch.cat(found)[best].double().numpy()

    def _verify(self, picture: np.ndarray, initial: np.ndarray, min_score: float) -> list[Face]:
        """The faces among initial points N x 5 x 2: scores of at least `min_score`, points that
        converge, upright, without overlap."""
        points, scores = locate_points(self.network, picture, initial)
        # A low bar first: boxes of the cascade are off, and the second window is centred.
        points, scores = locate_points(self.network, picture, points[scores > 0.1])
        candidates = non_max_suppression(_faces(points, scores, min_score))
        if not candidates:
            return []
        before = np.stack([face.points for face in candidates])
        points, scores = locate_points(self.network, picture, before)
        shift = np.linalg.norm(points - before, axis=2).mean(1)
        # False alarms of the cascade have points that keep moving from pass to pass.
        steady = [
            moved <= self.max_shift * eye_distance(five)
            for moved, five in zip(shift, points, strict=True)
        ]
        return non_max_suppression(_faces(points[steady], scores[steady], min_score))

    def _refine(self, picture: np.ndarray, face: Face) -> Face:
        """The face with its points located once more, in the picture at full resolution."""
        points, scores = locate_points(self.network, picture, face.points[None])
        return _face(points[0], scores[0]) or face


def _faces(points: np.ndarray, scores: np.ndarray, min_score: float) -> list[Face]:
    """The upright faces of points N x 5 x 2 with scores of at least `min_score`."""
    pairs = zip(points, scores, strict=True)
    found = [_face(five, score) for five, score in pairs if score >= min_score]
    return [face for face in found if face]


def _face(points: np.ndarray, score: float) -> Face | None:
    """The face of five points, with the cascade's box (brow to chin); None above 60 degrees of
    roll or without an alignment."""
    try:
        transform = similarity(points, SIZE)
    except BadPoints:
        return None
    if abs(math.degrees(transform.rotation)) > 60:
        return None
    middle = transform.inverse(np.full((1, 2), (SIZE - 1) / 2))[0]
    side = BOX_SIDE * SIZE / transform.scale
    return Face(points, (*(middle + 0.5 - CROP_CENTRE * side), side, side), score)


def open_cascade() -> Cascade:
    """scikit-image's frontal-face cascade of local binary patterns."""
    return Cascade(lbp_frontal_face_cascade_filename())


def cascade_boxes(cascade: Cascade, grey: np.ndarray, min_side: int = 30) -> np.ndarray:
    """float N x 3: x, y and side of the square proposals in an H x W uint8 picture."""
    height, width = grey.shape
    found = cascade.detect_multi_scale(
        np.ascontiguousarray(grey) / 255.0,
        scale_factor=1.15,
        step_ratio=1.0,
        min_size=(min_side, min_side),
        max_size=(width, height),
        min_neighbor_number=1,
    )
    return np.array([(box["c"], box["r"], box["width"]) for box in found], float).reshape(-1, 3)


def eye_distance(points: np.ndarray) -> float:
    """Distance between the eyes of points 5 x 2, in pixels."""
    return float(np.linalg.norm(points[1] - points[0]))
