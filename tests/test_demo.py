"""The demo: what visitors may send, what they get back, and one call through the running page."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage import data as samples
from space_server import Knows, toy_weights

from demo.components import gamut_pad
from demo.components.pictures import Png
from demo.handlers import Handlers
from demo.security import files
from demo.service import Service
from demo.sessions.session import SessionExpired, square_face, window
from demo.settings import Setting, number
from demo.startup.gallery import Example
from demo.visualize import add_mark
from ganmut import EMOTIONS
from ganmut.faces import NoFace, crop_face
from ganmut.images import BadImage

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    return toy_weights(tmp_path_factory.mktemp("weights"), ("stargan", "ganmut", "gganmut"))


@pytest.fixture
def service(bundled, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundled))
    return Service(detector=Knows())


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def giant_png(side: int = 20000) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


PORTRAIT = Image.fromarray(samples.astronaut())
HOSTILE = {
    "no bytes": (b"", "empty"),
    "text": (b"<svg onload=alert(1)>" * 9, "JPEG"),
    "truncated png": (encoded(PORTRAIT)[:5000], "picture"),
    "truncated jpeg": (encoded(PORTRAIT, "JPEG")[:5000], "picture"),
    "truncated webp": (encoded(PORTRAIT, "WEBP")[:3000], "picture"),
    "a gif": (encoded(PORTRAIT.resize((99, 99)), "GIF"), "JPEG"),
    "a tiff": (encoded(PORTRAIT.resize((99, 99)), "TIFF"), "JPEG"),
    "giant header": (giant_png(), "50"),
    "over the limit": (giant_png(7100), "50"),
    "tiny": (encoded(Image.new("RGB", (63, 200))), "63 x 200"),
    "a thread": (encoded(Image.new("RGB", (8000, 100))), "8000 x 100 px; .* has 51 px"),
    "as high as allowed": (encoded(Image.new("RGB", (64, 20000))), "64 x 20000 px; .* has 13 px"),
}


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The folder that Gradio keeps uploads in."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads_get_one_sentence_without_a_path(name, uploads):
    content, why = HOSTILE[name]
    file = uploads / "upload.png"
    file.write_bytes(content)
    with pytest.raises(BadImage, match=why) as refusal:
        files.read_picture(str(file))
    assert str(uploads) not in str(refusal.value) and "\n" not in str(refusal.value)


def test_file_over_the_size_limit_is_refused(uploads, monkeypatch):
    file = uploads / "upload.png"
    file.write_bytes(encoded(PORTRAIT))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    with pytest.raises(BadImage, match="MB"):
        files.read_picture(str(file))


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "RGBA", "LA", "1", "I;16"])
def test_odd_modes_become_rgb(mode, uploads):
    if mode == "I;16":
        picture = Image.fromarray(np.linspace(0, 65535, 80 * 90).reshape(80, 90).astype(np.uint16))
    else:
        picture = PORTRAIT.resize((90, 80)).convert("RGB").convert(mode)
    file = uploads / "upload"
    file.write_bytes(encoded(picture, "JPEG" if mode == "CMYK" else "PNG"))
    pixels = files.read_picture(str(file)).pixels
    assert pixels.shape == (80, 90, 3) and pixels.dtype == np.uint8 and pixels.std() > 10


def test_exif_turns_the_picture_and_goes_no_further(uploads):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    file = uploads / "upload.jpg"
    file.write_bytes(encoded(PORTRAIT.crop((0, 0, 512, 256)), "JPEG", exif=exif, quality=95))
    pixels = files.read_picture(str(file)).pixels
    assert pixels.shape == (512, 256, 3)
    turned = np.rot90(samples.astronaut()[:256], -1)
    assert np.abs(pixels.astype(int) - turned).mean() < 5


def test_first_frame_is_read_and_large_pictures_reduced(uploads):
    file = uploads / "upload.webp"
    frames = [Image.new("RGB", (80, 80), shade) for shade in ("red", "blue")]
    frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
    assert files.read_picture(str(file)).pixels[40, 40].tolist() == [255, 0, 0]
    file.write_bytes(encoded(Image.new("RGB", (8192, 2048)), "JPEG"))
    assert files.read_picture(str(file)).pixels.shape == (1024, 4096, 3)


SIZES = {(4000, 3000): (4000, 3000), (6000, 4000): (4096, 2731), (8000, 6000): (4096, 3072)}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_of_phones_are_taken(uploads, size, form):
    file = uploads / "upload"
    PORTRAIT.resize(size, Image.Resampling.NEAREST).save(
        file, form, **({"compress_level": 1} if form == "PNG" else {})
    )
    picture = files.read_picture(str(file))
    assert picture.pixels.shape[1::-1] == SIZES[size] and picture.size == size
    assert any("reduced" in note for note in picture.notes) == (size != SIZES[size])


def test_jpeg_of_100_megapixels_is_taken(uploads):
    file = uploads / "upload.jpg"
    file.write_bytes(encoded(Image.new("L", (12000, 9000)), "JPEG"))
    assert files.read_picture(str(file)).pixels.shape == (3072, 4096, 3)
    file.write_bytes(encoded(Image.new("1", (12000, 9000))))
    with pytest.raises(BadImage, match="50 million"):
        files.read_picture(str(file))


def test_the_download_keeps_transparency(service, uploads):
    rgba = PORTRAIT.convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgba.size).point(lambda v: v // 2 + 128))
    (uploads / "upload.png").write_bytes(encoded(rgba))
    handlers = Handlers(service, [])
    face = service.open(files.read_picture(str(uploads / "upload.png")))
    edited, _, _ = handlers.whole(face, Setting("ganmut", (0.4, 0.1)))
    assert edited.mode == "RGBA" and edited.info["Comment"]
    same = np.asarray(edited)[300:480] == np.asarray(rgba)[300:480]
    assert same.all()


def test_the_download_keeps_the_profile(service, uploads):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    PORTRAIT.save(uploads / "upload.png", icc_profile=srgb)
    face = service.open(files.read_picture(str(uploads / "upload.png")))
    edited, _, _ = Handlers(service, []).whole(face, Setting("ganmut", (0.4, 0.1)))
    with Image.open(Png().postprocess(edited).path) as stored:
        assert stored.info["icc_profile"] == srgb and stored.info["Comment"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, True, [0.5], {}])
def test_numbers_must_be_numbers(value):
    with pytest.raises(ValueError, match="intensity"):
        number(value, 0, 1, "intensity")


@pytest.mark.parametrize(
    "value",
    ["0.4,0.2", None, 3, [0.1, 0.2], {}, {"x": 1}, {"x": "1", "y": 0}, {"x": float("nan"), "y": 0}],
)
def test_a_point_is_two_finite_numbers(value):
    with pytest.raises(ValueError, match=r"number"):
        gamut_pad.point(value)


def at(service, method, x, y):
    """The code of a point of a gamut."""
    return service.code(Setting(method, gamut_pad.point({"x": x, "y": y})))


def test_points_become_codes_and_stay_in_the_space(service):
    assert at(service, "ganmut", 0.4, -0.6).tolist() == pytest.approx([0.4, -0.6])
    assert at(service, "gganmut", 1, -1).tolist() == [1, -1]
    assert at(service, "ganmut", 1, 1).norm().item() == pytest.approx(1)
    for mark in service.choices["ganmut"].marks:
        code = at(service, "ganmut", mark.x, mark.y)
        assert torch.allclose(code, service.code_of_emotion("ganmut", mark.name, 1.0), atol=1e-6)
    label = service.code(Setting("stargan", mix={"happy": 0.25}))
    assert label.tolist() == pytest.approx([0.75, 0.25, 0, 0, 0, 0, 0])


def test_choices_follow_from_the_code_spaces(service):
    assert {name: choice.shape for name, choice in service.choices.items()} == {
        "ganmut": "disc",
        "gganmut": "square",
        "stargan": None,
    }
    assert [mark.name for mark in service.choices["ganmut"].marks] == list(EMOTIONS)


def test_drawn_methods_share_a_row(service):
    group = service.choices["ganmut"].group
    service.choices["drawn"] = replace(service.choices["ganmut"], key="drawn", space="GANmut")
    rows = dict(Handlers(service, []).groups(group))
    assert rows["on the expression model"] == [["drawn", "GANmut"]]
    assert [key for key, _ in rows["a point"]] == ["ganmut", "gganmut"]


def test_a_face_is_detected_once_per_picture(service):
    picture = samples.astronaut()
    face = service.open(picture)
    assert service.open(picture) == face and service.detector.looks == 1
    code = at(service, "ganmut", 0.9, 0.1)
    (whole, _, _), (view, _) = (
        service.edit(face, "ganmut", code),
        service.move(face, "ganmut", code),
    )
    before = service.session(face).view
    assert whole.shape == picture.shape and view.shape == before.shape
    assert (view != before).any()
    changed = np.argwhere((whole != picture).any(-1))
    assert (
        len(changed) and changed.min(0)[0] > 20 and changed.max(0)[0] < 220
    )  # about the face, nowhere else


def test_the_live_view_shows_what_the_photograph_will(service):
    face = service.open(samples.astronaut())
    code = at(service, "ganmut", 0.0, -1.0)
    session = service.session(face)
    whole, _ = window(service.edit(face, "ganmut", code)[0], session.faces[0].box)
    live, _ = service.move(face, "ganmut", code)
    assert np.abs(whole.astype(int) - live).mean() < 1.5


@pytest.mark.parametrize("method, cells", [("ganmut", 52), ("gganmut", 64)])
def test_gamut_cells_show_their_own_codes(service, method, cells):
    face = service.open(samples.astronaut())
    steps = [(gamut.done, gamut.tiles) for gamut in service.gamut(face, method)]
    assert steps[0][0] == 8 and steps[-1][0] == cells  # it grows, and is complete at the end
    gamut = next(service.gamut(face, method))
    assert gamut.done == gamut.valid.sum() == cells  # the second time it is there at once
    assert gamut.tiles.shape == (8, 8, 32, 32, 3)
    code = torch.tensor([0.125, 0.875])  # first row, fifth cell
    alone = service.many(face, method, code[None])[0]
    assert np.abs(gamut.tiles[0, 4].astype(int) - alone).max() <= 2
    assert gamut_pad.sheet(gamut.tiles, gamut.valid).startswith("data:image/webp;base64,")


def test_refusals_are_sentences(service):
    with pytest.raises(NoFace):
        service.open(np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(SessionExpired):
        service.session("0" * 64)
    with pytest.raises(ValueError, match="ganmut, gganmut, stargan"):
        service.code(Setting("stylegan"))
    with pytest.raises(ValueError, match="stargan"):
        next(service.gamut(service.open(samples.astronaut()), "stargan"))


def test_old_and_excess_faces_are_dropped(bundled, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundled))
    now = [0.0]
    service = Service(detector=Knows(), seats=2, minutes=1, clock=lambda: now[0])
    pictures = [np.full((512, 512, 3), shade, np.uint8) for shade in (1, 2, 3, 4)]
    pinned = service.open(pictures[0], pinned=True)
    first, second, third = (service.open(picture) for picture in pictures[1:])
    assert list(service.sessions) == [pinned, second, third]
    now[0] = 61.0
    service.expire_sessions()
    assert list(service.sessions) == [pinned]
    with pytest.raises(SessionExpired):
        service.session(first)


def test_damaged_weight_is_named_and_left_out(bundled, tmp_path, monkeypatch):
    root = tmp_path / "weights"
    shutil.copytree(bundled, root)
    file = root / "procedural" / "stargan" / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    monkeypatch.setenv("GANMUT_WEIGHTS", str(root))
    service = Service(detector=Knows())
    assert sorted(service.choices) == ["ganmut", "gganmut"]
    assert "truncated" in service.problems["stargan"]


def test_names_around_the_disc_do_not_touch():
    angles = gamut_pad.spread([0.0, 0.01, 0.02, 3.1, 3.15, -3.12], 0.2)
    around = sorted(a % (2 * np.pi) for a in angles)
    gaps = np.diff([*around, around[0] + 2 * np.pi])
    assert gaps.min() > 0.19
    assert gamut_pad.spread([0.0, 2.0], 0.2) == [0.0, 2.0]


def test_signed_picture_keeps_size_and_names_origin(monkeypatch):
    pixels = samples.astronaut()
    picture = add_mark(pixels)
    assert picture.size == (512, 512) and "ganmut" in picture.info["Comment"]
    assert (np.asarray(picture) != pixels).any(-1).mean() < 0.02
    monkeypatch.setenv("GANMUT_MARK", "0")
    assert (np.asarray(add_mark(pixels)) == pixels).all()


def upload(folder, pixels: np.ndarray):
    from gradio_client import handle_file

    Image.fromarray(pixels).save(folder / "face.png")
    return handle_file(folder / "face.png")


def ask(client, tmp_path: Path) -> None:
    named = {method["name"]: method for method in client.predict(api_name="/methods")}
    assert {name: method["takes"] for name, method in named.items()} == {
        "ganmut": "point",
        "gganmut": "point",
        "stargan": "mix",
    }
    signature = client.view_api(return_format="dict")["named_endpoints"]
    assert signature.keys() == {"/methods", "/edit", "/compare", "/animate"}
    face = upload(tmp_path, samples.astronaut())
    links = {
        "ganmut": "?method=ganmut&x=",
        "gganmut": "?method=gganmut&x=",
        "stargan": "?method=stargan&happy=0.5",
    }
    for name in named:
        _, facts = client.predict(
            picture=face, method=name, emotion="happy", intensity=0.5, api_name="/edit"
        )
        assert facts["link"].startswith(links[name])
    path, facts = client.predict(
        picture=face, method="ganmut", point={"x": 0.3, "y": -0.4}, api_name="/edit"
    )
    with Image.open(path) as edited:
        assert edited.format == "PNG" and edited.size == (512, 512)
        assert "ganmut" in edited.info["Comment"]
        assert (np.asarray(edited) != samples.astronaut()).any()
    assert facts["code"] == pytest.approx([0.3, -0.4]) and facts["faces"] == 1
    assert facts["link"] == "?method=ganmut&x=0.3&y=-0.4"
    cards = client.predict(picture=face, emotion="happy", intensity=0.8, api_name="/compare")
    assert [card["method"] for card in cards["cards"]] == list(named)
    gif, video = client.predict(
        picture=face, method="ganmut", way="wheel", frames=9, rate=10, api_name="/animate"
    )
    with Image.open(gif) as moving:
        assert moving.format == "GIF" and moving.n_frames == 9 and moving.info["duration"] == 100
    video = video["video"] if isinstance(video, dict) else video
    assert b"ftyp" in Path(video).read_bytes()[:16]

    def refused(**values) -> str:
        values = {"picture": face, "method": "ganmut"} | values
        with pytest.raises(Exception) as refusal:
            client.predict(**values, api_name="/edit")
        assert "Traceback" not in str(refusal.value)
        return str(refusal.value)

    assert "No face was found" in refused(picture=upload(tmp_path, np.zeros((90, 90, 3), np.uint8)))
    assert "(point)" in refused(point="0.3,0.4")
    assert "number" in refused(point={"x": "0.3", "y": 0})
    assert refused(point={"x": float("nan"), "y": 0})
    assert "stylegan" in refused(method="stylegan")
    assert "bored" in refused(method="stargan", mix={"bored": 1})
    assert "must be a number from 0 to 1" in refused(method="stargan", mix={"happy": "7"})
    assert "picture" in refused(picture=None)


def readme_example(url: str, folder: Path) -> None:
    """Runs the README's own lines for programs, with a photograph."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = next(b for b in text.split("```python\n") if "gradio_client" in b).split("```")[0]
    assert "http://127.0.0.1:7860" in example
    Image.fromarray(samples.astronaut()).save(folder / "photo.jpg")
    os.chdir(folder)
    names: dict = {}
    exec(compile(example.replace("http://127.0.0.1:7860", url), "README.md", "exec"), names)
    with Image.open(names["edited"]) as edited, Image.open(names["gif"]) as moving:
        assert edited.size == (512, 512) and moving.n_frames == 16


