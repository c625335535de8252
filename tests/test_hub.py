"""Weights of the Hub: the real client, a loopback server, every way in which a fetch can fail."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hub_server import TOKEN, ask, serve
from toys import TOY, toy

from bench import resolve
from ganmut import weights
from ganmut.weights import BadWeights, hub, storage

A, B, C, D, E, NONE = (letter * 40 for letter in "abcdef")

# One line a spec: what was loaded, or why not; and whether that took longer than it may.
LOAD = """
import sys, time
import ganmut, huggingface_hub.hf_api  # before the clock runs: a busy machine imports for long
from ganmut import extractors
from ganmut.weights import hub
hub.CONNECT_TIMEOUT = 1.0
for spec in sys.argv[1:]:
    start = time.monotonic()
    try:
        editor = ganmut.load(spec, "cpu")
        said = f"{editor.name} {editor.config['sha256']}"
    except ValueError as error:
        said = f"refused: {error}"
    print(said.replace(chr(10), " // "), "" if time.monotonic() - start < 20 else "SLOW")
"""


@pytest.fixture(scope="module")
def weight(tmp_path_factory) -> Path:
    """A toy GANmut as a weight folder, with a file beside it that nobody should fetch."""
    faces = torch.randint(0, 256, (2, 3, TOY["size"], TOY["size"]), dtype=torch.uint8)
    folder = weights.save(tmp_path_factory.mktemp("w") / "ganmut", toy("ganmut"), {}, faces)
    (folder / "train.pkl").write_bytes(b"must not be fetched")
    return folder


def sha(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["sha256"]


def copy(weight: Path, to: Path) -> Path:
    return Path(shutil.copytree(weight, to))


def damage(weight: Path, to: Path) -> Path:
    folder = copy(weight, to)
    data = bytearray((folder / "generator.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "generator.safetensors").write_bytes(data)
    return folder


def misname(weight: Path, to: Path) -> Path:
    """A weight whole by its hash, one of whose keys is another's."""
    folder = copy(weight, to)
    tensors = weights.read(folder).tensors
    tensors["module.directions"] = tensors.pop("directions")
    path = folder / "generator.safetensors"
    path.write_bytes(safetensors.torch.save(tensors))
    config = json.loads((folder / "config.json").read_text())
    config |= {"sha256": weights.sha256(path), "bytes": path.stat().st_size}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def without(weight: Path, to: Path, name: str) -> Path:
    folder = copy(weight, to)
    (folder / name).unlink()
    return folder


@pytest.fixture(scope="module")
def model(weight, tmp_path_factory) -> dict:
    base = tmp_path_factory.mktemp("repository")
    revisions = {
        A: weight,
        B: damage(weight, base / "b"),
        C: misname(weight, base / "c"),
        D: without(weight, base / "d", "generator.safetensors"),
        E: without(weight, base / "e", "config.json"),
    }
    return {("models", "me/editor"): revisions}


def test_a_weight_is_fetched_once_and_damage_reported(weight, model, tmp_path):
    specs = [f"hub:me/editor@{revision}" for revision in (A, B, C, D, E, NONE)]
    with serve(model) as endpoint:
        told = ask(LOAD, endpoint, tmp_path, *specs, f"hub:me/nothing@{A}").splitlines()
    assert told[0] == f"ganmut {sha(weight)} "
    assert told[1].startswith(f"refused: me/editor@{B} ")
    assert "generator.safetensors" in told[1] and "sha256" in told[1]
    assert "'directions'" in told[2]
    assert "generator.safetensors" in told[3]
    assert "config.json" in told[4] and "README.md" in told[4]
    assert told[5].startswith("refused: me/editor ") and NONE in told[5]
    assert told[6].startswith("refused: ") and "me/nothing" in told[6]
    assert not [line for line in told if "SLOW" in line or " // " in line]
    assert not list(tmp_path.rglob("*.pkl"))
    # No server: cached weights load, the others fail within seconds.
    told = ask(LOAD, endpoint, tmp_path, specs[0], f"hub:me/other@{A}").splitlines()
    assert told[0] == f"ganmut {sha(weight)} "
    assert f"me/other@{A} " in told[1] and endpoint in told[1]
    assert "SLOW" not in told[1]
    told = ask(LOAD, endpoint, tmp_path, specs[0], specs[5], HF_HUB_OFFLINE="1").splitlines()
    assert told[0] == f"ganmut {sha(weight)} "
    assert "HF_HUB_OFFLINE" in told[1]


