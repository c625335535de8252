"""What this server does not do for a stranger: fetch an address, or read endless requests.

Gradio can serve `/file=https://...` and takes files by address; both would make this machine go
where a visitor sends it. The page needs neither.
"""

from __future__ import annotations

import json
import re
from typing import Any

ERRAND = re.compile(r"/proxy=|/file=\s*\w+:/", re.IGNORECASE)  # paths that send us somewhere
MAX_JSON = 2 * 2**20  # bytes of a request that is no upload
DEEP = 20  # levels of lists and objects in it


class Doors:
    """ASGI middleware: refuses such paths, and requests that name a file by its address."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif ERRAND.search(scope["path"]):
            await refuse(send, 404, "nothing is fetched here")
        elif scope["method"] == "POST" and not scope["path"].rstrip("/").endswith("/upload"):
            await self._checked(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _checked(self, scope: dict, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the visitor has left
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_JSON:
                await refuse(send, 413, "this request is too large")
                return
        try:
            wrong = sends_out(json.loads(body or b"null"))
        except (ValueError, RecursionError):
            await refuse(send, 400, "this is no JSON")
            return
        if wrong:
            await refuse(send, 400, "give the picture itself, links are not fetched")
            return
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)


def sends_out(value: Any, deep: int = 0) -> bool:
    """Whether anything in a request is a file that lies at an address, or hides too deep."""
    if deep > DEEP:
        return True
    if isinstance(value, dict):
        if is_address(value.get("path")):
            return True
        return any(sends_out(inner, deep + 1) for inner in value.values())
    return isinstance(value, list) and any(sends_out(inner, deep + 1) for inner in value)


def is_address(path: Any) -> bool:
    return isinstance(path, str) and "://" in path[:40]


async def refuse(send: Any, status: int, why: str) -> None:
    """A short answer of this status."""
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
