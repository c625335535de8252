"""Hostile requests of the running page: pictures, names of files, random bodies on any route."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path
from typing import Any

from hostile_pictures import HOSTILE
from PIL import Image
from skimage import data as samples
from space_server import Space, png, running, toy_weights

from attack.base import Outcome, Report
from attack.endpoints import WRONG, encode

ROUTES = (
    "/gradio_api/call/edit",
    "/gradio_api/call/compare",
    "/gradio_api/call/animate",
    "/gradio_api/call/vote",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/upload",
    "/gradio_api/run/edit",
    "/gradio_api/component_server",
    "/config",
    "/gradio_api/info",
)
FILES = (
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1:1/",
    "app.py",
    "",
    "\0",
    "/" * 5000,
    "/gradio_api/file=/etc/passwd",
)
CALLS: dict[str, tuple[Any, ...]] = {
    "edit": ("ganmut", {"x": 0.3, "y": 0.1}, {}, 0, {}, {"number": 1}),
    "compare": ("happy", 1, "procedural", {"number": 1}),
    "animate": ("ganmut", "emotion", "happy", {"stops": []}, 0.5, 8, 8, {"number": 1}),
}
BODIES = 60  # drawn at random


def call(space: Space, name: str, *values: Any) -> Outcome:
    """A call of an endpoint as the outcome of a case: 0 where it worked, 2 where it was refused."""
    start = time.monotonic()
    before = len(space.log())
    try:
        worked, said = space.call(name, *values)
    except OSError as error:  # the server hung up
        worked, said = False, str(error)
    seconds, shown = time.monotonic() - start, "" if worked else str(said)
    return Outcome(0 if worked else 2, seconds, shown, space.memory(), space.log()[before:])


def send(space: Space, route: str, body: bytes) -> Outcome:
    """A body that is sent to a route, as the outcome of a case."""
    start, before = time.monotonic(), len(space.log())
    try:
        status, said = space.post(route, body)
    except OSError as error:
        status, said = 0, str(error).encode()
    code = 0 if status == 200 else 2 if status < 500 or status == 503 else 1
    seconds, shown = time.monotonic() - start, said[:5000].decode(errors="replace")
    return Outcome(code, seconds, shown, space.memory(), space.log()[before:])


def lost(space: Space, outcome: Outcome) -> str:
    """What a case cost the next visitor, or showed to its own."""
    if space.process.poll() is not None:
        return "the page has ended"
    if space.get("/", 20)[0] != 200:
        return "the page does not answer"
    if "root:x:0:0" in outcome.output:
        return "a file of the machine"
    return "an answer of the server's own fault" if outcome.status == 1 else ""


def bodies(seed: int = 0) -> list[tuple[str, bytes]]:
    """(route, body) drawn at random: JSON of any shape, cut, or bytes."""
    draw = random.Random(seed)

    def value(depth: int = 0) -> Any:
        if depth > 3 or draw.random() < 0.5:
            return draw.choice(WRONG)
        if draw.random() < 0.5:
            return [value(depth + 1) for _ in range(draw.randrange(4))]
        keys = ("data", "fn_index", "session_hash", "event_id", "path", "meta", "number", "x")
        return {draw.choice(keys): value(depth + 1) for _ in range(draw.randrange(4))}

    found = []
    for _ in range(BODIES):
        body = encode(value())
        kind = draw.randrange(4)
        if kind == 0:
            body = body[: draw.randrange(len(body) + 1)]
        elif kind == 1:
            body = draw.randbytes(200)
        elif kind == 2:
            body = encode({"data": [value() for _ in range(draw.randrange(9))]})
        found.append((draw.choice(ROUTES), body[:200_000]))
    return found


def attack(report: Report, folder: Path) -> None:
    """Calls a page over toy weights; it answers each with a picture or a sentence, goes on, and
    keeps its size."""
    portrait = png(samples.astronaut())
    with running(folder, toy_weights(folder / "weights")) as space:
        good = space.upload(portrait)
        for name, values in CALLS.items():
            assert space.call(name, good, *values)[0], space.log()[-2000:]
        report.rest = space.memory()

        def add(case: str, outcome: Outcome) -> None:
            report.add(case, outcome, lost(space, outcome))

        for name, (make, _) in HOSTILE.items():
            content = make(Image.open(io.BytesIO(portrait)).crop((60, 0, 400, 300)))
            try:
                file = space.upload(content, name)
            except OSError:
                continue  # refused at the door
            add(f"picture {name}", call(space, "edit", file, *CALLS["edit"]))
        for path in FILES:
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            for name, values in CALLS.items():
                add(f"{name} of {path[:30]!r}", call(space, name, file, *values))
        for route, body in bodies():
            add(f"{route} {body[:40]!r}", send(space, route, body))
        assert call(space, "edit", space.upload(portrait), *CALLS["edit"]).status == 0
