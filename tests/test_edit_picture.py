"""`ganmut.edit`: any kind of picture in, and the pixels of the command `edit` out."""

from __future__ import annotations

import io
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

import ganmut
from ganmut import weights
from ganmut.cli import main
from ganmut.decoding import BadImage
from ganmut.edit_picture import choose_weight, load_once
from ganmut.errors import ParameterError
from ganmut.faces import NoFace
from ganmut.images import to_tensor
from ganmut.registry import UnknownNameError


@pytest.fixture(scope="module")
def pixels():
    return samples.astronaut()[:300, 60:400].copy()


@pytest.fixture
def photo(pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    assert main(["faces", "--out", str(folder), "--per-emotion", "1", "--size", "96"]) == 0
    return folder / "000_neutral.png"


def command(path, *options) -> Image.Image:
    """What `ganmut edit` writes for a file."""
    out = path.with_name("command.png")
    assert main(["edit", str(path), "--out", str(out), *options]) == 0
    return Image.open(out)


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.mode == b.mode and a.size == b.size and a.tobytes() == b.tobytes()


def test_every_kind_of_picture_gives_the_same(photo, pixels):
    expected = command(photo, "--emotion", "happy", "--intensity", "0.8")
    kinds = [
        photo,
        str(photo),
        Image.open(photo),
        pixels,
        to_tensor(pixels),
        pixels[:, ::-1][:, ::-1],
    ]
    for kind in kinds:
        assert same(ganmut.edit(kind, emotion="happy", intensity=0.8), expected)
    assert expected.tobytes() != Image.fromarray(pixels).tobytes()
    assert np.array_equal(pixels, np.asarray(Image.open(photo)))  # the input stays as it is


def test_the_readmes_example_runs(photo, monkeypatch):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(import ganmut\n\nganmut\.e.*?)^```", text, re.M | re.S)
    monkeypatch.chdir(photo.parent)
    exec(example.replace("photo.jpg", photo.name), {})
    expected = command(photo, "--emotion", "happy", "--intensity", "0.8")
    assert same(Image.open("edited.png"), expected)


@pytest.mark.parametrize(
    "given, options",
    [
        ({"units": {4: 1.0}}, ["--units", "4=1"]),
        (
            {"code": [0.6, -0.2], "method": "ganmut"},
            ["--code", "0.6", "-0.2", "--method", "ganmut"],
        ),
        (
            {"units": {12: 1.0}, "weights": "procedural", "method": "defgan", "face": 1},
            ["--units", "12=1", "--weights", "procedural", "--method", "defgan", "--face", "1"],
        ),
    ],
    ids=["units", "code", "defgan"],
)
def test_settings_give_the_pixels_of_the_command(photo, given, options):
    assert same(ganmut.edit(photo, **given), command(photo, *options))


def test_rendered_faces_take_their_own_weight(rendered):
    expected = command(rendered, "--emotion", "sad")
    own = command(rendered, "--emotion", "sad", "--method", "procedural/ganmut")
    assert same(expected, own)
    for kind in (rendered, Image.open(rendered)):
        assert same(ganmut.edit(kind, emotion="sad"), expected)
    # An array does not say where it comes from.
    assert choose_weight(None, None, [np.asarray(Image.open(rendered))]) == ("photos", "expression")


def test_keys_of_units_may_be_words(pixels):
    """As JSON has them."""
    assert same(ganmut.edit(pixels, units={"4": 1}), ganmut.edit(pixels, units={4: 1.0}))


def test_a_reference_may_be_pixels(photo, pixels):
    given = {"emotion": "happy", "method": "stargan_v2"}
    styled = ganmut.edit(photo, reference=pixels, **given)
    assert same(styled, ganmut.edit(photo, reference=photo, **given))
    assert not same(styled, ganmut.edit(photo, **given))


def grey_turned_file(pixels, path) -> Image.Image:
    """A grey portrait with transparency, stored on its side with EXIF's orientation."""
    turned = Image.fromarray(np.rot90(pixels).copy()).convert("LA")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(path, exif=exif)
    return Image.open(path)


def deep_file(pixels, path) -> Image.Image:
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(path)
    return Image.open(path)


@pytest.mark.parametrize("write", [grey_turned_file, deep_file])
def test_opened_images_are_read_as_files(pixels, tmp_path, write):
    path = tmp_path / "kind.png"
    opened = write(pixels, path)
    edited = ganmut.edit(opened, emotion="happy")
    assert same(edited, ganmut.edit(path, emotion="happy"))
    assert same(edited, command(path, "--emotion", "happy"))


def test_of_an_animation_the_current_frame(pixels, tmp_path):
    black = Image.new("RGB", pixels.shape[1::-1])
    path = tmp_path / "two.webp"
    black.save(path, save_all=True, append_images=[Image.fromarray(pixels)], lossless=True)
    with Image.open(path) as opened:
        opened.seek(1)
        edited = ganmut.edit(opened, emotion="sad").convert("RGB")  # frames have transparency
        assert same(edited, ganmut.edit(pixels, emotion="sad"))
        assert opened.tell() == 1
    with pytest.raises(NoFace):  # of a file the first
        ganmut.edit(path, emotion="sad")


BAD = [
    (lambda p: p.with_name("none.png"), BadImage, "none.png"),
    (lambda p: "https://example.org/a.jpg", BadImage, "example.org"),
    (lambda p: p.parent, ParameterError, "folder"),
    (lambda p: None, ParameterError, "NoneType"),
    (lambda p: b"\x89PNG", ParameterError, "bytes"),
    (lambda p: np.zeros((9, 9), np.uint8), ParameterError, "9 x 9 uint8"),
    (lambda p: np.zeros((9, 9, 3)), ParameterError, "float64"),
    (lambda p: torch.zeros(9, 9, 3, dtype=torch.uint8), ParameterError, "9 x 9 x 3"),
    (lambda p: torch.zeros(3, 9, 9), ParameterError, "255"),
    (lambda p: torch.zeros((), dtype=torch.uint8), ParameterError, "number"),
    (lambda p: np.zeros((0, 9, 3), np.uint8), ValueError, "0, 9, 3"),
    (lambda p: Image.new("RGB", (0, 5)), ValueError, "5, 0"),
    (lambda p: np.zeros((90, 90, 3), np.uint8), NoFace, "no face"),
    (lambda p: truncated(p), BadImage, "damaged"),
]


def truncated(photo: Path) -> Image.Image:
    return Image.open(io.BytesIO(photo.read_bytes()[:20000]))


@pytest.mark.parametrize("make, error, word", BAD)
def test_bad_pictures_have_their_sentence(photo, make, error, word):
    with pytest.raises(error) as raised:
        ganmut.edit(make(photo), emotion="happy")
    assert word in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "given, error, parameter",
    [
        ({}, ParameterError, "emotion, code, units"),
        ({"emotion": "happy", "units": {4: 1.0}}, ParameterError, "emotion, code, units"),
        ({"units": {4: 1.0}, "intensity": 0.5}, ParameterError, "intensity"),
        ({"emotion": "hapy"}, ValueError, None),
        ({"emotion": "happy", "method": "gamut"}, UnknownNameError, None),
        ({"emotion": "happy", "intensity": 2}, ValueError, None),
        ({"emotion": "happy", "intensity": float("nan")}, ValueError, None),
        ({"emotion": "happy", "face": 7}, ValueError, None),
        ({"emotion": "happy", "device": "gpu9"}, ValueError, None),
        ({"emotion": "happy", "detector": "eyes"}, UnknownNameError, None),
        ({"emotion": 5}, ParameterError, "emotion"),
        ({"emotion": "happy", "intensity": [1]}, ParameterError, "intensity"),
        ({"code": "ab", "method": "ganmut"}, ParameterError, "code"),
        ({"code": 0.5, "method": "ganmut"}, ParameterError, "code"),
        ({"code": [1, 1], "method": "ganmut"}, ParameterError, "code"),  # whole numbers
        ({"code": [10**400, 0], "method": "ganmut"}, ParameterError, "code"),
        ({"units": [12]}, ParameterError, "units"),
        ({"units": {12: None}}, ParameterError, "units"),
        ({"units": {4.5: 1}}, ParameterError, "units"),
        (
            {"units": {12: 1}, "source_units": [4], "method": "procedural/defgan"},
            ParameterError,
            "source_units",
        ),
        ({"emotion": "happy", "reference": 5, "method": "stargan_v2"}, ParameterError, "reference"),
        ({"emotion": "happy", "device": "meta"}, ParameterError, "device"),
        ({"emotion": "happy", "detector": None}, ParameterError, "detector"),
        ({"emotion": "happy", "method": 5}, UnknownNameError, None),
    ],
)
def test_bad_settings_have_their_sentence(photo, given, error, parameter):
    with pytest.raises(error) as raised:
        ganmut.edit(photo, **given)
    assert parameter is None or raised.value.parameter == parameter


def test_editors_stay_until_their_weight_changes(photo, tmp_path):
    folder = tmp_path / "set" / "expression"
    shutil.copytree(weights.bundled_root() / "photos" / "expression", folder)
    load_once.cache_clear()
    for _ in range(2):
        ganmut.edit(photo, emotion="happy", weights=folder)
    assert load_once.cache_info().misses == 1
    config = folder / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    ganmut.edit(photo, emotion="happy", weights=folder)
    assert load_once.cache_info().misses == 2


def test_threads_edit_at_the_same_time(photo):
    expected, found = ganmut.edit(photo, emotion="happy"), {}
    load_once.cache_clear()

    def work(k: int) -> None:
        found[k] = ganmut.edit(photo, emotion="happy")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and all(same(expected, image) for image in found.values())
