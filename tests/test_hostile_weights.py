"""Weights from strangers: every broken entry of a config and every unusable tensor is refused with
one sentence, before memory is taken for it."""

from __future__ import annotations

import dataclasses
import json
import resource
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
from toys import toy

from ganmut import extractors, weights
from ganmut.emotions import EMOTIONS
from ganmut.expression.landmark_net import Shape as LandmarkShape
from ganmut.expression.landmark_net import load_landmark_net
from ganmut.extractors.base import EXTRACTORS
from ganmut.faces.landmarks import five_points
from ganmut.files import sha256
from ganmut.methods.base import METHODS
from ganmut.weights import BadWeights, storage

FACES = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A weight of a small StarGAN."""
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    method = kind(kind.Config(width=4, blocks=1), EMOTIONS, 32, training=False)
    return weights.save(tmp_path_factory.mktemp("w") / "stargan", method, {"kimg": 1.0}, FACES)


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy to break."""
    copy = tmp_path / "weight"
    copy.mkdir()
    for path in saved.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def put_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    """Replaces a tensor, with a hash that fits."""
    path = folder / "generator.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save(tensors | {name: tensor}))
    edit_config(folder, sha256=sha256(path), bytes=path.stat().st_size)


def refusal(folder: Path, load=weights.load) -> str:
    with pytest.raises(ValueError) as refused:
        load(folder)
    text = str(refused.value)
    assert isinstance(refused.value, ValueError) and "\n" not in text and 20 < len(text) < 600
    return text