def page_answers(bundled: str, folder: str) -> None:
    """Starts the page on loopback and asks it as a program would."""
    from gradio_client import Client

    from demo.app import LAUNCH, build

    os.environ["GANMUT_WEIGHTS"] = bundled
    page = build(Service(detector=Knows()), [Example("astronaut", samples.astronaut())])
    copied_at_each_message(page)
    _, url, _ = page.launch(**LAUNCH, prevent_thread_lock=True, quiet=True)
    ask(Client(url, verbose=False, analytics_enabled=False), Path(folder))
    readme_example(url.rstrip("/"), Path(folder))
    # Gradio makes a table of all calls after each of them, for a route that the page has not.
    assert page._queue.events_recorded and not page._queue.event_count_at_last_cache
    page.close()


def copied_at_each_message(page) -> None:
    """One component shows the progress of the events of the Edit tab: Gradio's front end copies
    all that may, and a drag waits for it."""
    names = ("open", "load", "choose", "move", "record", "rest", "pad_background")
    events = [f for f in page.fns.values() if f.api_name.rstrip("_0123456789") in names]
    assert len(events) > len(names)
    assert {block.elem_id for f in events for block in f.show_progress_on} == {"after"}


def page_without_weights(bundled: str, folder: str) -> None:
    """Builds the page over an empty folder of weights."""
    from demo.app import TRAIN, build

    os.environ["GANMUT_WEIGHTS"] = folder
    page = build(Service(detector=Knows()))
    shown = "".join(str(block.value) for block in page.blocks.values() if hasattr(block, "value"))
    assert TRAIN in shown


