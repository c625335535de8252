"""Faults of the page: one sentence for a visitor, one nameless line for the log, no file left."""

from __future__ import annotations

import errno
import json
import logging
import re
import resource
import socket
import threading
import time
import uuid
from logging.handlers import RotatingFileHandler
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import data as samples
from space_server import PATIENCE, ROOT, Space, png, running, toy_weights

from demo import errors
from demo.security.sweeper import Sweeper
from demo.settings import number, outside, parse_intensities
from demo.startup import environment
from demo.tabs import user_study

FACE = {"number": 1}
BIG = 300_000  # bytes: the largest file that the page with a full disk can write


@pytest.fixture(scope="module")
def space(toy_space):
    return toy_space


def call_number(space: Space, number: int, data: list) -> str:
    """What the queue says of a call by the number of its function."""
    session = uuid.uuid4().hex
    body = {"data": data, "fn_index": number, "session_hash": session}
    status, answer = space.post("/gradio_api/queue/join", json.dumps(body).encode())
    if status != 200:
        return answer.decode()
    return space.get(f"/gradio_api/queue/data?session_hash={session}")[1].decode()


LONG = 10**399
WRONG = [None, True, "12", LONG, -1, 1.5, [], [[1]], {}, {"a": {}}, "x" * 3000, {"12": "1"},
         {"9" * 3000: 1}, {"happy": LONG}, {"x": LONG, "y": 0}, {"number": "1"}]  # fmt: skip


def send_wrong(space: Space, values: int) -> None:
    """Calls every function with so many wrong values at each of its parameters."""
    config = json.loads(space.get("/config")[1])
    kinds = {c["id"]: c for c in config["components"]}
    chance, calls = np.random.default_rng(0), 0
    # Some functions are bound to several events, each an endpoint of its own.
    functions = {re.sub(r"_\d+$", "", d["api_name"]): d for d in config["dependencies"]}
    for entry in functions.values():
        if not entry["backend_fn"] or entry["api_name"] in ("maps", "leaderboard"):
            continue
        usual = [kinds[i].get("props", {}).get("value") for i in entry["inputs"]]
        for place in range(len(usual)):
            for value in chance.choice(len(WRONG), values, replace=False):
                data = [*usual[:place], WRONG[value], *usual[place + 1 :]]
                said = call_number(space, entry["id"], data)
                calls += 1
                assert '"error":null' not in said.replace(" ", ""), (entry["api_name"], place)
                assert "Traceback" not in said and "set_int_max" not in said
                assert len(said) < 3000 or '"success":true' in said, said[:200]
    assert calls > 50 * values
    log = space.log()
    assert "Traceback" not in log and " File " not in log, log[-2000:]
    assert "x" * 50 not in log and str(ROOT) not in log


def test_wrong_types_leave_no_traceback(space):
    send_wrong(space, 1)


@pytest.mark.slow
def test_every_wrong_type_leaves_no_traceback(space):
    send_wrong(space, len(WRONG))


@pytest.mark.parametrize("value", ["12", True, None, LONG, -LONG, float("nan"), 1.01, [1], {}])
def test_only_numbers_in_range_are_numbers(value):
    with pytest.raises(ValueError, match="from 0 to 1") as refusal:
        number(value, 0, 1, "seed")
    assert len(str(refusal.value)) < 120


@pytest.mark.parametrize("key", ["9" * 5000, "AU3", "１２", "", "-1"])
def test_unknown_units_are_quoted_briefly(key):
    with pytest.raises(ValueError, match="45") as refusal:
        parse_intensities({key: 0.5})
    assert len(str(refusal.value)) < 200


def test_sentences_have_one_stop_and_an_end():
    assert errors.as_sentence("no face\nhere") == "No face here."
    assert errors.as_sentence("done.") == "Done."
    assert len(errors.as_sentence("a" * 10**5)) < 700
    assert "&lt;b&gt;" in errors.as_sentence("<b>")


def test_a_library_error_is_not_shown():
    try:
        torch.zeros(2).reshape(3)
    except RuntimeError as error:
        assert errors.to_sentence(error) == errors.as_sentence(errors.UNEXPECTED)
    full = OSError(errno.ENOSPC, "No space left on device", "/secret/Ann.png")
    assert errors.to_sentence(full) == errors.as_sentence(errors.DISK_FULL)


