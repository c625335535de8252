"""What the page answers while it starts: libraries and networks take seconds to load.

Imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import select
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AGAIN = 2  # seconds until a browser asks again
MOST = 16_000_000  # bytes of a request that are read before it is answered
PATIENCE = 10  # seconds that its bytes may take
TEXT = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>ganmut</title>
<meta http-equiv="refresh" content="{AGAIN}"><meta name="viewport" content="width=device-width">
<body style="font: 17px/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 30em">
<h1>Edit the expression of a face</h1>
<p role="status">The page is starting: it loads its networks. It will appear by itself.</p>
</body></html>"""


class Starting(BaseHTTPRequestHandler):
    """Answers everything with 503 and a page that asks again by itself."""

    def do_GET(self) -> None:
        # A socket that is closed with bytes unread resets the connection: the answer may be lost.
        length = self.headers.get("Content-Length") or "0"
        left = min(int(length), MOST) if length.isascii() and length.isdecimal() else 0
        while left > 0 and (part := self.rfile.read(min(left, 1 << 16))):
            left -= len(part)
        body = TEXT.encode()
        self.send_response(503)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", str(AGAIN))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    timeout = PATIENCE
    do_HEAD = do_POST = do_GET

    def log_message(self, *values: Any) -> None:
        """Nothing of a visitor is logged."""


class Server(ThreadingHTTPServer):
    """Gives each visitor a thread."""

    daemon_threads = True

    def handle_error(self, *values: Any) -> None:
        """Logs nothing of a visitor who has left before the answer."""


@contextlib.contextmanager
def waiting_page(name: str, port: int) -> Iterator[None]:
    """Serves the waiting page where Gradio will serve, until the block ends; nothing where the port
    is taken."""
    try:
        server = Server((name, port), Starting)
    except OSError:
        yield
        return
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        # Who has connected by now is answered, too: closing would reset them.
        server.timeout = 0
        while select.select([server], [], [], 0)[0]:
            server.handle_request()
        server.server_close()
