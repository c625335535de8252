"""One reader of picture files: what it refuses, what it makes of every format, and with what."""

from __future__ import annotations

import ast
import io
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_pictures import ENDLESS
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin
from skimage import data as samples

from ganmut import decoding, picture_tags
from ganmut.decoding import FORMATS, BadImage, read_picture

ROOT = Path(__file__).parent.parent
FACE = Image.fromarray(samples.astronaut()[20:148, 160:288])


def encode(picture: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def test_only_the_reader_hands_files_to_a_decoder():
    callers = set()
    for room in ("ganmut", "demo", "bench"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "Image.open":
                    callers.add(path.relative_to(ROOT).as_posix())
    assert callers == {"ganmut/decoding.py"}


@pytest.mark.parametrize("name", ["b.png", "b.eps", "b.jpg"])
def test_postscript_starts_no_program(tmp_path, monkeypatch, name):
    def refuse(*args, **options):
        raise AssertionError(args)

    monkeypatch.setattr("subprocess.Popen", refuse)
    monkeypatch.setattr("subprocess.check_call", refuse)
    (tmp_path / name).write_bytes(ENDLESS)
    with pytest.raises(BadImage, match=name):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)])
def test_what_is_no_regular_file_is_refused(tmp_path, make):
    path = tmp_path / "b.png"
    make(path)
    with pytest.raises(BadImage, match=r"b\.png"):
        read_picture(path)
    assert decoding.read_source(path) == ""
    with pytest.raises(BadImage):
        read_picture(tmp_path / "a\0b.png")


def samples_of_formats() -> dict[str, bytes]:
    """A small file of every format that Pillow writes, read here or not."""
    made = {}
    Image.init()
    small = FACE.resize((24, 24))
    for form in sorted(Image.SAVE):
        for mode in ("RGB", "L", "1", "P"):
            try:
                content = encode(small.convert(mode), form)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            if content:
                made[f"{form} {mode}"] = content
    made["TIFF deep"] = encode(
        Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24)), "TIFF"
    )
    made["TIFF packed"] = encode(small, "TIFF", compression="tiff_lzw")
    made["GIF animation"] = encode(small, "GIF", save_all=True, append_images=[small.rotate(90)])
    return made


def fuzz(seed: int, each: int) -> None:
    """Damages every sample in several ways: what comes back is a Picture or a BadImage."""
    draw = random.Random(seed)
    for form, content in samples_of_formats().items():
        for _ in range(each):
            damaged = bytearray(content)
            for _ in range(draw.choice([0, 1, 3, 20])):
                damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
            if draw.random() < 0.5:
                del damaged[draw.randrange(len(damaged)) :]
            if draw.random() < 0.2:
                start = draw.randrange(len(damaged) + 1)
                damaged[start:start] = draw.randbytes(draw.randrange(1, 9))
            try:
                picture = read_picture(io.BytesIO(damaged), max_pixels=1_000_000)
            except BadImage as error:
                assert error.reason and "\n" not in str(error), form
            else:
                assert picture.pixels.dtype == np.uint8 and picture.pixels.shape[2] == 3, form
                assert picture.own.shape[:2] == picture.pixels.shape[:2], form


def test_damaged_files_of_all_formats_are_refused():
    fuzz(0, each=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_many_damaged_files_are_refused(seed):
    fuzz(seed, each=60)


def test_whatever_a_decoder_raises_is_wrapped(tmp_path, monkeypatch):
    path = tmp_path / "a.avif"
    path.write_bytes(encode(FACE, "PNG"))
    for error in (RuntimeError, IndexError, NotImplementedError, MemoryError, RecursionError):

        def fail(*args, error=error, **options):
            raise error("decoder")

        monkeypatch.setattr(decoding.Image, "open", fail)
        with pytest.raises(BadImage, match=r"a\.avif"):
            read_picture(path)


def test_every_suffix_is_a_format_that_is_read(tmp_path):
    pytest.importorskip("pillow_heif")
    decoding.register_heif()
    for form, suffixes in FORMATS.items():
        for suffix in suffixes:
            path = tmp_path / f"a{suffix}"
            path.write_bytes(encode(FACE, form))
            assert read_picture(path).pixels.shape == (128, 128, 3), suffix
    assert not set(decoding.SUFFIXES) & set(decoding.UNREADABLE)


def test_heic_without_its_package_names_it(tmp_path, monkeypatch):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImage, match="pip install"):
        read_picture(path)
    with pytest.raises(BadImage, match="HEIC"):  # as on the page
        read_picture(path, formats=("JPEG", "PNG"))


