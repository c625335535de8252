"""Pictures in every form that people have, and the two conversions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ganmut import images


def test_bytes_survive_the_round_trip():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(images.to_uint8(images.to_float(every)), every)
    assert images.to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_resize_is_antialiased():
    stripes = torch.tensor([1.0, -1.0]).repeat(32).expand(1, 3, 64, 64)
    assert images.resize(stripes, 16).abs().max() < 0.3
    assert images.resize(stripes, 64) is stripes


def test_every_mode_becomes_rgb(tmp_path):
    red = Image.new("RGB", (8, 6), (200, 30, 30))
    for mode in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "1"):
        path = tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}"
        red.convert(mode).save(path)
        pixels = images.read_image(path)
        assert pixels.shape == (6, 8, 3) and pixels.dtype == np.uint8
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert images.read_image(tmp_path / "clear.png").min() == 255  # transparency lies on white


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    pixels = images.read_image(tmp_path / "deep.png")[..., 0]
    assert np.abs(pixels.astype(int) - (ramp / 257).round()).max() <= 1


def test_exif_turns_the_picture(tmp_path):
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    assert images.read_image(tmp_path / "turned.png").shape == (6, 4, 3)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n truncated"])
def test_what_is_not_a_picture_is_named(tmp_path, content):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(images.BadImage, match=r"bad\.png"):
        images.read_image(path)


def test_truncated_bomb_and_missing(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-2000])
    with pytest.raises(images.BadImage, match=r"cut\.png"):
        images.read_image(tmp_path / "cut.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(images.BadImage, match=r"whole\.png"):
        images.read_image(tmp_path / "whole.png")
    with pytest.raises(images.BadImage, match=r"none\.png"):
        images.read_image(tmp_path / "none.png")


def test_grid_and_png(tmp_path):
    tiles = torch.stack([torch.full((3, 4, 5), v, dtype=torch.uint8) for v in (10, 20, 30)])
    sheet = images.make_grid(tiles, columns=2)
    assert sheet.shape == (3, 10, 12)
    assert (
        sheet[0, 0, 0] == 10
        and sheet[0, 0, 7] == 20
        and sheet[0, 6, 0] == 30
        and sheet[0, 9, 11] == 255
    )
    assert np.array_equal(
        images.read_image(images.write_png(tmp_path / "a" / "s.png", sheet)), images.to_array(sheet)
    )
