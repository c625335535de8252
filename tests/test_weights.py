"""Weights: what is saved is what edits; whatever can be wrong with a folder is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard
from torch import nn

from bench.resolve import find_editors
from ganmut import weights
from ganmut.codes import DiscSpace
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS, Config, Edit, Method
from ganmut.registry import UnknownNameError
from ganmut.weights import BadWeights, publish, storage

SIZE = 16


class TinyG(nn.Module):
    """A generator of one convolution whose bias is steered by a two-dimensional code."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Conv2d(3, width, 3, padding=1)
        self.outer = nn.Conv2d(width, 3, 3, padding=1)
        self.steer = nn.Linear(2, width)
        self.directions = nn.Parameter(torch.randn(len(EMOTIONS) - 1, 2))

    def encode(self, x):
        return self.inner(x)

    def decode(self, features, code):
        hidden = torch.relu(features + self.steer(code)[..., None, None])
        return Edit(torch.tanh(self.outer(hidden)))


@dataclasses.dataclass(frozen=True)
class TinyConfig(Config):
    """One setting more than every method has."""

    lambda_tiny: float = 2.0


class Tiny(Method):
    """The smallest method that can be saved and loaded."""

    title, paper = "Tiny", "nobody, nowhere"
    Config, PAPER = TinyConfig, TinyConfig()

    def build(self, training):
        self.G = TinyG(self.config.width)

    def space(self):
        return DiscSpace(self.emotions, self.G.directions)

    def sample_targets(self, batch, generator):
        raise NotImplementedError

    code = g_loss = d_loss = classify = sample_targets


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    METHODS.names()
    monkeypatch.setitem(METHODS._entries, "tiny", Tiny)
    Tiny.name = "tiny"


def make(width: int = 32) -> Tiny:
    torch.manual_seed(0)
    return Tiny(TinyConfig(width=width), EMOTIONS, SIZE, training=False)


