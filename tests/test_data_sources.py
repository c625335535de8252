"""Folders and Hub datasets: every layout, every bad row, splits by person, and the cache."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_server import ask, serve
from PIL import Image

from ganmut.datasets import BadData, open_source
from ganmut.datasets import cache as picture_cache
from ganmut.datasets.records import cell_text
from ganmut.emotions import EMOTIONS, UNITS

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))


def picture(path: Path, shade: int, side: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side, 3), shade, np.uint8)
    pixels[: side // 2, :, 0] = 255 - shade
    Image.fromarray(pixels).save(path)
    return path


def classes(root: Path, names=("happy", "neutral", "Anger"), each: int = 12) -> Path:
    for c, name in enumerate(names):
        for i in range(each):
            picture(root / name / f"{i:03}.png", 30 * c + i)
    return root


def write_folder(root: Path, rows: list[dict], form: str = "jsonl") -> Path:
    """A folder with metadata and a picture for every file_name that has none yet."""
    for i, row in enumerate(rows):
        name = row.get("file_name")
        if name and not (root / name).exists():
            picture(root / name, i % 200)
    path = root / f"metadata.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
    return root


def people(n: int = 60, **more) -> list[dict]:
    """Three pictures a person, one of each emotion."""
    return [
        {"file_name": f"images/{p}-{e}.png", "emotion": e, "person": f"p{p}", **more}
        for p in range(n)
        for e in ("neutral", "happy", "fearful")
    ]


def everything(source) -> dict[str, list[int]]:
    return {
        split: source.load(split, 8, progress=False).person.tolist()
        for split in ("train", "extractor", "test")
    }


# Layouts


def test_class_folders_give_canonical_emotions_and_the_pictures(tmp_path):
    source = open_source(f"folder:{classes(tmp_path / 'faces')}")
    assert source.emotions == ("neutral", "happy", "angry")
    sets = [source.load(split, 16, progress=False) for split in ("train", "extractor", "test")]
    assert sum(map(len, sets)) == 36 and all(faces.person is None for faces in sets)
    faces = sets[0]
    assert faces.images.shape[1:] == (3, 16, 16) and faces.images.dtype == np.uint8
    assert faces.source == "folder:faces" and faces.skip_counts == {} and faces.units is None
    # A picture's shade tells which folder it lies in.
    folders = ("happy", "neutral", "angry")
    for image, label in zip(faces.faces(), faces.emotion, strict=True):
        assert folders[int(image[2, 0, 0]) // 30] == source.emotions[int(label)]


def test_class_folders_under_splits(tmp_path):
    classes(tmp_path / "train", each=20)
    classes(tmp_path / "val", each=5)
    source = open_source(f"folder:{tmp_path}")
    assert len(source.load("test", 8, progress=False)) == 15
    parts = [len(source.load(split, 8, progress=False)) for split in ("train", "extractor")]
    assert sum(parts) == 60 and min(parts) > 0
    classes(tmp_path / "test", each=4)
    assert len(open_source(f"folder:{tmp_path}").load("test", 8, progress=False)) == 12


def test_the_emotions_are_those_of_the_data(tmp_path):
    classes(tmp_path, ("neutral", "contempt", "bored", "fear", "surprise"))
    found = open_source(f"folder:{tmp_path}").emotions
    assert found == ("neutral", "surprised", "fearful", "bored", "contempt")
    chosen = open_source(f"folder:{tmp_path}", emotions="neutral,fear,bored")
    assert chosen.emotions == ("neutral", "fearful", "bored")
    assert chosen.skip_counts == {"emotion not selected": 24}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_metadata_with_people_splits_and_units(tmp_path, form):
    rows = people(10, split="train") + [
        {**row, "file_name": "t" + row["file_name"], "person": "q" + row["person"], "split": "test"}
        for row in people(4)
    ]
    for row in rows:
        row |= {f" AU{unit:02d}_r": 2.5 for unit in UNITS} | {" AU28_c": 1}
    source = open_source(f"folder:{write_folder(tmp_path, rows, form)}")
    assert source.emotions == ("neutral", "happy", "fearful")
    test = source.load("test", 8, progress=False)
    assert len(test) == 12 and test.person.unique().numel() == 4
    assert torch.equal(test.units, torch.full((12, 17), 0.5))


def test_units_are_a_list_or_columns(tmp_path):
    listed = people(8, units=[round(i / 20, 2) for i in range(17)])
    faces = open_source(f"folder:{write_folder(tmp_path / 'a', listed)}").load(
        "train", 8, progress=False
    )
    assert torch.allclose(faces.units[0], torch.arange(17) / 20)
    plain = [{**row, **{f"AU{unit:02d}": 0.25 for unit in UNITS}} for row in people(8)]
    faces = open_source(f"folder:{write_folder(tmp_path / 'b', plain, 'csv')}").load(
        "train", 8, progress=False
    )
    assert (faces.units == 0.25).all()


# Splits and people


def test_splits_share_no_person_and_are_stable(tmp_path):
    folder = write_folder(tmp_path / "a", people(60))
    found = everything(open_source(f"folder:{folder}"))
    persons = {split: set(rows) for split, rows in found.items()}
    assert sum(map(len, persons.values())) == 60
    assert not persons["train"] & persons["extractor"] | persons["test"] & (
        persons["train"] | persons["extractor"]
    )
    assert 0.1 < len(persons["extractor"]) / 60 < 0.4 and 0 < len(persons["test"]) < 15
    again = write_folder(tmp_path / "b", list(reversed(people(60))))
    assert {k: len(v) for k, v in everything(open_source(f"folder:{again}")).items()} == {
        k: len(v) for k, v in found.items()
    }


def test_people_and_labels_numbered_from_zero(tmp_path):
    """0 is a person and a label, not an empty cell: no person is in two splits."""
    rows = [row | {"person": i // 3, "emotion": i % 3} for i, row in enumerate(people(60))]
    folder = write_folder(tmp_path, rows, "jsonl")
    source = open_source(f"folder:{folder}", label_map="0:neutral,1:happy,2:sad")
    splits: dict[str | None, set[str]] = {}
    for row in source.rows:
        splits.setdefault(row.person, set()).add(row.split)
    assert splits.keys() == {str(number) for number in range(60)}
    assert all(len(where) == 1 for where in splits.values())


def test_empty_cells_are_no_text():
    assert [cell_text(cell) for cell in (None, float("nan"), "", 0)] == ["", "", "", "0"]


def test_unknown_persons_are_distinct(tmp_path):
    rows = people(30)
    for row in rows[::2]:
        row["person"] = ""
    found = everything(open_source(f"folder:{write_folder(tmp_path, rows)}"))
    assert len({p for split in found.values() for p in split}) == 45 + len(
        {r["person"] for r in rows[1::2]}
    )


def test_fewer_faces_are_chosen_by_the_seed(tmp_path):
    source = open_source(f"folder:{write_folder(tmp_path, people(40))}")
    whole = source.load("train", 8, progress=False)
    some = [source.load("train", 8, 20, seed=seed, progress=False) for seed in (0, 0, 1)]
    assert [len(faces) for faces in some] == [20] * 3
    assert some[0].fingerprint == some[1].fingerprint != some[2].fingerprint
    assert whole.fingerprint not in {faces.fingerprint for faces in some}
    assert len(source.load("train", 8, 10**6, progress=False)) == len(whole)


# Bad rows


def spoil_a_file(root, rows):
    (root / rows[0]["file_name"]).unlink()


def spoil_a_label(root, rows):
    rows[0]["emotion"] = "uncertain"


def no_label(root, rows):
    rows[0]["emotion"] = ""


def misspell(root, rows):
    rows[0]["emotion"] = "hapy"


def number(root, rows):
    rows[0]["emotion"] = "3"


def spoil_a_split(root, rows):
    rows[0]["split"] = "holdout"


def spoil_units(root, rows):
    rows[0]["units"] = [2.0] * 17


BAD = [
    (spoil_a_file, "missing file"),
    (spoil_a_label, "label 'uncertain' is no emotion"),
    (no_label, "no label"),
    (misspell, "unknown label 'hapy', did you mean 'happy'?"),
    (number, "label '3' is a number, not a name"),
    (spoil_a_split, "unknown split 'holdout'"),
    (spoil_units, "action units outside 0..1"),
]


@pytest.mark.parametrize(("spoil", "reason"), BAD)
def test_bad_rows_are_refused_or_counted(tmp_path, capsys, spoil, reason):
    rows = people(20)
    write_folder(tmp_path, rows)
    spoil(tmp_path, rows)
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadData) as refusal:
        open_source(f"folder:{tmp_path}")
    told = str(refusal.value)
    assert f"1 x {reason}" in told and f"images/0-neutral.png: {reason}" in told
    assert "on_error=skip" in told
    source = open_source(f"folder:{tmp_path}", on_error="skip")
    assert f"1 x {reason}" in capsys.readouterr().out
    faces = source.load("train", 8, progress=False)
    assert faces.skip_counts == {reason: 1}
    assert sum(len(v) for v in everything(source).values()) == 59


def test_unreadable_pictures_are_refused_or_skipped(tmp_path, capsys):
    rows = people(20, split="train")
    write_folder(tmp_path, rows)
    for row in rows[:7]:
        (tmp_path / row["file_name"]).write_bytes(b"not a picture")
    source = open_source(f"folder:{tmp_path}", on_error="raise")
    total = {}
    for split in ("train", "extractor"):
        with pytest.raises(BadData, match=r"\d x unreadable image"):
            source.load(split, 8, progress=False)
        faces = open_source(f"folder:{tmp_path}", on_error="skip").load(split, 8, progress=False)
        total[split] = len(faces), faces.skip_counts["unreadable image"]
        assert faces.faces().flatten(1).any(1).all()  # no blank picture stands in for a bad one
    assert f"{total['extractor'][1]} x unreadable image" in capsys.readouterr().out
    assert sum(left for _, left in total.values()) + sum(n for n, _ in total.values()) == len(
        [row for row in source.rows if row.split != "test"]
    )


def test_five_rows_are_listed_and_the_rest_counted(tmp_path):
    rows = people(10)
    for row in rows[:8]:
        row["emotion"] = "none"
    with pytest.raises(BadData, match=r"\b8\b.*\b3\b"):
        open_source(f"folder:{write_folder(tmp_path, rows)}")


def test_tightly_cropped_pictures_are_skip_counts_on_request(tmp_path):
    rows = [{**row, "fill": 0.5 + 0.01 * i} for i, row in enumerate(people(10))]
    source = open_source(f"folder:{write_folder(tmp_path, rows, 'csv')}", min_fill="0.645")
    assert source.skip_counts == {"fill below 0.645": 15}
    with pytest.raises(BadData, match=r"min_fill.*fill"):
        open_source(f"folder:{write_folder(tmp_path / 'b', people(10))}", min_fill=0.5)


def write_nonsense(root):
    write_folder(root, people(5))
    (root / "metadata.jsonl").write_text('{"file_name": "a"\n')


FOLDERS = [
    (lambda root: root.mkdir(), "PATH/<emotion>"),
    (lambda root: None, "PATH/<emotion>"),
    (lambda root: classes(root, ("happy", "sad")), "happy 12, sad 12"),
    (lambda root: classes(root, ("neutral",)), "neutral"),
    (
        lambda root: write_folder(root, [{"file_name": "a.png", "mood": "happy"}]),
        "has the columns file_name, mood; it needs file_name and emotion",
    ),
    (write_nonsense, r"metadata\.jsonl.*\b1\b"),
]


@pytest.mark.parametrize(("make", "message"), FOLDERS)
def test_folder_without_data_is_refused(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(BadData, match=message):
        open_source(f"folder:{tmp_path / 'data'}")


def test_unknown_splits_and_options_are_refused(tmp_path):
    source = open_source(f"folder:{classes(tmp_path)}")
    with pytest.raises(BadData, match=r"'dev'.*train, extractor, test"):
        source.load("dev", 8)
    with pytest.raises(BadData, match="on_error"):
        open_source(f"folder:{tmp_path}", on_error="ignore")


# Pictures and their cache


def test_the_second_start_decodes_nothing(tmp_path, monkeypatch):
    folder = classes(tmp_path / "faces")
    first = open_source(f"folder:{folder}").load("train", 16, progress=False)
    reads = []
    real = picture_cache.crop_square
    monkeypatch.setattr(picture_cache, "crop_square", lambda *a: reads.append(a) or real(*a))
    second = open_source(f"folder:{folder}").load("train", 16, progress=False)
    assert not reads and isinstance(second.images, np.memmap)
    assert torch.equal(first.faces(), second.faces()) and first.fingerprint == second.fingerprint
    bigger = open_source(f"folder:{folder}").load("train", 24, progress=False)
    assert len(reads) == len(bigger) and bigger.fingerprint != first.fingerprint
    picture(folder / "happy" / "000.png", 200, side=40)  # another picture under the same name
    changed = [
        open_source(f"folder:{folder}").load(s, 16, progress=False)
        for s in ("train", "extractor", "test")
    ]
    assert any((faces.faces()[:, 2] == 200).any() for faces in changed)


def test_half_a_cache_is_no_cache(tmp_path):
    source = open_source(f"folder:{classes(tmp_path / 'faces')}")
    first = source.load("train", 16, progress=False).faces().clone()
    cached = list(picture_cache.cache_root().iterdir())
    assert sorted(path.suffix for path in cached) == [".json", ".npy"]
    for path in cached:  # as if the machine had stopped between the two files
        path.unlink() if path.suffix == ".json" else path.write_bytes(b"half")
    assert torch.equal(source.load("train", 16, progress=False).faces(), first)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["flip", "half", "empty"])
def test_damaged_caches_are_made_again(tmp_path, caplog, suffix, damage):
    source = open_source(f"folder:{classes(tmp_path / 'faces')}")
    first = source.load("train", 16, progress=False).faces().clone()
    (path,) = (p for p in picture_cache.cache_root().iterdir() if p.suffix == suffix)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-50] ^= 4
    path.write_bytes({"flip": flipped, "half": whole[: len(whole) // 2], "empty": b""}[damage])
    assert torch.equal(source.load("train", 16, progress=False).faces(), first)
    assert path.with_suffix(".npy").name in caplog.text and path.read_bytes() == whole


def test_a_disk_that_is_full_leaves_no_cache(tmp_path, monkeypatch):
    source = open_source(f"folder:{classes(tmp_path / 'faces')}")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BadData, match="No space left"):
        source.load("train", 16, progress=False)
    assert list(picture_cache.cache_root().iterdir()) == []


def test_a_stop_does_not_wait_for_pictures(tmp_path):
    read = []

    def decode(row: int) -> np.ndarray:
        read.append(row)
        if row == 0:
            raise KeyboardInterrupt
        time.sleep(0.02)
        return np.zeros((8, 8, 3), np.uint8)

    with pytest.raises(KeyboardInterrupt):
        picture_cache.cached_images("stopped", 200, 8, decode, progress=False)
    assert len(read) < 100 and list(picture_cache.cache_root().iterdir()) == []


@pytest.mark.parametrize("able", [True, False])
def test_the_space_of_a_cache_is_reserved(tmp_path, monkeypatch, able):
    def unable(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    if not able:
        monkeypatch.setattr(os, "posix_fallocate", unable)
    taken = []

    def fill(target: np.ndarray) -> None:
        (temporary,) = tmp_path.glob(".*.tmp")
        taken.append(temporary.stat().st_blocks * 512)

    array, facts = picture_cache.stored_array(tmp_path / "a.npy", (30, 3, 64, 64), fill)
    assert taken[0] >= array.nbytes and facts == {} and not array.any()


def test_pictures_are_cut_square_never_stretched():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (picture_cache.crop_square(wide, 8) == 255).all()


def test_memory_mapped_set_equals_one_in_memory(tmp_path):
    faces = open_source(f"folder:{write_folder(tmp_path, people(30))}").load(
        "train", 8, progress=False
    )
    rows = torch.tensor([3, 0, 5])
    assert torch.equal(faces.select(rows).faces(), faces.faces()[rows])
    assert torch.equal(faces.to("cpu").images[rows], faces.faces(rows))
    assert not faces.grey and set(faces.emotion.tolist()) <= set(range(len(faces.emotions)))
    assert faces.emotions == tuple(e for e in EMOTIONS if e in ("neutral", "happy", "fearful"))


# The Hub


@pytest.mark.parametrize("spec", ["someone/faces", "someone/faces@main", "someone/faces@0123abc"])
def test_a_hub_revision_must_be_pinned(spec):
    with pytest.raises(BadData, match=r"hub:someone/faces@REVISION.*40"):
        open_source(f"hub:{spec}")


TRY = """
import sys
from ganmut.datasets import open_source
for spec in sys.argv[1:]:
    name, _, options = spec.partition(" ")
    try:
        source = open_source(name, **dict(pair.split("=") for pair in options.split()))
        sets = [source.load(split, 16, progress=False) for split in ("train", "extractor", "test")]
        pairs = [(i, s.emotions[int(e)]) for s in sets for i, e in zip(s.faces(), s.emotion)]
        shades = {name + str(int(image[2, 0, 0]) % 3) for image, name in pairs}
        print(source.emotions, sum(map(len, sets)), sorted(shades), sets[0].skip_counts)
    except ValueError as error:
        print("refused:", error)
