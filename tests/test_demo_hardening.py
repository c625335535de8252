"""Strangers: hostile files, wrong types, tricks with paths and addresses, crowds; and what is left
of a visitor afterwards."""

from __future__ import annotations

import http.server
import json
import re
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hostile_pictures import HOSTILE, encode, png_header
from PIL import Image
from skimage import data as samples
from space_server import ROOT, Space, png, running, toy_weights

from demo.security import files, requests
from ganmut.images import BadImage

PORTRAIT = Image.fromarray(samples.astronaut())
POINT, FACE = {"x": 0.3, "y": -0.4}, {"number": 1}


@pytest.fixture(scope="module")
def space(toy_space):
    return toy_space


@pytest.fixture(scope="module")
def portrait():
    return png(samples.astronaut())


def edit(
    space: Space, picture, method="ganmut", point=None, mix=None, seed=0, units=None, face=None
):
    values = (method, point or POINT, mix or {}, seed, units or {}, face or FACE)
    return space.call("edit", picture, *values)


# -- files ---------------------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    ends = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + ends


def flood(face: Image.Image) -> bytes:
    """A kilobyte of zeros that becomes 400 million pixels."""
    return png_header(20000, 20000, chunk(b"IDAT", zlib.compress(b"\0" * 10**6)))


