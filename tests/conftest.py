"""Fixtures of all tests: no network but loopback, a cache folder, and what several files share."""

from __future__ import annotations

import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from space_server import Space, running, toy_weights
from toys import BENCH_METHODS, TINY, ToySource, random_batch, world, write_bundle

from bench import figures, protocol, resolve, results, run, systems
from bench.figures import canvas, tsne
from ganmut.datasets.base import Batch

torch.set_num_threads(1)  # toy tensors: more threads only wait for each other


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails the test."""
    real = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in ("127.0.0.1", "::1", "localhost", "unix"):
            raise AssertionError(f"a test tried to reach {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared faces go to a folder that ends with the test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANMUT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def toy_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """The running page over untrained editors, for tests that leave it as it was: a start takes
    ten seconds of a processor."""
    toys = toy_weights(tmp_path_factory.mktemp("weights"))
    with running(tmp_path_factory.mktemp("space"), toys) as page:
        yield page


@pytest.fixture(scope="module")
def browser():
    """Chromium. Not of the session: two at a time are refused in one thread."""
    from chromium import running  # skips where there is none

    with running() as opened:
        yield opened


@pytest.fixture(scope="session")
def static_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of docs/browser with its model, served from a folder."""
    from static_page import served

    with served(tmp_path_factory.mktemp("page") / "browser") as address:
        yield address


@pytest.fixture(scope="module")
def page(browser, static_page):
    """That page after its first edit, which the tests of a file go on with."""
    from static_page import visit

    opened = visit(browser, static_page)
    opened.wait_for_selector("#download:enabled")
    yield opened
    opened.context.close()


@pytest.fixture
def batch() -> Batch:
    """16 random 32 px faces, every emotion among them."""
    return random_batch()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Untrained editors (one an ablation) and extractors as a bundled set."""
    return write_bundle(tmp_path_factory.mktemp("weights"), *BENCH_METHODS, "ganmut_rho1")


@pytest.fixture
def bench_run(bundle, tmp_path, monkeypatch):
    """Calls the command with the toy world in a folder of its own; gives (exit code, records)."""

    def offline(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundle))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(resolve, "open_source", lambda spec: ToySource())
    monkeypatch.setattr(systems, "CPU_BATCH", 256)  # toy pictures: overhead dominates
    monkeypatch.setitem(protocol.PROTOCOLS, "tiny", TINY)
    monkeypatch.setattr(tsne, "FACES", 10)  # a thousand steps of the embedding for each method
    monkeypatch.setattr(canvas, "FACE_INCHES", 0.4)  # toy pictures: half the pixels to encode
    picture = world(1, 3).images.repeat(1, 1, 4, 4)
    person = canvas.Person(
        picture, lambda emotion: 255 - picture, picture.repeat(2, 1, 1, 1), torch.rand(2, 17)
    )
    monkeypatch.setattr(figures, "rendered_person", lambda size, seed=0: person)

    def call(*arguments: str, out: str = "out"):
        folder = tmp_path / out
        where = ["--out", str(folder), "--cache", str(tmp_path / "cache"), "--device", "cpu"]
        # One process: others would not have the toy world.
        try:
            code = run.main(["--protocol", "tiny", "--workers", "1", *where, *arguments])
        except SystemExit as stop:  # of the parser
            code = stop.code
        return code, results.read(folder)

    return call
