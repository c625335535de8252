"""`Editor.from_pretrained` and `push_to_hub`: by the real client, with a loopback server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, ask, serve
from toys import TOY, toy

from ganmut import Editor, weights
from ganmut.errors import ParameterError
from ganmut.weights import BadWeights, bundled_root

A, B = "a" * 40, "b" * 40
# A line a call: the method and the sha256 of what was loaded, or why not. Lines on stderr come too.
LOAD = """
import json, sys
sys.stderr = sys.stdout
from ganmut import Editor
from ganmut.weights import hub
hub.CONNECT_TIMEOUT = 1.0
for name, given in map(json.loads, sys.argv[1:]):
    try:
        editor = Editor.from_pretrained(name, device="cpu", **given)
        print(editor.name, editor.config["sha256"])
    except ValueError as error:
        print("refused:", error)
"""
PUSH = """
import sys
sys.stderr = sys.stdout
from ganmut import Editor
editor = Editor.from_pretrained(sys.argv[1], device="cpu")
try:
    url = editor.push_to_hub(sys.argv[2], private=len(sys.argv) > 3)
    print(url)
    again = Editor.from_pretrained(sys.argv[2], revision=url.rpartition("/")[2], device="cpu")
    print(again.config["sha256"] == editor.config["sha256"])
except ValueError as error:
    print("refused:", error)
"""


def make(folder: Path, method: str) -> Path:
    faces = torch.randint(0, 256, (2, 3, TOY["size"], TOY["size"]), dtype=torch.uint8)
    return weights.save(folder, toy(method), {"kimg": 1.0}, faces)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("w")
    return {name: make(folder / name, name) for name in ("ganmut", "stargan")}


def line(name: str, folder: Path) -> str:
    return f"{name} {weights.read_config(folder)['sha256']}"


def call(name: str, **given: object) -> str:
    return json.dumps([name, given])


def test_branch_and_tag_become_commits(made, tmp_path):
    """What a name means is asked once and printed; what is pinned needs no request."""
    shutil.copytree(made["ganmut"], tmp_path / "all" / "mine" / "ganmut")
    repositories = {
        ("models", "me/one"): {A: made["ganmut"], B: made["stargan"]},
        ("models", "me/all"): {A: tmp_path / "all"},
    }
    log: list = []
    with serve(repositories, tags={"v1": A}, log=log) as endpoint:
        calls = [call("me/one"), call("me/one", revision="v1"), call("me/one", revision=B)]
        calls += [call("me/all", revision=A, subfolder="mine/ganmut"), call("me/all", revision=A)]
        told = ask(LOAD, endpoint, tmp_path / "home", *calls).splitlines()
        asked = len(log)
        offline = ask(LOAD, endpoint, tmp_path / "home", *calls[2:4]).splitlines()
        assert len(log) == asked
    assert B in told[0] and "revision=" in told[0] and told[1] == line("stargan", made["stargan"])
    assert A in told[2] and told[3] == line("ganmut", made["ganmut"])
    assert told[4:6] == [line("stargan", made["stargan"]), line("ganmut", made["ganmut"])]
    assert told[6].startswith("refused: ") and "/mine/ganmut" in told[6] and len(told) == 7
    assert offline == told[4:6]


def test_a_pin_holds_in_python_too(made, tmp_path):
    repositories = {("models", "me/one"): {A: made["ganmut"], B: made["stargan"]}}
    program = f"""
