"""Hostile calls of every endpoint of the running page, named or not: 100 of each.

The values in the page's config make a healthy call. A case puts hostile values in the place of some
of them, or is a request that no browser sends. Several visitors call at a time.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from skimage import data as samples
from space_server import Space, png, running

from attack.base import Outcome, Report

CASES = 100  # of each endpoint
VISITORS = 4  # at a time, each with an address of its own
LIMIT = 60  # seconds after which nobody waits for an answer any more
LONGEST = 700  # characters of a sentence
JSON = "application/json"
# What JSON's writer cannot write: a text of a body and what is put in its place.
DIGITS, DEEP, SURROGATE, TWICE = "@digits@", "@deep@", "@surrogate@", "@twice@"
RAW = {
    f'"{DIGITS}"': "9" * 5000,
    f'"{DEEP}"': "[" * 50_000 + "]" * 50_000,
    f'"{SURROGATE}"': '"\\ud800"',
    f'"{TWICE}"': '{"x": 0, "x": {"x": []}, "y": 0}',
}
# Values that stand for any of a call's: wrong kinds, wrong sizes, the ends of numbers, files.
WRONG: tuple[Any, ...] = (
    None, True, False, 0, -1, 0.5, 1e308, 10**400, float("nan"), float("inf"), -float("inf"),
    "", " ", "0", "x" * 100_000, "\0", "é" * 300, "<img src=x onerror=alert(1)>",
    "../../etc/passwd", "${7*7}", "'; DROP TABLE faces; --", "0" * 64,
    DIGITS, DEEP, SURROGATE, TWICE, [], [None], [[]] * 5000, list(range(3000)), [["happy", 1]],
    {}, {"a": {}}, {"": ""},
    {"x": 1e999, "y": 0}, {"x": "1", "y": None}, {"x": [0], "y": {}}, {"x": 9, "y": 9},
    {"number": -1}, {"number": 10**6}, {"number": 1.5}, {"square": [0, 0, 0]},
    {"square": ["a", None, -5]}, {"square": [1e300, 1e300, 1e300]},
    {"number": 1, "edits": {"1": "?method=ganmut"}},
    {"number": 1, "edits": {"2": "?x=" + "9" * 400}},
    {"number": 1, "edits": [1]}, {"happy": "7"}, {"happy": -3}, {"happy": 1e308, "sad": 1e308},
    {"99": 1}, {"12": "x"}, {"12": None}, {"stops": [{"point": [0, 0]}] * 500},
    {"stops": "happy"},
    {"stops": [{"point": ["a", 1]}, {"mix": 7}]}, {"__type__": "update", "value": 1},
    {"path": "/etc/passwd"}, [{"path": "/etc/passwd"}], {"path": "/dev/zero", "meta": None},
    {"path": "http://127.0.0.1:1/a.png", "meta": {"_type": "gradio.FileData"}},
    {"url": "http://127.0.0.1:1/a.png", "path": ""}, {"path": ["a"], "size": "x"},
)  # fmt: skip
# Fields of a request beside its data, and hostile values of each.
FIELDS: dict[str, tuple[Any, ...]] = {
    "session_hash": (None, 1, [], {}, "", "x" * 100, "x" * 5000, "../..", "\0", SURROGATE, "é"),
    "fn_index": (None, -1, 10**9, "0", 0.5, [0], True, DIGITS, "edit"),
    "trigger_id": ("a", -1, 10**12, [], 0.5),
    "event_data": ("x", [], {"a": DEEP}, {"target": None}, {"index": 10**400}),
    "event_id": ("0", 7, "x" * 5000),
    "batched": (True, "yes", 7),
    "simple_format": (True, "no"),
    "request": ({"client": {"host": "1.2.3.4"}}, "x"),
    "oauth_token": ("x", 7),
    "data": (None, {}, "x", 7, [[]], DEEP),
    "__class__": ("x",),
}


class Endpoint(NamedTuple):
    """index: as a browser calls it. name: as a program does, "" where none may. values: a healthy
    call, as the page starts with it."""

    index: int
    name: str
    values: list[Any]


@dataclass(frozen=True)
class Case:
    """A request: its name, the route, the body as it goes out, what it says of its content, and the
    session whose answer is waited for ("": that of the event)."""

    name: str
    route: str
    body: bytes
    kind: str = JSON
    session: str = ""


def endpoints(config: dict[str, Any], portrait: dict[str, Any]) -> list[Endpoint]:
    """All that the page's config lists, also those that only run in the browser."""
    parts = {part["id"]: part for part in config["components"]}

    def value(number: int) -> Any:
        part = parts[number]
        return portrait if part["type"] == "image" else part["props"].get("value")

    return [
        Endpoint(
            entry["id"],
            "" if entry["api_visibility"] == "private" else entry["api_name"] or "",
            [value(number) for number in entry["inputs"]],
        )
        for entry in config["dependencies"]
    ]


