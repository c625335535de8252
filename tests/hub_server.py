"""A Hugging Face Hub on this machine: enough of it for real clients to fetch and push repositories.

`serve({("models", "me/editor"): {REVISION: folder}})` yields the address for HF_ENDPOINT. Clients
read that variable when they are imported, so `ask` runs them in a process of their own, forked from
one that has imported PyTorch already: to import it takes longer than most programs run.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

Repositories = dict[tuple[str, str], dict[str, Path]]
ROOT = Path(__file__).resolve().parents[1]
TOKEN = "hf_" + "x" * 34  # the one that may read what is private, and write
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "safetensors.torch", "PIL.Image", "yaml"])
LARGE = (".safetensors", ".bin")  # these lie elsewhere, as files of Git LFS do


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for `repositories`: kind and name -> revision -> folder, the newest last.

    private: names that only TOKEN opens; gated: names that nobody may open; cut: names of files
    whose connection breaks after half of what was asked for; tags: name -> revision; store: where
    pushed commits go; log: gets (verb, path, Range) of every request.
    """

    repositories: Repositories
    private: frozenset[str]
    gated: frozenset[str]
    cut: frozenset[str]
    tags: dict[str, str]
    store: Path | None
    log: list[tuple[str, str, str]]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        self.log.append((self.command, self.route, self.headers.get("Range", "")))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, value: object, status: int = 200) -> None:
        self.answer(status, json.dumps(value).encode(), Content_Type="application/json")

    def missing(self, what: str, status: int = 404) -> None:
        said = {"X_Error_Code": f"{what}NotFound", "X_Error_Message": f"{what} not found"}
        self.answer(status, b"{}", **said)

    @property
    def route(self) -> str:
        return unquote(urlsplit(self.path).path)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "/resolve/" in self.route:
            return self.file(*self.split("resolve"))
        for verb, tell in (("tree", self.tree), ("revision", self.about)):
            if f"/{verb}/" in self.route:
                kind, name, revision, rest = self.split(verb)
                if self.folder(kind, name, revision):
                    self.json(tell(kind, name, revision, rest))
                return None
        kind, name = self.repository(self.route)
        if self.folder(kind, name, "main"):
            self.json(self.about(kind, name, "main", ""))
        return None

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "/paths-info/" in self.route:
            return self.paths(body.decode())
        if not self.may_write():
            return None
        for mark, tell in (
            ("/api/validate-yaml", self.check_card),
            ("/api/repos/create", self.create),
            ("/preupload/", self.preupload),
            ("/objects/batch", self.batch),
            ("/commit/", self.commit),
        ):
            if mark in self.route:
                return tell(body)
        return self.missing("Entry")

    def do_PUT(self) -> None:
        """The bytes of a large file, under the sha256 that the batch promised for them."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        oid = self.route.rpartition("/")[2]
        if hashlib.sha256(body).hexdigest() != oid:
            return self.answer(400, b"these are other bytes")
        (self.store / oid).write_bytes(body)
        return self.answer(200)

    # Reading --------------------------------------------------------------------------------------

    def repository(self, path: str) -> tuple[str, str]:
        parts = path.removeprefix("/api").strip("/").split("/")
        kind = parts.pop(0) if parts[0] in ("models", "datasets") else "models"
        return kind, "/".join(parts)

    def split(self, verb: str) -> tuple[str, str, str, str]:
        """(kind, owner/name, revision, rest) of a path around its verb."""
        before, _, after = self.route.partition(f"/{verb}/")
        revision, _, rest = after.partition("/")
        return *self.repository(before), revision, rest

    @property
    def known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def folder(self, kind: str, name: str, revision: str) -> Path | None:
        """The folder of a revision; where there is none the client has been told why."""
        revisions = self.repositories.get((kind, name))
        if "Authorization" in self.headers and not self.known:
            wrong = "Invalid credentials in Authorization header"
            return self.answer(401, b"{}", X_Error_Message=wrong)
        if name in self.gated:
            return self.answer(403, b"{}", X_Error_Code="GatedRepo", X_Error_Message="ask first")
        if revisions is None or (name in self.private and not self.known):
            return self.missing("Repo", 401 if not self.known else 404)
        if self.commit_of(kind, name, revision) is None:
            return self.missing("Revision")
        return revisions[self.commit_of(kind, name, revision)]

    def commit_of(self, kind: str, name: str, revision: str) -> str | None:
        revisions = self.repositories[kind, name]
        if revision == "main":
            return next(reversed(revisions), None)
        revision = self.tags.get(revision, revision)
        return revision if revision in revisions else None

    def about(self, kind: str, name: str, revision: str, _: str) -> dict:
        commit = self.commit_of(kind, name, revision)
        folder = self.repositories[kind, name][commit]
        files = [
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return {
            "id": name,
            "sha": commit,
            "private": name in self.private,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": [{"rfilename": path} for path in files],
        }

    def tree(self, kind: str, name: str, revision: str, inside: str) -> list[dict]:
        folder = self.repositories[kind, name][self.commit_of(kind, name, revision)]
        recursive = "recursive=true" in self.path.lower()
        found = (folder / inside).rglob("*") if recursive else (folder / inside).glob("*")
        return [self.entry(folder, path) for path in sorted(found)]

    def paths(self, body: str) -> None:
        kind, name, revision, _ = self.split("paths-info")
        if found := self.folder(kind, name, revision):
            wanted = json.loads(body)["paths"] if body[:1] == "{" else parse_qs(body)["paths"]
            there = [found / path for path in wanted if (found / path).exists()]
            self.json([self.entry(found, path) for path in there])

    def entry(self, folder: Path, path: Path) -> dict:
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
        size = path.stat().st_size
        lfs = {"lfs": {"oid": self.tag(path), "size": size, "pointerSize": 134}}
        told = {"type": "file", "path": name, "oid": self.tag(path), "size": size}
        return told | (lfs if path.suffix in LARGE else {})

    def tag(self, path: Path) -> str:
        kind = hashlib.sha256 if path.suffix in LARGE else hashlib.sha1
        return kind(path.read_bytes()).hexdigest()

    def file(self, kind: str, name: str, revision: str, rest: str) -> None:
        folder = self.folder(kind, name, revision)
        if folder is None:
            return None
        path = folder / rest
        if not path.is_file():
            return self.missing("Entry")
        data, headers = path.read_bytes(), {"ETag": f'"{self.tag(path)}"'}
        headers["X_Repo_Commit"] = self.commit_of(kind, name, revision)
        if path.suffix in LARGE and "elsewhere" not in self.path:
            headers |= {"X_Linked_Etag": headers["ETag"], "X_Linked_Size": str(len(data))}
            where = f"http://{self.headers['Host']}{self.path}?elsewhere"
            return self.answer(302, Location=where, **headers)
        wanted = self.headers.get("Range")
        if path.name in self.cut and self.command == "GET":
            return self.break_off(data, int((wanted or "bytes=0-")[6:].partition("-")[0]))
        if wanted and self.command == "GET":
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            part = data[int(start) : int(end) + 1 if end else None]
            headers["Content_Range"] = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
            return self.answer(206, part, **headers)
        return self.answer(200, data, Accept_Ranges="bytes", **headers)

    def break_off(self, data: bytes, start: int) -> None:
        """Promises all of the rest, sends half of it and hangs up."""
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + (len(data) - start) // 2])
        self.wfile.flush()
        self.close_connection = True

    # Writing --------------------------------------------------------------------------------------

    def may_write(self) -> bool:
        if self.store is None or not self.known:
            self.answer(401, b'{"error": "Invalid username or password."}')
            return False
        return True

    def check_card(self, body: bytes) -> None:
        """What the Hub asks of a card: YAML, and a model-index with task, dataset and metrics."""
        text = json.loads(body)["content"]
        errors = []
        try:
            head = yaml.safe_load(text.split("---\n")[1])
            for model in head.get("model-index", []):
                for result in model["results"]:
                    whole = result["task"]["type"] and result["dataset"]["type"]
                    named = all(metric["type"] for metric in result["metrics"])
                    if not (model["name"] and whole and result["dataset"]["name"] and named):
                        errors.append({"message": f"incomplete result {result}"})
        except (yaml.YAMLError, KeyError, IndexError, AttributeError) as error:
            errors.append({"message": repr(error)})
        self.json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else ""
        key = (f"{asked.get('type', 'model')}s", name or f"me/{asked['name']}")
        host = f"http://{self.headers['Host']}/{key[1]}"
        if key in self.repositories:
            return self.json({"error": "You already created this repository", "url": host}, 409)
        if not key[1].startswith("me/"):
            return self.answer(403, b"{}", X_Error_Message="not your namespace")
        self.repositories[key] = {}
        return self.json({"url": host, "id": key[1], "name": key[1]})

    def preupload(self, body: bytes) -> None:
        files = json.loads(body)["files"]
        self.json(
            {
                "files": [
                    {
                        "path": f["path"],
                        "shouldIgnore": False,
                        "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                    }
                    for f in files
                ]
            }
        )

    def batch(self, body: bytes) -> None:
        objects: list[dict[str, Any]] = json.loads(body)["objects"]
        host = f"http://{self.headers['Host']}/upload"
        for one in objects:
            if not (self.store / one["oid"]).exists():
                one["actions"] = {"upload": {"href": f"{host}/{one['oid']}", "header": {}}}
        self.json({"transfer": "basic", "objects": objects})

    def commit(self, body: bytes) -> None:
        kind, name, revision, _ = self.split("commit")
        lines = [json.loads(line) for line in body.splitlines()]
        revisions = self.repositories.get((kind, name))
        if revisions is None:
            return self.missing("Repo")
        oid = hashlib.sha1(body).hexdigest()
        folder = self.store / f"commit-{oid}"
        if revisions:
            shutil.copytree(self.folder(kind, name, revision), folder)
        for line in lines[1:]:
            path, value = folder / line["value"]["path"], line["value"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "file":
                path.write_bytes(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                path.write_bytes((self.store / value["oid"]).read_bytes())
        revisions[oid] = folder
        url = f"http://{self.headers['Host']}/{name}/commit/{oid}"
        return self.json({"commitUrl": url, "commitOid": oid, "success": True})


@contextlib.contextmanager
def serve(
    repositories: Repositories,
    *,
    private: tuple[str, ...] = (),
    gated: tuple[str, ...] = (),
    cut: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
    store: Path | None = None,
    log: list[tuple[str, str, str]] | None = None,
) -> Iterator[str]:
    """Serves the repositories on 127.0.0.1, see Handler; yields the address."""
    rules: dict[str, Any] = {
        "private": frozenset(private),
        "gated": frozenset(gated),
        "cut": frozenset(cut),
        "tags": tags or {},
    }
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
    rules |= {"repositories": repositories, "store": store, "log": [] if log is None else log}
    handler = type("Local", (Handler,), rules)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(program: str, endpoint: str, home: Path, *arguments: str, **variables: str) -> str:
    """What a Python program prints that knows the Hub at `endpoint`; its files stay in `home`.
    variables: of its environment."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "GANMUT_CACHE": str(home / "ganmut"),
        "HF_TOKEN": "",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    out = home.with_name(f"{home.name}.out")
    out.parent.mkdir(parents=True, exist_ok=True)
    process = FORKS.Process(target=_run_program, args=(program, arguments, environment, out))
    process.start()
    process.join(300)
    process.kill()
    process.join()
    said = out.read_text()
    assert process.exitcode == 0, said + out.with_suffix(".err").read_text()
    process.close()
    return said


def _run_program(program: str, arguments: tuple[str, ...], environment: dict, out: Path) -> None:
    """In the child: `python -c program arguments` in this environment, printing to files."""
    os.environ.clear()
    os.environ.update(environment)
    assert "huggingface_hub" not in sys.modules
    for number, path in ((1, out), (2, out.with_suffix(".err"))):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.path.insert(0, str(ROOT))
    sys.argv = ["-c", *arguments]
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
