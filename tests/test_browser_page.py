"""docs/browser in Chromium, from local files: the page's edits against Python's.

Skipped where there is no Chromium, no playwright or no onnxruntime-web: `make browser` installs
them.
"""

from __future__ import annotations

import base64
import http.server
import io
import re
import shutil
import threading
from functools import partial
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from skimage import data as samples

import ganmut
from ganmut import faces, weights
from ganmut.encoding import MARK
from ganmut.faces.covered_mouth.network import REFUSAL
from ganmut.weights.onnx_graphs import export_onnx

api = pytest.importorskip("playwright.sync_api", reason="no playwright: run `make browser`")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "browser"
RUNTIME = ROOT / "out" / "npm" / "node_modules" / "onnxruntime-web" / "dist"
CHROMIUM = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None or not RUNTIME.is_dir():
    pytest.skip("no Chromium or onnxruntime-web: run `make browser`", allow_module_level=True)

REMOTE = re.search(r"'(https://[^']+/dist/)'", (PAGE / "worker.js").read_text()).group(1)
WAIT = 180_000  # ms
POINT = (0.5, 0.85)  # between happy and surprised


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript"
    }

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page with its model, served from a folder."""
    folder = tmp_path_factory.mktemp("page") / "browser"
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("model"))
    checked = weights.read(weights.resolve("photos/wheel"), "editor")
    export_onnx(checked, folder / "model", faces=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


def serve_runtime(route) -> None:
    """Files of onnxruntime-web from the local package in the place of the network."""
    name = route.request.url[len(REMOTE) :]
    kind = "application/wasm" if name.endswith(".wasm") else "text/javascript"
    headers = {"Access-Control-Allow-Origin": "*"}
    route.fulfill(path=RUNTIME / name, content_type=kind, headers=headers)


def visit(browser, address, routes=(), **options):
    """A page of a new visitor; routes: (url, handler) before the page loads."""
    context = browser.new_context(**{"viewport": {"width": 1366, "height": 768}} | options)
    context.set_default_timeout(WAIT)
    context.route(REMOTE + "**", serve_runtime)
    for url, handler in routes:
        context.route(url, handler)
    page = context.new_page()
    page.goto(address)
    return page


@pytest.fixture(scope="module")
def page(browser, address):
    """The page after its first edit, which several tests go on with."""
    page = visit(browser, address)
    page.wait_for_selector("#download:enabled")
    yield page
    page.context.close()


def upload(page, pixels: np.ndarray | bytes, kind: str = "PNG") -> None:
    """Gives the page a file, and waits until it has opened or refused it."""
    if isinstance(pixels, np.ndarray):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        pixels = buffer.getvalue()
    answered = int(page.locator("body").get_attribute("data-pictures"))
    file = {"name": "face.png", "mimeType": f"image/{kind.lower()}", "buffer": pixels}
    page.locator("#file").set_input_files(file)
    page.wait_for_selector(f"body[data-pictures='{answered + 1}']")


def go_to(page, x: float, y: float) -> None:
    """Puts the point of the pad by the mouse, and waits for the edit of the whole picture."""
    box = page.locator("#pad").bounding_box()
    across, down = (0.5 + x / 2.64) * box["width"], (0.5 - y / 2.4) * box["height"]
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + across, box["y"] + down, steps=4)
    page.mouse.up()
    page.wait_for_selector("#download:enabled")


def shown(page) -> np.ndarray:
    """The edited picture at its own resolution."""
    url = page.locator("#whole").evaluate("(canvas) => canvas.toDataURL()")
    file = io.BytesIO(base64.b64decode(url.partition(",")[2]))
    return np.asarray(Image.open(file).convert("RGB"))


def shown_point(page) -> tuple[float, float]:
    place = page.locator("#pad .point").get_attribute("transform")
    x, y = map(float, re.findall(r"-?[\d.]+", place))
    return x, -y


@pytest.mark.parametrize("scale", [1, 3])
def test_edit_is_pythons(page, scale):
    picture = samples.astronaut()
    if scale > 1:  # the face's crop is larger than what a drag draws
        size = (512 * scale, 512 * scale)
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    upload(page, picture)
    page.wait_for_selector("#download:enabled")
    go_to(page, *POINT)
    edited = shown(page)
    editor = ganmut.load("photos/wheel", "cpu")
    expected = faces.edit_image(picture, editor, torch.tensor(shown_point(page))).pixels
    assert edited.shape == picture.shape
    changed = (expected != picture).any(2)
    difference = np.abs(edited.astype(int) - expected)
    change = np.abs(expected.astype(int) - picture)
    assert difference[changed].mean() < 2 and change[changed].mean() > 4
    assert difference[~changed].mean() < 0.02


def test_the_middle_and_back(page):
    upload(page, samples.astronaut())
    page.wait_for_selector("#download:enabled")
    for name in ("Neutral", "Happy"):
        page.get_by_role("button", name=name).click()
        page.wait_for_selector("#download:enabled")
    assert shown_point(page) == (1.0, 0.0)
    page.locator("#pad").press("ArrowLeft")
    assert shown_point(page) == (0.98, 0.0)


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "jpg")])
def test_saved_picture_is_marked(page, kind, suffix):
    upload(page, samples.astronaut(), kind)
    page.wait_for_selector("#download:enabled")
    with page.expect_download() as download:
        page.locator("#download").click()
    picture = Image.open(download.value.path())
    assert download.value.suggested_filename == f"face-edited.{suffix}" and picture.format == kind
    assert picture.info["Comment" if kind == "PNG" else "comment"] in (MARK, MARK.encode())
    apart = np.abs(np.asarray(picture.convert("RGB")).astype(int) - shown(page)).max(2)
    assert apart[490:, :200].max() > 100 and apart[:480].mean() < 3  # the visible mark


def test_pixels_are_pythons(page):
    """Crops, resizing and pasting of the page's modules on the same input."""
    picture = samples.astronaut()[:200, 100:330]
    points = np.array([[105.0, 99], [142, 101], [122, 121], [105, 142], [136, 144]])
    turned = points @ np.array([[0.96, -0.28], [0.28, 0.96]]) + [-20, 30]
    for five, size, margin in ((points, 64, 1.0), (points, 256, 2.0), (turned, 20, 1.0)):
        crop, transform = faces.crop_face(picture, five, size, margin)
        edited = crop[::-1]
        expected = faces.paste_face(picture, crop, edited, transform)
        found = page.evaluate(CROP_AND_PASTE, [*packed(picture), five.tolist(), size, margin])
        there = unpacked(found["crop"], (3, size, size)).transpose(1, 2, 0)
        assert np.abs(there - crop.astype(int)).max() <= 1
        assert np.abs(there - crop.astype(int)).mean() < 0.01
        pasted = unpacked(found["pasted"], (*picture.shape[:2], 4))[..., :3]
        assert np.abs(pasted - expected.astype(int)).mean() < 0.5


