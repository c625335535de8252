"""Hostile clips: broken, lying, empty and odd ones, of every container and animated format."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from clips import COFFEE, moving_face, rotate_by_metadata, write_video
from PIL import Image

Make = Callable[[Path], object]
FRAMES = 6
CODECS = (("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mpeg4"))


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    layout: str = "yuv420p",
    times: Sequence[int] | None = None,
    form: str | None = None,
    rate: Fraction = Fraction(25),
) -> Path:
    """Writes frames H x W x 3 uint8 in any codec, layout of pixels and container, at `times` (ms);
    the size of the first may differ from those of the others."""
    with av.open(str(path), "w", format=form) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = layout
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts = number * 40 if times is None else times[number]
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def packets(path: Path, keep: Callable[[int], bool], shift: Callable[[int, int], int]) -> Path:
    """Copies a video's packets anew: those of the numbers `keep`, at the times `shift(n, pts)`."""
    source = io.BytesIO(path.read_bytes())
    with av.open(source) as file, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(file.streams.video[0])):
            if packet.pts is not None and keep(number):
                packet.pts = shift(number, packet.pts)
                packet.dts = min(packet.pts, number - 1000)  # must rise, unlike the other
                packet.stream = stream
                new.mux(packet)
    return path


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as file:
        tone = file.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 9600, 960):
            wave = np.zeros((1, 960), np.float32)
            heard = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, start, Fraction(1, 48000)
            file.mux(tone.encode(heard))
        file.mux(tone.encode())


def without_frames(path: Path) -> None:
    """A track for pictures that holds none, beside one of sound."""
    whole = write_video(path, moving_face(2))
    source = io.BytesIO(whole.read_bytes())
    with av.open(source) as file, av.open(str(path), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in file.streams}
        for packet in file.demux(file.streams.audio[0]):
            if packet.pts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)


def patched(path: Path, change: Callable[[bytearray], object], **options: object) -> None:
    """A whole video with some bytes changed."""
    encode(path, moving_face(FRAMES), **options)  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def claim_size(side: int) -> Callable[[bytearray], None]:
    """Changes the size that an MP4 states of its pictures; the stream itself keeps its own."""

    def change(content: bytearray) -> None:
        place = content.index(b"avc1", content.index(b"stsd"))
        content[place + 28 : place + 32] = struct.pack(">HH", side, side)
        place = content.index(b"tkhd")
        content[place + 80 : place + 88] = struct.pack(">II", side << 16, side << 16)

    return change


def claim_duration(content: bytearray) -> None:
    """An MP4 that claims to last for days."""
    for box, place in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        start = content.index(box)
        content[start + place : start + place + 4] = b"\x7f\xff\xff\xff"


def odd_turn(content: bytearray) -> None:
    """Players are to turn the pictures by 45 degrees and mirror them."""
    place = content.index(b"\0\1\0\0" + bytes(12) + b"\0\1\0\0", content.index(b"tkhd"))
    half = 46341
    numbers = (-half, half, 0, half, half, 0, 0, 0, 1 << 30)
    content[place : place + 36] = struct.pack(">9i", *numbers)


def no_turn(content: bytearray) -> None:
    """A matrix of zeros."""
    place = content.index(b"\0\1\0\0" + bytes(12) + b"\0\1\0\0", content.index(b"tkhd"))
    content[place : place + 36] = bytes(36)


def huge_table(content: bytearray) -> None:
    """A table of samples with four thousand million of them."""
    place = content.index(b"stsz")
    content[place + 8 : place + 16] = struct.pack(">II", 0, 0xFFFFFFFF)


def huge_box(content: bytearray) -> None:
    """A box that reaches far behind the end of the file."""
    place = content.index(b"moov") - 4
    content[place : place + 4] = b"\x7f\xff\xff\xff"


def deep_boxes(path: Path) -> None:
    """Ten thousand boxes, each in the one before."""
    depth = 10_000
    content = b"".join(struct.pack(">I4s", 8 * (depth - n), b"moov") for n in range(depth))
    path.write_bytes(b"\0\0\0\x14ftypisom\0\0\2\0isom" + content)


def damaged(share: float, seed: int) -> Callable[[bytearray], None]:
    """Changes some bytes from a share of a file on."""
    draw = np.random.default_rng(seed)

    def change(content: bytearray) -> None:
        first = int(share * len(content))
        for place in draw.integers(first, len(content), 40):
            content[place] = int(draw.integers(256))

    return change


