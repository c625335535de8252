"""Edited pixels go back into the colours, depth and transparency of their file, with a mark."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data as samples

from ganmut import encoding
from ganmut.decoding import Picture, read_picture
from ganmut.encoding import MARK, WRITABLE, encode_edit, is_marked, read_comment
from ganmut.errors import ParameterError

PIXELS = samples.astronaut()[20:148, 160:288]


def profile() -> bytes:
    """A profile that is not sRGB's: red and green are swapped."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made.replace(b"rXYZ", b"temp").replace(b"gXYZ", b"rXYZ").replace(b"temp", b"gXYZ")


def edit(picture) -> np.ndarray:
    """The pixels with a darker square in the middle."""
    edited = picture.pixels.copy()
    edited[40:80, 40:80] = edited[40:80, 40:80] // 2
    return edited


def reread(content: bytes):
    return read_picture(io.BytesIO(content))


@pytest.fixture
def no_mark(monkeypatch):
    monkeypatch.setenv("GANMUT_MARK", "0")


def deep(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(grey[..., 0].astype(np.uint16) * 257 + 3)


SOURCES = {
    "plain.png": lambda: Image.fromarray(PIXELS),
    "profile.png": lambda: Image.fromarray(PIXELS),
    "alpha.png": lambda: Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])),
    "grey.png": lambda: Image.fromarray(PIXELS[..., 0]),
    "deep.tif": lambda: deep(PIXELS),
    "float.tif": lambda: Image.fromarray(PIXELS[..., 0].astype(np.float32) / 255),
}


