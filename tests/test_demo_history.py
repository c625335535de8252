"""Undo, redo, and several faces of one picture: what the page's handlers answer."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from space_server import toy_weights

from demo.api import Api
from demo.components.face_picker import FaceInput
from demo.handlers import Handlers
from demo.service import Service
from demo.sessions.history import MOST, History, State, Steps
from demo.settings import Setting, emotion_button, link, parse_link, query_of
from demo.startup.gallery import Example, render_people, rendered_face
from ganmut.faces import Face

SIDE = 128


class Thirds:
    """A detector that finds a face in the first and the last third of a picture of that shape."""

    def detect(self, picture: np.ndarray) -> list[Face]:
        if picture.shape[:2] != (SIDE, 3 * SIDE):
            return []
        left, (x, y, w, h) = rendered_face(SIDE), rendered_face(SIDE).box
        right = left.points + np.array([2 * SIDE, 0])
        return [left, Face(right, (x + 2 * SIDE, y, w, h), 0.9)]


@pytest.fixture(scope="module")
def people():
    """Two rendered faces with a gap between them: SIDE x 3 SIDE x 3 uint8."""
    faces = [example.picture for example in render_people(SIDE)]
    return np.concatenate([faces[0], np.full_like(faces[0], 128), faces[1]], 1)


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    root = toy_weights(tmp_path_factory.mktemp("weights"), ("stargan", "ganmut", "ganimation"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANMUT_WEIGHTS", str(root))
        yield Handlers(Service(detector=Thirds()), [])


@pytest.fixture
def upload(people, tmp_path, monkeypatch):
    """The path of the two faces as an uploaded file."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    Image.fromarray(people).save(tmp_path / "two.png")
    return str(tmp_path / "two.png")


def controls(x: float, y: float) -> tuple:
    return "ganmut", (x, y), {}, 0, {}


class Visitor:
    """What the page of one visitor holds."""

    def __init__(self, handlers: Handlers, upload: str):
        self.handlers, self.steps, self.upload = handlers, Steps(handlers), upload
        self.controls = controls(0.0, 0.0)
        self._take(handlers.open(upload, History(), *self.controls))

    def _take(self, values: list) -> None:
        self.values, self.face, self.history = values, values[0], values[-3]

    def move(self, x: float, y: float) -> None:
        self.controls = controls(x, y)
        self.history = self.steps.record(self.face, self.history, *self.controls)[0]

    def pick(self, number: int) -> None:
        values = self.steps.face(self.upload, number, self.face, self.history, *self.controls)
        self._take(values)
        self._controls_of_state()

    def undo(self) -> None:
        self._take(self.steps.undo(self.face, self.history))
        self._controls_of_state()

    def redo(self) -> None:
        self._take(self.steps.redo(self.face, self.history))
        self._controls_of_state()

    def _controls_of_state(self) -> None:
        setting = parse_link(query_of(self.history.now.link), self.handlers.choices)
        self.controls = controls(*setting.point)

    def whole(self) -> np.ndarray:
        setting = self.handlers.setting(*self.controls)
        return np.asarray(self.handlers.whole(self.face, setting)[0].convert("RGB"))

    def changed(self, people: np.ndarray) -> list[bool]:
        """Whether the middle of each face is another than in the source (not the mark's corner)."""
        change = np.abs(self.whole().astype(int) - people)[32:80].max((0, 2))
        return [bool(part.max() > 0) for part in np.split(change, 3)[::2]]


@pytest.fixture
def visitor(handlers, upload):
    return Visitor(handlers, upload)


def test_undo_and_redo_return_setting_and_picture(visitor):
    visitor.move(0.5, 0.25)
    first = visitor.whole()
    visitor.move(-0.7, 0.1)
    second = visitor.whole()
    assert np.any(first != second)
    visitor.undo()
    pad = next(v for v in visitor.values if isinstance(v, dict) and v.get("marks"))
    assert pad["value"] == (0.5, 0.25) and np.array_equal(visitor.whole(), first)
    visitor.redo()
    assert visitor.controls[1] == (-0.7, 0.1) and np.array_equal(visitor.whole(), second)


def test_an_upload_sent_twice_is_opened_once(visitor):
    again = visitor.handlers.open(visitor.upload, visitor.history, *visitor.controls)
    assert again == gr.skip()


def test_history_is_bounded_and_forgets_what_was_undone():
    history = History()
    for number in range(2 * MOST):
        history = history.push(State("face", f"?x={number}"))
    assert len(history.states) == MOST and history.now.link == f"?x={2 * MOST - 1}"
    assert history.push(history.now) is history
    back = history.step(-2)
    assert [update["interactive"] for update in back.outputs()[1:]] == [True, True]
    new = back.push(State("face", "?x=new"))
    assert len(new.states) == MOST - 1 and new.step(5).now.link == "?x=new"
    assert History().step(-1).now is None


