"""What the page answers while it starts: libraries and networks take seconds to load.

Imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

AGAIN = 2  # seconds until a browser asks again
TEXT = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>ganmut</title>
<meta http-equiv="refresh" content="{AGAIN}"><meta name="viewport" content="width=device-width">
<body style="font: 17px/1.5 system-ui, sans-serif; margin: 20vh auto; max-width: 30em">
<h1>Edit the expression of a face</h1>
<p role="status">The page is starting: it loads its networks. It will appear by itself.</p>
</body></html>"""


class Starting(BaseHTTPRequestHandler):
    """Answers everything with 503 and a page that asks again by itself."""

    def do_GET(self) -> None:
        body = TEXT.encode()
        self.send_response(503)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", str(AGAIN))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_GET

    def log_message(self, *values: Any) -> None:
        """Nothing of a visitor is logged."""


@contextlib.contextmanager
def waiting_page(name: str, port: int) -> Iterator[None]:
    """Serves the waiting page where Gradio will serve, until the block ends; nothing where the port
    is taken."""
    try:
        server = ThreadingHTTPServer((name, port), Starting)
    except OSError:
        yield
        return
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
