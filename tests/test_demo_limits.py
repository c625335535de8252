"""Handlers that hang: the visitor gets a sentence, the slot and the lock are free again."""

from __future__ import annotations

import json
import threading
import time
import urllib.request

import gradio as gr
import pytest

from demo.app import LAUNCH
from demo.lease import LeaseLock
from demo.limits import TOO_LONG, Limits, Page


@pytest.fixture
def hanging():
    """(address, release, restarts) of a page with a handler that hangs until it is released."""
    release, restarts = threading.Event(), []

    def hang(text: str) -> str:
        release.wait(30)
        return text

    limits = Limits(seconds=0.5, stuck=2)
    with Page(analytics_enabled=False, limits=limits, on_stuck=lambda: restarts.append(1)) as page:
        box = gr.Textbox()
        gr.Button("hang").click(hang, box, box, api_name="hang", concurrency_id="net")
        gr.Button("echo").click(lambda text: text, box, box, api_name="echo", concurrency_id="net")
    options = LAUNCH | {"css_paths": None, "theme": None}
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **options)
    yield page.local_url.rstrip("/"), release, restarts
    release.set()
    page.close()


def call(address: str, name: str) -> str:
    """All that the queue says of one call."""
    body = json.dumps({"data": ["hello"]}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{name}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.filterwarnings("ignore")
def test_a_hanging_handler_frees_its_slot(hanging):
    address, release, restarts = hanging
    start = time.monotonic()
    assert "error" in call(address, "hang")
    assert time.monotonic() - start < 5
    assert "hello" in call(address, "echo")  # the one slot is free
    assert restarts == []
    call(address, "hang")
    assert restarts == [1]  # two threads hang: the program starts anew
    release.set()


def test_the_sentence_names_the_remedy():
    assert "try again" in TOO_LONG


def test_a_lease_ends_where_others_wait():
    lock, inside, done = LeaseLock(seconds=0.2), threading.Event(), threading.Event()
    failures = []

    def hang() -> None:
        try:
            with lock:
                inside.set()
                done.wait(10)
        except TimeoutError as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    inside.wait(10)
    start = time.monotonic()
    with lock, lock:  # re-entrant
        assert 0.1 < time.monotonic() - start < 5
    done.set()
    thread.join(10)
    assert len(failures) == 1  # the late holder learns that it lost the lock
    with lock:
        pass
