"""Rendered faces as a data set: what `datasets`, `hub:` and `folder:` read of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
import yaml
from PIL import Image

import ganmut
from ganmut.cli import main
from ganmut.datasets import hub, open_source
from ganmut.datasets.base import BadData
from ganmut.emotions import EMOTIONS
from ganmut.files import sha256
from ganmut.rendering import parquet as rendered

ROOT = Path(ganmut.__file__).parent.parent
COUNTS = {"train": 51, "extractor": 31, "test": 9, "validation": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("faces") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "SHARD", 30)
        patch.setattr(rendered, "CHUNK", 16)
        assert (
            main(["faces", "--out", str(out), "--format", "parquet", "--n", "100", "--size", "32"])
            == 0
        )
    return out


def test_datasets_reads_splits_and_types(folder):
    datasets = pytest.importorskip("datasets")
    parts = datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))
    assert {split: len(part) for split, part in parts.items()} == COUNTS
    features = parts["train"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["emotion"].names == list(EMOTIONS)
    assert parts["test"][0]["image"].size == (32, 32) and len(parts["test"][0]["units"]) == 17


@pytest.mark.parametrize("split, count", [("train", 60), ("extractor", 31), ("test", 9)])
def test_a_folder_of_parquet_equals_the_source(folder, split, count):
    own = open_source(f"folder:{folder}").load(split, 32, progress=False)
    faces = open_source("procedural").load(split, 32, COUNTS[split], progress=False)
    assert len(own) == count  # a validation split joins train where there is a test split
    n = COUNTS[split]
    order = [
        next(i for i, image in enumerate(own.faces()) if torch.equal(image, face))
        for face in faces.faces()
    ]
    assert len(set(order)) == n
    assert torch.equal(own.emotion[order], faces.emotion)
    assert np.allclose(own.units[order], faces.units, atol=1e-6)
    same = faces.person[:, None] == faces.person
    assert torch.equal(own.person[order][:, None] == own.person[order], same)


def test_the_hub_source_reads_it_too(folder, monkeypatch):
    datasets = pytest.importorskip("datasets")
    cache = str(folder.parent / "hub")
    monkeypatch.setattr(
        hub, "fetch", lambda *_: dict(datasets.load_dataset(str(folder), cache_dir=cache))
    )
    own = open_source(f"hub:somebody/faces@{'a' * 40}").load("test", 32, progress=False)
    faces = open_source("procedural").load("test", 32, 9, progress=False)
    assert sorted(i.sum() for i in own.faces().long()) == sorted(
        i.sum() for i in faces.faces().long()
    )


def test_the_card_and_croissant_describe_the_files(folder):
    text = (folder / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    paths = [part["path"] for part in head["configs"][0]["data_files"]]
    files = sorted((folder / "data").iterdir())
    assert len(files) == 2 + 2 + 1 + 1
    assert sum(len(list(folder.glob(path))) for path in paths) == len(files)
    described = json.loads((folder / "croissant.json").read_text())
    objects = {d["@id"]: d for d in described["distribution"] if d["@type"] == "cr:FileObject"}
    assert {folder / d["contentUrl"]: d["sha256"] for d in objects.values()} == {
        file: sha256(file) for file in files
    }
    (records,) = described["recordSet"]
    columns = [field["source"]["extract"]["column"] for field in records["field"]]
    assert columns == ["image", "emotion", "units", "person"]
    named = {d["@id"] for d in described["distribution"]}
    assert {field["source"]["fileSet"]["@id"] for field in records["field"]} <= named


def test_a_data_set_has_the_faces_asked(tmp_path):
    files = rendered.write_dataset(tmp_path / "set", 82, 16, 0, progress=False)  # rounded: 83
    assert sum(pyarrow.parquet.read_metadata(file).num_rows for file in files) == 82


@pytest.mark.parametrize(
    "options, word",
    [
        (["--format", "parquet", "--n", "20"], "--n"),
        (["--format", "parquet", "--intensity", "1"], "--intensity"),
        (["--n", "100"], "--n"),
        (["--format", "parquet", "--size", "8"], "--size"),
    ],
)
def test_requests_without_effect_are_refused(tmp_path, capsys, options, word):
    out = tmp_path / "set"
    assert main(["faces", "--out", str(out), *options]) == 2
    assert word in capsys.readouterr().err and not out.exists()


def test_a_folder_that_holds_something_is_kept(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["faces", "--out", str(tmp_path), "--format", "parquet"]) == 2
    assert "--out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_page_is_reported(folder, tmp_path):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "test-00000-of-00001.parquet"
    data = bytearray((folder / "data" / path.name).read_bytes())
    data[8:4000] = bytes(3992)  # of the images, the first column
    path.write_bytes(data)
    with pytest.raises(BadData, match="test-00000"):
        open_source(f"folder:{tmp_path}").load("test", 32, progress=False)


def write_table(path: Path, count: int, group: int = 100) -> Path:
    """Labelled pictures of noise, the number of each in its first pixel."""
    cells, rng = [], np.random.default_rng(0)
    for i in range(count):
        data, pixels = io.BytesIO(), rng.integers(0, 256, (32, 32, 3), np.uint8)
        pixels[0, 0] = i % 256, i // 256, 0
        Image.fromarray(pixels).save(data, "PNG")
        cells.append({"bytes": data.getvalue(), "path": None})
    columns = {"image": cells, "emotion": ["neutral", "happy"] * (count // 2)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=group)
    return path


READ = """
import random, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from ganmut.datasets.parquet import read_parquet_image

