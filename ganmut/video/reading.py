"""Clips as frames: videos through PyAV, animated pictures through Pillow; one frame at a time."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from ganmut.decoding import SUFFIXES, BadImage, count_frames, open_regular, read_frames
from ganmut.files import STAND_IN_BYTES, describe_stand_in
from ganmut.video.containers import missing_bytes

# Suffixes of the videos that are read, and FFmpeg's names of their containers. Nothing else reaches
# a demuxer: playlists make FFmpeg open other files and addresses.
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
CONTAINERS = "mov,mp4,matroska,webm,avi"
MAX_FRAME = 36_000_000  # pixels of a frame: 8K
# A clip whose last frame lies further than this before its stated end is incomplete.
SHORTFALL = 0.05, 0.5  # of the duration, plus seconds
MILLISECOND = Fraction(1, 1000)
CLEAR = "its transparency was left out"


@dataclass(frozen=True, eq=False)
class Frame:
    """pixels: H x W x 3 uint8 sRGB, upright. time: seconds from the clip's own zero. duration:
    seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


@dataclass(eq=False)
class Clip:
    """A clip that is open for reading; `frames` may be called once.

    size: width and height in px, upright. count: frames, 0 where the file does not say. rate:
    frames a second, a mean. step: seconds of the file's clock. stream, sound: its streams in PyAV,
    None where it has none. notes: sentences for its record.
    """

    path: Path
    size: tuple[int, int]
    count: int
    rate: Fraction
    step: Fraction
    stream: Any = None
    sound: Any = None
    notes: list[str] = field(default_factory=list)

    def frames(self, take_sound: Callable[[Any], None] = lambda packet: None) -> Iterator[Frame]:
        """Yields the frames in order and hands packets of sound to `take_sound` as they come.
        Raises BadImage where the file is damaged or ends early."""
        if self.stream is None:
            yield from self._animation()
        else:
            yield from self._video(take_sound)

    def _animation(self) -> Iterator[Frame]:
        time = Fraction(0)
        for picture, seconds in read_frames(self.path):
            duration = Fraction(round(seconds * 1000), 1000)
            yield Frame(picture.pixels, time, duration)
            time += duration

    def _video(self, take_sound: Callable[[Any], None]) -> Iterator[Frame]:
        container = self.stream.container
        packets = container.demux([s for s in (self.stream, self.sound) if s is not None])
        start = end = sound_end = None
        while True:
            with self._damage(end):
                packet = next(packets, None)
                if packet is None:
                    break
                decoded = packet.decode() if packet.stream is self.stream else []
            if packet.stream is self.sound and packet.dts is not None:
                sound_end = (packet.dts + (packet.duration or 0)) * packet.time_base
                take_sound(packet)
            for picture in decoded:
                frame = self._frame(picture, end)
                start = frame.time if start is None else start
                end = frame.time + frame.duration
                yield frame
        self._check_end(start, end, sound_end)

    def _frame(self, picture: Any, end: Fraction | None) -> Frame:
        """The upright Frame of a decoded one; end: where the frame before it ended."""
        duration = (picture.duration or 0) * picture.time_base or 1 / self.rate
        time = (end or Fraction(0)) if picture.pts is None else picture.pts * picture.time_base
        with self._damage(end):
            pixels = picture.reformat(format="rgb24", interpolation=exact_scaling()).to_ndarray()
        pixels = np.ascontiguousarray(np.rot90(pixels, quarter_turns(picture)))
        if pixels.shape[1::-1] != self.size:
            raise BadImage("the size of the frames changes on the way; convert it first", self.path)
        return Frame(pixels, time, Fraction(duration))

    @contextmanager
    def _damage(self, end: Fraction | None) -> Iterator[None]:
        """Raises BadImage for what FFmpeg raises."""
        try:
            yield
        except pyav().error.FFmpegError as error:
            at = f"after {float(end or 0):.1f} s"
            raise BadImage(
                f"damaged {at} ({type(error).__name__}); copy it again", self.path
            ) from None

    def _check_end(
        self, start: Fraction | None, end: Fraction | None, sound_end: Fraction | None
    ) -> None:
        if start is None or end is None:
            raise BadImage("no frame of it can be read", self.path)
        container = self.stream.container
        stated = float((self.stream.duration or 0) * self.stream.time_base)
        read = float(end - start)
        if not stated and container.duration:  # Matroska has one duration for all streams
            stated, read = container.duration / 1e6, float(max(end, sound_end or end))
        if read < stated * (1 - SHORTFALL[0]) - SHORTFALL[1]:
            raise BadImage(
                f"incomplete: it ends after {read:.1f} of {stated:.1f} s; copy it again", self.path
            )


