"""Small clips that several test files share: a face that moves, and files of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from skimage import data

from ganmut.video.reading import exact_scaling

ASTRONAUT = Image.fromarray(data.astronaut())
COFFEE = np.asarray(Image.fromarray(data.coffee()).resize((240, 180)))


def moving_face(count: int, size: tuple[int, int] = (240, 180)) -> list[np.ndarray]:
    """H x W x 3 uint8 frames in which the astronaut's head moves over the picture."""
    frames = []
    for step in range(count):
        left, top = 90 + 20 * np.sin(step / 9), 30 - 10 * np.cos(step / 7)
        corners = (left, top, left + size[0], top + size[1])
        moved = ASTRONAUT.transform(size, Image.Transform.EXTENT, corners, Image.Resampling.BICUBIC)
        frames.append(np.asarray(moved))
    return frames


def write_video(
    path: Path, frames: Sequence[np.ndarray], ticks: Sequence[int] | None = None, sound: str = "aac"
) -> Path:
    """Writes H.264 at 25 frames a second, or at `ticks` (ms), with a tone unless `sound` is ""."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = file.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number * 40 if ticks is None else ticks[number]
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if tone is not None:
            wave = 0.1 * np.sin(np.arange(len(frames) * 1920) / 17)
            for start in range(0, len(wave), 960):
                part = wave[None, start : start + 960].astype(np.float32)
                heard = av.AudioFrame.from_ndarray(part, "fltp", "mono")
                heard.sample_rate, heard.pts = 48000, start
                heard.time_base = Fraction(1, 48000)
                file.mux(tone.encode(heard))
            file.mux(tone.encode())
    return path


def rotate_by_metadata(path: Path) -> Path:
    """Makes players turn a video a quarter clockwise: the matrix of its track header."""
    data = path.read_bytes()
    one, identity = b"\0\1\0\0", b"\0\1\0\0" + bytes(12) + b"\0\1\0\0" + bytes(12) + b"\x40\0\0\0"
    place = data.index(identity, data.index(b"tkhd"))
    matrix = bytes(4) + one + bytes(4) + b"\xff\xff\0\0" + bytes(16) + b"\x40\0\0\0"
    path.write_bytes(data[:place] + matrix + data[place + len(matrix) :])
    return path


def read_video(path: Path) -> tuple[list[np.ndarray], list[float], bytes]:
    """(frames H x W x 3 uint8 as stored, their times in s, the bytes of the sound)."""
    frames, times, sound = [], [], b""
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.stream.type == "audio":
                sound += bytes(packet)
            else:
                for frame in packet.decode():
                    exact = frame.reformat(format="rgb24", interpolation=exact_scaling())
                    frames.append(exact.to_ndarray())
                    times.append(float(frame.time))
    return frames, times, sound
