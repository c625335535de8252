"""One setting gives the same bytes on the page, in the API, on the command line and in Python."""

from __future__ import annotations

import ast

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
from ganmut.faces import edit_image
from ganmut.images import read_image


@pytest.fixture(scope="module")
def handlers():
    return Handlers(Service(groups=("procedural", "photos")), [])


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # where the API looks for uploads
    monkeypatch.setenv("GANMUT_MARK", "0")
    Image.fromarray(samples.astronaut()[:300, 60:400]).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def run_snippet(text: str, photo, monkeypatch) -> np.ndarray:
    """What the copied Python writes for a photograph."""
    imports = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = [alias.name for statement in imports for alias in statement.names]
    assert [name for name in names if text.count(name) == 1] == []  # imported and not used
    monkeypatch.chdir(photo.parent)
    exec(text.replace("photo.jpg", photo.name), {})
    return read_image("edited.png")


def run_command(photo, *options) -> np.ndarray:
    out = photo.with_name("command.png")
    assert main(["edit", str(photo), "--out", str(out), "--device", "cpu", *options]) == 0
    return read_image(out)


EXPRESSION = "photos/expression"
SETTINGS = {  # method, point, mix, seed, units
    "ganmut": ("ganmut", (0.4, -0.3), {}, 0, {}),
    "stargan": ("stargan", (0, 0), {"happy": 0.7}, 0, {}),
    "defgan": ("defgan", (0, 0), {}, 0, {"12": 0.8, "25": 0.3}),
    "expression units": (EXPRESSION, (0, 0), {}, 0, {"4": 1.0, "12": 0.2}),
    "expression emotion": (EXPRESSION, (0, 0), {"surprised": 0.7}, 0, {}),
    "expression both": (EXPRESSION, (0, 0), {"surprised": 0.7}, 0, {"4": 1.0}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_four_ways_give_the_same_bytes(name, handlers, photo, monkeypatch):
    setting = SETTINGS[name]
    face = handlers.service.open(read_image(photo))
    page, facts, _ = handlers.rest(face, *setting)
    api, _ = Api(handlers).edit(str(photo), *setting, (1, {}))
    python = run_snippet(facts["python"], photo, monkeypatch)
    method = f"{facts['weights']}/{setting[0].rpartition('/')[2]}"
    options = ["--method", method, "--code", *map(str, facts["code"])]
    if name == "defgan":
        own = handlers.service.own_code(face, "defgan")
        options += ["--source-units", *(f"{u}={v}" for u, v in zip(UNITS, own, strict=True))]
    command = run_command(photo, *options)
    page, api = np.asarray(page), np.asarray(api)
    assert not np.array_equal(page, read_image(photo))
    assert np.array_equal(page, api)
    assert np.array_equal(page, python)
    assert np.array_equal(page, command)


@pytest.mark.parametrize(
    "name, options",
    [
        # What the face shows is read by the extractor of the set.
        ("defgan", ["--method", "procedural/defgan", "--units", "12=0.8", "25=0.3"]),
        ("expression units", ["--units", "4=1", "12=0.2"]),
        ("expression emotion", ["--emotion", "surprised", "--intensity", "0.7"]),
    ],
)
def test_names_and_their_code_agree(name, options, handlers, photo):
    face = handlers.service.open(read_image(photo))
    page, _, _ = handlers.rest(face, *SETTINGS[name])
    assert np.array_equal(run_command(photo, *options), np.asarray(page))


def test_an_edit_that_names_nothing_changes_nothing(handlers, photo, monkeypatch):
    monkeypatch.setenv("GANMUT_MARK", "1")
    for method in (EXPRESSION, "defgan"):
        api, facts = Api(handlers).edit(str(photo), method, (0, 0), {}, 0, {}, (1, {}))
        assert np.array_equal(np.asarray(api), read_image(photo))  # not even a mark
        assert facts["setting"] == "as it is"
        python = run_snippet(facts["python"], photo, monkeypatch)
        assert np.array_equal(python, read_image(photo))


def test_the_live_view_of_a_large_face(handlers):
    service = handlers.service
    portrait = Image.fromarray(samples.astronaut()[10:230, 110:330]).resize((900, 900))
    face = service.open(np.asarray(portrait))
    session = service.session(face)
    for method, emotion in ((EXPRESSION, "sad"), ("photos/wheel", "surprised")):
        live, _ = service.move(face, method, service.code_of_emotion(method, emotion, 0.9))
        made = service.edit_crop(face, method, service.code_of_emotion(method, emotion, 0.9))
        whole, _ = service.show_edit(face, made)
        apart, changed = (np.abs(live.astype(int) - other) for other in (whole, session.view))
        assert apart.mean() < 1.5 and apart.mean() < changed.mean() / 2
        sides = [side for name, side in session.smaller if name == method]
        assert max(sides) < 0.75 * len(made.crop.source)  # what makes a drag fast
    own = torch.tensor(service.own_code(face, EXPRESSION))
    assert np.array_equal(service.move(face, EXPRESSION, own)[0], session.view)


def test_programs_name_a_method_by_its_weight(handlers, photo):
    api = Api(handlers)
    for key, weight in (("ganmut", "procedural/ganmut"), (EXPRESSION, EXPRESSION)):
        (one, facts), (other, same) = (
            api.edit(str(photo), name, (0, 0), {}, 0, {}, (1, {}), "happy", 0.8)
            for name in (key, weight)
        )
        assert np.array_equal(one, other) and facts == same and facts["method"] == key
    stops = [{"point": [0.4, -0.6]}, {"point": [0, 1], "method": "procedural/ganmut"}]
    values = ("stops", "", stops, 0.8, 8, 8, (1, {}))
    gif, _ = api.animate(str(photo), "procedural/ganmut", *values)
    assert gif == api.animate(str(photo), "ganmut", *values)[0]
    with pytest.raises(ValueError, match="there are: ganmut"):
        api.edit(str(photo), "photos/nonsense", (0, 0), {}, 0, {}, (1, {}))


def test_units_that_nothing_can_read_must_be_named(handlers, photo):
    assert not handlers.choices["photos/defgan"].reads
    method = ("photos/defgan", (0, 0), {}, 0)
    with pytest.raises(ValueError, match="cannot see"):
        Api(handlers).edit(str(photo), *method, {"12": 0.8}, (1, {}))
    everything = {str(unit): 0.3 for unit in UNITS}
    api, _ = Api(handlers).edit(str(photo), *method, everything, (1, {}))
    assert not np.array_equal(np.asarray(api), read_image(photo))
    units = ["12=0.8"]
    out = str(photo.with_name("refused.png"))
    assert main(["edit", str(photo), "--out", out, "--method", "defgan", "--units", *units]) == 2


def test_python_takes_units_for_every_face(photo):
    editor, picture = ganmut.load(EXPRESSION, "cpu"), read_image(photo)
    smile = edit_image(picture, editor, {12: 0.0, 25: 0.0}).pixels
    brows = edit_image(picture, editor, {4: 1.0}).pixels
    upper, lower = slice(60, 110), slice(125, 175)  # the brows, the mouth
    for pixels, here, there in ((smile, lower, upper), (brows, upper, lower)):
        change = np.abs(pixels.astype(int) - picture)
        assert change[here].mean() > 1.3 * change[there].mean()


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
