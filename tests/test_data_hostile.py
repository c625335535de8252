"""Folders as people have them: what systems leave in them, tables of other programs, broken names.
Nothing is dropped in silence, and every fault is one sentence."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganmut.datasets import BadData, open_source
from ganmut.datasets.spec import parse_source, split_sources
from ganmut.folders import walk_files
from ganmut.registry import UnknownNameError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), 90, np.uint8)).save(path)
    return path


def classes(root: Path, each: int = 4) -> Path:
    for name in ("neutral", "happy"):
        for i in range(each):
            picture(root / name / f"{i}.png")
    return root


def table(root: Path, rows: list[dict], encoding: str = "utf-8") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for row in rows:
        picture(root / row["file_name"])
    with open(root / "metadata.csv", "w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return root


def rows(names: str = "{}.png", n: int = 8) -> list[dict]:
    emotions = ("neutral", "happy")
    return [{"file_name": names.format(i), "emotion": emotions[i % 2]} for i in range(n)]


def refusal(spec: str) -> str:
    with pytest.raises(BadData) as refused:
        open_source(spec)
    text = str(refused.value)
    assert "\n" not in text and 20 < len(text) < 700
    return text


HIDDEN = (".ipynb_checkpoints", ".Trash-1000", "@eaDir", "$RECYCLE.BIN", "#recycle", "~snapshot")
SYSTEM = (*HIDDEN, "__MACOSX", "#snapshot", "@Recycle", ".git", "found.000", "RECYCLER")


@pytest.mark.parametrize("column", ["units", "fill"])
@pytest.mark.parametrize("value", [10**400, [10**400] * 17, "x\n" * 9999, {"a": 1}, [None] * 17])
def test_odd_numbers_of_a_table_are_refused(tmp_path, column, value):
    listed = rows()
    for row in listed:
        picture(tmp_path / row["file_name"])
    lines = [json.dumps(row | {column: value}) for row in listed]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    said = refusal(f"folder:{tmp_path}")
    assert "0.png" in said and "8 rows" in said


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_no_emotions(tmp_path, name):
    classes(tmp_path)
    picture(tmp_path / name / "a.png")
    picture(tmp_path / "happy" / name / "deep" / "b.png")
    picture(tmp_path / "happy" / "._0.png")
    source = open_source(f"folder:{tmp_path}")
    assert source.emotions == ("neutral", "happy") and len(source.rows) == 8
    assert source.skip_counts == {}
    inside = open_source(f"folder:{classes(tmp_path / name / 'faces')}")  # pointed at: it counts
    assert len(inside.rows) == 8


def test_links_are_followed_but_not_in_circles(tmp_path):
    classes(tmp_path / "data")
    picture(tmp_path / "elsewhere" / "linked.png")
    (tmp_path / "data/happy/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/happy/circle").symlink_to(tmp_path / "data")
    names = [path.name for path in walk_files(tmp_path / "data" / "happy")]
    assert names.count("linked.png") == 1 and len(names) == 5


def test_images_outside_the_layout_are_counted(tmp_path, capsys):
    table(tmp_path / "a", rows())
    for i in range(3):
        picture(tmp_path / "a" / "more" / f"{i}.png")
    (tmp_path / "a" / "drawing.psd").write_bytes(b"8BPS")
    source = open_source(f"folder:{tmp_path / 'a'}")
    assert source.skip_counts == {
        "not listed in metadata.csv": 3,
        "format .psd is not read": 1,
    }
    assert "3 x not listed in metadata.csv" in capsys.readouterr().out
    classes(tmp_path / "b" / "train")
    classes(tmp_path / "b" / "test")
    picture(tmp_path / "b" / "train" / "loose.png")
    picture(tmp_path / "b" / "holdout" / "happy" / "0.png")
    assert open_source(f"folder:{tmp_path / 'b'}").skip_counts == {"not in a class folder": 2}


def test_one_image_with_two_labels_is_refused(tmp_path):
    listed = rows()
    more = [{"file_name": "./0.png", "emotion": "happy"}, {"file_name": "1.png", "emotion": "joy"}]
    told = refusal(f"folder:{table(tmp_path, listed + more)}")
    assert "1 row" in told and "0.png: listed twice with the labels happy and neutral" in told
    source = open_source(f"folder:{tmp_path}?on_error=skip")
    assert len(source.rows) == 7 and source.skip_counts["listed again"] == 1


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_tables_in_other_encodings_are_read(tmp_path, encoding):
    source = open_source(f"folder:{table(tmp_path, rows('Zoë {}.png'), encoding)}")
    assert len(source.rows) == 8 and source.skip_counts == {}


def test_unreadable_tables_name_the_file(tmp_path):
    table(tmp_path, rows())
    path = tmp_path / "metadata.csv"
    text = path.read_text()
    wrong = {
        text.encode() + b"\x81\x8d.png,happy": "UTF-8",
        (text + '"' + "a" * 140_000).encode(): "line",
        (text + "0.png,happy,surplus\n").encode(): "line 10",
        text.replace("emotion", "file_name").encode(): "file_name",
        b"version https://git-lfs.github.com/spec/v1\n": "git lfs pull",
        b"<!doctype html><html>": "web page",
        "\ufefffile".encode("utf-16-le") + b"\0": "metadata.csv",
    }
    for content, words in wrong.items():
        path.write_bytes(content)
        told = refusal(f"folder:{tmp_path}")
        assert "metadata.csv" in told and words in told


def test_broken_json_lines_name_the_line(tmp_path):
    table(tmp_path, rows())
    (tmp_path / "metadata.csv").unlink()
    path = tmp_path / "metadata.jsonl"
    for line in ("[" * 100_000, "[1]", "{", '{"file_name": ' + "9" * 5000 + "}"):
        path.write_text(json.dumps(rows()[0]) + "\n" + line)
        assert "metadata.jsonl line 2" in refusal(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside.png", "leads out"),
        ("/etc/hostname", "leads out"),
        ("loop.png", "loop|symbolic"),
        ("a" * 300, "long"),
        ("folder", "not a file"),
        ("nul\0.png", "no name"),
        ("0.png/x.png", "missing file"),
    ],
)
def test_names_that_are_no_files_are_rejected(tmp_path, name, reason):
    root = table(tmp_path / "data", rows())
    picture(tmp_path / "outside.png")
    (root / "folder").mkdir()
    (root / "loop.png").symlink_to("loop.png")
    (root / "metadata.csv").unlink()
    listed = [*rows(), {"file_name": name, "emotion": "happy"}]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    with pytest.raises(BadData, match=f"1 row cannot be used.*{reason}"):
        open_source(f"folder:{root}")
    assert len(open_source(f"folder:{root}?on_error=skip").rows) == 8


def test_loops_and_names_without_text_are_data(tmp_path):
    classes(tmp_path)
    (tmp_path / "happy" / "loop.png").symlink_to("loop.png")
    os.rename(os.fsencode(tmp_path / "happy/0.png"), os.fsencode(tmp_path / "happy") + b"/\xff.png")
    refusal(f"folder:{tmp_path}")
    source = open_source(f"folder:{tmp_path}?on_error=skip")
    assert len(source.rows) == 8
    parts = [source.load(s, 8, progress=False) for s in sorted({r.split for r in source.rows})]
    assert sum(map(len, parts)) == 8


@pytest.mark.parametrize("name", ["a + b", "what?x=1", "a&b", "plain", 'quo"te'])
def test_quoted_names_of_folders(tmp_path, name):
    root = classes(tmp_path / name)
    quoted = f'folder:"{root}"' if '"' not in name else f"folder:{root}"
    assert len(open_source(quoted).rows) == 8
    chosen = open_source(f"{quoted}?emotions=neutral,happy&on_error=skip")
    assert len(chosen.rows) == 8
    assert split_sources(f"{quoted} + procedural") == [quoted, "procedural"]
    assert len(open_source(f"relabel:{quoted}").source.rows) == 8
    assert len(open_source(f"{quoted} + {quoted}?on_error=skip").sources) == 2


def test_parts_of_a_spec():
    assert parse_source('rafd:"a?b=c & d"?openface="x&y.csv"&gazes=left') == (
        "rafd",
        "a?b=c & d",
        {"openface": "x&y.csv", "gazes": "left"},
    )
    assert parse_source("procedural") == ("procedural", "", {})
    assert parse_source("folder:what?") == ("folder", "what?", {})


def test_unquoted_names_get_the_remedy(tmp_path):
    classes(tmp_path / "c + procedural")
    for spec in (
        f"folder:{classes(tmp_path / 'a')} + b",
        f"folder:{tmp_path / 'a'}?x=1",
        f"folder:{tmp_path / 'c + procedural'}",
    ):
        with pytest.raises((BadData, UnknownNameError), match='folder:"PATH"'):
            open_source(spec)


@pytest.mark.parametrize("text", ["nan", "-1", "2", "half"])
def test_min_fill_is_a_share(tmp_path, text):
    assert "min_fill" in refusal(f"folder:{classes(tmp_path)}?min_fill={text}")
