"""What may come in: which file reaches a decoder, and which request reaches Gradio.

`open_upload` is the only place that decides whether a value that names a file may be opened.
`Page` (demo/limits.py) applies `check_files` to every input of every endpoint before Gradio looks
at it, `read_picture` opens pictures through `open_upload`, and `RequestFilter` asks `is_upload`
before a file is served.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, BinaryIO

from gradio.utils import get_upload_folder

from demo import faults
from ganmut import decoding
from ganmut.images import BadImage

TYPES = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 2**20  # of an upload
MAX_PIXELS = 50_000_000  # that are decoded: a JPEG may have more, it is decoded at a fraction
LONGEST, SHORTEST = 4096, 64  # px
MAX_JSON = 256 * 2**10  # bytes of a request that is no upload
MAX_DEPTH, MAX_VALUES = 20, 10_000  # levels and values in it
NOT_UPLOADED = "this is not an uploaded picture; upload the picture itself"
FULL = "the page is full at the moment; try again in a few seconds"
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
# Requests that are being answered at once: of one address, of all.
AT_ONCE = {"upload": (8, 32), "call": (32, 256), "stream": (64, 1024)}


def open_upload(name: Any) -> BinaryIO:
    """The open file that a visitor's value names; raises BadImage(NOT_UPLOADED) for any other.

    The name must be an absolute path that lies in Gradio's upload folder, as written and with its
    links followed, and be a regular file. A path outside the folder is refused before anything of
    it is looked up, and a device or a FIFO is never opened. The sentence is always the same, so it
    does not tell whether a path exists.
    """
    try:
        target = _target(name)
        # The file may have been replaced since: a link is not followed, a FIFO does not block.
        flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
        number = os.open(target, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
        if stat.S_ISREG(os.fstat(number).st_mode):
            return os.fdopen(number, "rb")
        os.close(number)
    except (OSError, ValueError):  # a ValueError: a NUL byte, or no text at all
        pass
    raise BadImage(NOT_UPLOADED)


def _target(name: Any) -> str:
    """The real path of an uploaded file; raises ValueError or OSError where there is none."""
    folder = os.path.abspath(get_upload_folder())
    real = os.path.realpath(folder)
    if not isinstance(name, str) or not os.path.isabs(name):
        raise ValueError("no absolute path")
    if not any(Path(os.path.abspath(name)).is_relative_to(f) for f in (folder, real)):
        raise ValueError("outside the upload folder")
    target = os.path.realpath(name)
    if not Path(target).is_relative_to(real) or not stat.S_ISREG(os.lstat(target).st_mode):
        raise ValueError("a link out of the upload folder, or no regular file")
    return target


def is_upload(name: Any) -> bool:
    """Whether `open_upload` accepts the name."""
    try:
        open_upload(name).close()
    except BadImage:
        return False
    return True


def check_files(value: Any, file_only: bool) -> None:
    """Raises BadImage(NOT_UPLOADED) unless every file that an input names is an upload.

    A file is a dictionary with a "path", at any depth, with or without "meta". file_only: whether
    the component takes nothing but a file; a string or a list is then refused, too.
    """
    if file_only and value is not None and not (isinstance(value, dict) and "path" in value):
        raise BadImage(NOT_UPLOADED)
    if isinstance(value, dict) and "path" in value and not is_upload(value["path"]):
        raise BadImage(NOT_UPLOADED)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            check_files(inner, False)


def read_picture(path: str) -> decoding.Picture:
    """The picture of an uploaded file, upright, its longest side at most LONGEST px.

    The first frame only; nothing of the file's metadata goes further. Raises BadImage with a
    sentence for the visitor, which never names a path of this machine.
    """
    with open_upload(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise BadImage(
                f"this file is larger than {MAX_BYTES // 2**20} MB; give a smaller picture"
            )
        try:
            picture = decoding.read_picture(
                file, longest=LONGEST, max_pixels=MAX_PIXELS, formats=TYPES
            )
        except BadImage as error:
            raise BadImage(f"this picture cannot be used: {error.reason}") from None
    width, height = picture.size
    if min(picture.pixels.shape[:2]) < SHORTEST:
        raise BadImage(
            f"this picture is {width} x {height} px; a side needs at least {SHORTEST} px"
        )
    return picture


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

    It notes the visitor's address in the scope as "visitor"; demo/limits.py reads it there.
    """

    def __init__(self, app: Any):
        self.app = app
        self.running: Counter[tuple[str, str]] = Counter()  # (kind, address or "all") -> requests

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, post = scope["path"], scope["method"] == "POST"
        allowed = (POSTS if post else GETS).fullmatch(path)
        if not allowed or ((named := FILE.fullmatch(path)) and not is_upload(named[1])):
            await refuse(send, 404, "not found")
            return
        scope["visitor"] = visitor(scope)
        kind = "stream" if STREAM.match(path) else "page"
        if post:
            kind = "upload" if path.rstrip("/").endswith("/upload") else "call"
        counted = [(kind, scope["visitor"]), (kind, "all")] if kind in AT_ONCE else []
        if any(self.running[key] >= AT_ONCE[kind][i] for i, key in enumerate(counted)):
            await refuse(send, 503, FULL)
            return
        self.running.update(counted)
        begun = False

        async def forward(message: dict) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if kind == "call":
                await self._checked(scope, receive, forward)
            else:
                await self.app(scope, receive, forward)
        except Exception as error:  # noqa: BLE001 (no visitor sees what a route raises)
            faults.remove_partial_uploads(error)
            faults.note(error)
            if not begun:
                full = isinstance(error, OSError) and error.errno in faults.NO_ROOM
                await refuse(send, 507 if full else 500, faults.to_sentence(error))
        finally:
            self.running.subtract(counted)
            self.running += Counter()  # drops the zeros

    async def _checked(self, scope: dict, receive: Any, send: Any) -> None:
        """Passes on a request whose body is JSON of a bounded size, depth and number of values."""
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
            whole = json.loads(body or b"null")
        except (ValueError, RecursionError):
            await refuse(send, 400, "this is no JSON")
            return
        if not is_small(whole):
            await refuse(send, 413, "this request has too many values or levels")
            return
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> dict:
            return parts.pop() if parts else await receive()

        await self.app(scope, again, send)


def is_small(value: Any) -> bool:
    """Whether a request has at most MAX_VALUES values on at most MAX_DEPTH levels."""
    level, seen = [value], 0
    for _ in range(MAX_DEPTH + 1):
        seen += len(level)
        if seen > MAX_VALUES or not level:
            return not level
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return not level


async def refuse(send: Any, status: int, why: str) -> None:
    """A short answer of this status."""
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
