"""Which request reaches Gradio: listed routes, in bounded number and size, with plain JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections import Counter
from ipaddress import ip_address, ip_network
from itertools import filterfalse
from typing import Any

from starlette.exceptions import HTTPException

from demo import errors
from demo.security.files import MAX_BYTES, TOO_LARGE, is_upload

MAX_JSON = 256 * 2**10  # bytes of a request that is no upload
DROPPED = 64 * 2**20  # bytes of a request that are read before it is refused as too large
MAX_DEPTH, MAX_VALUES = 20, 10_000  # levels and values in it
MAX_SESSION = 100  # characters of the id that a browser gives itself
SURROGATES = re.compile(r"[\ud800-\udfff]")
NOT_PLAIN = "a number of this request is not finite, or a text is no Unicode"
NO_UPLOAD = "this is no upload of files"
NO_ANSWER = "the answer to this call is gone; send the call again"
GONE = b'"404: Not Found"'  # what Gradio streams to a session that has no call in the queue
FULL = "the page is full: it answers at most {} such requests at a time; try again in a few seconds"
# Only what the page and the documented endpoints need. Everything else that Gradio serves
# (/run, /api, /component_server, /process_recording, /proxy, deep links, ...) answers 404.
GETS = re.compile(
    r"/(config/?|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\d+)?"
    r"|(static|assets|svelte)/.*"
    r"|gradio_api/(info/?|startup-events|theme\.css|app_id/?|login_check/?|user/?|queue/status"
    r"|upload_progress|queue/data|heartbeat/[^/]+|call/(v2/)?[^/]+/[^/]+|file[=/].*))?"
)
POSTS = re.compile(r"/gradio_api/(queue/join|call/(v2/)?[^/]+|upload|cancel|reset)/?")
FILE = re.compile(r"/gradio_api/file[=/](.*)", re.DOTALL)
STREAM = re.compile(r"/gradio_api/(upload_progress|queue/data|heartbeat/|call/)")
# The tools of MCP, where they are on. Gradio's other transport (/sse, /messages) and its landing
# page stay closed.
MCP = re.compile(r"/gradio_api/mcp(/http)?/?")
MAX_MCP = MAX_BYTES * 4 // 3 + MAX_JSON  # bytes of a call of a tool: a picture in base64 is in it
# Requests that are being answered at once: of one address, of all.
AT_ONCE = {"upload": (8, 32), "call": (32, 256), "stream": (64, 1024), "tool": (8, 32)}


def visitor(scope: dict[str, Any]) -> str:
    """The network address that limits are counted for: IPv4 whole, IPv6 by its /64 network.

    On a Hugging Face Space the peer is the proxy. It appends the address that it saw to
    X-Forwarded-For, so the last public address there is the visitor's; what stands before it is
    the visitor's own claim.
    """
    peer = (scope.get("client") or ("unknown", 0))[0]
    if os.environ.get("SPACE_ID"):
        headers = dict(scope["headers"])
        chain = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        peer = next((a for a in map(str.strip, reversed(chain)) if _is_public(a)), peer)
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    return peer if address.version == 4 else str(ip_network((int(address), 64), strict=False))


def _is_public(text: str) -> bool:
    try:
        return ip_address(text).is_global
    except ValueError:
        return False


class RequestFilter:
    """ASGI middleware: passes on the listed routes, in bounded number and size, and uploads only.

    It notes the visitor's address in the scope as "visitor"; demo/security/limits.py reads it
    there. mcp: whether the route of MCP's tools is among them.
    """

    def __init__(self, app: Any, mcp: bool = False):
        self.app, self.mcp = app, mcp
        self.running: Counter[tuple[str, str]] = Counter()  # (kind, address or "all") -> requests

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, post = scope["path"], scope["method"] == "POST"
        tool = self.mcp and MCP.fullmatch(path)
        if tool and not post:
            # MCP's word for a server that sends nothing on its own.
            await refuse(send, 405, "send a POST")
            return
        allowed = tool or (POSTS if post else GETS).fullmatch(path)
        if not allowed or ((named := FILE.fullmatch(path)) and not is_upload(named[1])):
            await refuse(send, 404, "not found")
            return
        scope["visitor"] = visitor(scope)
        kind = "stream" if STREAM.match(path) else "page"
        if post:
            kind = "upload" if path.rstrip("/").endswith("/upload") else "call"
            kind = "tool" if tool else kind
        counted = [(kind, scope["visitor"]), (kind, "all")] if kind in AT_ONCE else []
        for most, key in zip(AT_ONCE.get(kind, ()), counted, strict=True):
            if self.running[key] >= most:
                await refuse(send, 503, FULL.format(most))
                return
        self.running.update(counted)
        answer = Answer(send)
        try:
            if kind in ("call", "tool"):
                most = MAX_MCP if tool else MAX_JSON
                await self._check_and_pass(scope, receive, answer, most)
            else:
                await self.app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 (no visitor sees what a route raises)
            errors.remove_partial_uploads(error)
            status, why = status_of(error, kind)
            # What a library raises at a visitor's request is no fault of ours.
            if status >= 500 or errors.is_own(error):
                errors.note(error)
            await answer.end(status, why)
        finally:
            self.running.subtract(counted)
            self.running += Counter()  # drops the zeros

    async def _check_and_pass(self, scope: dict, receive: Any, send: Any, most: int) -> None:
        """Passes on a request whose body is JSON of a bounded size (`most` bytes), depth and number
        of values."""
        body, size, more = b"", 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the visitor has left
                return
            part = message.get("body", b"")
            size += len(part)
            # What is too large is read on and dropped, within bounds: who is still sending when the
            # connection closes sees no answer.
            body = body + part if size <= most else b""
            more = message.get("more_body", False) and size <= DROPPED
        if size > most:
            await refuse(send, 413, "this request is too large")
            return
        try:
            whole = json.loads(body or b"null")
        except (ValueError, RecursionError):
            await refuse(send, 400, "this is no JSON")  # or a number of over 4300 digits
            return
        if why := refusal(whole):
            await refuse(send, *why)
            return
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict:
            return parts.pop() if parts else await receive()

        await self.app(scope, again, send)


class Answer:
    """An ASGI `send` that puts a sentence in the place of Gradio's and FastAPI's own faults, which
    hold the visitor's values."""

    def __init__(self, send: Any):
        self.send, self.begun, self.replaced = send, False, False

    async def __call__(self, message: dict) -> None:
        if self.replaced:
            return
        if message["type"] == "http.response.start" and not self.begun:
            self.begun, status = True, message["status"]
            if status == 422:
                self.replaced = True
                await refuse(self.send, 400, errors.NO_CALL)
                return
            if status == 413:
                self.replaced = True
                await refuse(self.send, 413, TOO_LARGE)
                return
            if status >= 500 and status != 503:
                self.replaced = True
                await refuse(self.send, status, errors.UNEXPECTED)
                return
        if GONE in message.get("body", b""):
            said = json.dumps(errors.as_sentence(NO_ANSWER)).encode()
            message = message | {"body": message["body"].replace(GONE, said)}
        await self.send(message)

    async def end(self, status: int, why: str) -> None:
        """Answers with a sentence, or closes an answer that has begun."""
        if not self.begun:
            await refuse(self.send, status, why)
        elif not self.replaced:
            with contextlib.suppress(Exception):  # the visitor may have left
                await self.send({"type": "http.response.body", "body": b""})