def test_resizing_is_torchs(page):
    grey = samples.astronaut()[:70, :90, 0].astype(np.float32)
    for kernel, mode in (("linear", "bilinear"), ("cubic", "bicubic")):
        for height, width in ((31, 40), (100, 111)):
            expected = F.interpolate(
                torch.from_numpy(grey)[None, None], (height, width), mode=mode, antialias=True
            )
            found = page.evaluate(RESIZE, [grey.ravel().tolist(), 90, 70, width, height, kernel])
            assert np.abs(np.reshape(found, (height, width)) - expected[0, 0].numpy()).max() < 0.01


def packed(picture: np.ndarray) -> tuple[str, int, int]:
    rgba = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    return base64.b64encode(rgba.tobytes()).decode(), picture.shape[1], picture.shape[0]


def unpacked(text: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape).astype(int)


CROP_AND_PASTE = """async ([bytes, width, height, points, size, margin]) => {
  const { cropFace } = await import('./pixels.js'), { PasteBack } = await import('./paste.js');
  const text = (data) => {
    let out = '';
    for (const v of data) out += String.fromCharCode(v);
    return btoa(out);
  };
  const data = Uint8ClampedArray.from(atob(bytes), (c) => c.charCodeAt(0));
  const picture = { data, width, height };
  const { planes, transform } = cropFace(picture, points, size, margin);
  const edited = new Float32Array(planes.data.length);
  for (let i = 0; i < edited.length; i++) {
    const y = Math.floor(i / size) % size, plane = Math.floor(i / size / size);
    edited[i] = planes.data[(plane * size + size - 1 - y) * size + (i % size)] / 127.5 - 1;
  }
  const patch = new PasteBack(picture, planes, transform, [0, 0, size, size]).paste(edited);
  for (let y = 0; y < patch.height; y++) {
    const row = patch.data.subarray(4 * y * patch.width, 4 * (y + 1) * patch.width);
    data.set(row, 4 * ((patch.top + y) * width + patch.left));
  }
  return { crop: text(planes.data), pasted: text(data) };
}"""
RESIZE = """async ([values, width, height, toWidth, toHeight, kernel]) => {
  const { resize } = await import('./pixels.js');
  const planes = { data: Float32Array.from(values), channels: 1, width, height };
  return Array.from(resize(planes, toWidth, toHeight, kernel).data);
}"""


