"""Hostile picture files, made from one face: broken, lying, huge, and hard to find a face in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Make = Callable[[Image.Image], bytes]


def encode(picture: Image.Image, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int, rest: bytes = b"") -> bytes:
    """A PNG that claims a size; what follows the header is the caller's."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        ends = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + ends

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + rest


def animated(face: Image.Image) -> bytes:
    frames = [Image.new("RGB", face.size, "green")] * 2
    return encode(face, "WEBP", save_all=True, append_images=frames, duration=100, quality=90)


def profile(face: Image.Image) -> bytes:
    """Seen from the side: the face's half, squeezed, before a wall."""
    half = face.crop((170, 0, 340, 300)).resize((70, 300))
    wall = Image.new("RGB", (300, 300), (90, 80, 70))
    wall.paste(half, (110, 0))
    return encode(wall)


def many(face: Image.Image) -> bytes:
    sheet, small = Image.new("RGB", (5 * 170, 2 * 150), "grey"), face.resize((170, 150))
    for i in range(10):
        sheet.paste(small, (170 * (i % 5), 150 * (i // 5)))
    return encode(sheet)


def painted(face: Image.Image) -> bytes:
    return encode(ImageOps.posterize(face.filter(ImageFilter.ModeFilter(9)), 2))


def masked(face: Image.Image) -> bytes:
    ImageDraw.Draw(face).polygon([(120, 118), (210, 118), (200, 180), (130, 180)], fill="#9bd")
    return encode(face)


def drawn(face: Image.Image) -> bytes:
    paper = Image.new("RGB", (200, 200), "white")
    pen = ImageDraw.Draw(paper)
    pen.ellipse((30, 20, 170, 180), outline="black", width=4)
    for x in (75, 125):
        pen.ellipse((x - 8, 70, x + 8, 86), fill="black")
    pen.arc((65, 90, 135, 150), 20, 160, fill="black", width=4)
    return encode(paper)


def not_a_number(face: Image.Image) -> bytes:
    grey = np.asarray(face.convert("L")).astype(np.float32)
    grey[:20] = np.nan
    grey[-20:] = np.inf
    return encode(Image.fromarray(grey), "TIFF")


def wild_exif(face: Image.Image) -> bytes:
    """An EXIF block whose offsets lead nowhere."""
    block = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\xff\xff\xff\x7f\xff\xff\xff\xff\x69\x87"
    return encode(face, "JPEG", exif=block, quality=95)


def palette(face: Image.Image) -> bytes:
    return encode(face.convert("P"), transparency=bytes(range(256)))


def endless_scans(face: Image.Image) -> bytes:
    """A progressive JPEG whose last scan comes a thousand times over."""
    whole = encode(Image.new("RGB", (2000, 2000), "grey"), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + 1000 * last + whole[-2:]


# PostScript whose interpreter would never end.
ENDLESS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n{} loop\nshowpage\n%%EOF\n"

# Name -> what is in it, whether a face must come of it (None: either will do).
HOSTILE: dict[str, tuple[Make, bool | None]] = {
    "empty.jpg": (lambda face: b"", False),
    "postscript.png": (lambda face: ENDLESS, False),
    "endless_scans.jpg": (endless_scans, False),
    "damaged_avif.jpg": (lambda face: encode(face, "AVIF")[:2000], False),
    "text.jpg": (lambda face: b"GIF89a? no: a letter, renamed\n" * 40, False),
    "truncated.jpg": (lambda face: encode(face, "JPEG")[:3000], False),
    "truncated.png": (lambda face: encode(face)[:40000], False),
    "noise.jpg": (lambda face: b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20, False),
    "hole.png": (lambda face: encode(face)[:5000] + b"\0" * 5000 + encode(face)[10000:], False),
    "one_pixel.png": (lambda face: encode(Image.new("RGB", (1, 1))), False),
    "header_30000x10.png": (lambda face: png_header(30000, 10), False),
    "sliver_30000x10.png": (lambda face: encode(Image.new("RGB", (30000, 10))), False),
    "bomb.png": (lambda face: png_header(60000, 60000, b"\0" * 100), False),
    "zero_size.png": (lambda face: png_header(0, 0), False),
    "animated.webp": (animated, True),
    "profile.png": (profile, None),
    "upside_down.png": (lambda face: encode(face.rotate(180)), True),
    "lying.png": (lambda face: encode(face.rotate(90, expand=True)), True),
    "ten_faces.png": (many, True),
    "painted.png": (painted, None),
    "masked.png": (masked, None),
    "drawn.png": (drawn, None),
    "blurred.png": (lambda face: encode(face.filter(ImageFilter.GaussianBlur(14))), None),
    "dark.png": (lambda face: encode(face.point(lambda v: v // 24)), None),
    "black.png": (lambda face: encode(Image.new("RGB", (300, 300))), False),
    "grey16.png": (
        lambda face: encode(Image.fromarray(np.asarray(face.convert("L")).astype(np.uint16) * 257)),
        True,
    ),
    "cmyk.jpg": (lambda face: encode(face.convert("CMYK"), "JPEG", quality=95), True),
    "see_through.png": (lambda face: encode(Image.new("RGBA", (200, 200), (9, 9, 9, 0))), False),
    "palette.png": (palette, None),
    "floats.tif": (not_a_number, None),
    "wild_exif.jpg": (wild_exif, True),
    "png_named.jpg": (encode, True),
}