from ganmut import weights
from ganmut.weights import hub
hub.CONNECT_TIMEOUT = 1.0
weights.pin("hub:me/one@v1")
{LOAD}"""
    with serve(repositories, tags={"v1": A}) as endpoint:
        asked = ask(program, endpoint, tmp_path, call("me/one", revision="v1")).splitlines()
        other = ask(LOAD, endpoint, tmp_path, call("me/one")).splitlines()
    away = ask(LOAD, endpoint, tmp_path, call("me/one", revision="v1")).splitlines()
    assert asked == away and "is pinned" in asked[0] and A in asked[0]
    assert asked[1] == line("ganmut", made["ganmut"]) != other[1]


def test_what_the_hub_does_not_give(made, tmp_path):
    repositories = {("models", f"me/{name}"): {A: made["ganmut"]} for name in ("one", "own", "ask")}
    with serve(repositories, private=("me/own",), gated=("me/ask",)) as endpoint:
        calls = [call("me/none"), call("me/one", revision="v9"), call("me/own"), call("me/ask")]
        told = ask(LOAD, endpoint, tmp_path / "home", *calls).splitlines()
        own = ask(LOAD, endpoint, tmp_path / "own", call("me/own"), HF_TOKEN=TOKEN).splitlines()
    away = ask(LOAD, endpoint, tmp_path / "none", call("me/one")).splitlines()
    assert len(told) == 4 and all(said.startswith("refused: ") for said in told)
    assert "me/none" in told[0] and "v9" in told[1] and "hf auth login" in told[2]
    assert "gated" in told[3]
    assert own[1] == line("ganmut", made["ganmut"])
    assert len(away) == 1 and "network" in away[0]


@pytest.mark.parametrize(
    "name, given, parameter",
    [
        ("ganmut", {}, "name"),
        ("a/b/c", {}, "name"),
        ("../b", {}, "name"),
        (5, {}, "name"),
        ("me/one", {"revision": "a b"}, "revision"),
        ("me/one", {"revision": ""}, "revision"),
        ("me/one", {"revision": 5}, "revision"),
        ("me/one", {"subfolder": "../x"}, "subfolder"),
        ("", {"revision": "main"}, "name"),
    ],
)
def test_arguments_that_name_nothing(name, given, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no folder of these names is here
    with pytest.raises(ParameterError) as raised:
        Editor.from_pretrained(name, **given)
    assert raised.value.parameter == parameter


def test_a_folder_is_read_without_the_hub(made):
    editor = Editor.from_pretrained(made["ganmut"], device="cpu")
    assert (editor.name, editor.folder) == ("ganmut", made["ganmut"])
    inside = Editor.from_pretrained(made["ganmut"].parent, subfolder="stargan", device="cpu")
    assert inside.name == "stargan"
    with pytest.raises(ParameterError) as raised:
        Editor.from_pretrained(made["ganmut"], revision="main")
    assert raised.value.parameter == "revision"


def test_what_was_pushed_is_loaded_by_others(made, tmp_path):
    repositories: dict = {}
    with serve(repositories, store=tmp_path / "store") as endpoint:
        home, source = tmp_path / "home", str(made["ganmut"])
        told = ask(PUSH, endpoint, home, source, "me/one", HF_TOKEN=TOKEN).splitlines()
        refused = [
            ask(PUSH, endpoint, home, source, "me/two").strip(),
            ask(PUSH, endpoint, home, source, "two", HF_TOKEN=TOKEN).strip(),
            ask(PUSH, endpoint, home, source, "me/one", "private", HF_TOKEN=TOKEN).strip(),
        ]
    ((commit, folder),) = repositories["models", "me/one"].items()
    assert told == [f"{endpoint}/me/one/commit/{commit}", "True"]
    expected = {"generator.safetensors", "config.json", "golden.safetensors", "README.md"}
    assert {path.name for path in folder.iterdir()} == expected
    words = ("hf auth login", "OWNER/NAME", "public")
    for said, word in zip(refused, words, strict=True):
        assert said.startswith("refused: ") and word in said and "\n" not in said


def test_only_what_was_loaded_is_pushed(made, tmp_path):
    with pytest.raises(BadWeights):
        Editor(toy("ganmut"), {}).push_to_hub("me/one")
    folder = Path(shutil.copytree(made["ganmut"], tmp_path / "w"))
    editor = Editor.from_pretrained(folder, device="cpu")
    shutil.rmtree(folder)
    shutil.copytree(made["stargan"], folder)
    with pytest.raises(BadWeights):
        editor.push_to_hub("me/one")


def test_a_folder_wins_over_bundled_names(tmp_path, monkeypatch):
    shutil.copytree(bundled_root() / "procedural" / "stargan", tmp_path / "procedural" / "ganmut")
    monkeypatch.chdir(tmp_path)
    assert Editor.from_pretrained("procedural/ganmut").name == "stargan"
