"""The page in a real browser: every thing that a visitor does, done by Chromium.

Skipped where there is no Chromium or no playwright: `make browser` installs both. Screenshots of
every tab go to out/space/.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from chromium import api
from PIL import Image
from skimage import data as samples
from space_server import PATIENCE, running

from demo.security.files import MAX_BYTES
from demo.security.limits import Limits, full
from demo.startup.gallery import render_people
from ganmut.emotions import UNITS

ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "out" / "space"
WAIT = 1000 * PATIENCE  # ms
expect = api.expect
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """`python app.py` in a process of its own."""
    with running(tmp_path_factory.mktemp("space")) as page:
        yield page


@pytest.fixture
def visit(space, browser):
    """Opens the page for a new visitor, on a rendered face where no link says more; no script of it
    may fail."""
    contexts, failures = [], []

    def open_page(query: str = "", rendered: bool = True, **options):
        options = {"viewport": {"width": 1360, "height": 960}} | options
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(space.address + query)
        page.wait_for_selector("#after img")
        if rendered and not query:
            before = shown(page)
            page.locator("#examples button").nth(1).click()
            changes(page, before)
            page.wait_for_selector("#pad .pad", state="visible")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert failures == []


@pytest.fixture(scope="module")
def people():
    """The rendered people of the front page."""
    return [example.picture for example in render_people()]


def upload(page, pixels: np.ndarray) -> None:
    """Gives the page a picture of its own."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    page.locator("#photo input[type=file]").first.set_input_files(
        {"name": "face.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )


def shown(page) -> str:
    return page.locator("#after img").get_attribute("src")


def changes(page, before: str) -> str:
    """Waits until the edited picture is another one."""
    expect(page.locator("#after img")).not_to_have_attribute("src", before)
    return shown(page)


def tab(page, name: str):
    page.get_by_role("tab", name=name.capitalize()).click()


def readout(page) -> dict[str, float]:
    terms = page.locator("#pad .readout div").all_inner_texts()
    return {t.split()[0]: float(t.split()[1].rstrip("°")) for t in terms}


def spot(page, x: float, y: float) -> tuple[float, float]:
    """Where a point of the gamut is on the screen."""
    box = page.locator("#pad .pad").bounding_box()
    return box["x"] + (0.5 + x / 2.64) * box["width"], box["y"] + (0.5 - y / 2.4) * box["height"]


def drag(page, points) -> None:
    page.mouse.move(*spot(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*spot(page, *point))
        page.wait_for_timeout(15)
    page.mouse.up()


def takes(page, what: str) -> None:
    """Chooses the first method of a group; skips where the weights have none."""
    buttons = page.locator(f"#method [role=group][aria-label='{what}'] button")
    if not buttons.count():
        pytest.skip(f"no bundled method takes {what}")
    buttons.first.click()


def wide(page) -> int:
    return page.evaluate("document.documentElement.scrollWidth")


def photograph(page, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(400)
    page.wait_for_function(
        "[...document.images].every(i => i.complete || !i.offsetParent || i.loading === 'lazy')"
    )
    page.screenshot(path=SHOTS / f"{name}.png", full_page=name != "leaderboard")


def on_the_wheel(page) -> None:
    """The page stands at surprise on the wheel of photographs: the astronaut smiles already."""
    pressed = page.locator("#method button[aria-pressed=true]")
    expect(pressed).to_have_attribute("data-name", "photos/wheel")
    at = readout(page)
    assert at["radius"] > 0.5 and abs(at["angle"] - 60) < 1


def with_sliders(page) -> None:
    """Chooses the expression model, whose action units are sliders; the picture stays the same."""
    page.locator("#method button[data-name='photos/expression']").click()
    page.wait_for_selector("#units input[data-key='26']", state="visible")


def test_page_opens_on_an_edited_photograph(visit):
    page = visit(rendered=False)
    assert page.locator("#before img").get_attribute("src") != shown(page)
    on_the_wheel(page)
    expect(page.locator("body")).to_contain_text("512 × 512 px")
    photograph(page, "first")


def test_edit_comes_with_a_filled_pad(visit):
    page = visit()
    assert page.locator("#before img").get_attribute("src") != shown(page)
    faces = "getComputedStyle(document.querySelector('#pad .faces')).backgroundImage"
    page.wait_for_function(f"{faces}.startsWith('url')")
    assert page.locator("#pad .mark").count() == 7
    label = page.locator("#pad .pad").get_attribute("aria-label")
    assert "arrow keys" in label and page.locator("#whole img").count()
    for promise in ("not stored", "carries a mark", "owner agreed"):
        assert promise in page.locator("#foot").inner_text()
    photograph(page, "edit")


def test_last_position_of_a_drag_wins(visit):
    page = visit()
    before, calls = shown(page), []
    page.on("request", lambda r: calls.append(r.url) if "queue/join" in r.url else None)
    page.mouse.move(*spot(page, -0.7, 0))
    page.mouse.down()
    page.mouse.move(*spot(page, 0.7, 0.1), steps=150)
    page.mouse.move(*spot(page, 0.3, 0.6), steps=150)
    page.mouse.up()
    changes(page, before)
    at = readout(page)
    assert abs(at["x"] - 0.3) < 0.02 and abs(at["y"] - 0.6) < 0.02
    assert abs(at["radius"] - np.hypot(0.3, 0.6)) < 0.02 and abs(at["angle"] - 63) < 3
    expect(page.locator("#facts .facts")).to_contain_text(f"radius {at['radius']:.2f}")
    assert len(calls) < 240  # of 300 positions: those that nobody would see are left out
    # Who opens the link of that place sees the same picture.
    again = visit(page.locator("#facts .repeat").get_attribute("data-link"))
    expect(again.locator("#pad .readout")).to_contain_text(f"{at['y']:.2f}")
    assert readout(again) == at
    page.wait_for_timeout(300)
    expect(page.locator("#after img")).to_have_attribute("src", shown(again))


def test_arrow_keys_move_the_point(visit):
    page = visit()
    page.locator("#pad .pad").focus()
    page.keyboard.press("Shift+ArrowUp")
    at, before = readout(page), shown(page)
    page.keyboard.press("ArrowUp")
    assert readout(page)["y"] == pytest.approx(at["y"] + 0.02, abs=0.011)
    changes(page, before)
    page.keyboard.press("Shift+ArrowRight")
    assert readout(page)["x"] == pytest.approx(at["x"] + 0.1, abs=0.011)


def test_a_double_click_goes_to_the_nearest_emotion(visit):
    page = visit()
    mark = page.locator("#pad .mark.outer").last
    x, y = (float(mark.get_attribute(f"data-{axis}")) for axis in "xy")
    page.mouse.dblclick(*spot(page, 0.7 * x, 0.7 * y))
    at = readout(page)
    assert (at["x"], at["y"]) == pytest.approx((x, y), abs=0.006)


def test_one_of_several_faces_is_chosen(visit, people):
    page = visit()
    before = shown(page)
    upload(page, np.concatenate(people[:2], 1))
    expect(page.locator("#face-picker .box")).to_have_count(2)
    first = changes(page, before)
    page.locator("#face-picker .box:not(.chosen) .face").click(force=True)
    changes(page, first)
    expect(page.locator("#facts .facts")).to_contain_text("of 2")


def test_edits_are_undone_across_faces(visit, people):
    page = visit()
    before = shown(page)
    upload(page, np.concatenate(people[:2], 1))
    expect(page.locator("#face-picker .box")).to_have_count(2)
    undo, redo = (page.get_by_role("button", name=n, exact=True) for n in ("Undo", "Redo"))
    opened = changes(page, before)
    expect(undo).to_be_disabled()
    page.mouse.click(*spot(page, -0.6, 0.3))
    first = changes(page, opened)
    expect(undo).to_be_enabled()
    at = readout(page)
    page.locator("#face-picker .box:not(.chosen) .face").click(force=True)
    changes(page, first)
    expect(page.locator("#facts .facts")).to_contain_text("edited too: face")
    expect(page.locator("#face-picker .box.edited")).to_have_count(1)
    page.mouse.click(*spot(page, 0.5, -0.3))
    expect(page.locator("#pad .readout")).to_contain_text("-0.30")
    expect(page.locator("#facts .facts")).to_contain_text("radius 0.58")
    last = shown(page)
    page.locator("#pad .pad").focus()
    page.keyboard.press("Control+z")
    other = changes(page, last)
    page.keyboard.press("Control+z")  # back to the first face
    expect(page.locator("#after img")).to_have_attribute("src", first)
    assert readout(page) == at and other != first
    expect(page.locator("#facts .facts")).not_to_contain_text("edited too")
    undo.click()
    expect(page.locator("#after img")).to_have_attribute("src", opened)
    expect(undo).to_be_disabled()
    for _ in range(3):
        expect(redo).to_be_enabled()
        now = shown(page)
        page.keyboard.press("Control+Shift+Z")
        changes(page, now)
    expect(page.locator("#after img")).to_have_attribute("src", last)
    expect(redo).to_be_disabled()
    # A text field keeps its own undo.
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input id=field>')")
    page.locator("#field").focus()
    page.keyboard.press("Control+z")
    page.wait_for_timeout(500)
    expect(page.locator("#after img")).to_have_attribute("src", last)


def test_an_example_is_a_click(visit):
    page = visit()
    before = shown(page)
    page.locator("#examples button").nth(3).click()
    changes(page, before)
    expect(page.locator("#said")).to_have_text("")


def test_photographs_are_edited_with_photograph_weights(visit):
    page = visit()
    learned, method = (
        page.locator(f"#{i} button[aria-pressed=true]") for i in ("learned", "method")
    )
    if not page.locator("#learned button").count():
        pytest.skip("the bundled weights learned from rendered faces only")
    expect(learned).to_have_text("rendered faces")
    before = shown(page)
    page.locator("#examples button").first.click()  # the astronaut
    before = changes(page, before)
    expect(learned).to_have_text("photographs")
    expect(page.locator("body")).to_contain_text("Learned from photographs")
    expect(page.locator("body")).to_contain_text("512 × 512 px")  # not the face before
    photograph(page, "photograph")
    page.locator("#learned button").first.click()  # the visitor decides
    before = changes(page, before)
    expect(learned).to_have_text("rendered faces")
    expect(method).to_have_count(1)
    page.locator("#examples button").last.click()
    changes(page, before)
    expect(learned).to_have_text("rendered faces")


def test_picture_without_face_offers_a_square(visit):
    page = visit()
    # So faint that no detector finds it; noise has no mouth, and is refused as a covered one.
    face = Image.fromarray(samples.astronaut()[40:190, 150:300]).resize((160, 160))
    picture = np.full((300, 400, 3), 128, np.uint8)
    picture[70:230, 120:280] = np.round(128 + 0.04 * (np.asarray(face) - 128.0))
    upload(page, picture)
    expect(page.locator("#said .notice")).to_contain_text("No face was found")
    photograph(page, "no face")
    box = page.locator("#face-picker svg").bounding_box()
    scale = min(box["width"] / 400, box["height"] / 300)

    def place(x: float, y: float) -> tuple[float, float]:
        left, top = (
            box[k] + (box[n] - scale * m) / 2
            for k, n, m in (("x", "width", 400), ("y", "height", 300))
        )
        return left + scale * x, top + scale * y

    page.mouse.move(*place(140, 92))
    page.mouse.down()
    page.mouse.move(*place(258, 210), steps=4)
    page.mouse.up()
    page.wait_for_selector("#after img")
    expect(page.locator("#said")).to_have_text("")


def test_a_unit_moves_and_the_reset_changes_nothing(visit):
    page = visit()
    before = shown(page)
    takes(page, "action units")
    now = changes(page, before)
    slider = page.locator("#units input[data-key='4']")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#units label:has([data-key='4']) b")).to_have_text("1.00")
    now = changes(page, now)
    assert page.locator("#units input").count() == 17
    page.locator("#emotion button[data-name='surprised']").click()
    changes(page, now)
    photograph(page, "units")
    page.get_by_role("button", name="Reset to this face").click()
    source = page.locator("#before img").get_attribute("src")
    expect(page.locator("#after img")).to_have_attribute("src", source)


def test_photograph_units_start_at_the_face(visit):
    page = visit()
    before = shown(page)
    upload(page, samples.astronaut())
    expect(page.locator("#method button[aria-pressed=true]")).to_have_attribute(
        "data-name", "photos/wheel"
    )
    changes(page, before)
    with_sliders(page)
    page.locator("#reset").click()
    source = page.locator("#before img").get_attribute("src")
    expect(page.locator("#after img")).to_have_attribute("src", source)
    values = page.locator("#units label b")
    own = values.all_inner_texts()
    assert float(own[UNITS.index(12)]) > 0.5 > float(own[UNITS.index(4)])  # she smiles
    page.locator("#units input[data-key='4']").focus()
    page.keyboard.press("End")
    now = changes(page, source)
    assert values.all_inner_texts() == [*own[:2], "1.00", *own[3:]]
    expect(page.locator("#facts .facts")).to_contain_text("AU4 1.00")
    page.locator("#emotion button[data-name='angry']").click()
    now = changes(page, now)
    expect(values.nth(UNITS.index(26))).not_to_have_text(own[UNITS.index(26)])
    page.locator("#method button[data-name='photos/defgan']").click()
    changes(page, now)
    expect(page.locator("#reset")).to_be_disabled()


def test_emotion_buttons_and_shares_edit(visit):
    page = visit()
    before = shown(page)
    takes(page, "emotions")
    now = changes(page, before)
    page.locator("#emotion button[data-name='surprised']").click()
    now = changes(page, now)
    page.locator("#mixing button").first.click()
    page.locator("#mix input[data-key='angry']").focus()
    page.keyboard.press("End")
    changes(page, now)
    photograph(page, "emotions")


def test_before_and_after_and_what_changed(visit):
    page = visit()
    page.locator("#compare-slider input").focus()
    page.keyboard.press("Home")
    cut = "document.querySelector('#stage').style.getPropertyValue('--cut')"
    assert page.evaluate(cut) == "0%"
    for view in ("difference", "mask", "flow"):
        page.locator(f"#views button[data-name='{view}']").click()
        expect(page.locator(f"#views .frame .{view}")).to_be_visible()
    page.locator("#views button[data-name='edited']").click()
    expect(page.locator("#views .frame .difference")).to_be_hidden()


def test_compare_shows_every_method(visit):
    page = visit()
    tab(page, "compare")
    methods = page.locator("#method button").count()
    expect(page.locator("#cards figure")).to_have_count(methods + 1)
    titles = page.locator("#cards figcaption b").all_inner_texts()
    assert len(set(titles)) == methods + 1
    photograph(page, "compare")
    page.locator("#compare-emotion label", has_text="surprised").click()
    expect(page.locator("#cards .meter").first).to_contain_text("surprised")


def test_an_animation_has_the_frames_asked_for(visit):
    page = visit()
    tab(page, "animate")
    page.locator("#frames input[type=number]").fill("10")
    page.keyboard.press("Tab")
    page.locator("#make").click()
    page.wait_for_selector("#gif img")
    address = page.locator("#gif img").get_attribute("src")
    with Image.open(io.BytesIO(page.request.get(address).body())) as gif:
        assert gif.format == "GIF" and gif.n_frames == 10
        gif.seek(5)
        middle = np.asarray(gif.convert("RGB")).astype(int)
        gif.seek(0)
        assert np.abs(middle - np.asarray(gif.convert("RGB"))).max() > 20
    video = page.request.get(page.locator("#mp4 video").get_attribute("src")).body()
    assert video[4:8] == b"ftyp"
    photograph(page, "animate")


def test_points_are_kept_for_an_animation(visit):
    page = visit()
    tab(page, "animate")
    page.locator("#way label", has_text="points").click()
    page.locator("#keep").click()
    expect(page.locator("#stops img")).to_have_count(1)
    tab(page, "edit")
    page.mouse.click(*spot(page, 0.5, 0.5))
    tab(page, "animate")
    page.locator("#keep").click()
    expect(page.locator("#stops img")).to_have_count(2)
    page.locator("#make").click()
    page.wait_for_selector("#gif img")


def test_the_gamut_of_each_learned_space_is_drawn(visit, space):
    page = visit()
    # Of all sets; the Edit tab has buttons of one set, in two rows.
    spaces = sum(method["takes"] == "point" for method in space.call("methods")[1][0])
    assert spaces > page.locator("#method [aria-label='a point'] button").count()
    tab(page, "gamut")
    expect(page.locator("#maps figure")).to_have_count(spaces, timeout=5 * WAIT)
    assert {"valence +", "arousal +"} <= set(page.locator("#maps .axis text").all_text_contents())
    photograph(page, "gamut")


def test_a_vote_lands_in_the_file(visit, space):
    page = visit()
    tab(page, "study")
    page.wait_for_selector("#ballot .faces img")
    photograph(page, "study")
    page.locator("#ballot .answers button").nth(2).click()
    expect(page.locator("#ballot h2 span")).to_contain_text("2 of")
    vote = json.loads((space.folder / "study.jsonl").read_text().splitlines()[-1])
    assert vote["stage"] == 1 and vote["rating"] == 3
    known = {"stage", "emotion", "person", "voter", "time", "method", "rating"}
    assert vote.keys() - {"crc32"} == known


def test_the_leaderboard_is_sorted_by_a_click(visit):
    page = visit()
    tab(page, "leaderboard")
    page.wait_for_selector("#board table")
    heading = page.locator("#board th", has_text="accuracy").first
    heading.click()
    place = heading.evaluate("h => h.cellIndex") + 1
    column = page.locator("#board table").first.locator(f"tbody tr td:nth-child({place})")
    values = [float(t) for t in column.evaluate_all("c => c.map(x => x.dataset.value)") if t]
    assert values == sorted(values) and len(values) > 3
    photograph(page, "leaderboard")


def test_the_link_and_the_python_are_copied(visit, space):
    page = visit("?method=gganmut&x=0.4&y=-0.6", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#method button[data-name='gganmut']")).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(page.locator("#pad .readout")).to_contain_text("-0.60")
    assert readout(page)["x"] == 0.4
    expect(page.locator("#facts .facts")).to_contain_text("GGANmut")
    page.get_by_role("button", name="Copy the link").click()
    clipboard = "navigator.clipboard.readText()"
    assert page.evaluate(clipboard) == space.address + "/?method=gganmut&x=0.4&y=-0.6"
    page.get_by_role("button", name="Copy as Python").click()
    code = page.evaluate(clipboard)
    assert "torch.tensor([0.4, -0.6])" in code
    compile(code, "copied", "exec")


def test_a_point_outside_is_moved_with_a_word(visit):
    page = visit("?method=photos/wheel&x=9&y=9")
    expect(page.locator("#said")).to_contain_text("(9, 9) lies outside the gamut")
    expect(page.locator("#pad .readout")).to_contain_text("0.71")
    assert readout(page)["radius"] == 1


def test_invalid_link_opens_the_default_page(visit):
    page = visit("?method=%3Cscript%3E&x=nan&y=1e999&seed=__import__")
    on_the_wheel(page)
    expect(page.locator("#said")).to_contain_text("'<script>'")  # what is said is no silence
    expect(page.locator("#said")).to_contain_text("Emotion wheel")


def framed(shape: str) -> np.ndarray:
    """The astronaut in a picture of that shape."""
    face = samples.astronaut()
    if shape == "tiny":
        return np.asarray(Image.fromarray(face[20:220, 130:330]).resize((70, 70)))
    wide, high = {"landscape": (1200, 512), "portrait": (512, 1200)}[shape]
    picture = np.full((high, wide, 3), 128, np.uint8)
    x, y = (wide - 512) // 2, (high - 512) // 2
    picture[y : y + 512, x : x + 512] = face
    return picture


WINDOWS = {
    "desktop": {"viewport": {"width": 1366, "height": 768}},
    "narrow": {"viewport": {"width": 1000, "height": 700}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
# Where a box in pixels of the picture has to lie on the screen; and what is drawn there.
CORNERS = """() => {
  const image = document.querySelector('#photo img'), frame = image.getBoundingClientRect();
  const rect = document.querySelector('#face-picker .face');
  const box = rect.getBoundingClientRect(), at = (n) => Number(rect.getAttribute(n));
  const scale = Math.min(frame.width / image.naturalWidth, frame.height / image.naturalHeight);
  const left = frame.left + (frame.width - scale * image.naturalWidth) / 2;
  const top = frame.top + (frame.height - scale * image.naturalHeight) / 2;
  return [[left + scale * at('x'), top + scale * at('y'),
    left + scale * (at('x') + at('width')), top + scale * (at('y') + at('height'))],
    [box.left, box.top, box.right, box.bottom]];
}"""
HITS = """() => [...document.querySelectorAll('#photo button')]
  .filter((e) => e.offsetWidth).map((e) => {
  const r = e.getBoundingClientRect();
  const hit = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
  return [e.ariaLabel, e.contains(hit)];
})"""


@pytest.mark.parametrize("window", WINDOWS)
def test_the_box_lies_on_the_face(visit, window):
    page = visit(rendered=False, **WINDOWS[window])
    for shape in ("landscape", "portrait", "tiny"):
        before = page.locator("#before img").get_attribute("src")
        upload(page, framed(shape))
        expect(page.locator("#before img")).not_to_have_attribute("src", before)
        expect(page.locator("#face-picker .face")).to_have_count(1)
        page.locator("#photo").scroll_into_view_if_needed()
        wanted, drawn = page.evaluate(CORNERS)
        assert np.abs(np.subtract(wanted, drawn)).max() < 2, shape
        hits = page.evaluate(HITS)
        assert len(hits) >= 4 and all(hit for _, hit in hits), (shape, hits)


def test_slider_and_picture_are_visible_together(visit):
    page = visit(rendered=False, **WINDOWS["desktop"])
    with_sliders(page)
    slider = page.locator("#units input[data-key='26']")
    slider.evaluate("e => e.scrollIntoView({ block: 'end' })")
    picture, box = page.locator("#after img").bounding_box(), slider.bounding_box()
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= 768
    assert box["y"] >= 0 and box["y"] + box["height"] <= 768.5
    photograph(page, "units beside the picture")


def test_a_phone_shows_picture_above_controls(visit):
    page = visit(rendered=False, **WINDOWS["phone"])
    with_sliders(page)
    slider = page.locator("#units input[data-key='26']")
    slider.evaluate("e => e.scrollIntoView({ block: 'center' })")
    picture, box = page.locator("#after img").bounding_box(), slider.bounding_box()
    assert picture["width"] >= 0.6 * 390 and picture["y"] >= 0
    assert picture["y"] + picture["height"] < box["y"]
    small = page.evaluate(
        "[...document.querySelectorAll('button, input[type=range], th, [role=tab]')]"
        ".filter((e) => e.checkVisibility()).map((e) => [e.getBoundingClientRect(), e.outerHTML])"
        ".filter(([r]) => r.width && (r.width < 39.5 || r.height < 39.5))"
        ".map(([r, html]) => [r.width, r.height, html.slice(0, 120)])"
    )
    assert small == []


@pytest.mark.parametrize("size", [(844, 390), (900, 700), (1024, 600)])
def test_a_low_window_has_room_for_controls(visit, size):
    page = visit(rendered=False, viewport=dict(zip(("width", "height"), size, strict=True)))
    with_sliders(page)  # a click: the picture must not cover the buttons
    slider = page.locator("#units input[data-key='26']")
    slider.evaluate("e => e.scrollIntoView({ block: 'end' })")
    picture, box = page.locator("#after img").bounding_box(), slider.bounding_box()
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= size[1]
    assert slider.evaluate(
        "e => { const r = e.getBoundingClientRect(); "
        "return document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === e; }"
    )
    assert box["y"] >= 0 and box["y"] + box["height"] <= size[1] + 0.5


def test_errors_and_readings_are_announced(visit):
    page = visit(rendered=False)
    alert = page.locator("#said [role=alert]")
    assert alert.count() == 1 and alert.inner_text() == ""
    upload(page, np.zeros((300, 400, 3), np.uint8))
    expect(alert).to_contain_text("No face was found")
    assert "distance" in visit(rendered=False).locator("#readings [role=status]").inner_text()


def test_gradio_has_no_sentences_of_its_own(visit):
    page = visit(rendered=False)
    said = page.locator(".toast-body").last
    files = page.locator("#photo input[type=file]").first
    for name, kind, content, words in (
        ("a.png", "image/png", bytes(MAX_BYTES + 1), "20 MB"),
        ("a.txt", "text/plain", b"a", "JPEG, PNG or WEBP"),
    ):
        files.set_input_files({"name": name, "mimeType": kind, "buffer": content})
        expect(said).to_contain_text(words)
        expect(said).not_to_contain_text(re.compile("exceed|Invalid"))
    page.locator("#examples button").nth(1).click()
    page.wait_for_selector("#pad .pad", state="visible")
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "?"}))
    page.mouse.click(*spot(page, 0.4, 0.2))
    expect(said).to_contain_text(full(Limits())[1:])


def test_each_view_has_a_legend(visit):
    page = visit(rendered=False)
    for view in ("edited", "difference", "mask", "flow"):
        page.locator(f"#views button[data-name='{view}']").click()
        shown = page.locator("#views .legend span:visible")
        expect(shown).to_have_count(1)
        assert shown.get_attribute("class") == view
    assert "unrelated" in page.locator("#readings").inner_text()


def test_no_example_is_chosen_after_an_upload(visit):
    page = visit(rendered=False)
    chosen = page.locator("#examples button[aria-pressed=true]")
    expect(chosen).to_have_count(1)
    upload(page, framed("landscape"))
    expect(chosen).to_have_count(0)
    page.locator("#examples button").nth(2).click()
    expect(chosen).to_have_count(1)


def test_an_error_keeps_the_finished_animation(visit):
    page = visit()
    tab(page, "animate")
    page.locator("#frames input[type=number]").fill("8")
    page.keyboard.press("Tab")
    page.locator("#make").click()
    page.wait_for_selector("#gif img")
    page.locator("#way label", has_text="points").click()
    page.locator("#make").click()
    expect(page.locator(".toast-body")).to_contain_text("two points")
    hit = page.locator("#gif img").evaluate(
        "(e) => { const r = e.getBoundingClientRect(); "
        "return document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2).tagName; }"
    )
    assert hit == "IMG"


def test_no_tab_shifts_as_it_fills(visit):
    page = visit(**WINDOWS["desktop"])
    page.evaluate(
        "new PerformanceObserver((list) => { for (const e of list.getEntries()) "
        "if (!e.hadRecentInput) window.shift = (window.shift || 0) + e.value; })"
        ".observe({ type: 'layout-shift' })"
    )
    content = {"compare": "#cards figure", "study": "#ballot .faces img", "leaderboard": "table"}
    for name in ("compare", "animate", "study", "leaderboard", "edit"):
        page.evaluate("window.shift = 0")
        tab(page, name)
        if name in content:
            page.wait_for_selector(content[name])
        page.wait_for_timeout(300)
        assert page.evaluate("window.shift") < 0.05, name


def test_the_leaderboard_shows_photographs_too(visit):
    page = visit()
    tab(page, "leaderboard")
    expect(page.locator("#board h2")).to_have_text(["Rendered faces", "Photographs"])


def test_a_phone_sees_everything_without_scrolling_sideways(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert wide(page) <= 390
    before = shown(page)
    page.locator("#pad .pad").scroll_into_view_if_needed()
    page.touchscreen.tap(*spot(page, -0.4, 0.3))
    changes(page, before)
    assert readout(page)["x"] == pytest.approx(-0.4, abs=0.03)
    photograph(page, "phone")
    for name in ("compare", "animate", "study", "leaderboard"):
        tab(page, name)
        page.wait_for_timeout(500)
        assert wide(page) <= 390, name


# Texts whose contrast to what lies behind them is below 4.5, with the contrast.
FAINT = r"""() => {
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const linear = (v) => (v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((v, i) => a * v + (1 - a) * below[i]);
  const behind = (e) => {
    const layers = [];
    for (let node = e; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      if (style.backgroundImage !== 'none') return null;
      layers.push(rgb(style.backgroundColor));
      if ((layers.at(-1)[3] ?? 1) === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const faint = [], words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const text = words.currentNode.data.trim(), e = words.currentNode.parentElement;
    const seen = e.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const ground = text && seen && !e.closest('svg, [disabled], .reader, .live') && behind(e);
    if (!ground) continue;
    let opacity = 1;
    for (let node = e; node; node = node.parentElement) opacity *= getComputedStyle(node).opacity;
    const [r, g, b, a = 1] = rgb(getComputedStyle(e).color);
    const front = light(over([r, g, b, a * opacity], ground)), back = light(ground);
    const [low, high] = [Math.min(front, back), Math.max(front, back)];
    const contrast = (high + .05) / (low + .05);
    if (contrast < 4.5) faint.push([text.slice(0, 40), contrast]);
  }
  return faint;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out(visit, scheme):
    page = visit(rendered=False, color_scheme=scheme)
    for name in ("edit", "compare", "animate", "gamut", "study", "leaderboard"):
        tab(page, name)
        page.wait_for_timeout(500)
        assert page.evaluate(FAINT) == [], name
    tab(page, "compare")
    slider = page.locator("#compare-intensity input[type=range]")
    slider.fill("0.5")
    with Image.open(io.BytesIO(slider.screenshot())) as picture:
        thumb = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    card = page.locator(".card").first.evaluate("e => getComputedStyle(e).backgroundColor")
    ground = tuple(map(int, re.findall(r"\d+", card)[:3]))
    low, high = sorted(map(_luminance, (thumb, ground)))
    assert (high + 0.05) / (low + 0.05) > 3  # WCAG 1.4.11, of what is no text


CUT = """() => [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility()
  && e.clientHeight > 1 && e.scrollHeight > e.clientHeight + 2
  && getComputedStyle(e).overflowY === 'hidden').map((e) => e.outerHTML.slice(0, 200))"""


def test_nothing_is_cut_off(visit):
    page = visit(rendered=False)
    for name in ("edit", "compare", "animate", "study"):
        tab(page, name)
        page.wait_for_timeout(300)
        assert page.evaluate(CUT) == [], name


def test_in_the_dark_words_can_be_read(visit):
    page = visit(color_scheme="dark")
    assert _contrast(page, "#foot footer p", "body") > 4.5
    assert _contrast(page, ".card h2", ".card") > 7
    assert _contrast(page, "#pad .readout dd", ".card") > 7
    photograph(page, "dark")
    light = visit(color_scheme="light")
    assert _contrast(light, "#foot footer p", "body") > 4.5
    assert _contrast(light, ".card h2", ".card") > 7


def _luminance(rgb) -> float:
    """WCAG's relative luminance of 0..255 values."""
    share = np.array(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(page, words: str, ground: str) -> float:
    """WCAG's contrast between the colour of an element and the ground of another."""

    def luminance(selector: str, what: str) -> float:
        colour = page.locator(selector).first.evaluate(f"e => getComputedStyle(e).{what}")
        return _luminance([float(v) for v in re.findall(r"[\d.]+", colour)[:3]])

    low, high = sorted((luminance(words, "color"), luminance(ground, "backgroundColor")))
    return (high + 0.05) / (low + 0.05)


def test_nothing_jumps_while_a_result_loads(visit):
    page = visit()
    parts = ("#pad", "#stage", "#readings", "#whole", "#facts", "#foot")

    def places() -> list:
        return [{k: round(v) for k, v in page.locator(p).bounding_box().items()} for p in parts]

    still, before = places(), shown(page)
    drag(page, [(0.0, 0.0), (0.3, 0.3), (0.5, 0.5)])
    during = places()
    changes(page, before)
    expect(page.locator("#facts .facts")).to_contain_text("radius 0.7")
    assert still == during == places()
    before = shown(page)
    page.locator("#examples button").nth(2).click()
    page.wait_for_timeout(200)
    during = places()
    changes(page, before)
    assert still == during == places()