def encode(body: Any) -> bytes:
    """JSON, with what JSON's writer cannot write."""
    text = json.dumps(body)
    for place, raw in RAW.items():
        text = text.replace(place, raw)
    return text.encode()


def mutations(value: Any) -> Iterator[Any]:
    """Values near a healthy one: a part missing, added, or wrong."""
    if isinstance(value, dict):
        for name in value:
            yield {key: part for key, part in value.items() if key != name}
            yield from ({**value, name: wrong} for wrong in (None, "x", [], -1e9, float("nan")))
        yield {**value, "more": 1}
    elif isinstance(value, str):
        yield from (value.upper(), value + "\0", value[:-1], [value], {value: 1}, value * 3000)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (str(value), -value - 1, value + 1e6, value + 0.37, [value], {"value": value})


def cases(endpoint: Endpoint, count: int = CASES) -> list[Case]:
    """`count` hostile requests of one endpoint, the same at each run."""
    draw = random.Random(endpoint.index)
    found = [*_wrong_values(endpoint, draw), *_wrong_requests(endpoint, draw)]
    single = len(found)
    while len(found) < count:
        found.append(_damaged(endpoint, draw, len(found)))
    # Of more than are wanted every kind stays: wrong values, wrong requests, damaged bodies.
    if single > count:
        found = draw.sample(found, count - 12)
        found += [_damaged(endpoint, draw, number) for number in range(12)]
    return found


def _call(endpoint: Endpoint, name: str, values: list[Any], number: int) -> Case:
    """A call with these values, by the browser's route or by the programs'."""
    if endpoint.name and number % 2:
        route = f"/gradio_api/call/{endpoint.name}"
        return Case(name, route, encode({"data": values}))
    session = f"v{endpoint.index}-{number}-{time.monotonic_ns()}"
    body = {"data": values, "fn_index": endpoint.index, "session_hash": session}
    return Case(name, "/gradio_api/queue/join", encode(body), session=session)


