"""The crop: five points, one similarity, one antialiased square; the same for every editor."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from skimage.transform import SimilarityTransform

from ganmut.faces.detectors.base import Face

# ArcFace's five points in a 112 px crop (left eye, right eye, nose, mouth corners), scaled to 128
# px and moved 7 px up: the crop that `ganmut.datasets.base.CROP` names.
ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
SIDE = 128
TEMPLATE = ARCFACE * (SIDE / 112) - [0, 7]


class BadPoints(ValueError):
    """Five points from which no face can be aligned."""


def template(size: int = SIDE) -> np.ndarray:
    """5 x 2 float: where the points lie in a crop of `size` pixels; pixel centres are kept."""
    return (TEMPLATE + 0.5) * (size / SIDE) - 0.5


def similarity(points: np.ndarray, size: int = SIDE) -> SimilarityTransform:
    """The least-squares similarity from picture to crop pixels (Umeyama 1991).

    Raises BadPoints where the points are not five, not finite, or too close together to define one.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise BadPoints(f"alignment needs 5 finite points (5 x 2), got shape {points.shape}")
    if np.ptp(points, axis=0).max() < 1:
        raise BadPoints(
            "the five points of the face lie within one pixel; there is nothing to align"
        )
    found = SimilarityTransform.from_estimate(points, template(size))
    if (
        not isinstance(found, SimilarityTransform)
        or not np.isfinite(found.params).all()
        or found.scale < 1e-6
    ):
        raise BadPoints(
            "the five points of the face do not define an alignment; choose another face"
        )
    return found


def crop_face(
    picture: np.ndarray, face: Face | np.ndarray, size: int, margin: float = 1.0
) -> tuple[np.ndarray, SimilarityTransform]:
    """(aligned size x size x 3 uint8, picture -> crop transform) of an H x W x 3 uint8 picture.

    face: a Face, or its five points. margin: how many times the aligned crop's side the result
    shows, about the same middle. Beyond the picture its border is repeated. Raises BadPoints for
    points that define no alignment in this picture.
    """
    points = face.points if isinstance(face, Face) else face
    transform = similarity(points, size)
    if margin != 1:
        middle = (size - 1) / 2
        widen = SimilarityTransform(scale=1 / margin, translation=middle * (1 - 1 / margin))
        transform = transform + widen
    face = resample(picture, np.linalg.inv(transform.params), size, size)
    return face.round().clip(0, 255).astype(np.uint8), transform


def crop_extent(face: Face | np.ndarray) -> float:
    """Side in pixels of the picture that a face's aligned crop covers; raises BadPoints."""
    return SIDE / similarity(face.points if isinstance(face, Face) else face).scale


def resample(pixels: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 height x width x C: pixel (x, y) shows `pixels` (H x W x C) at matrix @ (x, y, 1).

    `matrix`: 3 x 3 similarity from output to input pixels. Bicubic; where it shrinks, the region
    needed is shrunk with an antialiasing filter first, so that a large photograph does not alias;
    beyond the input its border is repeated.
    """
    left, top, region = _needed(pixels, matrix, height, width)
    x = torch.from_numpy(region.astype(np.float32)).permute(2, 0, 1)[None]
    step = math.hypot(matrix[0, 0], matrix[1, 0])  # input pixels per output pixel
    if step > 1:
        small = [max(1, round(side / step)) for side in x.shape[-2:]]
        x = F.interpolate(x, small, mode="bicubic", antialias=True, align_corners=False)
    rows, columns = np.mgrid[:height, :width]
    at = np.stack([columns, rows, np.ones_like(rows)], -1) @ matrix[:2].T
    # grid_sample's coordinates: -1 and 1 are the outer edges of the region's border pixels.
    grid = (at - [left, top] + 0.5) / [region.shape[1], region.shape[0]] * 2 - 1
    grid = torch.from_numpy(grid.astype(np.float32))[None]
    found = F.grid_sample(x, grid, "bicubic", padding_mode="border", align_corners=False)
    return found[0].permute(1, 2, 0).numpy()


def bend(pixels: np.ndarray, flow: np.ndarray, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
    """float32 h x w x C: the part of `pixels` (H x W x C) at `corner` (top, left) bent by a flow.

    flow: float32 h x w x 2 in pixels, right and down; a pixel shows what was at its place plus its
    flow, bilinear; beyond the picture its border goes on. A flow of zero changes nothing.
    """
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x = (columns + corner[1] + flow[..., 0]).clip(0, pixels.shape[1] - 1)
    y = (rows + corner[0] + flow[..., 1]).clip(0, pixels.shape[0] - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, down = (x - left).astype(np.float32), (y - top).astype(np.float32)
    after = np.minimum(left + 1, pixels.shape[1] - 1)
    below = np.minimum(top + 1, pixels.shape[0] - 1)
    right, down = right[..., None], down[..., None]
    upper = pixels[top, left] * (1 - right) + pixels[top, after] * right
    lower = pixels[below, left] * (1 - right) + pixels[below, after] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)


def _needed(
    pixels: np.ndarray, matrix: np.ndarray, height: int, width: int
) -> tuple[int, int, np.ndarray]:
    """Left, top and the part of `pixels` that the output can see, with a margin for the filters."""
    corners = (
        np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix[:2].T
    )
    margin = 3 * math.hypot(matrix[0, 0], matrix[1, 0]) + 3
    left, top = np.floor(corners.min(0) - margin).astype(int)
    right, bottom = np.ceil(corners.max(0) + margin).astype(int)
    if right <= 0 or bottom <= 0 or left >= pixels.shape[1] or top >= pixels.shape[0]:
        raise BadPoints("the face lies outside the picture")
    left, top = max(left, 0), max(top, 0)
    return left, top, pixels[top:bottom, left:right]