def test_a_wrapped_full_disk_is_named():
    """Gradio raises an error of its own where a component cannot store its value."""
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/secret/Ann.png")
        except OSError as full:
            raise RuntimeError("Processing of an output failed") from full
    except RuntimeError as wrapped:
        said = errors.to_error(wrapped).message
    assert "disk" in said and "secret" not in said


def test_a_point_outside_gets_a_word():
    choice = SimpleNamespace(kind="gamut")
    said = outside(SimpleNamespace(point=(1.0, 1.0)), choice, [0.7071, 0.7071])
    assert "(1, 1)" in said and "0.7071" in said
    assert outside(SimpleNamespace(point=(0.3, 0.4)), choice, [0.3, 0.4]) == ""


def test_point_nine_nine_is_refused(space):
    file = space.upload(png(samples.astronaut()))
    worked, said = space.call("edit", file, "ganmut", {"x": 9, "y": 9}, {}, 0, {}, FACE)
    assert not worked and "from -1 to 1" in said
    worked, (_, facts) = space.call("edit", file, "ganmut", {"x": 1, "y": 1}, {}, 0, {}, FACE)
    assert worked and "outside" in facts["note"]


# -- the log -------------------------------------------------------------------------------------


@pytest.fixture
def restored():
    """Logging as it was, afterwards."""
    factory, hook = logging.getLogRecordFactory(), threading.excepthook
    handlers = logging.getLogger().handlers[:]
    yield
    logging.setLogRecordFactory(factory)
    threading.excepthook = hook
    for handler in set(logging.getLogger().handlers) - set(handlers):
        handler.close()
        logging.getLogger().removeHandler(handler)