"""


def test_a_hub_dataset_through_the_real_client(tmp_path):
    import datasets

    names = ["happy", "neutral", "anger"]
    cells = {"picture": [], "label": [], "other": []}
    for i in range(30):
        path = picture(tmp_path / "p" / f"{i}.png", i)
        data = path.read_bytes() if i != 4 else b"broken"
        cells["picture"].append({"bytes": data, "path": None})
        cells["label"].append(i % 3)
        cells["other"].append(i % 2)
    kinds = {
        "picture": datasets.Image(),
        "label": datasets.ClassLabel(names=names),
        "other": datasets.ClassLabel(names=["a", "b"]),
    }
    (tmp_path / "repo" / "data").mkdir(parents=True)
    table = datasets.Dataset.from_dict(cells, features=datasets.Features(kinds))
    table.to_parquet(tmp_path / "repo" / "data" / "train-00000-of-00001.parquet")
    broken = tmp_path / "cut" / "data" / "train.parquet"
    broken.parent.mkdir(parents=True)
    table.to_parquet(broken)
    spec = f"hub:me/faces@{REVISION}"
    repositories = {
        ("datasets", f"me/{name}"): {REVISION: tmp_path / folder}
        for name, folder in (("faces", "repo"), ("gated", "repo"), ("cut", "cut"))
    }
    with serve(repositories, gated=("me/gated",), cut=(broken.name,)) as endpoint:
        told = ask(
            TRY,
            endpoint,
            tmp_path / "home",
            spec,
            f"{spec} on_error=skip",
            f"{spec} label_column=mood",
            f"hub:me/faces@{'f' * 40}",
            f"hub:me/nothing@{REVISION}",
            f"hub:me/gated@{REVISION}",
            f"hub:me/cut@{REVISION}",
        ).splitlines()
    told = [line for line in told if line.startswith(("(", "refused"))]
    assert "train/4: unreadable image" in told[0]
    emotions = "('neutral', 'happy', 'angry') 29 ['angry2', 'happy0', 'neutral1']"
    assert told[1].startswith(emotions) and "unreadable" in told[1] + told[0]
    assert "me/faces has no column 'mood'; it has picture, label, other" in told[2]
    assert f"the Hub has no dataset me/faces at {'f' * 40}" in told[3]
    assert "the Hub has no dataset me/nothing" in told[4]
    assert "me/gated is gated: accept its terms on https://huggingface.co/datasets/" in told[5]
    assert "me/cut could not be fetched from the Hub: peer closed connection" in told[6]
