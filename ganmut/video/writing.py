"""Edited frames as clips, one frame at a time: videos, GIF and animated WebP, with the mark in
their metadata."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ganmut.decoding import BadImage
from ganmut.encoding import DESCRIPTION, MARK
from ganmut.video.reading import Clip, exact_scaling, pyav

# Suffix -> FFmpeg's names of container, encoder and layout of pixels, and the encoder's options.
# mbtree: with times of frames, x264's plan of bits over later frames differs from run to run.
H264 = ("libx264", "yuv420p", {"crf": "16", "preset": "fast", "mbtree": "0"})
WRITABLE: dict[str, tuple[str, str, str, dict[str, str]]] = {
    ".mp4": ("mp4", *H264),
    ".m4v": ("mp4", *H264),
    ".mov": ("mov", *H264),
    ".mkv": ("matroska", *H264),
    ".webm": (
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "22", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    ),
    ".gif": ("gif", "gif", "pal8", {}),
    ".webp": ("webp", "libwebp_anim", "bgra", {"quality": "90"}),
}
SILENT = (".gif", ".webp")
HUNDREDTH = Fraction(1, 100)  # the clock of GIF
# Grey levels by which the colours of a frame may miss a palette more than those of the frame that
# it was made for.
PALETTE_DRIFT = 1.0


class ClipWriter:
    """Writes frames and sound to a file; see `write_clip`. done, state, checkpoint: of a writer
    that goes on after a kill (`segments.SegmentWriter`); this one starts anew."""

    done = 0
    state: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, file: BinaryIO, suffix: str, clip: Clip):
        self.av: Any = pyav()
        kind, codec, self.layout, options = WRITABLE[suffix]
        # bitexact: Matroska would name the file and its tracks by random numbers.
        muxing = {"fflags": "+bitexact"} | ({"loop": "0"} if suffix in SILENT else {})
        self.file = _CommentedGif(file) if suffix == ".gif" else _ClipFile(file)
        self.container: Any = self.av.open(self.file, "w", format=kind, options=muxing)
        self.container.metadata["comment"] = MARK
        stream: Any = self.container.add_stream(codec, rate=clip.rate, options=dict(options))
        self.stream: Any = stream
        width, height = clip.size
        # 4:2:0 halves both sides.
        self.pad = (height % 2, width % 2) if self.layout == "yuv420p" else (0, 0)
        self.stream.width, self.stream.height = width + self.pad[1], height + self.pad[0]
        self.stream.pix_fmt = self.layout
        self.step = HUNDREDTH if suffix == ".gif" else clip.step
        self.stream.codec_context.time_base = self.step
        self.matrix = None
        if clip.stream is not None and self.layout == "yuv420p":
            self._keep_colours(clip)
        self.sound = None
        if clip.sound is not None and suffix not in SILENT:
            self.sound = self.container.add_stream_from_template(clip.sound)
        self.last, self.duration = -1, Fraction(0)
        self.palette: tuple[Image.Image, float] | None = None

    def write(self, pixels: np.ndarray, time: Fraction, duration: Fraction) -> None:
        """Appends a frame, H x W x 3 uint8, shown from `time` on for `duration` seconds. Raises
        OSError where the file cannot be written."""
        frame = self._frame(pixels)
        # Clocks of formats differ, and two frames may fall on one tick.
        frame.pts = max(round(time / self.step), self.last + 1)
        frame.time_base, self.last = self.step, frame.pts
        self.duration = duration
        frame.duration = max(round(duration / self.step), 1)
        for packet in self.stream.encode(frame):
            if self.layout == "pal8":  # else the last frame of a GIF has no duration
                packet.duration = frame.duration
            self.put(packet)
        self.file.check()

    def put(self, packet: Any) -> None:
        """Takes an encoded packet of frames."""
        self.container.mux(packet)

    def checkpoint(self, make_state: Callable[[], dict[str, Any]]) -> bool:
        """Is called after each frame that is written; whether an edit can go on from here."""
        return False

    def write_sound(self, packet: Any) -> None:
        """Appends a packet of the source's sound as it is."""
        if self.sound is not None:
            packet.stream = self.sound
            self.container.mux(packet)

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        self.container.mux(self.stream.encode())
        self.container.close()
        self.file.check()

    def _keep_colours(self, clip: Clip) -> None:
        """The source's matrix and its tags: colours are converted back as they were read."""
        ours, theirs = self.stream.codec_context, clip.stream.codec_context
        ours.colorspace, ours.color_range = theirs.colorspace, theirs.color_range
        ours.color_primaries, ours.color_trc = theirs.color_primaries, theirs.color_trc
        self.matrix = theirs.colorspace
        turned = clip.size != (theirs.width, theirs.height)
        if (ratio := theirs.sample_aspect_ratio) and ratio > 0:
            ours.sample_aspect_ratio = 1 / ratio if turned else ratio

    def _frame(self, pixels: np.ndarray) -> Any:
        if self.layout == "pal8":
            return self.av.VideoFrame.from_ndarray(self._indexed(pixels), "pal8")
        if any(self.pad):
            pixels = np.pad(pixels, ((0, self.pad[0]), (0, self.pad[1]), (0, 0)), "edge")
        frame = self.av.VideoFrame.from_ndarray(pixels, "rgb24")
        if self.matrix is None:
            return frame.reformat(format=self.layout, interpolation=exact_scaling())
        context = self.stream.codec_context
        frame = frame.reformat(
            format=self.layout,
            dst_colorspace=self.matrix,
            dst_color_range=context.color_range or "MPEG",
            interpolation=exact_scaling(),
        )
        frame.colorspace, frame.color_range = context.colorspace, context.color_range
        return frame

    def _indexed(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(H x W indices, 256 x 4 palette) of a frame. A palette is kept while it fits: with one a
        frame, still skin flickers."""
        picture = Image.fromarray(pixels)
        if self.palette is not None:
            indexed = picture.quantize(palette=self.palette[0], dither=Image.Dither.NONE)
            if _distance(indexed, pixels) <= self.palette[1] + PALETTE_DRIFT:
                return _pal8(indexed)
        indexed = picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        self.palette = indexed, _distance(indexed, pixels)
        return _pal8(indexed)


@contextmanager
def write_clip(path: Path, suffix: str, clip: Clip) -> Iterator[ClipWriter]:
    """A ClipWriter into a file that exists, in the format of a suffix of WRITABLE; its end is
    written afterwards, and what is left after an error is no clip. Raises BadImage for times and
    sizes that the format cannot hold, OSError where the file cannot be written."""
    failure = pyav().error.FFmpegError
    with open(path, "r+b") as file:
        try:
            writer = ClipWriter(file, suffix, clip)
            try:
                yield writer
                writer.close()
            finally:
                with suppress(failure):  # of an end that does not fit what failed before
                    writer.container.close()
        except failure as error:
            raise BadImage(
                f"cannot be written as {suffix} ({type(error).__name__}): its times or sizes are "
                "out of range; convert it first",
                clip.path,
            ) from None
        if suffix == ".webp":
            _complete_webp(file, round(1000 * writer.duration))


def check_output(clip: Clip, suffix: str) -> list[str]:
    """Sentences on what a format cannot hold of a clip. Raises BadImage for sound that it cannot
    hold."""
    width, height = clip.size
    notes = []
    if WRITABLE[suffix][2] == "yuv420p" and (width % 2 or height % 2):
        notes.append("a row or column was repeated: videos need even sides")
    if clip.sound is None:
        return notes
    if suffix in SILENT:
        return [*notes, f"{suffix[1:].upper()} has no sound: it was left out"]
    # The head of a file says it: lists of codecs are those of a family (Opus: MP4, but not MOV).
    try:
        with pyav().open(io.BytesIO(), "w", format=WRITABLE[suffix][0]) as container:
            container.add_stream_from_template(clip.sound)
            container.start_encoding()
    except (pyav().error.FFmpegError, ValueError):
        codec = clip.sound.codec_context.name
        raise BadImage(
            f"{suffix} cannot hold its sound ({codec}); write a .mkv", clip.path
        ) from None
    return notes


def _distance(indexed: Image.Image, pixels: np.ndarray) -> float:
    """Mean absolute difference of an indexed picture, grey levels."""
    return float(np.abs(np.asarray(indexed.convert("RGB")).astype(np.int16) - pixels).mean())


def _pal8(indexed: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    palette = np.zeros((256, 4), np.uint8)
    colours = np.array(indexed.getpalette(), np.uint8).reshape(-1, 3)
    palette[:, 0] = 255  # alpha, red, green, blue
    palette[: len(colours), 1:] = colours
    return np.asarray(indexed), palette


class _ClipFile:
    """A file that FFmpeg writes. What writing raises (a full disk) waits for `check`: FFmpeg would
    make an error of its own of it, or go on."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: BaseException | None = None

    def check(self) -> None:
        """Raises what writing raised."""
        if self.error is not None:
            raise self.error

    def write(self, data: bytes) -> int:
        """Writes data, or nothing after an error; its length."""
        if self.error is None:
            try:
                self.file.write(self.prepare(data))
                self.file.flush()
            except BaseException as error:  # noqa: BLE001 # also Ctrl-C
                self.error = error
        return len(data)

    def prepare(self, data: bytes) -> bytes:
        """The bytes that are written of what FFmpeg gives."""
        return data

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


class _CommentedGif(_ClipFile):
    """A file that gets MARK as a comment behind the first palette: FFmpeg writes none, and readers
    look for it before the frames."""

    started = False

    def prepare(self, data: bytes) -> bytes:
        if self.started:
            return data
        self.started = True
        # A palette of 2^(n + 1) colours follows the screen's 13 bytes where bit 7 is set.
        start = 13 + (3 << (data[10] % 8 + 1) if data[10] & 128 else 0)
        comment = b"!\xfe" + bytes([len(MARK)]) + MARK.encode() + b"\0"
        return data[:start] + comment + data[start:]

    def seekable(self) -> bool:
        return False  # places differ by the comment


def _complete_webp(file: BinaryIO, duration: int) -> None:
    """Adds what FFmpeg does not store in an animated WebP: MARK, and how long its last frame is
    shown (ms)."""
    file.seek(12)
    last = 0
    while len(chunk := file.read(8)) == 8:
        if chunk[:4] == b"ANMF":
            last = file.tell()
        size = int.from_bytes(chunk[4:], "little")
        file.seek(size + size % 2, 1)
    if not last:  # a single frame has no place for either
        return
    file.seek(last + 12)
    file.write(duration.to_bytes(3, "little"))
    exif = Image.Exif()
    exif[DESCRIPTION] = MARK
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    file.seek(0, 2)
    file.write(b"EXIF" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2))
    total = file.tell() - 8
    file.seek(20)  # flags of the header VP8X, which is always the first chunk of an animation
    flags = file.read(1)[0]
    file.seek(20)
    file.write(bytes([flags | 8]))  # EXIF metadata
    file.seek(4)
    file.write(total.to_bytes(4, "little"))
