"""The running page under attack: every endpoint, every parameter, every way to name a file."""

from __future__ import annotations

import json
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from skimage import data as samples
from space_server import ROOT, Space, png, running, toy_weights

from demo import security
from ganmut.images import BadImage

POINT, FACE = {"x": 0.3, "y": -0.4}, {"number": 1}
META = {"meta": {"_type": "gradio.FileData"}}
SLOW = 5.0  # seconds that no hostile call may take


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    """A picture on the server's disk that no visitor uploaded."""
    path = tmp_path_factory.mktemp("private") / "secret.png"
    path.write_bytes(png(samples.astronaut()))
    return path


@pytest.fixture(scope="module")
def space(tmp_path_factory, secret):
    toys = toy_weights(tmp_path_factory.mktemp("weights"), ("ganmut", "ganimation"))
    with running(tmp_path_factory.mktemp("space"), toys) as page:
        inside = page.folder / "gradio"
        inside.mkdir(exist_ok=True)
        os.mkfifo(inside / "fifo.png")
        os.mkfifo(secret.parent / "fifo.png")
        (inside / "link.png").symlink_to(secret)
        (inside / "ptmx.png").symlink_to("/dev/ptmx")
        yield page


@pytest.fixture(scope="module")
def portrait(space):
    return space.upload(png(samples.astronaut()))


def hostile_names(space: Space, secret: Path) -> list[str]:
    inside = space.folder / "gradio"
    return [
        "/dev/ptmx", "/dev/zero", "/dev/stdin", str(inside / "fifo.png"),
        str(secret.parent / "fifo.png"), str(inside), str(secret.parent), "/",
        str(inside / "link.png"), str(inside / "ptmx.png"), str(secret),
        str(secret.with_name("absent.png")), str(inside / ".." / "log"),
        "docs/space_edit.jpg", "../docs/space_edit.jpg", str(ROOT / "docs" / "space_edit.jpg"),
        "/proc/self/environ", "/proc/self/fd/0", "http://127.0.0.1:9/a.png",
        "file:///etc/passwd", "", "\0", "a" * 5000,
    ]  # fmt: skip


def ways(name: str) -> list[Any]:
    """A name as a dictionary with and without "meta", as a string, in a list, one level down."""
    return [
        {"path": name} | META, {"path": name}, {"path": name, "url": name}, name, [name],
        [{"path": name}], {"image": {"path": name} | META}, {"frames": [{"path": name}]},
    ]  # fmt: skip


def endpoints(space: Space) -> list[dict[str, Any]]:
    """Every function of the page that a client can name or number, with its inputs' components."""
    config = json.loads(space.get("/config")[1])
    kinds = {c["id"]: c for c in config["components"]}
    return [
        {"id": d["id"], "name": d["api_name"], "inputs": [kinds[i] for i in d["inputs"]]}
        for d in config["dependencies"] if d["backend_fn"]
    ]  # fmt: skip


def join(space: Space, number: int, data: list) -> tuple[int, str, str]:
    """(status, answer, session) of a call that is put into the queue by its number."""
    session = uuid.uuid4().hex
    body = {"data": data, "fn_index": number, "session_hash": session}
    status, answer = space.post("/gradio_api/queue/join", json.dumps(body).encode())
    return status, answer.decode(), session


def finish(space: Space, session: str) -> str:
    """What the queue says of a session's call, to its end."""
    return space.get(f"/gradio_api/queue/data?session_hash={session}")[1].decode()


def assert_well(space: Space, portrait: dict) -> None:
    start = time.monotonic()
    worked, outputs = space.call("edit", portrait, "ganmut", POINT, {}, 0, {}, FACE)
    assert worked and outputs[1]["faces"] == 1
    assert time.monotonic() - start < SLOW


def takes_file(component: dict[str, Any]) -> bool:
    return component["type"] in ("image", "file", "video", "gallery", "imageslider", "audio")