def talkative(face: Image.Image) -> bytes:
    """A text chunk that unpacks to sixty megabytes."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"a" * 6 * 10**7))
    return png_header(100, 100, text + chunk(b"IDAT", b""))


def many_frames(face: Image.Image) -> bytes:
    frames = [Image.new("RGB", (80, 80), (i, 0, 0)) for i in range(60)]
    return encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])


def profiled(face: Image.Image) -> bytes:
    return encode(face, "JPEG", icc_profile=b"\xff" * 5000)


def huge_jpeg(face: Image.Image) -> bytes:
    jpeg = bytearray(encode(face, "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"  # 65535 x 65535 in the frame header
    return bytes(jpeg)


MORE = {
    "a gif": lambda face: encode(face, "GIF"),
    "a tiff": lambda face: encode(face, "TIFF"),
    "a bmp": lambda face: encode(face, "BMP"),
    "an icon": lambda face: encode(face.resize((64, 64)), "ICO"),
    "postscript": lambda face: encode(face.convert("RGB"), "EPS"),
    "a pdf": lambda face: encode(face.convert("RGB"), "PDF"),
    "svg": lambda face: b"<svg onload='alert(1)' xmlns='http://www.w3.org/2000/svg'/>",
    "html": lambda face: b"<script>alert(1)</script>",
    "a zip": lambda face: b"PK\x03\x04" + bytes(200),
    "a pickle": lambda face: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a weight": lambda face: struct.pack("<Q", 2) + b"{}",
    "flood": flood,
    "talkative": talkative,
    "many frames": many_frames,
    "wild profile": profiled,
    "huge jpeg": huge_jpeg,
    "tiny": lambda face: encode(Image.new("RGB", (63, 200))),
    "a thread": lambda face: encode(Image.new("RGB", (8000, 100))),
    "just too many": lambda face: png_header(4900, 4900, chunk(b"IDAT", b"")),
    "zeros": lambda face: bytes(5000),
    "only a head": lambda face: b"\xff\xd8\xff",
    "webp cut": lambda face: encode(face, "WEBP")[:900],
    "riff": lambda face: b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40),
    "grey and see-through": lambda face: encode(face.convert("LA")),
    "one bit": lambda face: encode(face.convert("1")),
}
EVERY = {name: make for name, (make, _) in HOSTILE.items()} | MORE


def test_there_are_fifty_of_them():
    assert len(EVERY) >= 50


@pytest.mark.parametrize("name", EVERY)
def test_hostile_file_gives_picture_or_one_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    file = tmp_path / "secret folder" / "upload"
    file.parent.mkdir()
    file.write_bytes(EVERY[name](Image.fromarray(samples.astronaut()[:300, 60:400])))
    start = time.process_time()
    try:
        pixels = files.read_picture(str(file)).pixels
    except BadImage as refusal:
        assert "secret" not in str(refusal) and "\n" not in str(refusal)
        assert len(str(refusal)) < 120
    else:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
        assert min(pixels.shape[:2]) >= files.SHORTEST and max(pixels.shape) <= files.LONGEST
    assert time.process_time() - start < 5


def test_hostile_files_meet_the_running_page(space):
    for name in ("empty.jpg", "text.jpg", "truncated.png", "bomb.png", "black.png", "floats.tif"):
        content = HOSTILE[name][0](Image.fromarray(samples.astronaut()[:300, 60:400]))
        worked, said = edit(space, space.upload(content, name))
        assert not worked and "Traceback" not in said and str(ROOT) not in said, name
    for content in (b"<script>", b"PK\x03\x04"):
        assert not edit(space, space.upload(content, "../../etc/x.png"))[0]
    assert_well(space)


def assert_well(space: Space) -> None:
    """The page still edits."""
    worked, (picture, facts) = edit(space, space.upload(png(samples.astronaut())))
    assert worked and facts["faces"] == 1 and picture["path"]


def test_uploads_over_the_limit_are_cut_off(space):
    with pytest.raises(OSError, match=r"413.* 20 MB"):
        space.upload(bytes(files.MAX_BYTES + 10))
    assert_well(space)


# -- values --------------------------------------------------------------------------------------

WRONG = [
    {"method": "stylegan"}, {"method": None}, {"method": {"a": 1}}, {"method": "../ganmut"},
    {"method": "m" * 100000},
    {"point": "0.3,0.4"}, {"point": [0.1, 0.2]}, {"point": {"x": 1}}, {"point": {"x": "1", "y": 0}},
    {"point": {"x": float("nan"), "y": 0}}, {"point": {"x": 1e999, "y": 0}},
    {"point": {"x": True, "y": 0}}, {"point": {"x": {"y": 1}, "y": 0}},
    {"method": "stargan", "mix": {"bored": 1}}, {"method": "stargan", "mix": {"happy": "7"}},
    {"method": "stargan", "mix": [1, 2]}, {"method": "stargan", "mix": {"happy": float("nan")}},
    {"method": "stargan", "mix": "happy"},
    {"method": "ganimation", "units": {"99": 1}}, {"method": "ganimation", "units": {"12": "x"}},
    {"method": "ganimation", "units": {"AU12": None}}, {"method": "ganimation", "units": "12"},
    {"face": {"number": "first"}}, {"face": {"number": 2}}, {"face": {"number": float("nan")}},
    {"face": {"square": [1, 2]}}, {"face": {"square": ["a", 2, 3]}}, {"face": [1]},
    {"face": {"square": [float("inf"), 0, 10]}},
]  # fmt: skip


@pytest.mark.parametrize("values", WRONG, ids=lambda values: json.dumps(values)[:60])
def test_wrong_api_values_are_refused(space, portrait, values):
    worked, said = edit(space, space.upload(portrait), **values)
    assert not worked
    assert "Traceback" not in said and str(ROOT) not in said and len(said) < 2000


def test_wrong_numbers_and_kinds_of_the_other_endpoints(space, portrait):
    file = space.upload(portrait)
    for values in (
        ("bored", 1, "procedural"),
        ("happy", "much", "procedural"),
        ("happy", 1, "no set"),
        (None, None, None),
        ({}, [], 3),
    ):
        assert not space.call("compare", file, *values, FACE)[0], values
    for values in (
        ("ganmut", "sideways", "happy", {}, 0.5, 10, 10),
        ("ganmut", "stops", "happy", {}, 0.5, 10, 10),
        ("stargan", "wheel", "happy", {}, 0.5, 10, 10),
        ("ganmut", "wheel", "happy", {}, 0.5, "x", 9),
        ("ganmut", "stops", "happy", {"stops": [1, 2]}, 0.5, 10, 10),
        ("ganmut", "stops", "happy", {"stops": [{"point": [0]}] * 2}, 0.5, 10, 10),
        ("ganmut", "stops", "happy", {"stops": [{"point": [0, 0]}] * 50}, 0.5, 10, 10),
        ("ganmut", "wheel", "happy", {}, float("nan"), 10, 10),
    ):
        assert not space.call("animate", file, *values, FACE)[0], values
    assert not edit(space, None)[0]
    assert space.call("no_such_endpoint", 1)[0] is False
    assert space.call("edit", 1)[0] is False  # too few
    assert_well(space)


def test_a_square_beyond_the_picture_is_clamped(space, portrait):
    wide = {"square": [-500, -500, 2000]}
    worked, (_, facts) = edit(space, space.upload(portrait), face=wide)
    assert worked and facts["face"] == 0


# -- paths and addresses -------------------------------------------------------------------------


@pytest.fixture
def inside():
    """A server that only this machine reaches; it counts who comes."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret of the inside")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_no_address_is_ever_fetched(space, inside):
    address, seen = inside
    for path in (
        f"/gradio_api/file={address}/a",
        f"/file={address}/b",
        f"/gradio_api/proxy={address}/c",
        f"/gradio_api/file=%20{address}/d",
        f"/gradio_api/file={address.upper()}/e",
        f"/gradio_api/file=%68ttp{address[4:]}/f",
        "/gradio_api/file=https://example.com/g",
        "/gradio_api/proxy=https://example.com/h",
        "/gradio_api/file=file:///etc/passwd",
    ):
        status, body = space.get(path.replace(" ", "%20"))
        assert status >= 400 and b"secret" not in body and b"root:" not in body, path
    meta = {"meta": {"_type": "gradio.FileData"}}
    for file in (
        {"path": f"{address}/i"} | meta,
        {"path": "face.png", "url": f"{address}/j"} | meta,
        {"url": f"{address}/k"},
        {"path": "https://example.com/l.png"} | meta,
        f"{address}/m",
    ):
        assert not edit(space, file)[0], file
        hidden = {"x": 0.1, "y": 0.2, "z": file}
        edit(space, None, point=hidden)
    assert seen == []
    assert_well(space)