def _wrong_values(endpoint: Endpoint, draw: random.Random) -> Iterator[Case]:
    values = endpoint.values
    number = 0
    for place, value in enumerate(values):
        near = list(mutations(value))
        of_each = min(max(CASES // len(values), 8), len(WRONG))
        for wrong in (*draw.sample(WRONG, of_each), *draw.sample(near, min(len(near), 6))):
            changed = [*values[:place], wrong, *values[place + 1 :]]
            yield _call(endpoint, f"value {place} {repr(wrong)[:40]}", changed, number)
            number += 1
    for _ in range(8):
        changed = [draw.choice(WRONG) if draw.random() < 0.5 else value for value in values]
        yield _call(endpoint, "several values", changed, number)
        number += 1
    for changed in ([], values[:-1], [*values, 1], values * 50, list(reversed(values))):
        yield _call(endpoint, f"{len(changed)} values", changed, number)
        number += 1


def _wrong_requests(endpoint: Endpoint, draw: random.Random) -> Iterator[Case]:
    for field, wrongs in FIELDS.items():
        for number, wrong in enumerate(wrongs):
            case = _call(endpoint, f"{field} {repr(wrong)[:40]}", endpoint.values, 2 * number)
            body = json.loads(case.body) | {field: wrong}
            heard = body.get("session_hash")
            session = heard if isinstance(heard, str) and heard.isascii() else case.session
            yield replace(case, body=encode(body), session=session)
    for kind in ("text/plain", "multipart/form-data", "application/xml", ""):
        case = _call(endpoint, f"content of type {kind!r}", endpoint.values, draw.randrange(99))
        yield replace(case, kind=kind)


def _damaged(endpoint: Endpoint, draw: random.Random, number: int) -> Case:
    """A healthy request whose bytes were cut, changed, doubled or encoded another way."""
    case = _call(endpoint, "", endpoint.values, number)
    body, place = bytearray(case.body), draw.randrange(len(case.body))
    how = draw.choice(("cut", "flipped", "inserted", "doubled", "utf-16", "bom", "latin"))
    if how == "cut":
        del body[place:]
    elif how == "flipped":
        body[place] ^= 1 << draw.randrange(8)
    elif how == "inserted":
        body[place:place] = draw.choice((b"[" * 900, b",", b"\0", b"\xff", b'"', b"1e999", b"{"))
    elif how == "doubled":
        body *= 2
    elif how == "utf-16":
        body = bytearray(case.body.decode(), "utf-16")
    elif how == "bom":
        body = bytearray(b"\xef\xbb\xbf") + body
    else:
        body[place:place] = b"\xe9"
    return replace(case, name=f"body {how} at {place}", body=bytes(body))


def flaw(text: str) -> str:
    """What keeps a text from being a sentence for a visitor; "" for nothing."""
    if not text:
        return "nothing is said"
    if len(text) > LONGEST:
        return f"{len(text)} characters"
    if re.search(r"Traceback|File \"|<class|object at 0x|(?<![\w/])(/\w+){3}|site-packages", text):
        return f"not for visitors: {text[:120]}"
    whole = (text[0].isupper() or not text[0].isalpha()) and text.endswith((".", "!", "?", "…"))
    return "" if whole else f"no sentence: {text[:120]}"


def ask(space: Space, case: Case) -> tuple[str, str]:
    """("done", "said" or "hung up", the answer's text) of a case."""
    source = space.source
    address = space.address.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=LIMIT, source_address=(source, 0))
    try:
        connection.request("POST", case.route, case.body, {"Content-Type": case.kind})
        answer = connection.getresponse()
        content = answer.read().decode(errors="replace")
        if answer.status != 200:
            return "said", _detail(content)
        event = json.loads(content)["event_id"]
        route = f"{case.route}/{event}"
        if case.route.endswith("/join"):
            route = f"/gradio_api/queue/data?session_hash={case.session or event}"
        if re.search(r"[^!-~]", route):
            return "done", ""  # a session of this name cannot be asked for
        return _hear(space, route)
    finally:
        connection.close()


def _detail(content: str) -> str:
    try:
        said = json.loads(content)["detail"]
    except (ValueError, TypeError, KeyError):
        return content
    return said if isinstance(said, str) else json.dumps(said)


def _hear(space: Space, route: str) -> tuple[str, str]:
    """The end of a stream of events: of a call by programs, or of a browser's session."""
    request = http.client.HTTPConnection(
        space.address.removeprefix("http://"), timeout=LIMIT, source_address=(space.source, 0)
    )
    try:
        request.request("GET", route)
        answer = request.getresponse()
        if answer.status != 200:
            return "said", _detail(answer.read().decode(errors="replace"))
        kind = ""
        for line in answer:
            text = line.decode(errors="replace").strip()
            if text.startswith("event: "):
                kind = text.removeprefix("event: ")
            if not text.startswith("data: "):
                continue
            message = json.loads(text.removeprefix("data: "))
            if kind == "complete":
                return "done", ""
            if kind == "error":
                return "said", message["error"] if isinstance(message, dict) else str(message or "")
            if isinstance(message, dict) and message.get("msg") == "process_completed":
                if message["success"]:
                    return "done", ""
                return "said", str(message["output"].get("error") or "")
            if isinstance(message, dict) and message.get("msg") == "unexpected_error":
                return "said", message["message"]
        return "hung up", "the stream ended without an answer"
    finally:
        request.close()


def outcome(space: Space, case: Case) -> tuple[Outcome, str]:
    """A case, and what is wrong with its answer."""
    start = time.monotonic()
    try:
        kind, said = ask(space, case)
    except TimeoutError:
        return Outcome(None, time.monotonic() - start, "", space.memory()), ""
    except (OSError, http.client.HTTPException) as error:
        kind, said = "hung up", repr(error)
    seconds = time.monotonic() - start
    wrong = said if kind == "hung up" else flaw(said) if kind == "said" else ""
    return Outcome(0 if kind == "done" else 2, seconds, said[:5000], space.memory()), wrong


def attack(report: Report, folder: Path) -> None:
    """Calls each endpoint of the page over its bundled weights; each call gets an answer or one
    sentence, nothing is logged but one line a fault, and the page keeps its size."""
    with running(folder) as space:
        portrait = space.upload(png(samples.astronaut()))
        found = endpoints(json.loads(space.get("/config")[1]), portrait)
        visitors = [replace(space, source=f"127.0.0.{2 + i}") for i in range(VISITORS)]
        for endpoint in found:  # what is made once and kept is no growth
            outcome(space, _call(endpoint, "healthy", endpoint.values, 0))
        # Faces of visitors are held on purpose, at most 640 MB (`demo.service.Service`).
        report.rest, report.allowed = space.memory(), 1024
        start = time.monotonic()
        for done, endpoint in enumerate(found, 1):
            title = f"{endpoint.index} {endpoint.name or '(no name)'}"
            logged = len(space.log())
            with ThreadPoolExecutor(VISITORS) as pool:
                tried = list(enumerate(cases(endpoint)))
                answers = pool.map(lambda c: outcome(visitors[c[0] % VISITORS], c[1]), tried)
                for (_, case), (result, wrong) in zip(tried, answers, strict=True):
                    report.add(f"{title} {case.name}", result, wrong)
            lost = "" if space.process.poll() is None else "the page has ended"
            if not lost and space.get("/", 20)[0] != 200:
                lost = "the page does not answer"
            log = space.log()[logged:]
            if not lost and (noted := [line for line in log.splitlines() if " ERROR " in line]):
                lost = f"{len(noted)} faults in the log, such as {noted[-1]}"
            report.add(f"{title} after all", Outcome(0, 0.0, "", space.memory(), log), lost)
            left = (time.monotonic() - start) / done * (len(found) - done)
            faults = len(report.faults)
            print(f"{title}: {faults} faults so far, {left:.0f} s left", file=sys.stderr)
            if "page" in lost:
                return