def test_nothing_is_sent(browser, address):
    sent = []
    page = visit(browser, "about:blank")
    page.context.on("request", lambda request: sent.append((request.method, request.url)))
    page.goto(address)
    page.wait_for_selector("#download:enabled")
    assert all(method == "GET" and url.startswith((address, REMOTE)) for method, url in sent)
    loaded = len(sent)
    upload(page, samples.astronaut())
    page.wait_for_selector("#download:enabled")
    go_to(page, *POINT)
    assert [url for _, url in sent[loaded:] if not url.startswith("blob:")] == []
    page.context.close()


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"no picture", "not a picture"), (np.full((300, 300, 3), 90, np.uint8), "No face")],
)
def test_pictures_that_cannot_be_edited(page, content, word):
    upload(page, content)
    page.wait_for_selector("#status:not(.calm)")
    said = page.locator("#status").inner_text()
    assert word in said and said.count("\n") == 0
    upload(page, samples.astronaut())  # the page goes on
    page.wait_for_selector("#status", state="hidden")
    page.wait_for_selector("#download:enabled")


def test_a_covered_mouth_is_refused(page):
    """With Python's sentence, and from the same crop."""
    picture = Image.fromarray(samples.astronaut())
    ImageDraw.Draw(picture).rounded_rectangle((190, 122, 262, 166), 10, fill=(25, 25, 30))
    upload(page, np.asarray(picture))
    page.wait_for_selector("#status:not(.calm)")
    assert page.locator("#status").inner_text().lower() == f"{REFUSAL}."
    upload(page, samples.astronaut())
    page.wait_for_selector("#download:enabled")


def without_webassembly(route) -> None:
    route.fulfill(
        body="self.WebAssembly = undefined;\n" + (PAGE / "worker.js").read_text(),
        content_type="text/javascript",
    )


@pytest.mark.parametrize(
    ("url", "handler", "word"),
    [
        ("**/model/*", lambda route: route.fulfill(status=404), "ganmut export photos/wheel"),
        ("**/editor.json", lambda route: route.fulfill(json={"format": 99}), "another version"),
        ("**/worker.js", without_webassembly, "no WebAssembly"),
        (REMOTE + "**", lambda route: route.abort(), "could not be loaded"),
    ],
)
def test_what_is_missing_is_said(browser, address, url, handler, word):
    page = visit(browser, address, [(url, handler)])
    page.wait_for_selector("#status:not(.calm)")
    assert word in page.locator("#status").inner_text()
    page.context.close()


def test_phone_has_no_sideways_scroll(browser, address):
    page = visit(browser, address, viewport={"width": 390, "height": 844})
    page.wait_for_selector("#download:enabled")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    page.context.close()