def read(row):
    pixels = read_parquet_image(Path(sys.argv[1]), f"train.parquet#{row}")
    return int(pixels[0, 0, 0]) + 256 * int(pixels[0, 0, 1])

rows = list(range(400))
for round in range(6):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, rows)) == rows
    random.Random(round).shuffle(rows)
"""


def test_several_threads_read_one_file(tmp_path):
    """In a process of its own: without a lock it ended with a segmentation fault, or never."""
    write_table(tmp_path / "train.parquet", 400, 7)
    words = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name, splits", [("test", {"test"}), ("faces", {"train", "test"})])
def test_file_names_may_be_the_split(name, splits, tmp_path):
    write_table(tmp_path / "data" / f"{name}.parquet", 80)
    found = {row.split for row in open_source(f"folder:{tmp_path}").rows}
    assert found >= splits and (name == "faces" or found == splits)


def test_an_unknown_split_is_refused(tmp_path):
    write_table(tmp_path / "trian-00000-of-00001.parquet", 80)
    with pytest.raises(BadData, match="'trian'"):
        open_source(f"folder:{tmp_path}")


def test_damaged_parquet_files_are_named(folder, tmp_path):
    (tmp_path / "data").mkdir()
    data = (folder / "data" / "test-00000-of-00001.parquet").read_bytes()
    for part in (data[: len(data) // 2], b"no table"):
        path = tmp_path / "data" / "test-00000-of-00001.parquet"
        path.write_bytes(part)
        with pytest.raises(BadData, match="test-00000"):
            open_source(f"folder:{tmp_path}").load("test", 32, progress=False)


DAY = pyarrow.array([2**31 - 1] * 8, pyarrow.date32())  # of the year 5,881,580
LATIN = pyarrow.array([b"\xe4"] * 8).cast(pyarrow.string(), safe=False)
PICTURES = pyarrow.array([b""] * 8)
LABELS = pyarrow.array(["neutral", "happy"] * 4)


@pytest.mark.parametrize(
    "columns",
    [
        [("image", PICTURES), ("emotion", LABELS), ("person", DAY)],
        [("image", PICTURES), ("emotion", LATIN)],
        [("image", PICTURES), ("emotion", LABELS), ("emotion", LABELS)],
        [("image", PICTURES), ("image", PICTURES), ("emotion", LABELS)],
    ],
)
def test_odd_columns_are_one_sentence(columns, tmp_path):
    table = pyarrow.Table.from_arrays([c for _, c in columns], names=[name for name, _ in columns])
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(BadData, match=r"train\.parquet"):
        open_source(f"folder:{tmp_path}")


def test_columns_without_use_need_not_be_readable(tmp_path, monkeypatch):
    """By `folder:` and `hub:`; labels may be bytes."""
    datasets = pytest.importorskip("datasets")
    names = [label.as_py().encode() for label in LABELS]
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    pictures = pyarrow.array([buffer.getvalue()] * 8)
    table = pyarrow.table({"image": pictures, "emotion": names, "taken": DAY})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    assert open_source(f"folder:{tmp_path}").emotions == ("neutral", "happy")
    part = datasets.Dataset(table).cast_column("image", datasets.Image())
    monkeypatch.setattr(hub, "fetch", lambda *_: {"train": part})
    assert open_source(f"hub:somebody/faces@{'a' * 40}").emotions == ("neutral", "happy")


def test_unreadable_rows_of_the_hub_are_named(monkeypatch):
    datasets = pytest.importorskip("datasets")
    table = pyarrow.table({"image": PICTURES, "emotion": LABELS, "person": DAY})
    part = datasets.Dataset(table).cast_column("image", datasets.Image())
    monkeypatch.setattr(hub, "fetch", lambda *_: {"train": part})
    with pytest.raises(BadData, match="split train"):
        open_source(f"hub:somebody/faces@{'a' * 40}")


def test_a_pipe_is_no_parquet_file(tmp_path):
    os.mkfifo(tmp_path / "train.parquet")
    with pytest.raises(BadData):
        open_source(f"folder:{tmp_path}")
