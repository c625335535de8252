"""Tools of MCP: their route alone is open, and the page opens no address for a caller."""

from __future__ import annotations

import asyncio
import base64
import http.server
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from skimage import data as samples
from space_server import png, running

from demo.security import requests
from demo.security.requests import RequestFilter
from demo.startup import environment

ROUTE = "/gradio_api/mcp/"


def test_the_missing_package_has_a_remedy(monkeypatch):
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    assert not environment.wants_mcp(False, {"GRADIO_MCP_SERVER": "False"})
    for asked, variables in ((True, {}), (False, {"GRADIO_MCP_SERVER": "True"})):
        with pytest.raises(ValueError, match=r"pip install 'gradio\[mcp\]'"):
            environment.wants_mcp(asked, variables)
    monkeypatch.setattr(environment, "find_spec", lambda name: name)
    assert environment.wants_mcp(True, {})


def ask(mcp: bool, method: str, path: str, body: bytes = b"{}") -> int:
    """The status of a request to a page that answers 200 to whatever reaches it."""
    said: list[int] = []

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        said.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "path": path, "method": method, "headers": [], "client": ("::1", 1)}
    asyncio.run(RequestFilter(page, mcp=mcp)(scope, receive, send))
    return said[0]


@pytest.mark.parametrize(
    "method, path, on",
    [
        ("POST", ROUTE, 200),
        ("POST", ROUTE.rstrip("/"), 200),
        ("GET", ROUTE, 405),
        ("DELETE", ROUTE, 405),
        ("GET", f"{ROUTE}sse", 404),
        ("GET", f"{ROUTE}schema", 404),
        ("POST", f"{ROUTE}messages/", 404),
        ("POST", f"{ROUTE}../run", 404),
        ("POST", "/gradio_api/run/edit", 404),
    ],
)
def test_one_route_is_open_on_demand(method, path, on):
    assert (ask(False, method, path), ask(True, method, path)) == (404, on)


def test_calls_of_tools_are_bounded(monkeypatch):
    monkeypatch.setattr(requests, "MAX_MCP", 100)
    assert ask(True, "POST", ROUTE, b'{"a": "%s"}' % (b"x" * 100)) == 413
    assert ask(True, "POST", ROUTE, b"no JSON") == 400
    assert ask(True, "POST", ROUTE, b'{"a": NaN}') == 400


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """(address of a server on this machine, the paths that were asked of it)."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png(samples.astronaut()))

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_tools_edit_and_open_no_address(tmp_path, listener):
    """A picture in the call is edited; an address in its place is refused and never opened."""
    pytest.importorskip("mcp", reason="pip install 'gradio[mcp]'")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    address, asked = listener
    portrait = base64.b64encode(png(np.asarray(samples.astronaut())[:400, :400])).decode()

    async def visit(url: str) -> None:
        async with (
            streamable_http_client(url) as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert tools.keys() == {"methods", "edit", "compare", "animate"}
            for tool in tools.values():
                assert "http" not in f"{tool.description}{tool.inputSchema}"
                values = tool.inputSchema["properties"].values()
                assert all(value["description"] for value in values)
            picture = {"picture": f"data:image/png;base64,{portrait}", "emotion": "happy"}
            edited = await session.call_tool("edit", picture)
            shown, named, facts = edited.content
            assert not edited.isError and "/gradio_api/file=" in named.text
            assert base64.b64decode(shown.data)[1:4] == b"PNG" and "'method'" in facts.text
            [listed] = (await session.call_tool("methods", {})).content
            assert listed.text.startswith("[{")
            for value in (f"{address}/a.png", {"path": f"{address}/b.png", "url": address}):
                refused = await session.call_tool("edit", {"picture": value})
                assert refused.isError
            for value, why in (
                (f"{address}/a.png", "a data: URI, such as"),
                ("portrait.png", "a data: URI, such as"),
                (f"data:image/png;base64,{portrait[:1001]}", "is damaged"),
            ):
                refused = await session.call_tool("edit", {"picture": value})
                assert refused.isError and why in refused.content[0].text
            face = {"number": 1, "edits": {"2": f"{address}/c.png"}}
            assert (await session.call_tool("edit", picture | {"face": face})).isError

    with running(tmp_path, words=("--mcp",)) as space:
        asyncio.run(visit(space.address + ROUTE))
    assert asked == []
