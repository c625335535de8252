"""Pastes an edited crop back: the change of the crop is enlarged and added to the photograph."""

from __future__ import annotations

import math

import numpy as np
import torch
from skimage.transform import SimilarityTransform

from ganmut.faces.align import resampler
from ganmut.networks.warp import warp

# Width of the fade at the crop's border, in half sides of the crop.
FEATHER = 0.25
BAND = 1 << 20  # pixels of the photograph that are computed at once, in floats


def paste_face(
    picture: np.ndarray,
    source: np.ndarray,
    edited: np.ndarray,
    transform: SimilarityTransform,
    flow: np.ndarray | None = None,
) -> np.ndarray:
    """H x W x 3 uint8: the picture plus the change from `source` to `edited` (S x S x 3 uint8).

    transform: picture to crop pixels, as `crop_face` returns it. The change (edited minus source)
    is resampled to the picture and added under a feathered mask, so an edit without a change
    returns the same bytes, and pixels outside the crop never change. flow: S x S x 2 float32 in
    crop pixels (right, down), as `Edit.flow`: the enlarged flow warps the photograph itself, so
    that skin keeps its detail, and the change is the edited minus the warped crop. Raises
    ValueError for crops that are not two equal squares.
    """
    if source.shape != edited.shape or source.ndim != 3 or source.shape[0] != source.shape[1]:
        raise ValueError(
            f"the crops must be two equal squares, got {source.shape} and {edited.shape}"
        )
    result = picture.copy()
    footprint = _footprint(picture, transform, len(source))
    if footprint is None:
        return result
    top, left, height, width = footprint
    # The footprint's own origin: bands of rows are then computed from zero on.
    to_crop = transform.params @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    start = source.astype(np.float32) if flow is None else _warp(source, flow)
    # The change, not the edit, is enlarged: it is smooth, so the photograph keeps its own detail.
    changes = resampler(edited.astype(np.float32) - start, to_crop, height, width)
    flows = None if flow is None else resampler(flow, to_crop, height, width)
    # From crop to picture pixels: the inverse of the transform's rotation and scale.
    to_picture = np.linalg.inv(transform.params[:2, :2]).T
    # Bands of rows: floats of a whole photograph of 50 megapixels would take gigabytes.
    step = max(BAND // width, 1)
    for first in range(0, height, step):
        last = min(first + step, height)
        mask = feather_mask(to_crop, len(source), last - first, width, first)[..., None]
        region = result[top + first : top + last, left : left + width]
        background = region
        if flows is not None:
            # The mask scales the flow too: at the border of the crop the photograph stays in place.
            picture_flow = (flows(first, last) * mask) @ to_picture
            background = _warp(picture, picture_flow, (top + first, left))
        change = changes(first, last) * mask
        region[...] = (background + change).round().clip(0, 255).astype(np.uint8)
    return result


def feather_mask(
    to_crop: np.ndarray, size: int, height: int, width: int, first: int = 0
) -> np.ndarray:
    """float64 height x width in 0..1: 1 over the face, 0 at the crop's border, smooth in between;
    its rows from `first` on.

    The level lines are superellipses |x|^4 + |y|^4 = c, evaluated per pixel of the result.
    to_crop: 3 x 3, from pixels of the result to pixels of the crop. size: side of the crop.
    """
    rows, columns = np.mgrid[first : first + height, :width]
    at = np.stack([columns, rows, np.ones_like(rows)], -1) @ to_crop.T
    x, y = ((at[..., i] + 0.5) / size * 2 - 1 for i in (0, 1))
    # A superellipse keeps more of the crop's corners than a circle, and has none of a square's.
    ramp = ((1 - (x**4 + y**4) ** 0.25) / FEATHER).clip(0, 1)
    return ramp * ramp * (3 - 2 * ramp)  # smoothstep: no edge at either end of the ramp


def _warp(pixels: np.ndarray, flow: np.ndarray, corner: tuple[int, int] = (0, 0)) -> np.ndarray:
    """float32 h x w x C: the region of `pixels` (H x W x C) at `corner`, warped by a flow.

    flow: h x w x 2 in pixels. float64 inside: a flow of zero returns integers, also of photographs
    with thousands of pixels a side, for which float32 coordinates are too coarse.
    """
    reach = math.ceil(np.abs(flow).max(initial=0)) + 1
    (top, left), (height, width) = corner, flow.shape[:2]
    above, before = max(top - reach, 0), max(left - reach, 0)
    # Only what the flow can reach is converted: a photograph may have many megapixels.
    part = pixels[above : top + height + reach, before : left + width + reach]
    x = torch.from_numpy(part.astype(np.float64)).movedim(-1, 0)[None]
    field = torch.from_numpy(np.asarray(flow, np.float64)).movedim(-1, 0)[None]
    warped = warp(x, field, (top - above, left - before))
    return warped[0].movedim(0, -1).numpy().astype(np.float32)


def _footprint(
    picture: np.ndarray, transform: SimilarityTransform, size: int
) -> tuple[int, int, int, int] | None:
    """(top, left, height, width) of the picture's part under the crop, or None without one."""
    edge = [-0.5, size - 0.5]
    corners = transform.inverse(np.array([[x, y] for x in edge for y in edge]))
    left, top = (max(math.floor(v), 0) for v in corners.min(0))
    right = min(math.ceil(corners[:, 0].max()) + 1, picture.shape[1])
    bottom = min(math.ceil(corners[:, 1].max()) + 1, picture.shape[0])
    if right <= left or bottom <= top:
        return None
    return top, left, bottom - top, right - left