def test_silent_server_and_unknown_host_fail_quickly(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told = ask(LOAD, endpoint, tmp_path, f"hub:me/editor@{A}")
    assert endpoint in told and "SLOW" not in told


def test_private_and_gated_weights_are_explained(weight, tmp_path):
    repositories = {("models", "me/editor"): {A: weight}, ("models", "you/shy"): {A: weight}}
    specs = [f"hub:me/editor@{A}", f"hub:you/shy@{A}"]
    with serve(repositories, private=("me/editor",), gated=("you/shy",)) as endpoint:
        told = ask(LOAD, endpoint, tmp_path / "none", *specs).splitlines()
        wrong = ask(LOAD, endpoint, tmp_path / "wrong", specs[0], HF_TOKEN="hf_wrong")
        right = ask(LOAD, endpoint, tmp_path / "right", specs[0], HF_TOKEN=TOKEN)
    assert "HF_TOKEN" in told[0]
    assert f"{endpoint}/you/shy" in told[1]
    assert "me/editor (401)" in wrong
    assert right == f"ganmut {sha(weight)} \n"


def test_an_interrupted_download_continues(weight, model, tmp_path):
    spec, log = f"hub:me/editor@{A}", []
    with serve(model, cut=("generator.safetensors",)) as endpoint:
        told = ask(LOAD, endpoint, tmp_path, spec)
    assert f"refused: me/editor@{A}: " in told
    with serve(model, log=log) as endpoint:
        assert ask(LOAD, endpoint, tmp_path, spec) == f"ganmut {sha(weight)} \n"
    got = {Path(path).name for verb, path, _ in log if verb == "GET" and "/resolve/" in path}
    assert "generator.safetensors" in got and "config.json" not in got


def test_a_weight_in_parts_is_fetched_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MAX_PART_BYTES", 20_000)
    faces = torch.randint(0, 256, (2, 3, TOY["size"], TOY["size"]), dtype=torch.uint8)
    split = weights.save(tmp_path / "split", toy("ganmut"), {}, faces)
    first = weights.read(split).config["parts"][0]["file"]
    revisions = {A: split, B: without(split, tmp_path / "b", first)}
    with serve({("models", "me/editor"): revisions}) as endpoint:
        specs = [f"hub:me/editor@{revision}" for revision in (A, B)]
        told = ask(LOAD, endpoint, tmp_path / "cache", *specs).splitlines()
    assert told[0] == f"ganmut {sha(split)} "
    assert first in told[1]


def test_only_a_damaged_cache_is_fetched_again(weight, model, tmp_path):
    spec, log = f"hub:me/editor@{A}", []
    with serve(model, log=log) as endpoint:
        ask(LOAD, endpoint, tmp_path, spec)
        (stored,) = (tmp_path / "hub").rglob("snapshots/*/generator.safetensors")
        stored.resolve().write_bytes(stored.read_bytes()[:-100])
        assert ask(LOAD, endpoint, tmp_path, spec) == f"ganmut {sha(weight)} \n"
        del log[:]
        assert ask(LOAD, endpoint, tmp_path, spec) == f"ganmut {sha(weight)} \n"
    assert weights.sha256(stored) == sha(weight) and log == []


SETS = """
from bench import resolve
from ganmut import weights
import sys
for spec in sys.argv[1:]:
    try:
        print(sorted(resolve.find_editors(spec)), weights.resolve(spec, member="second").name)
    except ValueError as error:
        print("refused:", error)
print(weights.list_weights(), weights.list_weights("hub"), weights.load("hub/mine/ganmut").name)
print(weights.resolve("procedural/second") == weights.resolve("hub/procedural/second"))
"""


def test_ganmut_hub_redirects_names_to_a_repository(weight, tmp_path):
    for name in ("procedural/ganmut", "procedural/second", "mine/ganmut"):
        copy(weight, tmp_path / "all" / name)
    repositories = {("models", "me/all"): {A: tmp_path / "all"}}
    spec = f"hub:me/all@{A}"
    with serve(repositories) as endpoint:
        one = ask(LOAD, endpoint, tmp_path / "one", f"{spec}/mine/ganmut", spec).splitlines()
        told = ask(
            SETS,
            endpoint,
            tmp_path / "home",
            "hub",
            "procedural",
            f"{spec}/procedural",
            spec,
            GANMUT_HUB=f"me/all@{A}",
        ).splitlines()
    assert one[0] == f"ganmut {sha(weight)} "
    assert len(list((tmp_path / "one").rglob("snapshots/*/*/*/config.json"))) == 3
    several = "holds several weights: add one of /mine/ganmut, /procedural/ganmut, /procedural/s"
    assert f"{spec} {several}" in one[1]
    assert told[:3] == 3 * ["['ganmut', 'second'] second"]
    assert f"{spec}/mine" in told[3]
    assert told[4] == "['ganmut', 'second'] ['ganmut', 'second'] ganmut"
    assert told[5] == "True"


def test_hub_without_an_owner_says_what_to_set(monkeypatch):
    monkeypatch.delenv("GANMUT_HUB", raising=False)
    for ask_for in (weights.resolve, resolve.find_editors):
        with pytest.raises(ValueError, match="GANMUT_HUB"):
            ask_for("hub")


@pytest.mark.parametrize("spec", ["ganmut", f"ganmut@{A}", f"a/b@{A}/../c", "a/b@../c", "a/b@"])
def test_a_hub_spec_has_an_owner(spec):
    with pytest.raises(BadWeights, match="OWNER/NAME"):
        weights.load(f"hub:{spec}")


@pytest.mark.parametrize("address", ["someone/ganmut", "someone/ganmut@main", f"ganmut@{A}"])
def test_the_default_address_is_a_commit(address, monkeypatch):
    monkeypatch.setenv("GANMUT_HUB", address)
    with pytest.raises(BadWeights, match="GANMUT_HUB"):
        weights.load("procedural/ganmut")


def test_a_spec_is_its_parts():
    for revision in (A, "v1.0", "main"):
        address = hub.parse(f"hub:me/all@{revision}/procedural/ganmut")
        assert address == hub.Address("me/all", revision, "procedural/ganmut")
    assert hub.parse("hub:me/all/procedural") == hub.Address("me/all", "main", "procedural")


PINS = """
import contextlib, io, sys
from ganmut.cli import main
from ganmut.weights import hub
hub.CONNECT_TIMEOUT = 1.0
out = sys.stdout
for words in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(said):
        status = main(words.split())
    print(status, said.getvalue().strip().replace(chr(10), " // "), file=out)
"""


def test_a_pinned_branch_keeps_its_commit(weight, tmp_path):
    """A branch is asked for and printed at each use until --pin writes its commit down."""
    folder = tmp_path / "onnx"
    free, pinned = f"export hub:me/one --onnx {folder}", f"export hub:me/one --onnx {folder} --pin"
    home, repositories = tmp_path / "home", {("models", "me/one"): {A: weight}}
    with serve(repositories) as endpoint:
        first, second = ask(PINS, endpoint, home, free, pinned).splitlines()
    repositories["models", "me/one"][B] = copy(weight, tmp_path / "b")
    log: list = []
    with serve(repositories, log=log) as endpoint:
        kept = ask(PINS, endpoint, home, free).strip()
        assert not log
        moved, wrong = ask(
            PINS,
            endpoint,
            home,
            *(pinned, f"export procedural/ganmut --onnx {folder} --pin"),
        ).splitlines()
    away = ask(PINS, endpoint, home, free, free.replace("one", "one@v1"), HF_HUB_OFFLINE="1")
    (file,) = (home / "ganmut" / "pins").iterdir()
    assert file.read_text() == f"{B}\n"
    for said, commit in ((first, A), (second, A), (kept, A), (moved, B)):
        assert said.startswith("0 me/one@main is ") and commit in said
    assert str(file) not in first and str(file) in second and str(file) in kept
    assert wrong.startswith("2 ") and "--pin" in wrong
    pin, tag = away.splitlines()
    assert pin.startswith("0 ") and tag.startswith("2 ") and "me/one@v1" in tag
    file.write_text("nothing")
    damaged = ask(PINS, endpoint, home, free)
    assert damaged.startswith("2 ") and str(file) in damaged and "//" not in damaged