def cut(share: float) -> Callable[[bytearray], None]:
    """Keeps a share of a file."""

    def change(content: bytearray) -> None:
        del content[int(share * len(content)) :]

    return change


def two_sizes(path: Path) -> None:
    """Pictures whose size changes on the way, as a broken recorder writes them."""
    small, large = (
        [np.ascontiguousarray(f[:h, :w]) for f in moving_face(3)]
        for h, w in ((120, 160), (180, 240))
    )
    parts = [
        encode(path.with_suffix(f".{n}.h264"), f, form="h264") for n, f in enumerate((small, large))
    ]
    content = b"".join(part.read_bytes() for part in parts)
    for part in parts:
        part.unlink()
    with av.open(io.BytesIO(content), format="h264") as file, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(file.streams.video[0])
        for number, packet in enumerate(file.demux(file.streams.video[0])):
            if packet.size:
                packet.pts = packet.dts = number
                packet.time_base = Fraction(1, 25)
                packet.stream = stream
                new.mux(packet)


def animation(path: Path, change: Callable[[bytearray], object], duration: int = 40) -> None:
    """An animated picture of the suffix, with some bytes changed."""
    first, *rest = map(Image.fromarray, moving_face(4))
    buffer = io.BytesIO()
    form = {".png": "PNG", ".apng": "PNG"}.get(path.suffix, path.suffix[1:].upper())
    first.save(buffer, form, save_all=True, append_images=rest, duration=duration, loop=0)
    content = bytearray(buffer.getvalue())
    change(content)
    path.write_bytes(content)


def huge_screen(content: bytearray) -> None:
    """A GIF that claims a screen of 65535 x 65535 pixels."""
    content[6:10] = b"\xff" * 4


def many_frames(path: Path) -> None:
    """A GIF of 600 frames of 8 x 8 points, a few bytes each."""
    buffer = io.BytesIO()
    pictures = [Image.new("P", (8, 8), n % 2) for n in range(3)]
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=20)
    content = buffer.getvalue()
    start = content.index(b"!\xf9")
    path.write_bytes(content[:start] + 300 * content[start:-1] + b";")


def looping(path: Path) -> None:
    os.symlink(path.name, path)


def nothing(content: bytearray) -> None:
    """Leaves a file as it is."""


def sides(width: int, height: int) -> list[np.ndarray]:
    """Pictures of another size."""
    picture = Image.fromarray(moving_face(1)[0]).resize((width, height))
    return [np.asarray(picture)] * 3


def late(times: Sequence[int]) -> Make:
    """A whole video whose packets come at other times, in its own clock."""

    def make(path: Path) -> None:
        encode(path, moving_face(len(times)), "mpeg4")
        packets(path, lambda n: True, lambda n, pts: times[n])

    return make