def faces(n: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, SIZE, SIZE), generator=torch.manual_seed(1)).to(torch.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return weights.save(tmp_path / "set" / "tiny", make(), {"kimg": 1.5, "recipe": "test"}, faces())


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Puts other tensors into a weight folder with a hash that fits them."""
    path = folder / "generator.safetensors"
    path.write_bytes(safetensors.torch.save(tensors))
    edit_config(folder, sha256=weights.sha256(path), bytes=path.stat().st_size)


def edit_config(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return weights.read(folder).tensors


def test_weight_folder_holds_four_files(folder):
    assert {p.name for p in folder.iterdir()} == {
        "generator.safetensors",
        "config.json",
        "golden.safetensors",
        "README.md",
    }
    config = weights.read(folder).config
    assert config["method"] == "tiny" and config["size"] == SIZE and config["kimg"] == 1.5
    assert config["config"]["lambda_tiny"] == 2.0 and config["emotions"] == list(EMOTIONS)
    assert config["sha256"] == weights.sha256(folder / "generator.safetensors")
    card = (folder / "README.md").read_text()
    assert ModelCard(card).data.license == "apache-2.0" and "| kimg | 1.5 |" in card


def test_save_then_load_edits_to_the_same_bytes(tmp_path):
    method = make()
    kept = weights.save(tmp_path / "w", method, {}, faces(), half=False)
    loaded = weights.load(kept, "cpu")
    direct = Editor(method, {})
    code = direct.space.of("happy", 0.7)
    assert torch.equal(loaded.space.directions, direct.space.directions)
    edited = loaded.edit(loaded.prepare(faces()), code)
    assert torch.equal(edited, direct.edit(direct.prepare(faces()), code))
    assert not torch.equal(edited, loaded.edit(loaded.prepare(faces()), -code))


def test_half_precision_keeps_the_golden_edit(folder):
    stored = tensors(folder)
    assert stored["directions"].dtype == stored["inner.weight"].dtype == torch.float32
    wide = weights.save(folder.parent / "wide", make(64), {}, faces())
    assert tensors(wide)["inner.weight"].dtype == torch.float16
    assert weights.verify(wide) == 0
    full = Editor(make(64), {})
    code, here = full.space.of("sad"), weights.load(wide, "cpu")
    apart = (
        full.edit(full.prepare(faces()), code).int() - here.edit(here.prepare(faces()), code).int()
    )
    assert apart.abs().max() <= 2


@pytest.fixture
def split(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(storage, "MAX_PART_BYTES", 3000)
    return weights.save(tmp_path / "split", make(), {}, faces())


def test_large_weight_is_split_without_change(folder, split):
    config = weights.read(split).config
    names = [part["file"] for part in config["parts"]]
    assert len(names) > 1 and names[0] == f"generator-00001-of-{len(names):05}.safetensors"
    assert {p.name for p in split.iterdir()} == {
        *names,
        "config.json",
        "golden.safetensors",
        "README.md",
    }
    one, other = tensors(folder), tensors(split)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    whole = b"".join((split / name).read_bytes() for name in names)
    assert config["sha256"] == hashlib.sha256(whole).hexdigest() and config["bytes"] == len(whole)
    assert weights.verify(split) == 0
    sent = [item.path for item in publish.plan_upload(split, "me/editor", None)]
    assert sent == [*names, "config.json", "golden.safetensors", "README.md"]


def lose_a_part(folder):
    (folder / weights.read(folder).config["parts"][1]["file"]).unlink()


def swap_parts(folder):
    edit_config(folder, parts=weights.read(folder).config["parts"][::-1])


def forget_a_part(folder):
    edit_config(folder, parts=weights.read(folder).config["parts"][1:])


def cut_a_part(folder):
    path = folder / weights.read(folder).config["parts"][-1]["file"]
    path.write_bytes(path.read_bytes()[:-10])


def point_outside(folder):
    part = weights.read(folder).config["parts"][0]
    shutil.copy(folder / part["file"], folder.parent / "generator.safetensors")
    edit_config(folder, parts=[{**part, "file": "../generator.safetensors"}])


WRONG_PARTS = [
    (lose_a_part, r"generator-00002-of-0000\d\.safetensors"),
    (swap_parts, r"config\.json.*sha256"),
    (forget_a_part, r"config\.json.*sha256"),
    (cut_a_part, r"generator-0000\d-of-0000\d\.safetensors"),
    (point_outside, r"config\.json.*parts"),
    (lambda f: edit_config(f, parts=["generator.safetensors"]), r"config\.json.*parts"),
    (lambda f: edit_config(f, parts=[{"bytes": 7}]), r"config\.json.*parts"),
]


@pytest.mark.parametrize(
    ("damage", "message"), WRONG_PARTS, ids=lambda v: getattr(v, "__name__", "message")
)
def test_wrong_parts_are_refused_by_name(split, damage, message):
    damage(split)
    with pytest.raises(BadWeights, match=message):
        weights.load(split, "cpu")


def test_verify_sees_a_changed_weight(folder):
    assert weights.verify(folder) == 0
    changed = {name: value * 1.5 for name, value in tensors(folder).items()}
    rewrite(folder, changed)
    assert weights.verify(folder) > 5


def test_failed_save_keeps_the_old_weight(folder):
    before = weights.sha256(folder / "generator.safetensors")
    broken = make()
    broken.G.inner.weight.data[0] = float("nan")
    with pytest.raises(BadWeights, match=r"inner\.weight"):
        weights.save(folder, broken, {}, faces())
    assert (
        weights.sha256(folder / "generator.safetensors") == before and weights.verify(folder) == 0
    )
    weights.save(folder, make(48), {}, faces())
    assert weights.sha256(folder / "generator.safetensors") != before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]  # no temporary folder is left


def test_a_folder_in_use_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadWeights):
        weights.save(tmp_path, make(), {}, faces())
    assert (tmp_path / "thesis.txt").exists()


def test_facts_may_not_contradict_the_weight(tmp_path):
    with pytest.raises(ValueError, match="method"):
        weights.save(tmp_path / "w", make(), {"method": "other"}, faces())


def lose_a_key(folder):
    rewrite(folder, {k: v for k, v in tensors(folder).items() if k != "steer.bias"})


def add_a_key(folder):
    rewrite(folder, {**tensors(folder), "alien": torch.zeros(1)})


def bend_a_shape(folder):
    rewrite(folder, {**tensors(folder), "steer.bias": torch.zeros(5)})


def flip_a_byte(folder):
    path = folder / "generator.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(folder):
    path = folder / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def not_safetensors(folder):
    path = folder / "generator.safetensors"
    path.write_bytes(b"hello " * 400)
    edit_config(folder, sha256=weights.sha256(path), bytes=path.stat().st_size)


def pointer(folder):
    (folder / "generator.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


def bad_json(folder):
    (folder / "config.json").write_text('{"format": 1,')


WRONG = [
    (lose_a_key, r"generator\.safetensors.*'steer\.bias'"),
    (add_a_key, r"generator\.safetensors.*'alien'"),
    (bend_a_shape, r"generator\.safetensors.*'steer\.bias'.*\(5,\).*\(32,\)"),
    (flip_a_byte, r"generator\.safetensors.*sha256"),
    (truncate, r"generator\.safetensors.* [\d,]+ .*[\d,]+"),
    (not_safetensors, r"generator\.safetensors"),
    (pointer, r"git lfs pull"),
    (lambda f: (f / "generator.safetensors").unlink(), r"generator\.safetensors"),
    (bad_json, r"config\.json"),
    (lambda f: edit_config(f, format=99), r"config\.json.*99.* 1"),
    (lambda f: edit_config(f, kind="toaster"), r"config\.json.*toaster"),
    (lambda f: edit_config(f, kind="extractor"), "extractor"),
    (lambda f: edit_config(f, config={"lambda_huge": 1}), "lambda_huge"),
    (lambda f: edit_config(f, method="tinny"), r"'tinny'.*'tiny'"),
]


@pytest.mark.parametrize(
    ("damage", "message"), WRONG, ids=lambda v: getattr(v, "__name__", "message")
)
def test_a_wrong_folder_is_refused_by_name(folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        weights.load(folder, "cpu")


def test_a_missing_golden_file_is_named(folder):
    (folder / "golden.safetensors").unlink()
    with pytest.raises(BadWeights, match=r"golden\.safetensors"):
        weights.verify(folder)


def test_bundled_names_runs_and_unknown_names(folder, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(folder.parent.parent))
    assert weights.list_weights("set") == ["tiny"] and weights.list_weights("nowhere") == []
    assert weights.load("set/tiny", "cpu").name == "tiny"
    with pytest.raises(UnknownNameError, match=r"'set/tinny'.*'set/tiny'"):
        weights.load("set/tinny")
    with pytest.raises(UnknownNameError, match="'set/tiny'"):
        weights.load("tiny")
    run = folder.parent.parent / "runs" / "0001"
    run.mkdir(parents=True)
    with pytest.raises(BadWeights, match=r"0001.*config\.json"):
        weights.load(run)
    shutil.copytree(folder, run / "weights")
    assert weights.load(run, "cpu").size == SIZE


def test_half_written_weights_are_not_listed(tmp_path, folder, monkeypatch):
    """What a killed command was writing is hidden and has a config.json already."""
    root = tmp_path / "weights"
    for name in ("set/tiny", "set/.tiny.0123abcd.tmp", ".set.0123abcd.tmp/tiny"):
        shutil.copytree(folder, root / name)
    monkeypatch.setenv("GANMUT_WEIGHTS", str(root))
    assert weights.list_sets() == ["set"] and weights.list_weights("set") == ["tiny"]
    for spec in (root, root / "set"):
        assert list(publish.list_members(spec)) == ["set/tiny"]
        with pytest.raises(BadWeights, match=r"add one of /(set/)?tiny$"):
            weights.resolve(spec)
    assert list(find_editors(str(root / "set"))) == ["tiny"]


def test_an_ablation_is_bundled_but_not_offered(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(tmp_path / "bundled"))
    publish.bundle(folder, "mine", "plain", note="a sentence for the card")
    publish.bundle(folder, "mine", "ablated", ablation_of="plain")
    assert weights.list_weights("mine") == ["plain"]
    assert weights.list_weights("mine", ablations=True) == ["ablated", "plain"]
    assert "a sentence for the card" in (weights.resolve("mine/plain") / "README.md").read_text()
    assert weights.verify(weights.resolve("mine/plain")) == weights.verify(folder)
