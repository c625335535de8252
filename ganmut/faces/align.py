"""Alignment: five points to a similarity transform, and the antialiased square crop."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.transform import SimilarityTransform
from torch import Tensor

from ganmut.errors import UnusableFace
from ganmut.faces.detectors.base import Face

# ArcFace's five-point template (left eye, right eye, nose, left and right mouth corner) in a crop
# of 112 px (Deng et al. 2019). TEMPLATE scales it to 128 px and moves it 7 px up: the crop with the
# name `ganmut.datasets.base.CROP`.
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
LARGE = 4_000_000  # pixels of a region that is reduced in bytes, not in floats
TEMPLATE = ARCFACE * (SIDE / 112) - [0, 7]


class BadPoints(UnusableFace):
    """Five points that define no alignment."""


def template(size: int = SIDE) -> np.ndarray:
    """5 x 2 float: the template in pixels of a crop of `size` px."""
    # Pixel centres are at integers, so the outer edge of a crop is at -0.5 at any size.
    return (TEMPLATE + 0.5) * (size / SIDE) - 0.5


def similarity(points: np.ndarray, size: int = SIDE) -> SimilarityTransform:
    """The least-squares similarity from picture to crop pixels (Umeyama 1991) of 5 x 2 points.

    Raises BadPoints for another shape, for points that are not finite, and for points that are too
    close together.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise BadPoints(f"alignment needs 5 finite points (5 x 2), got shape {points.shape}")
    # Within a pixel the least-squares scale is noise.
    if np.ptp(points, axis=0).max() < 1:
        raise BadPoints("the five points of the face lie within one pixel and define no alignment")
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

    face: a Face, or its five points (5 x 2). margin: side of the region that the result shows, in
    sides of the aligned crop, about the same centre. The border of the picture is repeated outside
    it. Raises BadPoints for points that define no alignment in this picture.
    """
    points = face.points if isinstance(face, Face) else face
    transform = similarity(points, size)
    if margin != 1:
        middle = (size - 1) / 2
        widen = SimilarityTransform(scale=1 / margin, translation=middle * (1 - 1 / margin))
        # skimage's sum of transforms applies the left one first.
        transform = transform + widen
    face = resample(picture, np.linalg.inv(transform.params), size, size)
    return face.round().clip(0, 255).astype(np.uint8), transform


def crop_extent(face: Face | np.ndarray) -> float:
    """Side of a face's aligned crop in pixels of its picture. Raises BadPoints."""
    return SIDE / similarity(face.points if isinstance(face, Face) else face).scale


def resample(pixels: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 height x width x C: pixel (x, y) is `pixels` (H x W x C) at matrix @ (x, y, 1).

    matrix: 3 x 3 similarity from output to input pixels. Interpolation is bicubic; the border of
    the input is repeated outside it. Raises BadPoints where the output shows nothing of the input.
    """
    sampling = Sampling(pixels.shape[:2], matrix, height, width)
    return interpolate(sampling.reduce(pixels), sampling.grid(0, height)).transpose(1, 2, 0)


class Sampling:
    """Where the pixels of `resample` come from, for all inputs of one shape (height, width).

    A photograph of many megapixels is made a band of rows at a time: `reduce` once an input, then
    `grid` and `interpolate` for each band. Raises BadPoints.
    """

    def __init__(self, shape: tuple[int, ...], matrix: np.ndarray, height: int, width: int):
        self.matrix, self.width = matrix, width
        self.down, self.across = _source_region(shape, matrix, height, width)
        # The matrix is a similarity, so one column has its scale.
        self.step = math.hypot(matrix[0, 0], matrix[1, 0])  # input pixels per output pixel

    def reduce(self, pixels: np.ndarray) -> Tensor:
        """float32 1 x C x h x w: what the output depends on, at its resolution if that is lower."""
        return _reduce(pixels[self.down, self.across], self.step)

    def grid(self, first: int, last: int) -> Tensor:
        """float32 1 x (last - first) x width x 2: grid_sample's coordinates of these rows."""
        rows, columns = np.arange(first, last)[:, None], np.arange(self.width)
        grid = np.empty((last - first, self.width, 2), np.float32)
        for axis, region in enumerate((self.across, self.down)):
            across, down, offset = self.matrix[axis]
            at = across * columns + (down * rows + offset)
            at -= region.start - 0.5
            # -1 and 1 are the outer edges of the region's border pixels.
            at *= 2 / (region.stop - region.start)
            at -= 1
            grid[..., axis] = at
        return torch.from_numpy(grid)[None]


def interpolate(x: Tensor, grid: Tensor) -> np.ndarray:
    """float32 C x h x w: bicubic values of `Sampling.reduce` at `Sampling.grid`."""
    found = F.grid_sample(x, grid, "bicubic", padding_mode="border", align_corners=False)
    return found[0].numpy()


def _reduce(region: np.ndarray, step: float) -> Tensor:
    """float32 1 x C x h x w: a region (H x W x C) at the output's resolution where that is lower,
    since grid_sample has no antialiasing. step: input pixels per output pixel."""
    small = [max(1, round(side / step)) for side in region.shape[:2]]
    if step > 1 and region.dtype == np.uint8 and region.shape[0] * region.shape[1] > LARGE:
        # The same filter as below to a level; floats would take 12 bytes a pixel of the region.
        picture = Image.fromarray(region)
        region = np.asarray(picture.resize(small[::-1], Image.Resampling.BICUBIC, reducing_gap=3.0))
        step = 1
    x = torch.from_numpy(region.astype(np.float32)).permute(2, 0, 1)[None]
    if step > 1:
        x = F.interpolate(x, small, mode="bicubic", antialias=True, align_corners=False)
    return x


def _source_region(
    shape: tuple[int, ...], matrix: np.ndarray, height: int, width: int
) -> tuple[slice, slice]:
    """(rows, columns): the part of an image of this shape that the output depends on.

    Its margin covers the support of the antialiasing and bicubic filters.
    """
    corners = (
        np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix[:2].T
    )
    # The bicubic kernel reaches two pixels, and two of the reduced ones where the step is larger.
    margin = 3 * math.hypot(matrix[0, 0], matrix[1, 0]) + 3
    left, top = np.floor(corners.min(0) - margin).astype(int)
    right, bottom = np.ceil(corners.max(0) + margin).astype(int)
    if right <= 0 or bottom <= 0 or left >= shape[1] or top >= shape[0]:
        raise BadPoints("the face lies outside the picture")
    rows = slice(max(int(top), 0), min(int(bottom), shape[0]))
    return rows, slice(max(int(left), 0), min(int(right), shape[1]))