def test_the_servers_own_files_are_not_read(space):
    own = (ROOT / "README.md", ROOT / "app.py", ROOT / "docs" / "faces_sheet.png", "/etc/passwd")
    for path in own:
        for way in (f"/gradio_api/file={path}", f"/file={path}", f"/gradio_api/file=//{path}"):
            assert space.get(way)[0] in (403, 404), way
        meta = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
        worked, said = edit(space, meta)
        assert not worked and "root:" not in said
    for way in (
        "/gradio_api/file=README.md",
        "/gradio_api/file=../../../etc/passwd",
        "/gradio_api/file=..%2f..%2f..%2fetc%2fpasswd",
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2f..%2fetc/passwd",
        "/theme.css/../../app.py",
        "/gradio_api/file=" + str(space.folder / "study.jsonl"),
        "/gradio_api/file=" + str(space.folder / "log"),
        "/gradio_api/file=weights/procedural",
        "/gradio_api/file=/proc/self/environ",
        "/gradio_api/file=%00/etc/passwd",
    ):
        status, body = space.get(way)
        assert status != 500 and b"root:" not in body and b"GANMUT" not in body, way
        assert b"sdk: gradio" not in body and b"from demo" not in body, way


def test_only_the_photograph_input_takes_files(space):
    config = json.loads(space.get("/config")[1])
    kinds = {component["type"] for component in config["components"]}
    assert not kinds & {"file", "uploadbutton", "filexplorer", "multimodaltextbox", "code"}
    assert space.get("/gradio_api/info")[0] == 200


def test_deep_or_long_requests_are_refused(space):
    deep = "[" * 5000 + "]" * 5000
    for body in (
        b'{"data": ' + deep.encode() + b"}",
        b'{"data": [1',
        b"\xff\xfe",
        b"0" * 3 * 2**20,
    ):
        assert space.post("/gradio_api/call/edit", body)[0] in (400, 413, 422)
    nested: list = []
    for _ in range(requests.MAX_DEPTH + 1):
        assert requests.refusal({"data": nested}) is None or len(str(nested)) > 38
        nested = [nested]
    assert requests.refusal({"data": nested})[0] == 413
    assert requests.refusal({"data": [0] * requests.MAX_VALUES})[0] == 413


# -- crowds --------------------------------------------------------------------------------------


def test_page_recovers_from_a_hundred_calls(space, portrait):
    file = space.upload(portrait)
    slow = ("ganmut", "wheel", "happy", {"stops": []}, 0.8, 12, 12, FACE)
    with ThreadPoolExecutor(100) as crowd:
        asked = list(crowd.map(lambda _: space.ask("animate", file, *slow), range(100)))
    taken = [event for status, event in asked if status == 200]
    refused = [(status, why) for status, why in asked if status != 200]
    assert len(taken) >= 8 and len(refused) >= 60
    assert {status for status, _ in refused} == {503}
    assert all(re.search(r"full: .*at most \d+", why) for _, why in refused)
    with ThreadPoolExecutor(len(taken)) as crowd:
        heard = list(crowd.map(lambda event: space.hear("animate", event)[0], taken))
    assert all(heard)
    assert_well(space)


def test_eight_visitors_at_once_are_all_served(space, portrait):
    def visitor(number: int) -> list[bool]:
        pixels = samples.astronaut().copy()
        pixels[-9:, -9:] = number  # a face of one's own
        file = space.upload(png(pixels))
        points = [{"x": 0.1 * i, "y": 0.1 * number} for i in range(5)]
        return [edit(space, file, point=point)[0] for point in points]

    with ThreadPoolExecutor(8) as crowd:
        assert all(all(served) for served in crowd.map(visitor, range(8)))


# -- afterwards ----------------------------------------------------------------------------------


def test_the_log_names_nobody(space, portrait):
    edit(space, space.upload(portrait, "Ann Example.png"))
    edit(space, space.upload(b"broken", "Bob Example.png"))
    log = space.log()
    assert "Ann" not in log and "Bob" not in log and "127.0.0.1:" in log


def test_faces_of_the_api_are_forgotten_like_others(space):
    """Ids of faces are no way to another visitor's picture: one must have the picture to know."""
    status, _ = space.post("/gradio_api/call/move", json.dumps({"data": ["0" * 64]}).encode())
    worked, said = space.call("move", "0" * 64, "ganmut", POINT, {}, 0, {})
    assert status in (200, 404) and not worked and "Traceback" not in said


@pytest.mark.slow
def test_memory_is_flat_over_five_hundred_edits(tmp_path, portrait):
    with running(tmp_path, toy_weights(tmp_path / "weights")) as space:
        for i in range(60):
            assert edit(space, space.upload(portrait), point={"x": 0.01 * i, "y": 0.0})[0]
        before = space.memory()
        for i in range(500):
            assert edit(space, space.upload(portrait), point={"x": 0.002 * i, "y": 0.3})[0]
        grown = space.memory() - before
        print(f"\nmemory after 60 edits {before:.0f} MB, after 500 more {grown:+.0f} MB")
        assert grown < 50
