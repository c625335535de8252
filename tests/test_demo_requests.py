"""Malformed requests and foreign values: one short sentence and at most one nameless line."""

from __future__ import annotations

import http.client
import json
import socket

import gradio as gr
import pytest
from attack.endpoints import flaw
from skimage import data as samples
from space_server import Space, png, running, toy_weights

from bench.speed import page
from demo import errors
from demo.components.gamut_pad import GamutPad
from demo.components.pictures import Photograph
from demo.components.result import Facts
from demo.security import payloads
from demo.security.files import NOT_UPLOADED
from ganmut.images import BadImage

API = "/gradio_api"
VALUES = ["ganmut", {"x": 0, "y": 0}, {}, 0, {}, {"number": 1}]
MULTIPART = {"Content-Type": "multipart/form-data; boundary=a"}


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    weights = toy_weights(tmp_path_factory.mktemp("weights"), ("ganmut",))
    with running(tmp_path_factory.mktemp("space"), weights) as page:
        yield page


@pytest.fixture(scope="module")
def portrait(space):
    return space.upload(png(samples.astronaut()))


def send(space: Space, method: str, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """(status, body) of a request that is sent as it is."""
    connection = http.client.HTTPConnection(space.address.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, {"Content-Type": "application/json"} | headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def assert_well(space: Space, portrait: dict) -> None:
    worked, said = space.call("edit", portrait, *VALUES)
    assert worked, said
    log = space.log()
    assert "Traceback" not in log and " File " not in log, log[-2000:]
    assert "ASGI callable" not in log


@pytest.mark.parametrize(
    "whole",
    [
        None,
        [],
        "x",
        {},
        {"data": None},
        {"data": {}},
        {"data": [float("nan")]},
        {"data": [10**400]},
        {"data": ["\udfff"]},
        {"data": [{"\ud800": 1}]},
        {"data": [], "session_hash": "\ud800"},
        {"data": [], "session_hash": 1},
        {"data": [], "session_hash": "x" * 101},
        {"data": [], "fn_index": "all", "session_hash": "a"},
        {"data": [], "fn_index": -3, "session_hash": "a"},
        {"data": [], "fn_index": 10**12, "session_hash": "a"},
    ],
    ids=lambda whole: repr(whole)[:40],
)
def test_malformed_calls_get_400(space, whole):
    for route in ("/queue/join", "/call/nothing", "/call/v2/edit"):
        status, said = space.post(API + route, json.dumps(whole).encode())
        why = json.loads(said)["detail"]
        assert status == 400 and len(said) < 200 and flaw(why) == "", (route, said)


def test_malformed_bodies_leave_the_page_well(space, portrait):
    part = b'--a\r\nContent-Disposition: form-data; name="files"'
    for path, body, headers in (
        ("/upload", b"x", {"Content-Type": "multipart/form-data"}),
        ("/upload", b"x", MULTIPART),
        ("/upload", part + b"\r\n\r\nhello\r\n--a--\r\n", MULTIPART),
        ("/upload?upload_id=%ff", part + b"\r\n\r\nhello\r\n--a--\r\n", MULTIPART),
        ("/upload", part + b'; filename="a.png"\r\n\r\nhel', MULTIPART),
        ("/call/edit", b"\xff\xfe{}", {}),
        ("/call/edit", b'{"data": [1' + b"0" * 5000 + b"]}", {}),
        ("/call/edit", b"{}", {"Content-Type": "text/plain"}),
    ):
        status, said = send(space, "POST", API + path, body, **headers)
        assert status in (200, 400) and len(said) < 300, (path, body[:60], said)
    assert_well(space, portrait)


@pytest.mark.parametrize(
    "path", ["/queue/data", "/queue/data?session_hash=no", "/call/edit/no", "/call/v2/no/no"]
)
def test_unknown_sessions_end_the_answer(space, portrait, path):
    logged = space.log()
    status, said = send(space, "GET", API + path, b"")
    assert status in (200, 400, 404) and b"404" not in said
    assert space.log() == logged
    assert_well(space, portrait)


def test_events_of_the_browser_alone_are_no_calls(space):
    logged = space.log()
    config = json.loads(space.get("/config")[1])
    events = [entry["id"] for entry in config["dependencies"] if not entry["backend_fn"]]
    assert events
    for event in (*events, 10**6):
        body = {"data": [], "fn_index": event, "session_hash": "a"}
        status, said = space.post(f"{API}/queue/join", json.dumps(body).encode())
        if status == 200:
            said = space.get(f"{API}/queue/data?session_hash=a")[1]
        assert errors.as_sentence(errors.NO_CALL) in said.decode()
    assert space.log() == logged


def test_absurd_paths_are_not_found(space):
    for path in ("/assets/" + "a" * 5000, "/assets/%00", "/svelte/..%2f..%2fapp.py"):
        assert send(space, "GET", path, b"")[0] in (403, 404)


def test_broken_http_is_logged_in_bounds(space, portrait):
    host, port = space.address.removeprefix("http://").split(":")
    before = len(space.log().splitlines())
    for _ in range(90):
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(b"GET / HTTP/9\0\r\n\r\n")
            assert b" 400 " in line.recv(1000)
    assert len(space.log().splitlines()) - before <= 2 * errors.LINES
    assert_well(space, portrait)


FOREIGN = (None, True, 1, 10**400, 1e300, float("nan"), "x" * 9999, [], [[1]], {}, {"a": {}})


@pytest.mark.parametrize(
    ("make", "fitting"),
    [
        (lambda: gr.Number(0, precision=0), (1,)),
        (lambda: gr.Slider(0, 1), (1,)),
        (lambda: gr.Textbox(), ("x" * 9999,)),
        (lambda: gr.Radio(["a"]), ("x" * 9999,)),
        (lambda: gr.HTML(), ("x" * 9999,)),
        (lambda: Facts(), ({}, {"a": {}})),
        (lambda: GamutPad(), ({}, {"a": {}})),
        (lambda: Photograph(), (None,)),
        (lambda: gr.State(), FOREIGN),
    ],
)
def test_foreign_values_get_one_short_sentence(make, fitting):
    block = make()
    for value in FOREIGN:
        if any(value is one or (type(value) is type(one) and value == one) for one in fitting):
            payloads.check_inputs([block], [value])
            continue
        with pytest.raises(ValueError) as refusal:
            payloads.check_inputs([block], [value])
        assert len(str(refusal.value)) < 200
        assert isinstance(refusal.value, BadImage) == (str(refusal.value) == NOT_UPLOADED)


def test_an_unknown_type_of_component_is_refused():
    with pytest.raises(KeyError):
        payloads.check_inputs([gr.CheckboxGroup(["a"])], ["x"])


@pytest.mark.parametrize("values", [[], [None] * 5])
def test_the_number_of_values_is_checked(values):
    with pytest.raises(ValueError, match=str(len(values))):
        payloads.check_inputs([gr.Textbox()] * 2, values)


def test_every_function_of_the_page_refuses_quickly(space, portrait):
    config = json.loads(space.get("/config")[1])
    asked = 0
    for entry in config["dependencies"]:
        if entry["backend_fn"] and entry["inputs"]:
            body = {"data": [[[]]] * len(entry["inputs"]), "fn_index": entry["id"]}
            session = f"{entry['id']}"
            status, _ = space.post(
                f"{API}/queue/join", json.dumps(body | {"session_hash": session}).encode()
            )
            said = space.get(f"{API}/queue/data?session_hash={session}")[1].decode()
            stateful = entry["api_name"] in ("begin", "vote")
            assert status == 200 and (stateful or '"success":false' in said), entry["api_name"]
            assert len(said) < 3000 or stateful
            asked += 1
    assert asked > 20 and errors.NO_CALL not in space.log()
    assert_well(space, portrait)


def test_the_speed_measurement_calls_the_page(space):
    visitor = page.Visitor(space.address)
    file = visitor.upload()
    visitor.move(visitor.open(file, "ganmut"), "ganmut", 0.3, 0.1)
    visitor.edit(file, "ganmut", 0.3, 0.1)


def test_documented_endpoints_say_what_they_do(space):
    info = json.loads(space.get(f"{API}/info")[1])["named_endpoints"]
    assert info.keys() == {"/methods", "/edit", "/compare", "/animate"}
    for entry in info.values():
        assert len(entry["description"]) > 60
        needed = [
            p["parameter_name"] for p in entry["parameters"] if not p["parameter_has_default"]
        ]
        assert needed in ([], ["picture"])


def test_an_emotion_is_a_point_of_a_pad(space, portrait):
    method = space.call("methods")[1][0][0]
    x, y = method["places"]["happy"]
    pictures = []
    for values in (
        ["ganmut", {"x": 0, "y": 0}, {}, 0, {}, {"number": 1}, "happy", 1],
        ["ganmut", {"x": round(x, 4), "y": round(y, 4)}, {}, 0, {}],
    ):
        worked, (picture, facts) = space.call("edit", portrait, *values)
        assert worked and facts["title"] == "GANmut"
        pictures.append(space.get(f"{API}/file={picture['path']}")[1])
    assert pictures[0] == pictures[1] and pictures[0][1:4] == b"PNG"


@pytest.mark.parametrize(
    ("point", "emotion", "intensity"),
    [
        ({"x": 0.3, "y": 0}, "happy", 1),
        ({"x": 0, "y": 0}, "hungry", 1),
        ({"x": 0, "y": 0}, "sad", 2),
    ],
)
def test_contradictory_emotions_are_refused(space, portrait, point, emotion, intensity):
    values = ["ganmut", point, {}, 0, {}, {"number": 1}, emotion, intensity]
    worked, said = space.call("edit", portrait, *values)
    assert not worked and flaw(json.loads(said)["error"]) == "", said