def profile_of(space: str) -> bytes:
    """A matrix profile: sRGB's with its red and green swapped ("swapped"), or sRGB's own."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if space == "swapped":
        made = made.replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")
    return bytes(made)


def test_profiles_are_applied_and_kept(tmp_path):
    path = tmp_path / "a.png"
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    swapped = profile_of("swapped")  # it holds the time
    red.save(path, icc_profile=swapped)
    picture = read_picture(path)
    assert picture.pixels[0, 0].tolist() == pytest.approx([0, 255, 0], abs=2)
    assert picture.own[0, 0].tolist() == [255, 0, 0]
    assert picture.profile == swapped
    FACE.save(path, icc_profile=profile_of("sRGB"))
    assert np.array_equal(read_picture(path).pixels, np.asarray(FACE))
    FACE.save(path, icc_profile=b"no profile")
    picture = read_picture(path)
    assert np.array_equal(picture.pixels, np.asarray(FACE)) and "profile" in picture.notes[0]


def test_alpha_lies_on_white_and_is_kept(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2] = [10, 20, 30, 255]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.pixels[3, 0].tolist() == [255] * 3 and picture.pixels[0, 0].tolist() == [
        10,
        20,
        30,
    ]
    assert np.array_equal(picture.alpha, pixels[..., 3])
    assert np.array_equal(picture.own, pixels[..., :3])


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    "values, tags",
    [
        ((RAMP * 65535).astype(np.uint16), {}),
        ((RAMP * 4095).astype(np.uint16), {281: 4095}),
        ((RAMP * 4095).astype(np.uint16), {281: 4095, 280: 0, 262: 1}),
        ((65535 - RAMP * 65535).astype(np.uint16), {262: 0}),
        (RAMP.astype(np.float32), {}),
        ((RAMP * 255).astype(np.float32), {}),
        ((RAMP * 10 - 5).astype(np.float32), {340: -5.0, 341: 5.0}),
    ],
)
def test_deep_values_are_scaled_by_their_range(tmp_path, values, tags):
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        if tag in (340, 341):
            info.tagtype[tag] = 11
        info[tag] = value
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo=info)
    picture = read_picture(tmp_path / "a.tif")
    assert np.abs(picture.pixels[..., 0] - RAMP * 255).max() <= 1.1
    assert np.array_equal(picture.own, values)


@pytest.mark.parametrize(
    "values",
    [(RAMP * 4095).astype(np.uint16), (RAMP * 12).astype(np.float32), -RAMP.astype(np.float32)],
)
def test_an_unclear_range_is_said(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(BadImage, match="white"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[picture_tags.ORIENTATION] = orientation
    picture = FACE.crop((0, 0, 30, 20))
    for name in ("a.png", "a.tif"):
        picture.save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as file:
            expected = np.asarray(ImageOps.exif_transpose(file))
        read = read_picture(tmp_path / name)
        assert np.array_equal(read.pixels, expected)
        assert read.size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif", "a.avif"])
def test_animations_say_which_frame_is_read(tmp_path, name):
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "green", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    picture = read_picture(tmp_path / name)
    assert any("first of 3" in note for note in picture.notes)
    assert picture.pixels[8, 8, 0] > 200


def test_hidden_images_of_an_apng_are_no_frames(tmp_path):
    frames = [Image.new("RGB", (8, 8), shade) for shade in ("red", "lime", "blue")]
    options = {"save_all": True, "default_image": True, "duration": [50, 70]}
    frames[0].save(tmp_path / "a.png", append_images=frames[1:], **options)
    shown = [(p.pixels[0, 0].tolist(), s) for p, s in decoding.read_frames(tmp_path / "a.png")]
    assert shown == [([0, 255, 0], 0.05), ([0, 0, 255], 0.07)]
    assert decoding.count_frames(tmp_path / "a.png") == 2


def test_depth_that_is_lost_is_said(tmp_path):
    deep = np.stack([RAMP * 9000] * 3, -1).astype(">u2")
    (tmp_path / "a.ppm").write_bytes(b"P6 8 8 65535\n" + deep.tobytes())
    assert read_picture(tmp_path / "a.ppm").notes == ("16 bits per channel were read as 8",)
    (tmp_path / "b.ppm").write_bytes(b"P6 8 8 255\n" + (deep >> 8).astype(np.uint8).tobytes())
    assert read_picture(tmp_path / "b.ppm").notes == ()


def test_a_transparent_grey_that_is_lost_is_said(tmp_path):
    Image.fromarray((RAMP * 65535).astype(np.uint16)).save(tmp_path / "a.png", transparency=0)
    (note,) = read_picture(tmp_path / "a.png").notes
    assert "transparent" in note


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4000, 3000), (6000, 4000), (8000, 6000)])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_sizes_of_phones_are_read_whole(tmp_path, size, form):
    path = tmp_path / "a"
    FACE.resize(size).save(path, form, **({"compress_level": 1} if form == "PNG" else {}))
    assert read_picture(path).pixels.shape == (size[1], size[0], 3)
    small = read_picture(path, longest=1000)
    assert max(small.pixels.shape) == 1000 and small.size == size
    assert f"{size[0]} x {size[1]}" in small.notes[0]


def test_jpeg_is_drafted_below_the_limit(tmp_path):
    FACE.resize((640, 480)).save(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match=r"a\.jpg"):
        read_picture(tmp_path / "a.jpg", max_pixels=100_000)
    assert read_picture(tmp_path / "a.jpg", longest=320, max_pixels=100_000).pixels.shape[1] == 320


def test_an_embedded_preview_is_no_frame(tmp_path):
    FACE.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[FACE.resize((32, 32))])
    assert read_picture(tmp_path / "a.jpg").notes == ()


def test_a_jpeg_of_endless_scans_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (1000, 1000), "grey").save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert read_picture(io.BytesIO(whole)).size == (1000, 1000)
    bomb = whole[:-2] + 1200 * last + whole[-2:]
    assert len(bomb) < 100_000
    with pytest.raises(BadImage, match="scans"):
        read_picture(io.BytesIO(bomb))
