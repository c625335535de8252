"""The detector on every machine: a cascade proposes, the five-point network disposes."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from ganmut.faces.align import BadPoints, similarity, template
from ganmut.faces.detectors.base import DETECTORS, Face, non_max_suppression
from ganmut.faces.landmarks.five_points import LUMA, SIZE, load_network, locate_points

# How the cascade's box lies to the aligned crop (measured on photographs): its side in crop sides,
# and where in the box the centre of the crop is.
BOX_SIDE, CROP_CENTRE = 0.8, np.array([0.5, 0.48])
# The cascade reads a reduced picture; the points are then found once more at full resolution.
LONGEST, SCAN = 512, 256


@DETECTORS.register("builtin")
class Builtin:
    """Needs only the bundled weight; upright faces from about 1/17 of the longer side.

    The cascade is asked for every window it half believes in; a window counts as a face when the
    network says so three times and finds the same points twice. Where that leaves nothing, the
    network itself scans the picture.
    """

    sure = 0.95  # least score of a window that the cascade proposed
    sure_alone = 0.995  # and of one that only the scan found
    steady = 0.15  # most that the points may still move between two looks, in eye distances

    def __init__(self, argument: str = ""):
        if argument:
            raise ValueError(f"the builtin detector takes no argument, got {argument!r}")
        self.network = load_network()
        self.cascade = open_cascade()

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first."""
        small, scale = downscale(picture, LONGEST)
        faces = self._judge(small, self._propose(small), self.sure)
        if not faces:
            tiny, ratio = downscale(small, SCAN)
            faces = self._judge(tiny, self._scan(tiny), self.sure_alone)
            faces = [face.rescale(1 / ratio) for face in faces]
        faces = [face.rescale(1 / scale) for face in faces]
        return [self._sharpen(picture, face) for face in faces] if scale < 1 else faces

    def _propose(self, picture: np.ndarray) -> np.ndarray:
        """Guessed points N x 5 x 2 from the cascade's boxes."""
        grey = np.asarray(Image.fromarray(picture).convert("L"))
        unit = template(1) / BOX_SIDE + CROP_CENTRE
        guesses = [unit * side + [x, y] for x, y, side in cascade_boxes(self.cascade, grey)]
        return np.array(guesses).reshape(-1, 5, 2)

    def _scan(self, picture: np.ndarray, keep: int = 12) -> np.ndarray:
        """Points N x 5 x 2 of the windows that the network likes best, at all scales."""
        grey = torch.from_numpy(picture @ LUMA)[None, None]
        found, scores = [], []
        side = 1.25 * max(picture.shape[:2])
        while side > 48:
            ratio = SIZE / side
            shape = [max(1, round(length * ratio)) for length in grey.shape[-2:]]
            level = F.interpolate(grey, shape, mode="bilinear", antialias=True, align_corners=False)
            level = F.pad(level, [SIZE // 2] * 4, mode="replicate")
            step = SIZE // 4
            tiles = level.unfold(2, SIZE, step).unfold(3, SIZE, step)
            rows, columns = tiles.shape[2:4]
            points, logits = self.network(tiles.reshape(-1, 1, SIZE, SIZE) / 255)
            corner = (
                torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1) * step
                - SIZE // 2
            )
            found.append((points + corner[:, None] + 0.5) / ratio - 0.5)
            scores.append(logits)
            side /= 1.3
        if not found:
            return np.zeros((0, 5, 2))
        best = torch.cat(scores).argsort(descending=True)[:keep]
        return torch.cat(found)[best].double().numpy()

    def _judge(self, picture: np.ndarray, guesses: np.ndarray, sure: float) -> list[Face]:
        """The guesses that hold: a face at each look, steady points, upright, one a place."""
        points, scores = locate_points(self.network, picture, guesses)
        points, scores = locate_points(self.network, picture, points[scores > 0.1])
        sure_faces = [
            _face(five, score) for five, score in zip(points, scores, strict=True) if score >= sure
        ]
        firm = non_max_suppression([face for face in sure_faces if face])
        if not firm:
            return []
        points, scores = locate_points(
            self.network, picture, np.stack([face.points for face in firm])
        )
        faces = []
        for before, five, score in zip(firm, points, scores, strict=True):
            moved = np.linalg.norm(five - before.points, axis=1).mean()
            if (
                score >= sure
                and moved <= self.steady * eye_distance(five)
                and (face := _face(five, score))
            ):
                faces.append(face)
        return non_max_suppression(faces)

    def _sharpen(self, picture: np.ndarray, face: Face) -> Face:
        points, scores = locate_points(self.network, picture, face.points[None])
        return _face(points[0], scores[0]) or face


def _face(points: np.ndarray, score: float) -> Face | None:
    """The face of five points, boxed as the cascade does (brow to chin); None where not upright."""
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
    """The frontal-face cascade of local binary patterns that comes with scikit-image."""
    return Cascade(lbp_frontal_face_cascade_filename())


def cascade_boxes(cascade: Cascade, grey: np.ndarray, least: int = 30) -> np.ndarray:
    """float N x 3: x, y, side of the squares of an H x W uint8 picture that may be faces."""
    height, width = grey.shape
    found = cascade.detect_multi_scale(
        np.ascontiguousarray(grey) / 255.0,
        scale_factor=1.15,
        step_ratio=1.0,
        min_size=(least, least),
        max_size=(width, height),
        min_neighbor_number=1,
    )
    return np.array([(box["c"], box["r"], box["width"]) for box in found], float).reshape(-1, 3)


def downscale(picture: np.ndarray, longest: int) -> tuple[np.ndarray, float]:
    """The picture with its longer side at most `longest` px, and the scale used (at most 1)."""
    scale = min(1.0, longest / max(picture.shape[:2]))
    if scale == 1:
        return picture, 1.0
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)), scale


def eye_distance(points: np.ndarray) -> float:
    """Distance between the eyes in pixels."""
    return float(np.linalg.norm(points[1] - points[0]))
