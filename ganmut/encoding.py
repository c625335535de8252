"""Edited pixels as picture files: in the colours, depth and transparency of the file that they come
from, with a mark that says that they were edited."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ganmut.colours import from_srgb, to_srgb
from ganmut.decoding import Picture
from ganmut.errors import ParameterError

# Suffix -> format of the files that are written.
WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
}
# What each format can hold beside 8-bit sRGB.
ALPHA, PROFILES = ("PNG", "WEBP", "TIFF", "AVIF"), ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")
DEEP = {"PNG": ("uint16",), "TIFF": ("uint16", "float32")}
LARGEST = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}  # px a side that are read again
QUALITY = {"JPEG": 95, "WEBP": 95, "AVIF": 90}
# zlib's level of a PNG: its default, 6, takes four times as long for a sixth less.
PNG_LEVEL = 2
MARK = "expression edited with ganmut"
SHORTER = ("edited with ganmut", "ganmut")  # what is seen where MARK would cover a small picture
DESCRIPTION = 0x010E  # EXIF tag ImageDescription
BAND = 1 << 20  # pixels that are converted at once


def is_marked() -> bool:
    """Whether edited pictures get a visible mark. GANMUT_MARK=0 leaves it out; that is meant for a
    machine of one's own."""
    return os.environ.get("GANMUT_MARK") != "0"