def test_running_page_answers_programs(bundled, tmp_path):
    # In a process of its own: gradio leaves sockets open, which pytest would blame on a later test.
    command = [sys.executable, "-W", "ignore", __file__, str(bundled), str(tmp_path)]
    settings = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=os.environ | settings, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "answered"


def test_another_face_clears_the_pad(service):
    handlers = Handlers(service, [])
    first, second = (service.open(samples.astronaut(), spot) for spot in (1, (150.0, 40.0, 150.0)))
    choice = handlers.choice("ganmut")
    *_, drawn = handlers.pad_background(first, "ganmut")
    assert drawn["done"] == drawn["of"] > 0 and drawn["sheet"]
    kept, empty = (handlers.background(face, choice)["value"] for face in (first, second))
    assert kept == drawn | {"begin": True}
    assert empty["begin"] and not empty["sheet"] and empty["key"] != kept["key"]
    moved = handlers.show_face(second, "ganmut", (0.3, 0.1), {}, 0, {})
    assert [part for part in moved if isinstance(part, dict) and part.get("value") == empty]


if __name__ == "__main__":
    page_without_weights(*sys.argv[1:])
    page_answers(*sys.argv[1:])
    print("answered")


@pytest.mark.parametrize(("x", "y", "side"), [(0, 0, 128), (140, 37, 200), (300, 290, 101)])
def test_a_drawn_square_is_the_crop(x, y, side):
    picture = samples.astronaut()
    face = square_face(picture, (x, y, side))
    crop, _ = crop_face(picture, face, side)
    wanted = picture[y : y + side, x : x + side]
    assert np.abs(crop.astype(int) - wanted).max() <= 1