def is_clip_name(path: Path) -> bool:
    """Whether a file's suffix is that of a video."""
    return path.suffix.lower() in VIDEOS


def is_clip(path: str | Path) -> bool:
    """Whether a file is a video, by its suffix, or an animated picture, by its content."""
    path = Path(path)
    return is_clip_name(path) or (path.suffix.lower() in SUFFIXES and count_frames(path) > 1)


@contextmanager
def open_clip(path: str | Path) -> Iterator[Clip]:
    """The Clip of a video or an animated picture. Raises BadImage."""
    path = Path(path)
    if not is_clip_name(path):
        count = count_frames(path)
        first, _ = next(read_frames(path))
        clear = first.alpha is not None and first.alpha.min() < 255
        yield Clip(
            path, first.size, count, Fraction(10), MILLISECOND, notes=[CLEAR] if clear else []
        )
        return
    pyav()  # where it is missing, that is said first
    with open_regular(path) as file:
        start = file.read(STAND_IN_BYTES)
        if not start:
            raise BadImage("the file is empty", path)
        if stand_in := describe_stand_in(start):
            raise BadImage(stand_in, path)
        if missing := missing_bytes(file):
            raise BadImage(
                f"incomplete: its last {missing:,} bytes are missing; copy it again", path
            )
        with _open_container(path, file) as container:
            first = _first_frame(path, container)
        # Opened anew, not rewound: FFmpeg rewinds to a frame, and sound that begins before it is
        # skipped.
        file.seek(0)
        with _open_container(path, file) as container:
            yield _video_clip(path, container, first)


def _open_container(path: Path, file: BinaryIO) -> Any:
    av = pyav()
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
    try:
        return av.open(file, "r", options=options)
    except av.error.FFmpegError as error:
        raise BadImage(
            f"damaged, incomplete or not a video ({type(error).__name__}); known are "
            + ", ".join(VIDEOS),
            path,
        ) from None


def _first_frame(path: Path, container: Any) -> Any:
    """The first frame of a video as FFmpeg decodes it, which tells how it is turned."""
    if not container.streams.video:
        raise BadImage("it has no pictures, only sound", path)
    stream = container.streams.video[0]
    context = stream.codec_context
    if context is None:
        raise BadImage("its pictures are in no form that is known here; convert it first", path)
    if not 0 < context.width * context.height <= MAX_FRAME:
        million = MAX_FRAME // 10**6
        raise BadImage(f"frames of no size, or of more than {million} million pixels", path)
    try:
        first = next(container.decode(stream), None)
    except pyav().error.FFmpegError:
        first = None
    if first is None:
        raise BadImage("damaged: no frame of it can be read; copy it again", path)
    return first


def _video_clip(path: Path, container: Any, first: Any) -> Clip:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    width, height = first.width, first.height
    size = (height, width) if quarter_turns(first) % 2 else (width, height)
    notes = []
    if first.rotation and not quarter_turns(first):
        notes.append("its pictures are to be shown turned by no right angle: they were not turned")
    depth = first.format.components[0].bits
    if depth > 8:
        notes.append(f"{depth} bits per channel became 8")
    if any(c.is_alpha for c in first.format.components) or stream.metadata.get("alpha_mode") == "1":
        notes.append(CLEAR)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    count = stream.frames
    if not count and (seconds := _duration(stream)):
        count = math.ceil(seconds * rate)
    sound = container.streams.audio[0] if container.streams.audio else None
    others = len(container.streams) - 1 - bool(sound)
    if others:
        notes.append(f"{others} further streams (subtitles, other sound, data) were left out")
    return Clip(path, size, count, rate, stream.time_base, stream, sound, notes)


def quarter_turns(frame: Any) -> int:
    """How many quarter turns make a frame upright; 0 for other angles, and where a file full of
    zeros gives none."""
    turns = round(frame.rotation / 90)
    return turns if abs(frame.rotation - 90 * turns) < 5 else 0


def _duration(stream: Any) -> float:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return (stream.container.duration or 0) / 1e6


def exact_scaling() -> Any:
    """The flags of FFmpeg's conversion of colours. Its default rounds down: a clip would become a
    grey level darker each time that it is read and written."""
    kind = importlib.import_module("av.video.reformatter").Interpolation
    return kind.BICUBIC | kind.ACCURATE_RND | kind.FULL_CHR_H_INT | kind.FULL_CHR_H_INP


def pyav() -> ModuleType:
    """PyAV; raises BadImage with the remedy where it is missing."""
    try:
        import av
    except ImportError:
        raise BadImage("clips need the package av: pip install 'ganmut[video]'") from None
    return av