@pytest.mark.parametrize("name", SOURCES)
def test_values_outside_the_change_are_the_files_own(tmp_path, no_mark, name):
    options = {"icc_profile": profile()} if name.startswith("profile") else {}
    SOURCES[name]().save(tmp_path / name, **options)
    picture = read_picture(tmp_path / name)
    edited = edit(picture)
    back = reread(encode_edit(picture, edited, WRITABLE[(tmp_path / name).suffix]))
    outside = np.ones((128, 128), bool)
    outside[40:80, 40:80] = False
    assert back.own.dtype == picture.own.dtype and back.own.shape == picture.own.shape
    assert np.array_equal(back.own[outside], picture.own[outside])
    assert back.profile == picture.profile
    assert (back.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        assert np.array_equal(back.alpha[outside], picture.alpha[outside])
    else:
        difference = back.pixels[40:80, 40:80].astype(int) - edited[40:80, 40:80]
        assert np.abs(difference).mean() < 1


@pytest.mark.parametrize("grey", [False, True])
def test_transparency_is_kept(tmp_path, no_mark, monkeypatch, grey):
    alpha = np.tile(np.repeat([0, 64, 128, 255], 32).astype(np.uint8), (128, 1))
    # Of medium brightness: no colour is darker than black, however little of it is seen.
    stored = Image.fromarray(PIXELS // 2 + 64).convert("L" if grey else "RGB")
    stored.putalpha(Image.fromarray(alpha))
    stored.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    edited = picture.pixels.copy()
    edited[40:80] -= np.array([9, 6, 3], np.uint8)
    back = reread(encode_edit(picture, edited, "PNG"))
    assert np.array_equal(back.alpha, alpha)
    difference = back.pixels.astype(int) - edited
    assert np.abs(difference[:, 32:]).max() <= 2  # on white it looks as the edit does
    assert np.array_equal(back.pixels[:, :32], picture.pixels[:, :32])
    # The mark alone is seen on any background.
    monkeypatch.setenv("GANMUT_MARK", "1")
    marked = reread(encode_edit(picture, edited, "PNG"))
    written = marked.alpha != alpha
    assert (marked.alpha[written] == 255).all() and written[:100].sum() == 0 < written[:, :32].sum()
    assert np.array_equal(marked.pixels[written], encoding.draw_mark(edited)[written])


def grey_profile() -> bytes:
    """An ICC profile of grey whose values are in linear light."""
    xyz = struct.pack(">3i", 63190, 65536, 54061)  # D50
    parts = {
        b"desc": b"desc" + struct.pack(">2I", 0, 5) + b"grey" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + xyz,
        b"kTRC": b"curv" + struct.pack(">2IH", 0, 1, 256) + bytes(2),
    }
    start, table, content = 132 + 12 * len(parts), b"", b""
    for name, part in parts.items():
        table += name + struct.pack(">2I", start + len(content), len(part))
        content += part
    head = struct.pack(">I4sI", start + len(content), b"lcms", 0x02200000) + b"mntrGRAYXYZ "
    head += bytes(12) + b"acsp" + bytes(28) + xyz + bytes(48)
    return head + struct.pack(">I", len(parts)) + table + content


def test_colour_on_transparent_grey_keeps_its_brightness(tmp_path, no_mark):
    stored = Image.new("LA", (16, 16), (60, 255))
    stored.putpixel((0, 0), (60, 128))
    stored.save(tmp_path / "a.png", icc_profile=grey_profile())
    picture = read_picture(tmp_path / "a.png")
    assert picture.profile and picture.pixels[8, 8, 0] > 120
    edited = picture.pixels.copy()
    edited[2:4, 2:4] = (200, 30, 30)
    back = reread(encode_edit(picture, edited, "PNG"))
    assert np.abs(back.pixels.astype(int) - edited).max() <= 2


@pytest.mark.parametrize("form", sorted(encoding.LARGEST))
def test_pictures_beyond_a_format_are_refused(form):
    for shape in ((1, encoding.LARGEST[form], 3), (encoding.LARGEST[form] + 1, 1, 3)):
        picture = Picture.of(np.zeros(shape, np.uint8))
        if max(shape) > encoding.LARGEST[form]:
            with pytest.raises(ParameterError, match="PNG"):
                encode_edit(picture, picture.pixels, form)
        else:
            assert reread(encode_edit(picture, picture.pixels, form)).pixels.shape == shape


@pytest.mark.parametrize("side", [128, 256, 1024])
def test_mark_leaves_the_face_free(side):
    grey = np.full((side, side, 3), 128, np.uint8)
    rows, columns = (encoding.draw_mark(grey) != grey).any(-1).nonzero()
    assert len(rows) > 0
    assert rows.min() > 0.85 * side and columns.max() < 0.55 * side


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("form", ["JPEG", "BMP", "WEBP"])
def test_what_a_format_cannot_hold_is_said(tmp_path, no_mark, name, form):
    options = {"icc_profile": profile()} if name.startswith("profile") else {}
    SOURCES[name]().save(tmp_path / name, **options)
    picture = read_picture(tmp_path / name)
    back = reread(encode_edit(picture, edit(picture), form))
    lost = encoding.losses(picture, form)
    kept = (back.profile == picture.profile, (back.alpha is None) == (picture.alpha is None))
    assert bool(lost) != (all(kept) and back.own.dtype == picture.own.dtype)
    if picture.alpha is None or lost:
        assert np.abs(back.pixels.astype(int) - edit(picture)).mean() < 4


@pytest.mark.parametrize("form", sorted(set(WRITABLE.values()) - {"BMP"}))
def test_edits_are_marked_in_every_format(tmp_path, form):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    content = encode_edit(picture, edit(picture), form)
    with Image.open(io.BytesIO(content)) as file:
        assert read_comment(file) == MARK
    marked = np.abs(reread(content).pixels[-16:].astype(int) - picture.pixels[-16:]).max(-1) > 100
    assert marked.sum() > 50


def test_nothing_is_marked_where_nothing_changed(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    content = encode_edit(picture, picture.pixels, "PNG")
    assert np.array_equal(reread(content).pixels, PIXELS)
    with Image.open(io.BytesIO(content)) as file:
        assert read_comment(file) == ""


def test_one_switch_leaves_the_visible_mark_out(tmp_path, no_mark):
    assert not is_marked()
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    content = encode_edit(picture, edit(picture), "PNG")
    assert np.array_equal(reread(content).pixels, edit(picture))
    with Image.open(io.BytesIO(content)) as file:
        assert read_comment(file) == MARK


def test_bands_change_nothing(tmp_path, no_mark, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png", icc_profile=profile())
    picture = read_picture(tmp_path / "a.png")
    whole = encoding.restore(picture, edit(picture))
    monkeypatch.setattr(encoding, "BAND", 128 * 7)
    assert np.array_equal(encoding.restore(picture, edit(picture)), whole)