def draw_mark(pixels: np.ndarray) -> np.ndarray:
    """A copy of H x W x 3 uint8 with the visible mark in the lower left corner: the longest text
    that half of the width holds, at least the last word."""
    picture = Image.fromarray(pixels)
    # In proportion to the picture, and legible on the smallest ones.
    size = max(round(min(picture.size) / 40), 10)
    font, gap = ImageFont.load_default(size), size // 2
    fits = [text for text in (MARK, *SHORTER) if font.getlength(text) <= picture.width / 2]
    ImageDraw.Draw(picture).text(
        (gap, picture.height - gap),
        fits[0] if fits else SHORTER[-1],
        "white",
        font,
        "ls",
        stroke_width=max(size // 10, 1),
        stroke_fill="black",
    )
    return np.asarray(picture)


def compose_edit(picture: Picture, edited: np.ndarray, file_format: str) -> Image.Image:
    """An edited picture as it is stored in a file of a format of WRITABLE.

    edited: H x W x 3 uint8 sRGB, `picture.pixels` with changes. Unchanged pixels keep the values
    that they have in the picture's file, with its profile, depth and transparency where the format
    holds them, see `losses`. A picture with changes gets the mark, see `is_marked`, and MARK as its
    "Comment".
    """
    changed, mark = not np.array_equal(picture.pixels, edited), None
    if changed and is_marked():
        marked = draw_mark(edited)
        edited, mark = marked, (marked != edited).any(-1)
    own, alpha, profile = fit(picture, edited, file_format, mark)
    stored = Image.fromarray(own)
    if alpha is not None:
        stored.putalpha(Image.fromarray(alpha))
    if profile:
        stored.info["icc_profile"] = profile
    if changed:
        stored.info["Comment"] = MARK
    return stored


def encode_edit(picture: Picture, edited: np.ndarray, file_format: str) -> bytes:
    """The file of `compose_edit`; its comment is stored where the format has room for text. Raises
    ParameterError for a picture with more pixels a side than the format holds."""
    height, width = edited.shape[:2]
    if max(width, height) > (most := LARGEST.get(file_format, math.inf)):
        raise ParameterError(
            "out", f"{file_format} holds {most} px a side, not {width} x {height}; write a PNG file"
        )
    stored = compose_edit(picture, edited, file_format)
    options: dict[str, Any] = {}
    if profile := stored.info.get("icc_profile"):
        options["icc_profile"] = profile
    if file_format in QUALITY:
        options["quality"] = QUALITY[file_format]
    if file_format == "PNG":
        options["compress_level"] = PNG_LEVEL
    if comment := stored.info.pop("Comment", ""):
        options |= _comment(file_format, comment)
    buffer = io.BytesIO()
    stored.save(buffer, file_format, **options)
    return buffer.getvalue()


def read_comment(file: Image.Image) -> str:
    """The comment that `encode_edit` stored in an opened file, or ""."""
    text = file.info.get("Comment") or file.info.get("comment")
    text = text or file.getexif().get(DESCRIPTION, "")
    return text.decode("latin-1") if isinstance(text, bytes) else str(text)


def fit(
    picture: Picture, edited: np.ndarray, file_format: str, mark: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None, bytes]:
    """(values, alpha, ICC profile) of an edited picture, as a format can hold them. mark: H x W
    bool, pixels that are seen on any background, also where the picture is transparent."""
    if losses(picture, file_format):
        picture = Picture.of(picture.pixels)
    # A coloured edit of a grey file: only sRGB can hold it.
    if picture.own.ndim == 2 and not _is_grey(edited):
        colours = picture.pixels
        if picture.alpha is not None:  # `pixels` lie on white
            own, profile = picture.own, picture.profile
            colours = to_srgb(own, profile)[0] if profile else np.stack([own] * 3, -1)
        picture = replace(picture, own=colours, profile=b"")
    if picture.own is picture.pixels:
        return edited, picture.alpha, picture.profile
    return restore(picture, edited, mark), _with_mark(picture.alpha, mark), picture.profile


def _with_mark(alpha: np.ndarray | None, mark: np.ndarray | None) -> np.ndarray | None:
    return alpha if alpha is None or mark is None else np.where(mark, np.uint8(255), alpha)


def losses(picture: Picture, file_format: str) -> list[str]:
    """What a format cannot hold of a picture, as sentences."""
    lost = []
    if picture.alpha is not None and file_format not in ALPHA:
        lost.append(f"{file_format} has no transparency: the background is white")
    if picture.profile and file_format not in PROFILES:
        lost.append(f"{file_format} has no colour profile: the colours became sRGB")
    depth = picture.own.dtype.name
    if depth != "uint8" and depth not in DEEP.get(file_format, ()):
        lost.append(f"{file_format} has no {depth} values: they became 8 bits")
    return lost


def restore(picture: Picture, edited: np.ndarray, mark: np.ndarray | None = None) -> np.ndarray:
    """The values of `picture.own` with the change from `picture.pixels` to `edited` (H x W x 3
    uint8 sRGB) added in their own colours; the same values where nothing changed.

    Where the picture is transparent in part, the change is as much larger as less of it is seen;
    where it is so wholly, there is none. mark: H x W bool, pixels that become those of `edited`.
    """
    own, grey = picture.own.copy(), picture.own.ndim == 2
    # A level of the 8-bit edit in units of the file's own values.
    step = (picture.white - picture.black) / 255
    top = {"uint8": 255, "uint16": 65535}.get(own.dtype.name, np.inf)
    for rows in _bands(edited):
        before, after = picture.pixels[rows], edited[rows]
        # By pixel: a conversion there and back would move values that nobody edited.
        changed = (before != after).any(-1)
        if not changed.any():
            continue
        if picture.profile:
            mode = "L" if grey else "RGB"
            before, after = (from_srgb(part, picture.profile, mode) for part in (before, after))
        elif grey:
            before, after = before[..., 0], after[..., 0]
        change = (after.astype(np.float32) - before) * step
        base = own[rows]
        if picture.alpha is not None:  # of 8 bits: `pixels` are `own` on white
            share = picture.alpha[rows] / np.float32(255)
            opaque = np.zeros_like(changed) if mark is None else mark[rows]
            changed &= opaque | (share > 0)
            share = np.where(opaque, np.float32(1), np.maximum(share, np.float32(1 / 255)))
            if not grey:
                share, opaque = share[..., None], opaque[..., None]
            change, base = change / share, np.where(opaque, before, base)
        if own.dtype == np.uint8:
            change = change.round()
        # Integers wrap where they overflow; floating-point files have no top.
        values = (base + change).clip(-np.inf if top == np.inf else 0, top)
        values = values.round() if np.isfinite(top) else values
        own[rows][changed] = values[changed].astype(own.dtype)
    return own


def _bands(pixels: np.ndarray) -> Iterator[slice]:
    """Rows of a picture, at most BAND pixels at once."""
    height, width = pixels.shape[:2]
    step = max(BAND // width, 1)
    return (slice(start, start + step) for start in range(0, height, step))


def _is_grey(pixels: np.ndarray) -> bool:
    return all(bool((pixels[..., 0] == pixels[..., i]).all()) for i in (1, 2))


def _comment(file_format: str, comment: str) -> dict[str, Any]:
    """Options of Pillow's encoders that store a text."""
    if file_format == "PNG":
        notes = PngInfo()
        notes.add_text("Comment", comment)
        return {"pnginfo": notes}
    if file_format == "JPEG":
        return {"comment": comment}
    if file_format == "TIFF":
        return {"description": comment}
    exif = Image.Exif()
    exif[DESCRIPTION] = comment
    return {"exif": exif} if file_format in ("WEBP", "AVIF") else {}
