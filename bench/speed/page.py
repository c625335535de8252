"""`python bench/speed/page.py`: how fast the page is, measured from outside over HTTP.

Starts `python app.py`, then: seconds to the first page, and to the page with its first edit; a move
of the pad to the picture that is shown (queue, network, paste-back, classifiers, JPEG); an edit of
a photograph to its PNG (queue, network, paste-back, classifiers, file, download); Compare
over all methods; eight visitors who drag for a minute; memory over 500 edits. Medians and 95th
percentiles. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[2]), "bench.speed"
if __name__ == "__main__":
    from .. import script

    script.run("speed.page")

from PIL import Image
from skimage import data as samples

from ganmut.text import Parser

ROOT = Path(__file__).resolve().parents[2]
FACE = {"number": 1}
LOADING = "The networks are loading"  # on a page without its first edit


class Visitor:
    """Somebody who asks the page at an address."""

    def __init__(self, address: str):
        self.address = address

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.address + path, timeout=300) as answer:
            return answer.read()

    def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        request = urllib.request.Request(self.address + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.read()

    def call(self, name: str, *data: Any) -> list:
        """The outputs of an endpoint; raises OSError where it fails."""
        event = json.loads(
            self.post(f"/gradio_api/call/{name}", json.dumps({"data": data}).encode())
        )
        answer = self.get(f"/gradio_api/call/{name}/{event['event_id']}").decode()
        if "event: complete" not in answer:
            raise OSError(f"{name}: {answer[:300]}")
        return json.loads(answer.split("event: complete\ndata: ")[1].split("\n\n")[0])

    def upload(self, number: int = 0, side: int = 512) -> dict[str, Any]:
        """A square photograph on the server; another number, another picture."""
        pixels = samples.astronaut().copy()
        pixels[-4:, -4:] = number
        buffer, mark = io.BytesIO(), uuid.uuid4().hex
        Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS).save(buffer, "PNG")
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        body = head.encode() + buffer.getvalue() + f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        path = json.loads(self.post("/gradio_api/upload", body, kind))[0]
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def open(self, file: dict, method: str) -> str:
        """The id of the face in an uploaded file."""
        opened = self.call("open", file, "", method, {"x": 0, "y": 0}, {}, 0, {})
        if not opened[0]:
            raise OSError(f"no face: {opened[1]}")
        return opened[0]

    def move(self, face: str, method: str, x: float, y: float) -> None:
        picture, _ = self.call("move", face, method, {"x": x, "y": y}, {}, 0, {})
        assert picture.startswith("data:image/jpeg")

    def edit(self, file: dict, method: str, x: float, y: float) -> None:
        picture, _ = self.call("edit", file, method, {"x": x, "y": y}, {}, 0, {}, FACE)
        self.get(f"/gradio_api/file={picture['path']}")


def time_calls(times: int, work: Any) -> list[float]:
    """Seconds of each of so many calls work(i); three before do not count."""
    for i in range(3):
        work(i)
    spent = []
    for i in range(times):
        start = time.perf_counter()
        work(i + 3)
        spent.append(time.perf_counter() - start)
    return spent


def p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]


def summary(values: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(1000 * statistics.median(values), 1),
        "p95_ms": round(1000 * p95(values), 1),
        "n": len(values),
    }


def crowd(address: str, method: str, visitors: int, seconds: float) -> dict[str, Any]:
    """So many visitors who drag without a pause, each with a picture of their own."""
    spent: list[float] = []
    failures: list[str] = []
    end = time.monotonic() + seconds

    def drag(number: int) -> None:
        visitor, i = Visitor(address), 0
        try:
            face = visitor.open(visitor.upload(number + 1), method)
            while time.monotonic() < end:
                start = time.perf_counter()
                visitor.move(face, method, (i % 40) / 40 - 0.5, number / 20)
                spent.append(time.perf_counter() - start)
                i += 1
        except (OSError, AssertionError) as error:
            failures.append(str(error)[:200])

    threads = [threading.Thread(target=drag, args=(i,)) for i in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(spent or [float("inf")]) | {"failures": failures}


def memory(process: subprocess.Popen) -> float:
    """MB that the server holds (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return (
        int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
        / 1024
    )


def start(folder: Path, weights: str | None) -> tuple[subprocess.Popen, str, list[float]]:
    """(the server, its address, seconds until its first page was there and until it had an
    edit)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    if weights:
        settings["GANMUT_WEIGHTS"] = weights
    begun = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "app.py"],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.DEVNULL,
    )
    visitor = Visitor(f"http://127.0.0.1:{port}")
    seconds: list[float] = []
    while server.poll() is None:
        try:
            page = visitor.get("/")
        except OSError:  # nobody listens yet, or the waiting page does
            page = None
        if page is not None and len(seconds) == 0:
            seconds.append(time.perf_counter() - begun)
        if page is not None and LOADING.encode() not in page:
            return server, visitor.address, [*seconds, time.perf_counter() - begun]
        time.sleep(0.05)
    raise SystemExit("the page did not start; see what `python app.py` says")


def measure(server: subprocess.Popen, address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything but the start, each line printed as it is known."""
    visitor, answer = Visitor(address), {}

    def note(name: str, value: Any) -> None:
        answer[name] = value
        print(f"{name}: {value}", flush=True)

    methods = visitor.call("methods")[0]
    pads = [m["name"] for m in methods if m["takes"] == "point"] or [methods[0]["name"]]
    method = options.method or pads[0]
    note("method", f"{method}, {next(m['size'] for m in methods if m['name'] == method)} px")
    file = visitor.upload(side=options.side)
    face = visitor.open(file, method)
    times = options.times
    note("move", summary(time_calls(times, lambda i: visitor.move(face, method, i / 100, -0.3))))
    note(
        "edit to PNG",
        summary(time_calls(times, lambda i: visitor.edit(file, method, i / 100, 0.3))),
    )
    group = methods[0]["weights"]
    compare = lambda i: visitor.call("compare", file, "happy", i / 100, group, FACE)  # noqa: E731
    note(f"compare, {len(methods)} methods", summary(time_calls(max(times // 5, 3), compare)))
    note(f"{options.visitors} visitors", crowd(address, method, options.visitors, options.seconds))
    before = memory(server)
    for i in range(options.edits):
        visitor.edit(file, method, (i % 100) / 100, 0.1)
    note(
        "memory",
        {
            "before_mb": round(before),
            "grown_mb": round(memory(server) - before, 1),
            "edits": options.edits,
        },
    )
    return answer


def main() -> None:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", help="whose pad is moved; the first by default")
    parser.add_argument("--weights", help="another folder of sets than weights/")
    parser.add_argument("--side", type=int, default=512, help="px of the photograph")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--edits", type=int, default=500)
    parser.add_argument("--start-only", action="store_true", help="measure the start alone")
    options = parser.parse_args()
    if not (ROOT / "app.py").is_file():  # an installed package
        raise SystemExit("the page is not in the installed package: run this in a checkout")
    with tempfile.TemporaryDirectory() as folder:
        server, address, seconds = start(Path(folder), options.weights)
        try:
            first, usable = (round(value, 1) for value in seconds)
            print(f"first page: {first} s, with its first edit: {usable} s", flush=True)
            answer = {"first_page_s": first, "first_edit_s": usable}
            if not options.start_only:
                answer |= measure(server, address, options)
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(answer))
