"""What the values of a picture file mean: ICC profiles, the range of deep values, transparency."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

# The modes of Pillow that a profile of a colour space can describe.
SPACES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK", "LAB": "LAB"}
# A file that names no range uses a usual one if its largest value is in the upper part of it.
USUAL_WHITES, LEAST_SHARE = (1.0, 255.0, 65535.0), 0.25


class BadProfile(ValueError):
    """An ICC profile that does not describe the colours of its picture; the message says so."""


class UnclearRange(ValueError):
    """Values whose black and white are unknown; the message names the values and the remedy."""

    def __init__(self, low: float, high: float, top: str):
        super().__init__(
            f"its values are {low:.6g} to {high:.6g} {top} and the file does not say which value "
            "is white; save it with 8 bits, or with the TIFF tag SMaxSampleValue"
        )


def range_of_values(
    values: np.ndarray, black: float | None, white: float | None, white_is_zero: bool
) -> tuple[float, float]:
    """(black, white): the values of a grey picture that mean black and white.

    values: H x W float. black, white: as the file states them, None where it does not; without a
    white, a range of 0 to 1, 255 or 65535 is assumed where the values fill a quarter of it.
    white_is_zero: whether the file stores negatives. Raises UnclearRange.
    """
    # Floating-point TIFFs mark missing pixels by NaN.
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if white is None:
        # A dark 16-bit scan fills little of its range; below a quarter a smaller range is as
        # likely.
        usual = (top for top in USUAL_WHITES if LEAST_SHARE * top < high <= top)
        white = 1.0 if low == high == 0 else next(usual, None)
        if white is None or low < 0:
            raise UnclearRange(low, high, "")
    black = 0.0 if black is None else black
    if not black < white:
        raise UnclearRange(low, high, f"in a range of {black:.6g} to {white:.6g}")
    # Swapped ends: the same line then maps negatives.
    return (white, black) if white_is_zero else (black, white)


def levels_to_bytes(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """uint8 of the same shape: 0 for `black`, 255 for `white`, clipped outside."""
    scaled = (values - black) * (255 / (white - black))
    return scaled.round().clip(0, 255).astype(np.uint8)


def on_white(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """H x W x 3 uint8: pixels with transparency (alpha: H x W uint8) on a white background."""
    # Opaque pictures return their own bytes, unrounded by a blend.
    if alpha is None or alpha.min() == 255:
        return pixels
    white = Image.new("RGB", pixels.shape[1::-1], "white")
    white.paste(Image.fromarray(pixels), mask=Image.fromarray(alpha))
    return np.asarray(white)


def to_srgb(values: np.ndarray | Image.Image, profile: bytes) -> tuple[np.ndarray, bool]:
    """(H x W x 3 uint8 sRGB, whether the profile is sRGB's) of values under an ICC profile.

    values: H x W x 3 (RGB) or H x W (grey) uint8, or a Pillow picture. The intent is relative
    colorimetric with black point compensation. Raises BadProfile.
    """
    picture = Image.fromarray(values) if isinstance(values, np.ndarray) else values
    transforms = profile_transforms(profile, picture.mode)
    converted = ImageCms.applyTransform(picture, transforms[0])
    return np.asarray(converted), transforms[2]


def from_srgb(pixels: np.ndarray, profile: bytes, mode: str) -> np.ndarray:
    """H x W x 3 (mode RGB) or H x W (mode L) uint8 under an ICC profile, of H x W x 3 uint8 sRGB.
    Raises BadProfile."""
    back = profile_transforms(profile, mode)[1]
    return np.asarray(ImageCms.applyTransform(Image.fromarray(pixels), back))


@lru_cache(maxsize=16)
def profile_transforms(profile: bytes, mode: str) -> tuple:
    """(transform to sRGB, transform from sRGB or None, whether both spaces are the same).

    profile: an ICC profile of mode L, RGB, CMYK or LAB; an empty one stands for LAB itself. Raises
    BadProfile for damaged profiles and those of another colour space.
    """
    try:
        if mode == "LAB" and not profile:
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip().upper()
        # A profile of another space is read without error by the library, and gives wrong colours.
        if SPACES.get(space) != mode:
            raise BadProfile(f"its colour profile is for {space} and was ignored")
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        there = ImageCms.buildTransform(source, srgb, mode, "RGB", intent, flags)
        back = None
        # CMYK has many ways back for one colour.
        if mode in ("L", "RGB"):
            back = ImageCms.buildTransform(srgb, source, "RGB", mode, intent, flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        if isinstance(error, BadProfile):
            raise
        raise BadProfile("its colour profile is damaged and was ignored") from None
    return there, back, mode == "RGB" and _is_identity(there)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform from RGB to RGB moves no colour by more than two levels, as between the
    many profiles of sRGB."""
    # 17 levels an axis: profiles differ smoothly, so a lattice finds the largest difference.
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(17, -1, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(lattice), transform))
    return int(np.abs(moved.astype(int) - lattice).max()) <= 2
