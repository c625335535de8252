"""Publishing: what would go, and what comes back from the Hub it went to, by the real client."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, ask, serve
from toys import TOY, toy

from bench.results import Result
from ganmut import weights
from ganmut.cli import main
from ganmut.errors import ParameterError
from ganmut.weights import publish
from ganmut.weights.storage import BadWeights

RUN = """
import sys
from ganmut.cli import main
print("exit", main(sys.argv[1:]))
"""


def make(folder: Path, method: str = "ganmut", **facts) -> Path:
    faces = torch.randint(0, 256, (2, 3, TOY["size"], TOY["size"]), dtype=torch.uint8)
    return weights.save(folder, toy(method), {"kimg": 1.0, **facts}, faces)


def score(sha256: str, metric: str, value: float | None, **changes) -> dict:
    blank = {field.name: "" for field in dataclasses.fields(Result)}
    return blank | {
        "kind": "score",
        "status": "ok",
        "metric": metric,
        "value": value,
        "interval": [1.0, 3.5],
        "n": 20,
        "unit": "px",
        "data": "procedural",
        "split": "test",
        "size": 64,
        "protocol": "default",
        "weights_sha256": sha256,
        "data_fingerprint": "f00d",
        **changes,
    }


def sha(folder: Path) -> str:
    return weights.read_config(folder)["sha256"]


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    for name in ("ganmut", "stargan"):
        make(root / "procedural" / name, name, set="procedural")
    return root


@pytest.fixture
def results(bundled, tmp_path) -> Path:
    own = sha(bundled / "procedural" / "ganmut")
    lines = [
        score(own, "fed", 9.0),
        score(own, "fed", 2.5),
        score(own, "ere@1", None),
        score(own, "identity", 0.25, data="folder:/somewhere/private/photos"),
        score("another", "fed", 77.0),
        score(own, "fid", 66.0, status="error"),
    ]
    (tmp_path / "deep").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"cut short'
    (tmp_path / "deep" / "results.jsonl").write_text(text)
    return tmp_path


def text_of(items: list[publish.Item], path: str) -> str:
    return next(item.content for item in items if item.path == path).decode()


def test_upload_has_weight_and_card_with_scores(bundled, results):
    from huggingface_hub import ModelCard

    items = publish.plan_upload(bundled / "procedural" / "ganmut", "me/editor", results)
    assert [item.path for item in items] == [
        "generator.safetensors",
        "config.json",
        "golden.safetensors",
        "README.md",
    ]
    card = ModelCard(text_of(items, "README.md"))
    found = {(r.metric_type, r.metric_value, r.dataset_name) for r in card.data.eval_results}
    assert found == {
        ("fed", 2.5, "procedural, test split, 64 px"),
        ("identity_distance", 0.25, "folder:photos, test split, 64 px"),
    }
    assert card.data.model_name == "editor" and card.data.license == "apache-2.0"
    assert 'ganmut.load("hub:me/editor@REVISION")' in card.text
    assert "| fed | 2.5 | 1, 3.5 | px | 20 | procedural, test split, 64 px |" in card.text
    assert "somewhere" not in str(card)


def test_unmeasured_weight_has_card_without_scores(bundled, results):
    items = publish.plan_upload(bundled / "procedural" / "stargan", "me/editor", results)
    card = text_of(items, "README.md")
    assert "model-index" not in card and "Measured" not in card


def test_what_is_not_ours_is_not_published(tmp_path):
    theirs = make(tmp_path / "w", converted_from="linear.ckpt")
    with pytest.raises(BadWeights, match=r"linear\.ckpt"):
        publish.plan_upload(theirs, "me/editor", None)


def test_damage_and_wrong_names_stop_the_upload(bundled, tmp_path):
    folder = make(tmp_path / "w")
    with pytest.raises(ParameterError, match="editor"):
        publish.plan_upload(folder, "editor", None)
    (folder / "golden.safetensors").unlink()
    with pytest.raises(BadWeights, match=r"golden\.safetensors"):
        publish.plan_upload(folder, "me/editor", None)
    with pytest.raises(ValueError, match="procedural/none"):
        publish.plan_upload("procedural/none", "me/editor", None)
    (folder / "config.json").unlink()
    with pytest.raises(BadWeights, match=re.escape(str(tmp_path))):
        publish.plan_upload(folder, "me/editor", None)


def test_dry_run_prints_the_upload_offline(bundled, results, capsys):
    asked = ["push", str(bundled), "--to", "me/all", "--results", str(results), "--dry-run"]
    assert main(asked) == 0
    told = capsys.readouterr().out
    for path in ("procedural/ganmut/config.json", "procedural/stargan/generator.safetensors"):
        assert f"  {path}\n" in told
    assert "GANMUT_HUB=me/all@REVISION" in told and "value: 2.5" in told
    assert "Dry run" in told


def test_results_without_scores_are_refused(bundled, tmp_path, capsys):
    asked = ["push", str(bundled), "--to", "me/all", "--dry-run"]
    for empty in (tmp_path, tmp_path / "none"):
        assert main([*asked, "--results", str(empty)]) == 2
        assert "results.jsonl" in capsys.readouterr().err


def test_cards_of_a_package_have_no_scores(bundled, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ganmut.cli.push.RESULTS", tmp_path / "none")  # no checkout
    assert main(["push", str(bundled), "--to", "me/all", "--dry-run"]) == 0
    assert "value:" not in capsys.readouterr().out


FROM = """
import sys
from ganmut import weights
try:
    for spec in sys.argv[1:]:
        print(weights.resolve(spec, member="ganmut"))
    print(weights.list_sets())
