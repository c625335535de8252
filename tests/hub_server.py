"""A Hugging Face Hub on this machine: enough of it for real clients to fetch pinned repositories.

`serve({("models", "me/editor"): {REVISION: folder}})` yields the address for HF_ENDPOINT. Clients
read that variable when they are imported, so `ask` runs them in a process of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

Repositories = dict[tuple[str, str], dict[str, Path]]
ROOT = Path(__file__).resolve().parents[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for `repositories`: kind and name -> revision -> folder."""

    repositories: Repositories
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def missing(self, what: str) -> None:
        self.answer(404, b"{}", X_Error_Code=f"{what}NotFound", X_Error_Message=f"{what} not found")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        kind, name, revision, _ = self.split("paths-info")
        found = self.folder(kind, name, revision)
        if found:
            wanted = json.loads(body)["paths"] if body[:1] == "{" else parse_qs(body)["paths"]
            self.json(
                [self.entry(found, found / path) for path in wanted if (found / path).exists()]
            )

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if "/resolve/" in path:
            return self.file(*self.split("resolve"))
        for verb in ("tree", "revision"):
            if f"/{verb}/" in path:
                kind, name, revision, rest = self.split(verb)
                if found := self.folder(kind, name, revision):
                    self.json(
                        self.tree(found, rest)
                        if verb == "tree"
                        else self.about(kind, name, revision)
                    )
                return None
        parts = path.strip("/").split("/")
        revisions = (
            self.repositories.get((parts[1], "/".join(parts[2:]))) if len(parts) > 2 else None
        )
        if not revisions:
            return self.missing("Repo")
        return self.json(self.about(parts[1], "/".join(parts[2:]), next(iter(revisions))))

    def split(self, verb: str) -> tuple[str, str, str, str]:
        """(kind, owner/name, revision, rest) of a path around its verb."""
        before, _, after = unquote(urlsplit(self.path).path).partition(f"/{verb}/")
        parts = before.removeprefix("/api").strip("/").split("/")
        kind = parts.pop(0) if parts[0] in ("models", "datasets") else "models"
        revision, _, rest = after.partition("/")
        return kind, "/".join(parts), revision, rest

    def folder(self, kind: str, name: str, revision: str) -> Path | None:
        revisions = self.repositories.get((kind, name))
        if revisions is None:
            self.missing("Repo")
        elif revision not in revisions:
            self.missing("Revision")
        return (revisions or {}).get(revision)

    def about(self, kind: str, name: str, revision: str) -> dict:
        folder = self.repositories[kind, name][revision]
        files = [
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        siblings = [{"rfilename": path} for path in files]
        return {
            "id": name,
            "sha": revision,
            "private": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }

    def tree(self, folder: Path, inside: str) -> list[dict]:
        recursive = "recursive=true" in self.path.lower()
        found = (folder / inside).rglob("*") if recursive else (folder / inside).glob("*")
        return [self.entry(folder, path) for path in sorted(found)]

    def entry(self, folder: Path, path: Path) -> dict:
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        return {"type": "file", "path": name, "oid": self.tag(path), "size": path.stat().st_size}

    def tag(self, path: Path) -> str:
        return hashlib.sha1(path.read_bytes()).hexdigest()

    def file(self, kind: str, name: str, revision: str, rest: str) -> None:
        folder = self.folder(kind, name, revision)
        if folder is None:
            return None
        path = folder / rest
        if not path.is_file():
            return self.missing("Entry")
        data, headers = (
            path.read_bytes(),
            {"X_Repo_Commit": revision, "ETag": f'"{self.tag(path)}"'},
        )
        wanted = self.headers.get("Range")
        if wanted and self.command == "GET":
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            part = data[int(start) : int(end) + 1 if end else None]
            headers["Content_Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
            return self.answer(206, part, **headers)
        return self.answer(200, data, Accept_Ranges="bytes", **headers)


@contextlib.contextmanager
def serve(repositories: Repositories) -> Iterator[str]:
    """Serves the repositories on 127.0.0.1; yields the address."""
    handler = type("Local", (Handler,), {"repositories": repositories})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(program: str, endpoint: str, home: Path, *arguments: str) -> str:
    """What a Python program prints that knows the Hub at `endpoint`; its files stay in `home`."""
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "GANMUT_CACHE": str(home / "ganmut"),
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