def status_of(error: Exception, kind: str) -> tuple[int, str]:
    """(status, sentence) for what a route raised; kind: of the request. What Gradio's routes raise
    at a body or a path that this filter passed on is about that body or path: handlers run in the
    queue, not in a route."""
    if isinstance(error, OSError) and error.errno in errors.NO_ROOM:
        return 507, errors.to_sentence(error)
    if kind == "page" and isinstance(error, ValueError | OSError):
        return 404, "not found"
    if kind == "stream" and isinstance(error.__cause__, HTTPException):
        return 404, NO_ANSWER  # of a stream that has begun, and said so itself
    if kind in ("call", "upload") and not isinstance(error, OSError | MemoryError):
        return 400, errors.NO_CALL if kind == "call" else NO_UPLOAD
    return 500, errors.to_sentence(error)


def refusal(whole: Any) -> tuple[int, str] | None:
    """(status, sentence) where a request is no call, or None: it must be an object of at most
    MAX_VALUES values on at most MAX_DEPTH levels, its numbers finite, its texts Unicode."""
    level, seen = [whole], 0
    for _ in range(MAX_DEPTH + 1):
        seen += len(level)
        if seen > MAX_VALUES or not level:
            break
        inner: list[Any] = []
        for outer in level:
            if isinstance(outer, dict):
                inner += [*outer.values(), *filterfalse(is_plain, outer)]
            elif isinstance(outer, list):
                inner += outer
            elif not is_plain(outer):
                return 400, NOT_PLAIN
        level = inner
    if level:
        return 413, "this request has too many values or levels"
    if not isinstance(whole, dict) or len(str(whole.get("session_hash"))) > MAX_SESSION:
        return 400, errors.NO_CALL
    return None


def is_plain(value: Any) -> bool:
    """Whether a text has a form in UTF-8 and a number one as a finite float. Python's JSON reads
    others, and what Gradio does with them later (counts, answers) fails for all visitors."""
    if isinstance(value, str):
        return not SURROGATES.search(value)
    if isinstance(value, int | float):
        try:
            return math.isfinite(value)
        except OverflowError:
            return False
    return True


async def refuse(send: Any, status: int, why: str) -> None:
    """An answer of this status that holds one sentence."""
    body = json.dumps({"detail": errors.as_sentence(why)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