except ValueError as error:
    print("refused:", error)
"""
USE = """
import sys, ganmut
from ganmut import weights
from huggingface_hub import HfApi, ModelCard
for spec in sys.argv[1:]:
    folder = weights.resolve(spec)
    print(spec, ganmut.load(spec, "cpu").name, weights.verify(folder))
print(weights.list_weights())
"""


def test_what_was_pushed_is_what_others_load(bundled, results, tmp_path):
    repositories: dict = {}
    common = ["--to", "me/all", "--results", str(results)]
    with serve(repositories, store=tmp_path / "store") as endpoint:
        home = tmp_path / "home"
        told = ask(RUN, endpoint, home, "push", str(bundled), *common, HF_TOKEN=TOKEN)
        revision = told.split("export GANMUT_HUB=me/all@")[1][:40]
        assert f"{endpoint}/me/all/tree/{revision}" in told and told.endswith("exit 0\n")
        used = ask(
            USE,
            endpoint,
            tmp_path / "other",
            f"hub:me/all@{revision}/procedural/stargan",
            "hub/procedural/ganmut",
            "procedural/ganmut",
            GANMUT_HUB=f"me/all@{revision}",
        ).splitlines()
        one = str(bundled / "procedural" / "ganmut")
        told = ask(RUN, endpoint, home, "push", one, "--to", "me/one", HF_TOKEN=TOKEN)
        single = told.split("hub:me/one@")[1][:40]
        # Pushed again it is one commit more, and what was pinned stays what it was.
        two = str(bundled / "procedural" / "stargan")
        told = ask(RUN, endpoint, home, "push", two, "--to", "me/one", HF_TOKEN=TOKEN)
        newer = told.split("hub:me/one@")[1][:40]
        alone = ask(
            USE, endpoint, tmp_path / "other", f"hub:me/one@{single}", f"hub:me/one@{newer}"
        ).splitlines()
    assert [line.split()[1:] for line in used[:3]] == [
        ["stargan", "0.0"],
        ["ganmut", "0.0"],
        ["ganmut", "0.0"],
    ]
    assert used[3] == "['ganmut', 'stargan']"
    assert newer != single and [line.split()[1] for line in alone[:2]] == ["ganmut", "stargan"]
    folder = repositories["models", "me/all"][revision]
    assert {p.name for p in (folder / "procedural" / "ganmut").iterdir()} == {
        "generator.safetensors",
        "config.json",
        "golden.safetensors",
        "README.md",
    }


def test_private_is_refused_for_a_public_repository(bundled, tmp_path):
    program = RUN.replace("print(", "sys.stderr = sys.stdout\nprint(")
    repositories: dict = {}
    with serve(repositories, private=("me/own",), store=tmp_path / "store") as endpoint:

        def push(name: str, to: str, *options: str) -> str:
            weight = str(bundled / "procedural" / name)
            arguments = ["push", weight, "--to", to, *options]
            return ask(program, endpoint, tmp_path, *arguments, HF_TOKEN=TOKEN)

        own = [push(name, "me/own", "--private") for name in ("ganmut", "stargan")]
        assert push("ganmut", "me/one").endswith("exit 0\n")
        refused = push("stargan", "me/one", "--private")
    assert all(said.endswith("exit 0\n") for said in own)
    assert "--private: me/one" in refused and refused.endswith("exit 2\n")
    assert len(repositories["models", "me/one"]) == 1


def test_nothing_is_uploaded_without_token_or_network(bundled, tmp_path):
    one = str(bundled / "procedural" / "ganmut")
    program = RUN.replace("print(", "sys.stderr = sys.stdout\nprint(")
    with serve({}, store=tmp_path / "store") as endpoint:
        none = ask(program, endpoint, tmp_path / "h", "push", one, "--to", "me/one")
        wrong = ask(program, endpoint, tmp_path / "h", "push", one, "--to", "me/one", HF_TOKEN="no")
        other = ask(
            program, endpoint, tmp_path / "h", "push", one, "--to", "you/one", HF_TOKEN=TOKEN
        )
    away = ask(program, endpoint, tmp_path / "h", "push", one, "--to", "me/one", HF_TOKEN=TOKEN)
    assert "hf auth login" in none
    assert "me/one (401)" in wrong
    assert "you/one (403)" in other
    assert f"error: {endpoint} " in away
    assert all(told.endswith("exit 2\n") for told in (none, wrong, other, away))
    assert list((tmp_path / "store").iterdir()) == []


def test_push_default_changes_what_names_mean(bundled, results, tmp_path):
    """--default leaves one line among the bundled weights; an empty GANMUT_HUB passes it over."""
    ours = shutil.copytree(bundled, tmp_path / "weights")
    common = ["push", str(ours), "--to", "me/all", "--default"]
    here = {"GANMUT_WEIGHTS": str(ours)}
    with serve({}, store=tmp_path / "store") as endpoint:
        assert ask(RUN, endpoint, tmp_path / "h", *common, "--dry-run", **here)
        assert not (ours / "hub.txt").exists()
        told = ask(RUN, endpoint, tmp_path / "h", *common, HF_TOKEN=TOKEN, **here)
        assert str(ours / "hub.txt") in told
        used = ask(FROM, endpoint, tmp_path / "other", "hub", "procedural", **here).splitlines()
    assert (ours / "hub.txt").read_text().startswith("me/all@")
    assert "snapshots" in used[0] and used[0] == used[1]
    assert used[2] == "['procedural']"
    # Nobody answers any more: what was fetched goes on being used, and there is a way out.
    used = ask(FROM, endpoint, tmp_path / "other", "hub", "procedural", **here).splitlines()
    assert "snapshots" in used[0] and used[0] == used[1]
    away = ask(FROM, endpoint, tmp_path / "third", "procedural", **here)
    assert "cannot be reached (" in away and "GANMUT_HUB= (empty)" in away
    used = ask(FROM, endpoint, tmp_path / "third", "procedural", GANMUT_HUB="", **here)
    assert used.startswith(f"{ours}/procedural/ganmut\n")


def test_one_weight_is_no_default(bundled, capsys):
    one = str(bundled / "procedural" / "ganmut")
    asked = ["push", one, "--to", "me/one", "--default"]
    assert main(asked) == 2 and "--default" in capsys.readouterr().err


def test_a_run_is_published_by_its_folder(bundled, tmp_path):
    shutil.copytree(bundled / "procedural" / "ganmut", tmp_path / "run" / "weights")
    items = publish.plan_upload(tmp_path / "run", "me/one", None)
    assert [item.path for item in items][:2] == ["generator.safetensors", "config.json"]


def test_a_fitted_method_keeps_its_card(tmp_path, monkeypatch):
    folder = weights.bundled_root() / "photos" / "expression"
    items = {item.path: item for item in publish.plan_upload(folder, "me/one", None)}
    own = (folder / "README.md").read_text().rpartition("---\n")[2]
    assert own in items["README.md"].content.decode()
    assert "expression" in publish.repository_card({"photos/expression": folder}, {}, "me/all")
    monkeypatch.setenv("GANMUT_WEIGHTS", str(tmp_path))
    copy = publish.bundle(folder, "mine", "expression")
    assert (copy / "README.md").read_bytes() == (folder / "README.md").read_bytes()


@pytest.mark.slow
def test_bundled_sets_survive_the_hub(tmp_path):
    """All of them, as they lie here: every hash is checked when they are loaded again."""
    with serve({}, store=tmp_path / "store") as endpoint:
        told = ask(
            RUN, endpoint, tmp_path / "h", "push", "weights", "--to", "me/all", HF_TOKEN=TOKEN
        )
        revision = told.split("export GANMUT_HUB=me/all@")[1][:40]
        used = ask(FROM, endpoint, tmp_path / "o", "hub", GANMUT_HUB=f"me/all@{revision}")
    assert "snapshots" in used
    assert "'faces'" in used and "'procedural'" in used
