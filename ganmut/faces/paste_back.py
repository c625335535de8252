"""Pasting back: only the change is enlarged and added; the photograph keeps its own detail."""

from __future__ import annotations

import math

import numpy as np
from skimage.transform import SimilarityTransform

from ganmut.faces.align import bend, resample

# Share of the crop, measured from its border, over which the change fades in.
FEATHER = 0.25


def paste_face(
    picture: np.ndarray,
    source: np.ndarray,
    edited: np.ndarray,
    transform: SimilarityTransform,
    flow: np.ndarray | None = None,
) -> np.ndarray:
    """H x W x 3 uint8: the picture plus the change from `source` to `edited` (S x S x 3 uint8).

    `transform` maps picture to crop pixels, as `crop` returned it. The change (edited minus source)
    is brought to the picture's resolution and added under a feathered mask: no change gives the
    same picture, bit for bit, and nothing outside the crop is touched. Where the edit bends the
    face (`flow`: S x S x 2 float32, crop pixels, right and down, as Edit.flow), the photograph
    itself is bent by the enlarged flow, so that skin keeps its detail, and the change is what the
    edit adds to the bent crop. Raises ValueError where the crops differ in shape.
    """
    if source.shape != edited.shape or source.ndim != 3 or source.shape[0] != source.shape[1]:
        raise ValueError(
            f"the crops must be two equal squares, got {source.shape} and {edited.shape}"
        )
    result = picture.copy()
    place = _footprint(picture, transform, len(source))
    if place is None:
        return result
    top, left, height, width = place
    to_crop = transform.params @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    fade = feather_mask(to_crop, len(source), height, width)[..., None]
    part = result[top : top + height, left : left + width]
    ground, start = part, source.astype(np.float32)
    if flow is not None:
        start = bend(start, flow)
        offset = resample(flow, to_crop, height, width) * fade
        # From crop to picture pixels: the inverse of the transform's rotation and scale.
        offset = offset @ np.linalg.inv(transform.params[:2, :2]).T
        ground = bend(picture, offset.astype(np.float32), (top, left))
    change = resample(edited.astype(np.float32) - start, to_crop, height, width) * fade
    part[...] = (ground + change).round().clip(0, 255).astype(np.uint8)
    return result


def feather_mask(to_crop: np.ndarray, size: int, height: int, width: int) -> np.ndarray:
    """float64 height x width: 1 over the face, falling smoothly to 0 at the crop's border.

    A rounded square (superellipse of degree 4) evaluated at each pixel, so the fade is smooth at
    any magnification. `to_crop`: 3 x 3 from pixels of the result to pixels of the crop.
    """
    rows, columns = np.mgrid[:height, :width]
    at = np.stack([columns, rows, np.ones_like(rows)], -1) @ to_crop.T
    x, y = ((at[..., i] + 0.5) / size * 2 - 1 for i in (0, 1))
    inside = ((1 - (x**4 + y**4) ** 0.25) / FEATHER).clip(0, 1)
    return inside * inside * (3 - 2 * inside)


def _footprint(
    picture: np.ndarray, transform: SimilarityTransform, size: int
) -> tuple[int, int, int, int] | None:
    """Top, left, height, width of what the crop covers of the picture; None where nothing."""
    edge = [-0.5, size - 0.5]
    corners = transform.inverse(np.array([[x, y] for x in edge for y in edge]))
    left, top = (max(math.floor(v), 0) for v in corners.min(0))
    right = min(math.ceil(corners[:, 0].max()) + 1, picture.shape[1])
    bottom = min(math.ceil(corners[:, 1].max()) + 1, picture.shape[0])
    if right <= left or bottom <= top:
        return None
    return top, left, bottom - top, right - left
