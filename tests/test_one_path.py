"""One setting gives the same bytes on the page, in the API, on the command line and in Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as samples

import ganmut
from demo.api import Api
from demo.handlers import Handlers
from demo.service import Service
from ganmut.cli import main
from ganmut.editor import FADE_RADIUS
from ganmut.emotions import UNITS
from ganmut.images import read_image


@pytest.fixture(scope="module")
def handlers():
    return Handlers(Service(groups=("procedural",)), [])


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # where the API looks for uploads
    monkeypatch.setenv("GANMUT_MARK", "0")
    Image.fromarray(samples.astronaut()[:300, 60:400]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run_snippet(text: str, photo, monkeypatch) -> np.ndarray:
    """What the copied Python writes for a photograph."""
    monkeypatch.chdir(photo.parent)
    exec(text.replace("photo.jpg", photo.name), {})
    return read_image("edited.png")


def run_command(photo, *options) -> np.ndarray:
    out = photo.with_name("command.png")
    assert main(["edit", str(photo), "--out", str(out), "--device", "cpu", *options]) == 0
    return read_image(out)


SETTINGS = {  # point, mix, seed, units
    "ganmut": ((0.4, -0.3), {}, 0, {}),
    "stargan": ((0, 0), {"happy": 0.7}, 0, {}),
    "defgan": ((0, 0), {}, 0, {"12": 0.8, "25": 0.3}),
}


@pytest.mark.parametrize("method", SETTINGS)
def test_four_ways_give_the_same_bytes(method, handlers, photo, monkeypatch):
    setting = SETTINGS[method]
    face = handlers.service.open(read_image(photo))
    page, facts, _ = handlers.rest(face, method, *setting)
    api, _ = Api(handlers).edit(str(photo), method, *setting, 1)
    python = run_snippet(facts["python"], photo, monkeypatch)
    options = ["--method", method, "--code", *map(str, facts["code"])]
    if own := handlers.service.units(face, method) if method == "defgan" else None:
        options += ["--source-units", *(f"{u}={v}" for u, v in zip(UNITS, own, strict=True))]
    command = run_command(photo, *options)
    page, api = np.asarray(page), np.asarray(api)
    assert not np.array_equal(page, read_image(photo))
    assert np.array_equal(page, api)
    assert np.array_equal(page, python)
    assert np.array_equal(page, command)


def test_named_units_and_their_code_agree(handlers, photo):
    face = handlers.service.open(read_image(photo))
    own = handlers.service.units(face, "defgan")
    source = ["--source-units", *(f"{u}={v}" for u, v in zip(UNITS, own, strict=True))]
    named = run_command(photo, "--method", "defgan", "--units", "12=0.8", "25=0.3", *source)
    page, _, _ = handlers.rest(face, "defgan", *SETTINGS["defgan"])
    assert np.array_equal(named, np.asarray(page))


def test_edits_near_the_source_code_fade():
    editor = ganmut.load("procedural/defgan", "cpu")
    face = samples.astronaut()[52:180, 164:292]
    own = editor.space.of("happy", 0.5)
    faces = editor.prepare([face], own)
    plain = editor.prepare([face])
    source = editor.edit(editor.prepare([face], own), own)
    assert (source.float() - (plain.x + 1) * 127.5).abs().max() <= 0.51  # no change
    half = own.clone()
    half[0] += FADE_RADIUS / 2
    far = editor.space.of("sad")
    change = [
        (editor.edit(ready, half).float() - source.float()).abs().mean() for ready in (faces, plain)
    ]
    assert 0.4 < float(change[0] / change[1]) < 0.6
    assert torch.equal(editor.edit(faces, far), editor.edit(plain, far))