# Name -> what writes it. Every suffix of a clip, and those of pictures that hold several frames.
HOSTILE_CLIPS: dict[str, Make] = {
    "empty.mp4": lambda path: path.touch(),
    "text.mov": lambda path: path.write_bytes(b"a letter, renamed\n" * 40),
    "noise.mkv": lambda path: path.write_bytes(bytes(range(256)) * 90),
    "zeros.avi": lambda path: path.write_bytes(bytes(90_000)),
    "page.mp4": lambda path: path.write_bytes(b"<!DOCTYPE html><title>Sign in</title>" * 9),
    "pointer.mp4": lambda path: path.write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
    ),
    "playlist.mp4": lambda path: path.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"),
    "list.mkv": lambda path: path.write_bytes(b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
    "session.mov": lambda path: path.write_bytes(b"v=0\nm=video 9 RTP/AVP 96\nc=IN IP4 127.0.0.1"),
    "photograph.mp4": lambda path: Image.fromarray(moving_face(1)[0]).save(path, "JPEG"),
    "gif_named.mp4": lambda path: encode(path, sides(160, 120), "gif", "rgb8", form="gif"),
    "matroska_named.mp4": lambda path: encode(path, moving_face(3), form="matroska"),
    "mp4_named.webm": lambda path: encode(path, moving_face(3), form="mp4"),
    "mp4_named.gif": lambda path: encode(path, moving_face(3), form="mp4"),
    "transport_named.mp4": lambda path: encode(path, moving_face(3), form="mpegts"),
    "sound_only.mp4": sound_only,
    "sound_only.mkv": sound_only,
    "no_frames.mp4": without_frames,
    "no_frames.mkv": without_frames,
    "one_frame.mp4": lambda path: write_video(path, moving_face(1)),
    "one_frame.webm": lambda path: encode(path, moving_face(1), "libvpx-vp9"),
    "no_key_frame.mp4": lambda path: packets(
        encode(path, moving_face(9)), lambda n: n > 3, lambda n, pts: 40 * n
    ),
    "no_face.mp4": lambda path: write_video(path, [COFFEE] * 20),
    "black.mkv": lambda path: encode(path, [np.zeros_like(COFFEE)] * 4),
    "face_comes_and_goes.mp4": lambda path: write_video(path, [moving_face(1)[0], COFFEE] * 3),
    "two_by_two.mp4": lambda path: encode(path, sides(2, 2)),
    "one_by_one.mkv": lambda path: encode(path, sides(1, 1), "ffv1", "bgr0"),
    "odd_sides.mkv": lambda path: encode(path, sides(241, 179), "ffv1", "bgr0"),
    "sliver.mp4": lambda path: encode(path, sides(4096, 16)),
    "tower.avi": lambda path: encode(path, sides(16, 4096), "mjpeg", "yuvj420p"),
    "claims_65535.mp4": lambda path: patched(path, claim_size(65535)),
    "claims_zero.mp4": lambda path: patched(path, claim_size(0)),
    "claims_days.mp4": lambda path: patched(path, claim_duration),
    "huge_table.mp4": lambda path: patched(path, huge_table),
    "huge_box.mp4": lambda path: patched(path, huge_box),
    "deep_boxes.mp4": deep_boxes,
    "turned_45.mp4": lambda path: patched(path, odd_turn),
    "no_matrix.mov": lambda path: patched(path, no_turn),
    "turned_90.mp4": lambda path: rotate_by_metadata(write_video(path, moving_face(3))),
    "variable_rate.mkv": lambda path: encode(path, moving_face(5), times=[0, 1, 2, 900, 40_000]),
    "same_time.mkv": late([0, 0, 0, 0]),
    "backwards.mkv": late([300, 200, 100, 0]),
    "before_zero.mkv": late([-4000, -2000, 0, 40]),
    "after_years.mkv": late([0, 40, 2**40]),
    "slow.mp4": lambda path: encode(path, moving_face(3), times=[0, 10**6, 2 * 10**6]),
    "fast.mp4": lambda path: encode(path, moving_face(3), "mpeg4", rate=Fraction(60_000)),
    "two_sizes.mp4": two_sizes,
    "grey.mkv": lambda path: encode(path, moving_face(3), "ffv1", "gray"),
    "deep.mkv": lambda path: encode(path, moving_face(3), "ffv1", "yuv420p10le"),
    "full_colour.mp4": lambda path: encode(path, moving_face(3), layout="yuv444p"),
    "see_through.mov": lambda path: encode(path, moving_face(3), "png", "rgba"),
    "pcm.mov": lambda path: write_video(path, moving_face(3), sound="pcm_s16le"),
    "flac.mkv": lambda path: write_video(path, moving_face(3), sound="flac"),
    "motion_jpeg.avi": lambda path: encode(path, moving_face(3), "mjpeg", "yuvj420p"),
    **{
        f"cut_{int(100 * share)}.{suffix}": partial(patched, change=cut(share), codec=codec)
        for suffix, codec in CODECS
        for share in (0.01, 0.3, 0.7, 0.97)
    },
    **{
        f"damaged_{int(10 * share)}_{seed}.{suffix}": partial(
            patched, change=damaged(share, seed), codec=codec
        )
        for suffix, codec in CODECS
        for share, seed in ((0, 1), (0, 2), (0.3, 3), (0.5, 4))
    },
    **{
        f"animation_{name}.{suffix}": lambda path, change=change: animation(path, change)
        for suffix in ("gif", "webp", "png", "avif")
        for name, change in (("whole", nothing), ("cut", cut(0.6)), ("damaged", damaged(0.4, 5)))
    },
    "no_time.gif": lambda path: animation(path, nothing, duration=0),
    "huge_screen.gif": lambda path: animation(path, huge_screen),
    "many_frames.gif": many_frames,
    "pipe.mp4": lambda path: os.mkfifo(path),
    "pipe.gif": lambda path: os.mkfifo(path),
    "folder.mp4": lambda path: path.mkdir(),
    "endless.mp4": lambda path: os.symlink("/dev/zero", path),
    "gone.mkv": lambda path: os.symlink("gone", path),
    "loop.mov": looping,
}
