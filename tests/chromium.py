"""Chromium for the tests in a real browser.

A test file that imports this is skipped where there is no Chromium or no playwright: `make browser`
installs both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from shutil import which

import pytest

api = pytest.importorskip("playwright.sync_api", reason="no playwright: run `make browser`")
CHROMIUM = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium: run `make browser`", allow_module_level=True)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def running() -> Iterator[api.Browser]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
