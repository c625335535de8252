"""docs/browser as a visitor has it: its server, and what the tests do on it.

A test file that imports this is skipped where there is no Chromium or no onnxruntime-web: `make
browser` installs both."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import chromium  # noqa: F401 # skips where there is none
import numpy as np
import pytest
from PIL import Image

from ganmut import weights
from ganmut.weights.onnx_graphs import export_onnx

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "browser"
RUNTIME = ROOT / "out" / "npm" / "node_modules" / "onnxruntime-web" / "dist"
if not RUNTIME.is_dir():
    pytest.skip("no onnxruntime-web: run `make browser`", allow_module_level=True)

REMOTE = re.search(r"'(https://[^']+/dist/)'", (PAGE / "worker.js").read_text())[1]
WAIT = 180_000  # ms


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript"
    }

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the page with its model, from a new folder."""
    shutil.copytree(PAGE, folder, ignore=shutil.ignore_patterns("model"))
    checked = weights.read(weights.resolve("photos/wheel"), "editor")
    export_onnx(checked, folder / "model", faces=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


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


def answered(page) -> int:
    """How many pictures the page has opened or refused."""
    return int(page.locator("body").get_attribute("data-pictures") or 0)


def upload(page, pixels: np.ndarray | bytes, kind: str = "PNG") -> None:
    """Gives the page a file, and waits until it has opened or refused it."""
    if isinstance(pixels, np.ndarray):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        pixels = buffer.getvalue()
    before = answered(page)
    file = {"name": "face.png", "mimeType": f"image/{kind.lower()}", "buffer": pixels}
    page.locator("#file").set_input_files(file)
    page.wait_for_selector(f"body[data-pictures='{before + 1}']")


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
    """The edited picture at its own resolution, H x W x 3."""
    url = page.locator("#whole").evaluate("(canvas) => canvas.toDataURL()")
    file = io.BytesIO(base64.b64decode(url.partition(",")[2]))
    return np.asarray(Image.open(file).convert("RGB"))


def shown_point(page) -> tuple[float, float]:
    place = page.locator("#pad .point").get_attribute("transform")
    x, y = map(float, re.findall(r"-?[\d.]+", place))
    return x, -y


def saved(page) -> tuple[str, Image.Image]:
    """(name, picture) of the file that the page saves."""
    with page.expect_download() as download:
        page.locator("#download").click()
    return download.value.suggested_filename, Image.open(download.value.path())
