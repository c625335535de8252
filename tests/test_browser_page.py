"""docs/browser in Chromium, from local files: the page's edits against Python's."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from skimage import data as samples
from static_page import PAGE, REMOTE, answered, go_to, saved, shown, shown_point, upload, visit

import ganmut
from ganmut import faces
from ganmut.decoding import picture_of
from ganmut.encoding import MARK, compose_edit
from ganmut.faces.covered_mouth.network import REFUSAL

POINT = (0.5, 0.85)  # between happy and surprised


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
    name, picture = saved(page)
    assert name == f"face-edited.{suffix}" and picture.format == kind
    assert picture.info["Comment" if kind == "PNG" else "comment"] in (MARK, MARK.encode())
    apart = np.abs(np.asarray(picture.convert("RGB")).astype(int) - shown(page)).max(2)
    assert apart[490:, :200].max() > 100 and apart[:480].mean() < 3  # the visible mark


def test_transparent_pictures_are_pythons(page):
    """The network and the view have them on white, the saved file as they were."""
    y, x = np.mgrid[:512, :512]
    alpha = (4 * (230 - np.hypot(y - 150, x - 224))).clip(0, 255).astype(np.uint8)
    alpha[80:200, 180:270] = 128  # the face shows in part
    own = np.dstack([samples.astronaut(), alpha])
    picture = picture_of(Image.fromarray(own))
    upload(page, own)
    page.wait_for_selector("#download:enabled")
    go_to(page, *POINT)
    view, (name, file) = shown(page), saved(page)
    editor = ganmut.load("photos/wheel", "cpu")
    edited = faces.edit_image(picture.pixels, editor, torch.tensor(shown_point(page))).pixels
    changed = (edited != picture.pixels).any(2)
    apart = np.abs(view.astype(int) - edited)
    assert apart[changed].mean() < 2 and apart[~changed].mean() < 0.02 and apart[260:].max() <= 1
    expected = np.asarray(compose_edit(picture, edited, "PNG"))[:460]  # the marks differ
    found = np.asarray(file)[:460]
    assert name == "face-edited.png" and (found[..., 3] == alpha[:460]).all()
    seen = expected[..., 3] > 0
    apart = np.abs(found[seen].astype(int) - expected[seen]) * (found[seen][:, 3:] / 255)
    assert apart.mean() < 1 and np.abs(found[140:150].astype(int) - own[140:150]).mean() > 1
    marked = (np.asarray(file)[490:, :200, 3] == 255) & (alpha[490:, :200] == 0)
    assert marked.any()  # the mark is seen on any background


def test_saved_jpeg_is_on_white(page):
    """Also of a transparent file that is named as a JPEG."""
    own = np.dstack([samples.astronaut(), np.full((512, 512), 255, np.uint8)])
    own[300:, 300:, 3] = 0
    buffer = io.BytesIO()
    Image.fromarray(own).save(buffer, "PNG")
    upload(page, buffer.getvalue(), "JPEG")
    page.wait_for_selector("#download:enabled")
    _, file = saved(page)
    assert file.format == "JPEG" and np.asarray(file)[320:, 320:].min() > 250


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


def test_nothing_is_sent(browser, static_page):
    sent = []
    page = visit(browser, "about:blank")
    page.context.on("request", lambda request: sent.append((request.method, request.url)))
    page.goto(static_page)
    page.wait_for_selector("#download:enabled")
    assert all(method == "GET" and url.startswith((static_page, REMOTE)) for method, url in sent)
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


def size_of(page) -> list[int]:
    return page.locator("#whole").evaluate("(canvas) => [canvas.width, canvas.height]")


def test_a_late_example_replaces_no_picture(browser, static_page):
    held = []
    routes = [
        ("**/worker.js", lambda route: route.fulfill(body="", content_type="text/javascript")),
        ("**/astronaut.jpg", lambda route: held.append(route)),
    ]
    page = visit(browser, static_page, routes)
    upload(page, np.full((45, 123, 3), 90, np.uint8))
    assert size_of(page) == [123, 45]
    with page.expect_response("**/astronaut.jpg"):
        held[0].continue_()
    page.wait_for_timeout(1000)  # longer than to decode and draw it
    assert size_of(page) == [123, 45] and answered(page) == 1
    page.context.close()


# A worker that finds a face in the first picture after it found none in the second one.
LATE = """const opened = [];
const ready = (name) => {
  postMessage({ ready: { codes: { [name]: [0, 0] }, colors: { [name]: '#000' } }, number: 0 });
};
onmessage = ({ data: { open, number } }) => {
  if (!open || opened.push(number) !== 2) return;
  const view = { data: new Uint8ClampedArray(64), width: 4, height: 4 };
  postMessage({ error: 'No face was found.', number });
  postMessage({ faces: [{ box: [0, 0, 4, 4] }], number: opened[0] });
  postMessage({ chosen: 0, view, number: opened[0] });
  ready('last');
};
ready('first');"""


def test_answers_about_a_replaced_picture_are_dropped(browser, static_page):
    late = {"body": LATE, "content_type": "text/javascript"}
    routes = [
        ("**/worker.js", lambda route: route.fulfill(**late)),
        ("**/astronaut.jpg", lambda route: route.abort()),
    ]
    page = visit(browser, static_page, routes)
    page.get_by_role("button", name="First").wait_for()
    for side in (20, 40):
        upload(page, np.full((side, side, 3), 90, np.uint8))
    page.get_by_role("button", name="Last").wait_for()
    assert page.locator("#compare").is_disabled()
    page.context.close()


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
def test_what_is_missing_is_said(browser, static_page, url, handler, word):
    page = visit(browser, static_page, [(url, handler)])
    page.wait_for_selector("#status:not(.calm)")
    assert word in page.locator("#status").inner_text()
    page.context.close()


def test_phone_has_no_sideways_scroll(browser, static_page):
    page = visit(browser, static_page, viewport={"width": 390, "height": 844})
    page.wait_for_selector("#download:enabled")
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    page.context.close()
