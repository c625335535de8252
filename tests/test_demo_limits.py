"""Handlers that hang: the visitor gets a sentence, the slot and the lock are free again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from space_server import PATIENCE, ROOT

from demo.errors import TOO_LONG
from demo.security.lease import LeaseLock

# A page with a handler that hangs, in a process of its own: Gradio's server leaves its event loop
# open, and a hanging thread would outlive the test.
PROGRAM = """
import sys, time
import gradio as gr
from demo.app import LAUNCH
from demo.security.limits import Limits, Page

def hang(text):
    time.sleep(300)
    return text

def note():
    print("stuck", flush=True)

with Page(analytics_enabled=False, limits=Limits(seconds=0.5, stuck=2), on_stuck=note) as page:
    box = gr.Textbox()
    gr.Button("hang").click(hang, box, box, api_name="hang", concurrency_id="net")
    gr.Button("echo").click(lambda text: text, box, box, api_name="echo", concurrency_id="net")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[1]), quiet=True, **LAUNCH)
"""


@pytest.fixture
def hanging(tmp_path):
    """(address, log) of the running page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    environment = os.environ | {
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONPATH": str(ROOT),
    }
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(port)],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=file,
        )
    address, end = f"http://127.0.0.1:{port}", time.monotonic() + 5 * PATIENCE
    while True:
        assert server.poll() is None and time.monotonic() < end, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(address, timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    yield address, log
    server.kill()
    server.wait()


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


def test_a_hanging_handler_frees_its_slot(hanging):
    address, log = hanging
    assert "error" in call(address, "hang")
    assert "hello" in call(address, "echo")  # the one slot is free
    assert "stuck\n" not in log.read_text()
    call(address, "hang")
    assert "stuck\n" in log.read_text()  # two threads hang: the program is told


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