WRONG_VALUES = [None, [], {}, [1], {"a": 1}, "text", -1, 0.5, 10**30, True, [None], [["a"]]]
ENTRIES = ["format", "kind", "method", "emotions", "size", "config", "sha256", "bytes", "parts"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_wrong_entries_are_refused(folder, entry):
    text = (folder / "config.json").read_text()
    for value in [v for v in WRONG_VALUES if not (entry == "parts" and v in (None, []))]:
        (folder / "config.json").write_text(text)
        edit_config(folder, **{entry: value})
        refusal(folder)
    config = json.loads(text)
    if entry != "parts":
        del config[entry]
        (folder / "config.json").write_text(json.dumps(config))
        refusal(folder)


@pytest.mark.parametrize("name", ["width", "blocks", "output", "lambda_rec", "g_interval"])
def test_wrong_settings_are_refused_by_name(folder, name):
    config = json.loads((folder / "config.json").read_text())["config"]
    for value in [v for v in WRONG_VALUES if v != 0.5 or name != "lambda_rec"]:
        edit_config(folder, config=config | {name: value})
        assert name in refusal(folder)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_size_is_limited(method):
    kind = METHODS[method].Config
    for field in dataclasses.fields(kind):
        if type(field.default) in (int, float):
            for value in (-1, float("nan"), float("inf"), 10**12, "8"):
                with pytest.raises(ValueError, match=field.name):
                    kind(**{field.name: value})


@pytest.mark.parametrize("method", list(METHODS))
def test_a_giant_is_refused_without_memory(method, tmp_path):
    made = toy(method)
    small = weights.save(tmp_path / method, made, {}, FACES)
    giant = dataclasses.asdict(made.config)
    edit_config(small, config=giant | {"width": 512, "blocks": 4})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "tensor" in refusal(small)
    # The tensors of the giant would take gigabytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


BROKEN_FILES = {
    "deep": "[" * 200_000,
    "nan": '{"format": NaN}',
    "digits": '{"format": ' + "9" * 5000 + "}",
    "list": "[1, 2]",
    "large": " " * (storage.MAX_CONFIG_BYTES + 1),
    "page": "<!DOCTYPE html><title>Not found</title>",
    "utf-16": "{}".encode("utf-16"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_config_files_are_refused(folder, name):
    content = BROKEN_FILES[name]
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "config.json").write_bytes(data)
    assert "config.json" in refusal(folder)


def test_a_folder_or_loop_is_no_file(folder):
    for name in ("config.json", "generator.safetensors"):
        path, data = folder / name, (folder / name).read_bytes()
        path.unlink()
        path.mkdir()
        with pytest.raises(BadWeights, match=name):
            weights.read(folder)
        path.rmdir()
        path.symlink_to(name)
        with pytest.raises(BadWeights, match=name):
            weights.read(folder)
        path.unlink()
        path.write_bytes(data)


def test_sizes_are_compared_before_reading(folder, monkeypatch):
    path = folder / "generator.safetensors"
    with open(path, "r+b") as file:
        file.truncate(8 << 30)  # sparse: takes no space
    assert "8,589,934,592" in refusal(folder)
    edit_config(folder, bytes=8 << 30)
    assert f"{storage.MAX_TENSOR_BYTES:,}" in refusal(folder)


def test_hashing_takes_no_memory(folder, monkeypatch):
    path = folder / "generator.safetensors"
    with open(path, "r+b") as file:
        file.truncate(64 << 20)
    edit_config(folder, bytes=64 << 20)
    tracemalloc.start()
    assert "sha256" in refusal(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_tensor_too_many_is_refused_unread(folder):
    put_tensor(folder, "alien", torch.zeros(16_000_000))
    tracemalloc.start()
    assert "alien" in refusal(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_file_exchanged_after_its_check_is_refused(folder):
    checked = weights.read(folder)
    put_tensor(folder, "alien", torch.zeros(3))
    with pytest.raises(BadWeights, match="alien"):
        _ = checked.tensors


UNUSABLE = {
    "nan": torch.tensor([float("nan")] * 4),
    "inf": torch.tensor([1, 2, 3, float("inf")]),
    "int64": torch.ones(4, dtype=torch.int64),
    "I8": torch.ones(4, dtype=torch.int8),
    "BOOL": torch.ones(4, dtype=torch.bool),
    "C64": torch.ones(4, dtype=torch.complex64),
    "F8_E4M3": torch.ones(4).to(torch.float8_e4m3fn),
    "F64": torch.ones(4, dtype=torch.float64),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_unusable_tensors_are_refused_by_name(folder, kind):
    put_tensor(folder, "trunk.stem.1.bias", UNUSABLE[kind])
    text = refusal(folder)
    assert "trunk.stem.1.bias" in text
    assert "NaN or infinity" in text if kind in ("nan", "inf") else kind in text


def test_foreign_golden_tensors_are_refused(folder):
    path = folder / "golden.safetensors"
    golden = safetensors.torch.load(path.read_bytes())
    wrong = {
        "faces": torch.zeros(2, 3, 32, 32),
        "rows": torch.full((7,), 9),
        "codes": torch.zeros(7, 3),
        "edited": torch.zeros(7, 3, 8, 8, dtype=torch.uint8),
    }
    for name, tensor in wrong.items():
        path.write_bytes(safetensors.torch.save(golden | {name: tensor}))
        refusal(folder, weights.verify)
        path.write_bytes(safetensors.torch.save({k: v for k, v in golden.items() if k != name}))
        assert name in refusal(folder, weights.verify)


def test_extractor_configs_are_checked(bundle, tmp_path):
    folder = tmp_path / "units"
    folder.mkdir()
    for path in (bundle / "procedural" / "units").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / "config.json").read_text()
    for entry in ("extractor", "emotions", "size", "version"):
        for value in [None, [], {}, "text", -1, 10**9, 8]:
            (folder / "config.json").write_text(text)
            edit_config(folder, **{entry: value})
            refusal(folder, extractors.load)
    assert EXTRACTORS["units"].version == json.loads(text)["version"]


NETWORKS = {
    "landmarks": (load_landmark_net, "photos/landmarks", LandmarkShape),
    "points": (five_points.load_network, "faces/points", five_points.Shape),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_of_other_networks_are_checked(tmp_path, name):
    load, spec, kind = NETWORKS[name]
    folder = tmp_path / name
    folder.mkdir()
    for path in (weights.bundled_root() / spec).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    text = (folder / "config.json").read_text()
    for entry in kind.names():
        for value in (None, [], "24", -1, 0, 10**9, 7):
            (folder / "config.json").write_text(text)
            edit_config(folder, **{entry: value})
            refusal(folder, load)


def test_controls_of_the_expression_model_are_checked(tmp_path):
    folder = tmp_path / "expression"
    folder.mkdir()
    for path in (weights.bundled_root() / "photos/expression").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())["config"]
    changes = [{"points": "none"}, {"controls": 5}, {"controls": [[]]}, {"controls": ["a"]}]
    for change in [*changes, {"controls": ["a"] * 10**5}, {"more": 1}]:
        edit_config(folder, config=config | change)
        refusal(folder)
