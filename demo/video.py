"""Frames -> GIF and MP4, in memory."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
from PIL import Image


def gif(frames: list[np.ndarray], rate: int) -> bytes:
    """An endless GIF of H x W x 3 uint8 frames, `rate` a second (a GIF counts hundredths)."""
    # One palette for all: a palette a frame makes still skin flicker.
    strip = np.concatenate(frames[:: max(1, len(frames) // 6)])
    palette = Image.fromarray(strip).quantize(255, Image.Quantize.MEDIANCUT)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    # Pillow merges equal neighbours into one; a corner pixel that blinks keeps all the frames.
    for picture in pictures[1::2]:
        index = picture.getpixel((0, 0))
        assert isinstance(index, int)  # of the palette
        picture.putpixel((0, 0), (index + 1) % 255)
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        loop=0,
        duration=round(100 / rate) * 10,
        optimize=False,
        disposal=2,
    )
    return buffer.getvalue()


def mp4(frames: list[np.ndarray], rate: int) -> bytes:
    """An MP4 (H.264) of H x W x 3 uint8 frames with even sides."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "veryfast"}
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()
