"""Pastes an edited crop back: the change of the crop is enlarged and added to the photograph."""

from __future__ import annotations

import math

import numpy as np
import torch
from skimage.transform import SimilarityTransform
from torch import Tensor

from ganmut.faces.align import Sampling, interpolate
from ganmut.networks.warp import warp

# Width of the fade at the crop's border, in half sides of the crop.
FEATHER = 0.25
BAND = 1 << 20  # pixels of the photograph that are computed at once, in floats
KEPT = 1 << 18  # pixels of a face whose mask and grid are kept: 16 bytes each


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
    return PasteBack(picture, source, transform).paste(edited, flow)


class PasteBack:
    """Pastes edits of one crop into one picture, see `paste_face`; the same bytes, faster from the
    second edit on: mask and sampling grid depend on the face alone.

    picture: H x W x 3 uint8; source: S x S x 3 uint8, the crop; transform: picture to crop pixels.
    Raises ValueError for a crop that is no square.
    """

    def __init__(self, picture: np.ndarray, source: np.ndarray, transform: SimilarityTransform):
        if source.ndim != 3 or source.shape[0] != source.shape[1]:
            raise ValueError(f"the crop must be a square, got {source.shape}")
        self.picture, self.source = picture, source
        self._bands: dict[tuple[int, int], tuple[np.ndarray, Tensor]] = {}
        self.footprint = _footprint(picture, transform, len(source))
        if self.footprint is None:
            return
        top, left, height, width = self.footprint
        # The footprint's own origin: bands of rows are then computed from zero on.
        self.to_crop = transform.params @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
        self.sampling = Sampling(source.shape[:2], self.to_crop, height, width)
        # From crop to picture pixels: the inverse of the transform's rotation and scale.
        self.to_picture = np.linalg.inv(transform.params[:2, :2]).T
        self.keep = height * width <= KEPT

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept for the next edit."""
        return sum(mask.nbytes + grid.nbytes for mask, grid in self._bands.values())

    def paste(self, edited: np.ndarray, flow: np.ndarray | None = None) -> np.ndarray:
        """H x W x 3 uint8: the picture with the change from the crop to `edited` (S x S x 3 uint8).
        flow: see `paste_face`. Raises ValueError for another shape than the crop's."""
        if self.source.shape != edited.shape:
            raise ValueError(
                f"the crops must be two equal squares, got {self.source.shape} and {edited.shape}"
            )
        result = self.picture.copy()
        if self.footprint is None:
            return result
        top, left, height, width = self.footprint
        start = self.source.astype(np.float32) if flow is None else _warp(self.source, flow)
        # The change, not the edit, is enlarged: it is smooth, so the photograph keeps its detail.
        change = self.sampling.reduce(edited.astype(np.float32) - start)
        flows = None if flow is None else self.sampling.reduce(flow)
        # Bands of rows: floats of a whole photograph of 50 megapixels would take gigabytes.
        step = max(BAND // width, 1)
        for first in range(0, height, step):
            last = min(first + step, height)
            mask, grid = self._band(first, last)
            region = result[top + first : top + last, left : left + width]
            background = region
            if flows is not None:
                # The mask scales the flow too: at the crop's border the photograph stays in place.
                masked = interpolate(flows, grid).transpose(1, 2, 0) * mask[..., None]
                background = _warp(self.picture, masked @ self.to_picture, (top + first, left))
            # Channels first, as `interpolate` returns them: one pass over memory each.
            total = interpolate(change, grid) * mask
            total += background.transpose(2, 0, 1)
            np.rint(total, out=total)
            np.clip(total, 0, 255, out=total)
            region[...] = total.astype(np.uint8).transpose(1, 2, 0)
        return result

    def _band(self, first: int, last: int) -> tuple[np.ndarray, Tensor]:
        """(mask h x w, sampling grid) of these rows of the footprint."""
        band = self._bands.get((first, last))
        if band is None:
            size, width = len(self.source), self.sampling.width
            mask = feather_mask(self.to_crop, size, last - first, width, first)
            band = mask, self.sampling.grid(first, last)
            if self.keep:
                self._bands[first, last] = band
        return band


def feather_mask(
    to_crop: np.ndarray, size: int, height: int, width: int, first: int = 0
) -> np.ndarray:
    """float64 height x width in 0..1: 1 over the face, 0 at the crop's border, smooth in between;
    its rows from `first` on.

    The level lines are superellipses |x|^4 + |y|^4 = c, evaluated per pixel of the result.
    to_crop: 3 x 3, from pixels of the result to pixels of the crop. size: side of the crop.
    """
    rows, columns = np.arange(first, first + height)[:, None], np.arange(width)
    powers = []
    for across, down, offset in to_crop[:2]:
        # In place: a photograph's mask has a million pixels a band, and new memory costs most.
        at = across * columns + (down * rows + offset)
        at += 0.5
        at *= 2 / size
        at -= 1
        at *= at
        at *= at
        powers.append(at)
    # A superellipse keeps more of the crop's corners than a circle, and has none of a square's.
    ramp, other = powers
    ramp += other
    np.sqrt(np.sqrt(ramp, out=ramp), out=ramp)
    np.subtract(1, ramp, out=ramp)
    ramp /= FEATHER
    np.clip(ramp, 0, 1, out=ramp)
    # Smoothstep: no edge at either end of the ramp.
    np.multiply(ramp, -2, out=other)
    other += 3
    other *= ramp
    other *= ramp
    return other


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