def test_every_endpoint_refuses_every_foreign_file(space, portrait, secret):
    walked = endpoints(space)
    assert {"edit", "compare", "animate", "open"} <= {e["name"] for e in walked}
    names = hostile_names(space, secret)
    cases = []
    for entry in walked:
        for place, component in enumerate(entry["inputs"]):
            # Every name for a file, in ways that take turns from one parameter to the next; for
            # other components one name, since what they refuse does not depend on the file.
            given = names if takes_file(component) else [str(secret)]
            for turn, name in enumerate(given, len(cases)):
                cases.append((entry, place, ways(name)[turn % 8]))
    assert len(cases) > 150
    sentences: set[str] = set()

    def attack(case: tuple[dict, int, Any]) -> None:
        entry, place, value = case
        data = [c.get("props", {}).get("value") for c in entry["inputs"]]
        data[place] = value
        start = time.monotonic()
        status, answer, session = join(space, entry["id"], data)
        while status == 503:  # the page is full of our own calls
            time.sleep(0.05)
            status, answer, session = join(space, entry["id"], data)
        said = finish(space, session) if status == 200 else answer
        waited = time.monotonic() - start
        assert waited < 6 * SLOW, (entry["name"], value)  # others wait in the same queue
        assert "Traceback" not in said and "root:" not in said and str(ROOT) not in said
        if takes_file(entry["inputs"][place]) and '"success":true' in said.replace(" ", ""):
            pytest.fail(f"{entry['name']} took {value!r}: {said[:300]}")
        if takes_file(entry["inputs"][place]) and status == 200:
            sentences.add(security.NOT_UPLOADED if security.NOT_UPLOADED[8:40] in said else said)

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(attack, cases))
    assert sentences == {security.NOT_UPLOADED}
    assert_well(space, portrait)


def test_named_endpoints_refuse_a_device_quickly(space, portrait):
    for name, rest in (
        ("edit", ("ganmut", POINT, {}, 0, {}, FACE)),
        ("compare", ("happy", 1, "procedural", FACE)),
        ("animate", ("ganmut", "wheel", "happy", {}, 0.5, 8, 12, FACE)),
    ):
        start = time.monotonic()
        worked, said = space.call(name, {"path": "/dev/ptmx"}, *rest)
        assert not worked and time.monotonic() - start < SLOW, said
    assert_well(space, portrait)


def test_no_route_runs_a_handler_outside_the_queue(space, portrait):
    body = json.dumps({"data": [portrait, "ganmut", POINT, {}, 0, {}, FACE]}).encode()
    for path in (
        "/gradio_api/run/edit", "/gradio_api/run/edit/", "/run/edit", "/api/edit",
        "/gradio_api/api/edit", "/gradio_api/run/predict", "/gradio_api/component_server",
        "/gradio_api/mcp", "/gradio_api/mcp/sse", "/gradio_api/process_recording",
        "/gradio_api/vibe-edit", "/gradio_api/deep_link",
    ):  # fmt: skip
        assert space.post(path, body)[0] == 404, path


def test_a_file_of_another_folder_is_not_served(space, secret):
    for name in (secret, space.folder / "gradio" / "link.png", space.folder / "log", "/dev/zero"):
        assert space.get(f"/gradio_api/file={name}")[0] == 404, name


def test_uploads_are_opened_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    upload = tmp_path / "gradio" / "a" / "face.png"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    upload.with_name("link.png").symlink_to(tmp_path / "outside.png")
    upload.with_name("inner.png").symlink_to(upload)
    assert security.is_upload(str(upload)) and security.is_upload(str(upload.parent / "inner.png"))
    for name in (
        upload.parent, upload.with_name("link.png"), tmp_path / "outside.png",
        upload.with_name("absent.png"), "face.png", None, 3, b"x", "/proc/self/environ",
        f"{upload.parent}/../../outside.png",
    ):  # fmt: skip
        with pytest.raises(BadImage) as refusal:
            security.open_upload(str(name) if isinstance(name, Path) else name)
        assert str(refusal.value) == security.NOT_UPLOADED


@pytest.mark.parametrize("peer", ["203.0.113.7", "2001:db8:1:2:3::9"])
def test_limits_count_addresses_by_network(peer):
    found = security.visitor({"client": (peer, 1), "headers": []})
    assert found == {"203.0.113.7": peer}.get(peer, "2001:db8:1:2::/64")


def test_three_hundred_calls_leave_room_for_a_visitor(space, portrait):
    assert_well(space, portrait)
    rest = space.memory()
    data = (portrait, "ganmut", POINT, {}, 0, {}, FACE)
    with ThreadPoolExecutor(100) as crowd:
        calls = [crowd.submit(space.ask, "edit", *data) for _ in range(300)]
        start = time.monotonic()
        status, event = space.ask("edit", *data)
        if status == 200:
            assert space.hear("edit", event)[0]
        else:
            assert status == 503 and "full" in event
        waited = time.monotonic() - start
        answers = [call.result() for call in calls]
    for status, event in answers:
        assert status in (200, 503)
        if status == 200:
            space.hear("edit", event)
    grown = space.memory() - rest
    print(f"\na visitor waited {waited:.2f} s; memory {grown:+.0f} MB")
    assert waited < 15 and grown < 300
    assert_well(space, portrait)
