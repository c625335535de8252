"""Image tensors: uint8 <-> [-1, 1], antialiased resize, augmentation, grids, PNG files.

Files are decoded by `ganmut.decoding` and encoded by `ganmut.encoding`; the names that most callers
need of them are here, too.
"""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ganmut.decoding import SUFFIXES as SUFFIXES
from ganmut.decoding import BadImage as BadImage
from ganmut.decoding import Picture, picture_of, read_picture
from ganmut.decoding import read_image as read_image
from ganmut.decoding import read_source as read_source
from ganmut.errors import ParameterError
from ganmut.files import write_atomic

# What `as_picture` takes.
AnyPicture = str | os.PathLike | Image.Image | np.ndarray | Tensor
# Weights of R, G, B in the luma of ITU-R BT.601.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


def to_float(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 in [-1, 1], same shape."""
    return images.to(torch.float32).mul_(2 / 255).sub_(1)


def to_uint8(images: Tensor) -> Tensor:
    """float in [-1, 1] (clamped) -> uint8 0..255, same shape; to_uint8(to_float(x)) == x."""
    return images.float().add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def luma(images: Tensor) -> Tensor:
    """N x 3 x H x W float -> N x 1 x H x W luma (ITU-R BT.601) in the same range."""
    weights = images.new_tensor(LUMA_WEIGHTS)[:, None, None]
    return (images * weights).sum(1, keepdim=True)


def resize(images: Tensor, size: int) -> Tensor:
    """N x C x H x W float -> N x C x size x size, bilinear and antialiased; the same tensor where
    the size is `size` already."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def augment(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """N x C x H x W in [-1, 1] -> the images with a random affine and intensity change each.

    At strength 1: rotation up to 6 degrees, shift 4 % of the side, scale 6 %, contrast 10 %,
    brightness 0.1; other strengths multiply these. The border is repeated.
    """
    draw = 2 * torch.rand(6, len(images), generator=generator).to(images.device) - 1
    rotation, right, down, scale, contrast, brightness = strength * draw
    rotation, scale = torch.deg2rad(6 * rotation), 1 + 0.06 * scale
    cosine, sine = rotation.cos() * scale, rotation.sin() * scale
    # In affine_grid's coordinates a side is 2 long: a shift of 4 % is 0.08.
    rows = [cosine, -sine, 0.08 * right, sine, cosine, 0.08 * down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), False)
    # Bicubic: bilinear at random offsets blurs, and D would see blur as a mark of real faces.
    moved = F.grid_sample(images, grid, "bicubic", "border", align_corners=False)
    contrast, brightness = contrast[:, None, None, None], brightness[:, None, None, None]
    return (moved * (1 + 0.1 * contrast) + 0.1 * brightness).clamp(-1, 1)


@dataclass(frozen=True)
class RandomView:
    """Random parts of images, as the papers augment them: a rotation (degrees), a shift (share of
    the side) and a zoom, each uniform, and for `crop_share` of the images a random resized crop: a
    uniform share of the area from `crop_area` on, sides that depart from 1 : 1 by `crop_stretch`.
    """

    rotation: float = 0.0
    shift: float = 0.0
    zoom_low: float = 1.0
    zoom_high: float = 1.0
    crop_area: float = 1.0
    crop_stretch: float = 0.0
    crop_share: float = 1.0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """N x C x H x W -> one view of each, bilinear, the border repeated; the images themselves,
        and no random number drawn, where nothing is set."""
        if self == RandomView():
            return images
        draw = torch.rand(9, len(images), generator=generator).to(images.device)
        turn, right, down, zoom, chosen, area, ratio, left, top = draw
        angle = torch.deg2rad(self.rotation * (2 * turn - 1))
        zoom = self.zoom_low + (self.zoom_high - self.zoom_low) * zoom
        # The logarithm of the ratio is uniform, as in torchvision: wide and tall are alike likely.
        low, high = (math.log(1 + way * self.crop_stretch) for way in (-1, 1))
        ratio = torch.exp(low + (high - low) * ratio)
        area = self.crop_area + (1 - self.crop_area) * area
        sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()]).clamp(max=1)
        sides = torch.where(chosen < self.crop_share, sides, torch.ones_like(sides))
        # affine_grid spans -1..1, so the free room of a crop is 1 - side on either way, and a shift
        # of a whole side is 2.
        room = (1 - sides) * (2 * torch.stack([left, top]) - 1)
        centre = room + 2 * self.shift * (2 * torch.stack([right, down]) - 1)
        cosine, sine = angle.cos() / zoom * sides, angle.sin() / zoom * sides
        rows = [cosine[0], -sine[1], centre[0], sine[0], cosine[1], centre[1]]
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), False)
        return F.grid_sample(images, grid, "bilinear", "border", align_corners=False)


def cutout(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """N x C x H x W -> the images with a random square each replaced by the image's mean colour.

    share: side of the square, in sides of the image. The centre is anywhere in the image (Cutout,
    DeVries and Taylor 2017).
    """
    height, width = images.shape[-2:]
    draw = torch.rand(2, len(images), 1, generator=generator).to(images.device)

    def is_inside(centre: Tensor, side: int) -> Tensor:
        position = (torch.arange(side, device=images.device) + 0.5) / side
        return (position - centre).abs() < share / 2

    mask = is_inside(draw[0], height)[:, :, None] & is_inside(draw[1], width)[:, None, :]
    return torch.where(mask[:, None], images.mean((-2, -1), keepdim=True), images)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """H x W x 3 (or N x H x W x 3) uint8 -> 3 x H x W (N x 3 x H x W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))