def test_an_edit_stays_beside_another_face(visitor, people):
    visitor.move(0.6, 0.0)
    assert visitor.changed(people) == [True, False]
    left = visitor.whole()[:, :SIDE]
    visitor.pick(2)
    visitor.move(-0.6, 0.3)
    both = visitor.whole()
    assert visitor.changed(people) == [True, True]
    assert np.array_equal(both[:, :SIDE], left)
    visitor.pick(1)  # its own edit comes back with it, and that of the second face stays
    assert visitor.controls[1] == (0.6, 0.0) and visitor.changed(people) == [True, True]
    for wanted in (2, 2, 1):
        visitor.undo()
        assert visitor.handlers.service.session(visitor.face).number == wanted
    assert visitor.changed(people) == [True, False]


def test_an_edit_nobody_asked_for_does_not_stay(visitor, people):
    visitor.pick(2)
    visitor.move(0.9, 0.0)
    assert visitor.changed(people) == [False, True]


def test_readings_are_those_of_the_face_in_hand(visitor):
    service = visitor.handlers.service
    visitor.move(0.9, 0.0)
    visitor.pick(2)
    session = service.session(visitor.face)
    code = service.code(Setting("ganmut", (0.0, 0.0)), visitor.face)
    crop = service.edit_crop(visitor.face, "ganmut", code).crop.source
    alone = service.open(session.origin, 2)
    assert np.array_equal(crop, service.edit_crop(alone, "ganmut", code).crop.source)


def test_programs_edit_several_faces(visitor):
    visitor.move(0.6, 0.0)
    edited = visitor.history.now.link
    visitor.pick(2)
    visitor.move(-0.6, 0.3)
    face = FaceInput().preprocess({"number": 2, "edits": {"1": edited}})
    whole, facts = Api(visitor.handlers).edit(visitor.upload, *visitor.controls, face)
    assert np.array_equal(np.asarray(whole.convert("RGB")), visitor.whole())
    assert facts["edits"] == {"1": edited} and facts["python"].count("edit_image") == 2
    compile(facts["python"], "copied", "exec")


@pytest.mark.parametrize("value", [[], {"x": "?method=ganmut"}, {"1": 2}, {"9999": "?"}, None])
def test_edits_that_are_no_links_are_refused(value, visitor):
    with pytest.raises(ValueError):
        face = FaceInput().preprocess({"number": 2, "edits": value})
        Api(visitor.handlers).edit(visitor.upload, *visitor.controls, face)


@pytest.mark.parametrize(
    "setting",
    [
        Setting("ganmut", (0.12345, -0.5)),
        Setting("stargan", mix={"happy": 1 / 3, "sad": 1 / 3, "angry": 1 / 3}),
        Setting("ganimation", units={1: 0.005, 26: 1.0}),
        Setting("ganimation"),
        Setting("stargan"),
    ],
)
def test_a_link_gives_the_same_link_again(handlers, setting):
    choice = handlers.choice(setting.method)
    of = link(setting, choice)
    assert link(parse_link(query_of(of), handlers.choices), choice) == of


@pytest.mark.parametrize(
    ("of", "pressed"),
    [
        ("?method=ganmut", None),
        ("?method=stargan", "happy"),
        ("?method=stargan&sad=0.5", "sad"),
        ("?method=stargan&neutral=1", "neutral"),
    ],
)
def test_opened_links_press_what_they_draw(handlers, people, of, pressed):
    """A link that says nothing but the method shows the method's first edit."""
    handlers = Handlers(handlers.service, [Example("people", people)])
    answer = handlers.open_link("", SimpleNamespace(query_params=query_of(of)))
    (history,) = (value for value in answer if isinstance(value, History))
    choice = handlers.choice(query_of(of)["method"])
    setting = parse_link(query_of(history.now.link), handlers.choices)
    if "&" not in of:
        assert link(setting, choice) == link(handlers.first(history.now.face, choice), choice)
    if pressed:
        assert emotion_button(choice, setting)[0] == pressed
        assert next(iter(setting.mix), "neutral") == pressed


def test_a_link_takes_the_name_of_a_weight(handlers):
    """By hand, as for the command line; a link of the page leaves out its first set."""
    for key in ("ganmut", "stargan"):
        weight = handlers.choice(key).weight
        assert "/" in weight
        setting = parse_link(query_of(f"?method={weight}"), handlers.choices)
        assert setting == parse_link(query_of(f"?method={key}"), handlers.choices)
    assert parse_link(query_of("?method=nowhere/ganmut"), handlers.choices) is None


def test_notes_on_a_picture_are_a_sentence(handlers, visitor):
    session = handlers.service.session(visitor.face)
    session.origin = replace(session.origin, notes=("the first of 3 frames",))
    said = handlers.restore(visitor.face, "?method=ganmut")[1]
    assert "The first of 3 frames." in said


def test_a_link_outside_is_moved(handlers, visitor):
    _, said, *rest = handlers.restore(visitor.face, "?method=ganmut&x=9&y=9")
    assert "(9, 9) lies outside the gamut" in said
    points = [u["value"] for u in rest if isinstance(u, dict) and isinstance(u.get("value"), tuple)]
    assert points == [pytest.approx((0.5**0.5, 0.5**0.5))]
