"""The page in a process of its own, and a visitor without a browser.

`with running() as space` starts `python app.py`; `running(weights, seconds)` the page over small
untrained weights whose only face is the astronaut's. As a program: that page.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as samples

from ganmut.faces import Face

ROOT = Path(__file__).resolve().parents[1]
PATIENCE = int(os.environ.get("GANMUT_PATIENCE", "60"))  # seconds; a busy machine needs more
TOYS = ("stargan", "ganmut", "gganmut", "ganimation")
ASTRONAUT = Face(
    np.array([[205.4, 99.2], [243.2, 101.8], [222.8, 122.1], [205.6, 143.1], [236.9, 145.2]]),
    (175.4, 65.5, 96.4, 96.4),
    0.99,
)


class Knows:
    """A detector that finds the astronaut's face in her portrait (512 px) and nothing else."""

    def __init__(self):
        self.looks = 0

    def detect(self, picture: np.ndarray) -> list[Face]:
        self.looks += 1
        return [ASTRONAUT] if picture.shape == (512, 512, 3) else []


def toy_weights(root: Path, names: tuple[str, ...] = TOYS) -> Path:
    """A folder of bundled weights: small, untrained editors."""
    import torch

    from ganmut import EMOTIONS, weights
    from ganmut.methods.base import METHODS
    from ganmut.training.presets import resolve_settings

    torch.manual_seed(0)
    example = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    for name in names:
        _, config = resolve_settings(name, "stable", "cpu", width=8, blocks=1)
        method = METHODS[name](config, EMOTIONS, 32, training=False)
        weights.save(root / "procedural" / name, method, {}, example)
    return root


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Space:
    """A running page. folder: what it writes goes there. source: the visitor's address."""

    address: str
    process: subprocess.Popen
    folder: Path
    source: str = "127.0.0.1"

    def open(self, request: Any, timeout: float) -> Any:
        """urlopen from the visitor's address, of which a loopback has many: 127.0.0.0/8."""
        connection = partial(http.client.HTTPConnection, source_address=(self.source, 0))

        class Handler(urllib.request.HTTPHandler):
            def http_open(self, call: urllib.request.Request) -> Any:
                return self.do_open(connection, call)

        return urllib.request.build_opener(Handler).open(request, timeout=timeout)

    def get(self, path: str, timeout: float = PATIENCE) -> tuple[int, bytes]:
        """(status, body) of a GET; the path goes out as it is."""
        try:
            with self.open(self.address + path, timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def post(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, bytes]:
        request = urllib.request.Request(self.address + path, body, {"Content-Type": kind})
        try:
            with self.open(request, PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def upload(self, content: bytes, name: str = "face.png") -> dict[str, Any]:
        """A file as an endpoint takes it."""
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        status, answer = self.post("/gradio_api/upload", body, kind)
        if status != 200:
            raise OSError(f"{status}: {answer[:200]!r}")
        return {"path": json.loads(answer)[0], "meta": {"_type": "gradio.FileData"}}

    def ask(self, name: str, *data: Any) -> tuple[int, str]:
        """(status, event id) of a call that is put into the queue."""
        body = json.dumps({"data": list(data)}).encode()
        status, answer = self.post(f"/gradio_api/call/{name}", body)
        text = answer.decode()
        return status, json.loads(text)["event_id"] if status == 200 else text

    def hear(self, name: str, event: str) -> tuple[bool, Any]:
        """(whether it worked, the outputs or the error) of a call that was put into the queue."""
        _, answer = self.get(f"/gradio_api/call/{name}/{event}", 10 * PATIENCE)
        blocks = [b.split("\n", 1) for b in answer.decode().strip().split("\n\n")]
        kinds = {head.removeprefix("event: "): rest.removeprefix("data: ") for head, rest in blocks}
        if "complete" in kinds:
            return True, json.loads(kinds["complete"])
        return False, kinds.get("error", answer.decode())

    def call(self, name: str, *data: Any) -> tuple[bool, Any]:
        status, event = self.ask(name, *data)
        return self.hear(name, event) if status == 200 else (False, event)

    def memory(self) -> float:
        """MB of memory that the process holds."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise OSError("no VmRSS")

    def files(self) -> list[Path]:
        return [path for path in (self.folder / "gradio").rglob("*") if path.is_file()]

    def log(self) -> str:
        return (self.folder / "log").read_text()


@contextlib.contextmanager
def running(
    folder: Path, toys: Path | None = None, seconds: int = 600, words: tuple[str, ...] = ()
) -> Iterator[Space]:
    """The page, ready; over toy weights where they are given. seconds: how long files are kept.
    words: options of app.py."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "gradio"),
        "GANMUT_STUDY": str(folder / "study.jsonl"),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONUNBUFFERED": "1",  # the log says where the page is
        "PYTHONPATH": str(ROOT),
    }
    program = ["app.py", *words]
    if toys is not None:
        settings["GANMUT_WEIGHTS"] = str(toys)
        program = [str(Path(__file__)), str(seconds)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", *program],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
        )
    space = Space(f"http://127.0.0.1:{port}", server, folder)
    try:
        _answers(space)
        yield space
    finally:
        server.terminate()
        server.wait()


def _answers(space: Space) -> None:
    end = time.monotonic() + 5 * PATIENCE
    while time.monotonic() < end:
        assert space.process.poll() is None, space.log()[-3000:]
        with contextlib.suppress(OSError, http.client.HTTPException):
            # Where another program took the port in the meantime, Gradio serves at a later one.
            if told := re.search(r"running on local url:\s+(http\S+)", space.log(), re.IGNORECASE):
                space.address = told[1]
            status, page = space.get("/", 5)
            # Before, the page says that it starts, and then that it has no edit yet.
            if status == 200 and b"networks are loading" not in page:
                return
        time.sleep(0.2)
    raise AssertionError(f"the page did not start: {space.log()[-3000:]}")


def main(seconds: int) -> None:
    from demo.app import LAUNCH, build
    from demo.service import Service
    from demo.startup.gallery import Example

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gallery = [Example("astronaut", samples.astronaut())]
    build(Service(detector=Knows()), gallery, seconds).launch(**LAUNCH)


if __name__ == "__main__":
    main(int(sys.argv[1]))