def test_the_log_is_nameless_bounded_and_rotated(restored, tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_LOG", str(tmp_path / "logs" / "page.log"))
    monkeypatch.setattr(errors, "LOG_BYTES", 2000)
    errors.set_up_log()
    try:
        raise FileNotFoundError(2, "no such file", "/tmp/Ann Example.png")
    except FileNotFoundError as error:
        errors.note(error)
        logging.getLogger("other").error("cannot read %s", "Ann Example.png", exc_info=True)
        logging.getLogger("other").error("cannot read /tmp/Ann-Example.png")
        for _ in range(1000):
            errors.note(error)
    text = "".join(p.read_text() for p in (tmp_path / "logs").iterdir())
    assert "Ann" not in text and "Traceback" not in text
    assert "FileNotFoundError in test_demo_errors.py" in text
    assert text.count("\n") <= errors.LINES
    assert any(isinstance(h, RotatingFileHandler) for h in logging.getLogger().handlers)
    bound = errors.Bound()
    assert sum(bound.filter(logging.makeLogRecord({"msg": "x"})) for _ in range(999)) <= 2 * 30


# -- files ---------------------------------------------------------------------------------------


def test_old_files_and_empty_folders_are_swept(tmp_path):
    root, now = tmp_path / "gradio", time.time()
    for name in ("a/face.png", "b/c/face.png", "kept/first.png", "tmpabc"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "empty" / "deep").mkdir(parents=True)
    outside_file = tmp_path / "outside.png"
    outside_file.write_bytes(b"x")
    (root / "link.png").symlink_to(outside_file)
    (root / "way").symlink_to(tmp_path)
    sweeper = Sweeper(root, 600, pinned=lambda: [str(root / "kept/first.png")])
    assert sweeper.sweep(now + 300) == 0
    assert sweeper.sweep(now + 700) == 5
    sweeper.sweep(time.time() + 700)
    assert [p.name for p in root.rglob("*")] == ["kept", "first.png"]
    assert outside_file.exists()


def test_too_many_bytes_go_oldest_first(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(bytes(100))
        time.sleep(0.02)
    Sweeper(tmp_path, 600, total=250).sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3.png", "4.png"]


def test_no_file_outlives_visit_kill_or_stop(tmp_path):
    toys, portrait = toy_weights(tmp_path / "weights", ("ganmut",)), png(samples.astronaut())
    seconds = PATIENCE // 20  # short, but longer than an edit takes on this machine
    with running(tmp_path, toys, seconds) as space:
        # ---- a visit
        own = set(space.files())  # the page's first pictures
        values = ("ganmut", {"x": 0.3, "y": -0.4}, {}, 0, {}, FACE)
        file = space.upload(portrait, "holiday.png")
        assert any("holiday" in path.name for path in space.files())
        assert space.call("edit", file, *values)[0]
        way = ("ganmut", "wheel", "happy", {"stops": []}, 0.8, 8, 12, FACE)
        assert space.call("animate", space.upload(portrait, "again.png"), *way)[0]
        end = time.monotonic() + 10 * seconds
        while set(space.files()) - own and time.monotonic() < end:
            time.sleep(0.5)
        assert set(space.files()) - own == set()
        assert own <= set(space.files())  # those stay: the next visitor sees them
        assert list(tmp_path.glob("*.jsonl")) == []
        # ---- a kill
        space.upload(portrait)
        space.process.kill()
        space.process.wait()
        assert any(path.name == "face.png" for path in space.files())
    time.sleep(seconds)  # the age from which on a file is deleted
    with running(tmp_path, toys, seconds) as space:
        assert not any(path.name == "face.png" for path in space.files())
        # ---- a stop
        space.upload(portrait)
        foreign = tmp_path / "gradio" / "other.png"
        foreign.write_bytes(b"of another process")
        assert len(space.files()) > 2
    assert space.files() == [foreign]


@pytest.fixture
def full(space):
    """The page while it cannot write files of more than BIG bytes: a disk that is nearly full."""
    usual = resource.prlimit(space.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(space.process.pid, resource.RLIMIT_FSIZE, (BIG, usual[1]))
    yield space
    resource.prlimit(space.process.pid, resource.RLIMIT_FSIZE, usual)


def test_a_full_disk_gets_a_sentence(full):
    before = set(full.files())
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    with pytest.raises(OSError, match=r"507.*disk"):
        full.upload(png(noise), "Ann Example.png")
    assert set(full.files()) == before  # nothing of it keeps the disk full
    small = samples.astronaut() // 64 * 64
    file = full.upload(png(small))
    worked, said = full.call("edit", file, "ganmut", {"x": 0.3, "y": 0.4}, {}, 0, {}, FACE)
    assert worked or "disk" in said
    log = full.log()
    assert "Traceback" not in log and "Ann" not in log and "OSError in" in log


# -- votes ---------------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_STUDY", str(tmp_path / "study.jsonl"))
    monkeypatch.setattr(UserStudy := user_study.UserStudy, "ask", lambda self, voter: voter)
    choice = SimpleNamespace(group="procedural", key="ganmut", emotions=("neutral", "happy"))
    return UserStudy(SimpleNamespace(service=None, choices={"ganmut": choice}))


def request(address: str = "203.0.113.7") -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(scope={"visitor": address}))


def vote_once(study, voter: dict) -> dict:
    return study.vote(voter, 1, request())[0]


def test_one_session_is_one_voter(study, tmp_path):
    voter, _ = study.begin({})
    with pytest.raises(ValueError, match="enough"):
        for _ in range(10_000):
            voter = vote_once(study, voter)
    votes = [json.loads(v) for v in (tmp_path / "study.jsonl").read_text().splitlines()]
    assert len(votes) == user_study.ROUNDS * (user_study.RATED + user_study.PAIRS)
    assert len({vote["voter"] for vote in votes}) == 1


def test_one_address_has_a_limit_over_sessions(study, monkeypatch, tmp_path):
    monkeypatch.setattr(user_study, "VOTES", 5)
    with pytest.raises(ValueError, match="enough"):
        for _ in range(9):
            vote_once(study, study.begin({})[0])
    assert len((tmp_path / "study.jsonl").read_text().splitlines()) == 5
    study.vote(study.begin({})[0], 1, request("203.0.113.8"))
    assert "203.0.113" not in (tmp_path / "study.jsonl").read_text()


def test_the_waiting_page_gives_the_port_back():
    import urllib.error
    import urllib.request

    from demo.startup.waiting import waiting_page

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = environment.prepare({"GRADIO_SERVER_PORT": str(port)})
    with (
        waiting_page(*place),
        waiting_page(*place),
    ):  # the second finds the port taken, and says nothing
        with pytest.raises(urllib.error.HTTPError) as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
        with answer.value:
            assert answer.value.code == 503 and answer.value.headers["Retry-After"]
            assert b"starting" in answer.value.read()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_the_waiting_page_answers_all_before_it_goes(capfd):
    from demo.startup.waiting import waiting_page

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = free.getsockname()
    asked = b"POST / HTTP/1.0\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    for _ in range(20):
        with waiting_page(*place):
            visitors = [socket.create_connection(place, 10) for _ in range(6)]
            for visitor in visitors[:-1]:
                visitor.sendall(asked)
            visitors.pop().close()  # leaves
        for visitor in visitors:
            with visitor:
                assert visitor.recv(12) == b"HTTP/1.0 503"
    assert capfd.readouterr().err == ""
