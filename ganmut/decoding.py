"""Picture files as pixels: one list of formats, regular files only, every failure a BadImage.

`read_picture` is the function that hands a file to a decoder. It returns a `Picture`: sRGB
pixels for a network, and what `ganmut.encoding` needs to put edited pixels back into the file's own
colours, depth and transparency.
"""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganmut.colours import (
    BadProfile,
    UnclearRange,
    levels_to_bytes,
    on_white,
    range_of_values,
    to_srgb,
)
from ganmut.files import STAND_IN_BYTES, describe_stand_in
from ganmut.jpeg import is_endless
from ganmut.picture_tags import UPRIGHT, orientation, range_tags, raw_mode, shown_frames
from ganmut.text import WORD, shorten

# Pillow's name of a format -> the suffixes of its files. Nothing else reaches a decoder: Pillow
# knows formats that start programs (EPS), are rarely met, or have decoders written in Python.
FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pnm"),
    "HEIF": (".heic", ".heif", ".hif"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
# Suffixes of pictures in other formats: in a folder they are reported, not passed over.
UNREADABLE = (
    *(".eps", ".ps", ".psd", ".svg", ".jp2", ".j2k", ".jxl", ".tga", ".ico", ".icns", ".dds"),
    *(".qoi", ".pcx", ".wmf", ".emf", ".xcf", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng"),
    *(".raf", ".orf", ".rw2", ".pef", ".srw"),
)
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # formats that can hold several frames in time
MAX_PIXELS = 150_000_000
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevx", b"mif1", b"msf1")


class BadImage(ValueError):
    """A file that cannot be read as a picture. reason: why, without the name of the file."""

    def __init__(self, reason: str, file: object = ""):
        super().__init__(f"{shorten(str(file), WORD)}: {reason}" if file else reason)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as a network needs it, and as its file holds it; both upright.

    pixels: H x W x 3 uint8, sRGB, transparent parts on white. own: the file's own values, H x W x 3
    uint8, or H x W uint8, uint16 or float32 for grey; `pixels` itself where they are the same.
    alpha: H x W uint8 or None. profile: the ICC profile of `own`, or b"" for sRGB. black, white:
    the values of `own` that mean black and white. notes: what a reader of the file should know,
    such as "the first of 12 frames". size: width and height in the file, before a reduction.
    """

    pixels: np.ndarray
    own: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes = b""
    black: float = 0
    white: float = 255
    notes: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, pixels: np.ndarray) -> Picture:
        """The picture of H x W x 3 uint8 sRGB pixels without a file."""
        return cls(pixels, pixels, size=(pixels.shape[1], pixels.shape[0]))


def read_image(file: str | Path | BinaryIO) -> np.ndarray:
    """H x W x 3 uint8 sRGB of a picture file, upright: `read_picture(file).pixels`. Raises
    BadImage."""
    return read_picture(file).pixels


def read_picture(
    file: str | Path | BinaryIO,
    *,
    longest: int | None = None,
    max_pixels: int = MAX_PIXELS,
    formats: Sequence[str] = tuple(FORMATS),
) -> Picture:
    """The picture of a file in one of `formats`; of an animation the first frame.

    longest: larger pictures are reduced to this longer side in pixels. max_pixels: how many may be
    decoded; JPEG is decoded at a half to an eighth of its size where `longest` allows it. The range
    of values of 16-bit and float pictures comes from the file's tags, else from the values, see
    `range_of_values`. Raises BadImage for anything that is not such a picture in a regular file.
    """
    named = isinstance(file, str | os.PathLike)
    with _reasons(file if named else "", max_pixels, formats):
        opened: AbstractContextManager[BinaryIO] = (
            open_regular(file) if isinstance(file, str | os.PathLike) else nullcontext(file)
        )
        with opened as stream:
            return _decode(stream, longest, max_pixels, formats)


def picture_of(image: Image.Image) -> Picture:
    """The picture of an image that Pillow has opened or made, as `read_picture` returns that of its
    file; of an animation the current frame. Raises BadImage where Pillow cannot load it."""
    with _reasons("", MAX_PIXELS, tuple(FORMATS)):
        # Pillow loads a file at first use: what only the unread file says is taken before.
        return _load(image, None, MAX_PIXELS, [])


@contextmanager
def _reasons(file: object, max_pixels: int, formats: Sequence[str]) -> Iterator[None]:
    """Raises BadImage with the name of the file, or "", for whatever a decoder raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, which does not affect the pixels
            yield
            return
    except BadImage as error:
        raise BadImage(error.reason, file) from None
    except UnclearRange as error:
        raise BadImage(str(error), file) from None
    except UnidentifiedImageError:
        reason = "not a picture in a known format; known are " + ", ".join(formats)
    except Image.DecompressionBombError:
        reason = _too_many(max_pixels)
    except MemoryError:
        reason = "not enough memory for a picture of this size; scale it down"
    except Exception as error:  # noqa: BLE001 (a decoder may raise anything at damaged bytes)
        reason = f"damaged or incomplete ({type(error).__name__}); save it again or give another"
    raise BadImage(reason, file)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """A file opened for reading in binary. Raises BadImage where there is none, or no regular one:
    opening a FIFO or reading a device may never end."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadImage("not a regular file", path)
        # The path may lead elsewhere by now: opening a FIFO must not block.
        flags = os.O_RDONLY | sum(getattr(os, f, 0) for f in ("O_NONBLOCK", "O_CLOEXEC"))
        number = os.open(path, flags | getattr(os, "O_BINARY", 0))
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise BadImage("not a regular file", path)
        return os.fdopen(number, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage("there is no such file", path) from None
    except BadImage:
        raise
    except OSError as error:
        raise BadImage(f"cannot be opened: {error.strerror}", path) from None
    except ValueError:  # a NUL byte in the name
        raise BadImage("there is no such file", ascii(path)) from None


def count_frames(path: str | Path) -> int:
    """How many frames an animation has; 1 for any other file, also for none and damaged ones."""
    try:
        with open_regular(path) as stream, _open(stream, ANIMATED) as file:
            return len(shown_frames(file))
    except Exception:  # noqa: BLE001 (a decoder may raise anything at damaged bytes)
        return 1


def read_frames(path: str | Path) -> Iterator[tuple[Picture, float]]:
    """The frames of an animation, one in memory at a time, and the seconds that each is shown.
    Raises BadImage."""
    with open_regular(path) as stream:
        with _reasons(path, MAX_PIXELS, ANIMATED):
            file = _open(stream, ANIMATED)
            numbers = shown_frames(file)
        for number in numbers:
            with _reasons(path, MAX_PIXELS, ANIMATED):
                file.seek(number)
                picture = picture_of(file.convert("RGBA"))
                seconds = float(file.info.get("duration") or 0) / 1000
            # Browsers show frames of less than 20 ms for a tenth of a second.
            yield picture, seconds if seconds >= 0.02 else 0.1


def read_source(path: str | Path) -> str:
    """The `source` that `images.write_png` stored in a file, or ""."""
    try:
        with open_regular(path) as stream, Image.open(stream, formats=("PNG",)) as picture:
            return str(picture.info.get("Source", ""))
    except Exception:  # noqa: BLE001 (a decoder may raise anything at damaged bytes)
        return ""


def is_unreadable(path: Path) -> bool:
    """Whether a file's suffix is that of a picture in a format that is not read."""
    return path.suffix.lower() in UNREADABLE


def is_picture_name(path: Path) -> bool:
    """Whether a file's suffix is that of a picture, in a format that is read or not."""
    return path.suffix.lower() in SUFFIXES or is_unreadable(path)


def _decode(
    stream: BinaryIO, longest: int | None, max_pixels: int, formats: Sequence[str]
) -> Picture:
    with _open(stream, formats) as file:
        return _load(file, longest, max_pixels, _frames_note(file))


def _open(stream: BinaryIO, formats: Sequence[str]) -> Image.Image:
    """The file of a stream in one of `formats`, opened and not decoded yet. Raises BadImage."""
    stream.seek(0)
    head = stream.read(STAND_IN_BYTES)
    stream.seek(0)
    if not head:
        raise BadImage("the file is empty")
    if stand_in := describe_stand_in(head):
        raise BadImage(stand_in)
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
        if "HEIF" not in formats:
            raise BadImage("HEIC, as telephones store photographs, is not read; save it as JPEG")
        register_heif()
    file = Image.open(stream, formats=[f for f in formats if f != "HEIF" or _has_heif()])
    if file.format in ("JPEG", "MPO") and is_endless(stream, file.width * file.height):
        raise BadImage("a JPEG of so many scans would take minutes to read")
    return file


def _load(file: Image.Image, longest: int | None, max_pixels: int, notes: list[str]) -> Picture:
    """The Picture of an opened file whose first use this is."""
    width, height = file.size
    if longest is not None and (share := longest / max(width, height)) < 1:
        # JPEG alone: decodes at a fraction of the size where that is enough.
        file.draft(file.mode, (max(round(width * share), 1), max(round(height * share), 1)))
    # A progressive JPEG takes memory for all its pixels, whatever part is decoded.
    if width * height > MAX_PIXELS or file.width * file.height > max_pixels:
        raise BadImage(_too_many(MAX_PIXELS if width * height > MAX_PIXELS else max_pixels))
    raw = raw_mode(file)
    tags = range_tags(file)
    turned = orientation(file) >= 5 and file.format != "TIFF"  # Pillow turns TIFF itself
    file.load()
    picture = _interpret(file, raw, tags, notes, longest)
    size = (height, width) if turned else (width, height)
    read = picture.pixels.shape[1::-1]
    if read != size:
        note = f"reduced from {size[0]} x {size[1]} to {read[0]} x {read[1]} pixels"
        picture = replace(picture, notes=(*picture.notes, note))
    return replace(picture, size=size)


def _interpret(
    file: Image.Image,
    raw: str,
    tags: tuple[float | None, float | None, bool],
    notes: list[str],
    longest: int | None,
) -> Picture:
    """The Picture of a decoded file in any mode of Pillow."""
    profile = file.info.get("icc_profile") or b""
    turn, mirror = UPRIGHT.get(orientation(file), (0, False))

    def upright(values: np.ndarray) -> np.ndarray:
        turned = np.rot90(values, turn)
        return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)

    if file.mode.startswith(("I", "F")):
        return _interpret_levels(file, upright, tags, profile, notes, longest)
    picture, profile = _plain_mode(file, profile, notes)
    if longest is not None:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    values = upright(np.asarray(picture))
    alpha = None
    if picture.mode in ("LA", "RGBA"):
        alpha, values = np.ascontiguousarray(values[..., -1]), values[..., :-1]
        values = np.ascontiguousarray(values[..., 0] if picture.mode == "LA" else values)
    if ";16" in raw and picture.mode.startswith("RGB"):
        # Pillow kept the upper byte of each value; those of a PPM it scales.
        if 0 < values.max() < 64 and file.format != "PPM":
            raise UnclearRange(0, int(values.max()) << 8, "of 65535")
        notes.append("16 bits per channel were read as 8")
    if profile:
        try:
            pixels, same = to_srgb(values, profile)
            if same and values.ndim == 3:
                pixels = values
        except BadProfile as error:
            notes.append(str(error))
            profile, pixels = b"", _to_colour(values)
    else:
        pixels = _to_colour(values)
    return Picture(on_white(pixels, alpha), values, alpha, profile, notes=tuple(notes))


def _interpret_levels(
    file: Image.Image,
    upright: Callable[[np.ndarray], np.ndarray],
    tags: tuple[float | None, float | None, bool],
    profile: bytes,
    notes: list[str],
    longest: int | None,
) -> Picture:
    """The Picture of a grey file of more than 8 bits."""
    values = np.asarray(file)
    deep = values.dtype in (np.dtype("uint16"), np.dtype(">u2"))
    values = values.astype(np.float32)
    black, white = range_of_values(values, *tags)
    if "transparency" in file.info:
        notes.append("the transparent grey of the file became opaque")
    values = np.nan_to_num(values, nan=black, posinf=max(black, white), neginf=min(black, white))
    if longest is not None:
        small = Image.fromarray(values)
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        values = np.asarray(small)
    grey = upright(levels_to_bytes(values, black, white))
    own = upright(values.clip(0, 65535).round().astype(np.uint16) if deep else values)
    pixels = _to_colour(grey)
    if profile:
        try:
            pixels, _ = to_srgb(grey, profile)
        except BadProfile as error:
            notes.append(str(error))
            profile = b""
    return Picture(pixels, own, None, profile, black, white, tuple(notes))


def _plain_mode(file: Image.Image, profile: bytes, notes: list[str]) -> tuple[Image.Image, bytes]:
    """(the picture in mode L, LA, RGB or RGBA, its ICC profile)."""
    if file.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in file.info:
        return file, profile
    if file.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        notes.append(f"the colours of the file ({file.mode}) became sRGB")
        if file.mode in ("CMYK", "LAB"):
            try:
                return Image.fromarray(to_srgb(file, profile)[0]), b""
            except BadProfile as error:
                if profile or file.mode == "LAB":
                    notes.append(str(error))
        return file.convert("RGB"), b""
    clear = "transparency" in file.info or file.mode in ("PA", "RGBa", "La")
    grey = file.mode in ("1", "L", "La")
    return file.convert(("LA" if clear else "L") if grey else "RGBA" if clear else "RGB"), profile


def _to_colour(values: np.ndarray) -> np.ndarray:
    """H x W x 3 of H x W or H x W x 3."""
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)


def _frames_note(file: Image.Image) -> list[str]:
    """The note on a file with several frames or pages. The second picture of a JPEG of a phone is a
    preview or a map of brightness, no frame."""
    if file.format == "MPO":
        return []
    try:
        count = getattr(file, "n_frames", 1)
        file.seek(0)
    except (EOFError, OSError, ValueError, SyntaxError):
        return ["the first frame; the others are damaged"]
    what = "pages" if file.format == "TIFF" else "frames"
    return [f"the first of {count} {what}"] if count > 1 else []


def register_heif() -> None:
    """Adds HEIF to the formats of Pillow; raises BadImage with the remedy where its package is
    missing."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise BadImage(
            "HEIC needs the package pillow-heif: pip install 'ganmut[heic]', or save it as JPEG"
        ) from None
    register_heif_opener()


def _has_heif() -> bool:
    return "HEIF" in Image.OPEN


def _too_many(limit: int) -> str:
    return f"more than {limit // 10**6} million pixels; scale it down"