def to_array(images: Tensor) -> np.ndarray:
    """3 x H x W (or N x 3 x H x W) uint8 -> H x W x 3 (N x H x W x 3) uint8."""
    return np.ascontiguousarray(images.detach().cpu().movedim(-3, -1).numpy())


def as_picture(picture: AnyPicture, parameter: str = "picture") -> Picture:
    """The Picture of a file, a Pillow image, H x W x 3 uint8 (array) or 3 x H x W uint8 (tensor),
    both RGB. Raises BadImage for what cannot be read, ParameterError for anything else."""
    if isinstance(picture, Image.Image):
        return picture_of(picture)
    if isinstance(picture, str | os.PathLike):
        if os.path.isdir(picture):
            raise ParameterError(parameter, f"{picture} is a folder; give one picture")
        return read_picture(os.fspath(picture))
    if isinstance(picture, Tensor):
        if picture.dim() == 3 and picture.shape[0] == 3 and picture.dtype == torch.uint8:
            return Picture.of(to_array(picture))
        needed, convert = "a tensor of 3 x H x W uint8", "(255 * x).round().to(torch.uint8)"
    elif isinstance(picture, np.ndarray):
        if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
            return Picture.of(np.ascontiguousarray(picture))
        needed, convert = "an array of H x W x 3 uint8", "(255 * x).round().astype('uint8')"
    else:
        kind = type(picture).__name__
        raise ParameterError(
            parameter, f"expected a file, a Pillow image, an array or a tensor, got {kind}"
        )
    shape = " x ".join(map(str, picture.shape)) or "a number"
    raise ParameterError(
        parameter,
        f"expected {needed}, got {shape} {picture.dtype}; {convert} converts floats in 0..1",
    )


def make_grid(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """N x 3 x H x W uint8 -> one 3 x H' x W' uint8 image, `columns` per row, with white gaps of
    `gap` px."""
    n, _, height, width = images.shape
    rows = -(-n // columns)
    sides = rows * (height + gap) - gap, columns * (width + gap) - gap
    grid = images.new_full((3, *sides), 255, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        grid[:, top : top + height, left : left + width] = image
    return grid


def write_png(path: str | Path, image: Tensor | np.ndarray, source: str = "") -> Path:
    """Writes 3 x H x W (tensor) or H x W x 3 (array) uint8 as PNG, atomically; returns the path.

    source: origin of the image, stored in the file (see `read_source`).
    """
    pixels = to_array(image) if isinstance(image, Tensor) else image
    buffer, notes = io.BytesIO(), PngInfo()
    if source:
        notes.add_text("Source", source)
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=notes)
    return write_atomic(path, buffer.getvalue())
