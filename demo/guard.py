"""What comes in from strangers, kept within limits; and the mark on what goes out."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from ganmut.images import BadImage, to_rgb

TYPES = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 24_000_000
LONGEST, SHORTEST = 2048, 64  # px
SEEDS = 9999  # styles that a visitor can ask for by number
MARK = "expression edited with ganmut"


def read(path: str | Path) -> np.ndarray:
    """H x W x 3 uint8 RGB of an uploaded file, upright, its longest side at most LONGEST px.

    The first frame only; nothing of the file's metadata goes further. Raises BadImage with a
    sentence for the visitor,
    which never names a path of this machine.
    """
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise BadImage(
                f"this file is larger than {MAX_BYTES // 2**20} MB; give a smaller picture"
            )
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # limits are checked here, oddities of a file concern nobody else
            with Image.open(path, formats=TYPES) as file:
                return _pixels(file)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("this file is not a JPEG, PNG or WebP picture") from None
    except Image.DecompressionBombError:
        raise BadImage(_too_many()) from None
    except Exception:  # noqa: BLE001 (a decoder may raise anything at bytes made to hurt it)
        raise BadImage(
            "this picture is damaged or incomplete; save it again or give another"
        ) from None


def _pixels(file: Image.Image) -> np.ndarray:
    """Checks the size that the header claims before a single pixel is decoded."""
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise BadImage(_too_many())
    if min(width, height) * min(1, LONGEST / max(width, height)) < SHORTEST:
        raise BadImage(
            f"this picture is {width} x {height} px; a side needs at least {SHORTEST} px"
        )
    file.draft(
        "RGB", (LONGEST, LONGEST)
    )  # JPEG alone: decodes at a fraction of the size where that is enough
    picture = Image.fromarray(to_rgb(ImageOps.exif_transpose(file)))
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _too_many() -> str:
    return f"this picture has more than {MAX_PIXELS // 10**6} million pixels; scale it down"


def number(value: Any, low: float, high: float, name: str) -> float:
    """The value as a float brought into low..high; raises ValueError for all but finite numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
            f"{name} must be a number from {low:g} to {high:g}, got {str(value)[:40]!r}"
        )
    return min(max(float(value), low), high)


def signed(pixels: np.ndarray) -> Image.Image:
    """The edited photograph (H x W x 3 uint8) for download: a small visible mark and a line of
    metadata.

    GANMUT_MARK=0 leaves the visible mark out; that is meant for a machine of one's own.
    """
    picture = Image.fromarray(pixels)
    if os.environ.get("GANMUT_MARK") != "0":
        size = max(round(min(picture.size) / 40), 10)
        font, gap = ImageFont.load_default(size), size // 2
        corner = (gap, picture.height - gap)
        draw = ImageDraw.Draw(picture)
        draw.text(
            corner, MARK, "white", font, "ls", stroke_width=max(size // 10, 1), stroke_fill="black"
        )
    picture.info["Comment"] = MARK
    return picture
