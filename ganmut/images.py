"""Image tensors and files: uint8 <-> [-1, 1], antialiased resize, augmentation, reading,
writing."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ganmut.files import write_atomic

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
# Weights of R, G, B in the luma of ITU-R BT.601.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)


class BadImage(ValueError):
    """A file cannot be read as an image; the message names the file and the reason."""


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
    moved = F.grid_sample(images, grid, "bicubic", "border", align_corners=False)
    contrast, brightness = contrast[:, None, None, None], brightness[:, None, None, None]
    return (moved * (1 + 0.1 * contrast) + 0.1 * brightness).clamp(-1, 1)


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


def read_image(path: str | Path | BinaryIO) -> np.ndarray:
    """H x W x 3 uint8 RGB of an image file, rotated upright by its EXIF tag.

    Grey, palette, CMYK and 16-bit images become RGB; transparent images get a white background; of
    an animation the first frame is read. Raises BadImage with the name of the file.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about damaged EXIF and palettes, which do not affect the pixels.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                return to_rgb(ImageOps.exif_transpose(file))
    except FileNotFoundError:
        raise BadImage(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise BadImage(f"{path}: not an image that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(
            f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; scale it down"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImage(f"{path}: damaged or not an image ({error})") from None


def to_rgb(picture: Image.Image) -> np.ndarray:
    """H x W x 3 uint8 RGB of a Pillow picture in any mode."""
    if picture.mode.startswith(("I", "F")):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        values = np.nan_to_num(np.asarray(picture, np.float64), nan=0, posinf=0, neginf=0)
        top = 65535.0 if values.max() > 255 else 255.0
        grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB"))


def to_tensor(pixels: np.ndarray) -> Tensor:
    """H x W x 3 (or N x H x W x 3) uint8 -> 3 x H x W (N x 3 x H x W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))


def to_array(images: Tensor) -> np.ndarray:
    """3 x H x W (or N x 3 x H x W) uint8 -> H x W x 3 (N x H x W x 3) uint8."""
    return np.ascontiguousarray(images.detach().cpu().movedim(-3, -1).numpy())


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


def read_source(path: str | Path) -> str:
    """The `source` that `write_png` stored in a file, or ""."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return str(picture.info.get("Source", ""))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
