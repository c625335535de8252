"""Edits made elsewhere: exported, made by another program, and measured as a row."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import BENCH_METHODS

import ganmut
from bench import run
from bench.foreign_edits import Request, describe_units
from ganmut.emotions import EMOTIONS
from ganmut.images import read_image, write_png

# What an emotion and an intensity cannot ask for.
SEARCHING = {"ere@1", "ere@2", "second_ere@1", "second_ere@2"}


def read_manifest(folder: Path) -> list[dict[str, str]]:
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def write_manifest(folder: Path, rows: list[dict[str, str]]) -> None:
    with open(folder / "manifest.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def make_edits(folder: Path, spec: str) -> None:
    """Edits every row of a manifest, as another program would: file by file."""
    editor = ganmut.load(spec, "cpu")
    for row in read_manifest(folder):
        faces = editor.prepare([read_image(folder / row["source"])])
        code = editor.space.of(row["emotion"], float(row["intensity"]))
        write_png(folder / row["edited"], editor.edit(faces, code)[0])


@pytest.fixture
def export(bench_run, tmp_path):
    """Writes an export of the toy world; gives its folder."""

    def call(*arguments: str, name: str = "elsewhere") -> Path:
        folder = tmp_path / name
        assert run.main(["--protocol", "tiny", "--export-sources", str(folder), *arguments]) == 0
        return folder

    return call


def test_an_export_asks_for_each_edit_once(export, capsys):
    folder = export()
    rows = read_manifest(folder)
    assert "--" not in capsys.readouterr().err
    asked = [(row["source"], row["emotion"], row["intensity"]) for row in rows]
    assert len(set(asked)) == len(asked) and all(
        (folder / source).is_file() for source, *_ in asked
    )
    of_one = [row for row in rows if row["source"] == "sources/0000.png"]
    # Seven emotions, and nine steps between neutral and each of the other six.
    assert len(of_one) == 7 + 6 * 9
    assert {row["units"] for row in of_one if row["emotion"] == "neutral"} == {""}
    half = [r for r in of_one if r["emotion"] == "happy" and r["intensity"] == "0.5"]
    assert half[0]["units"].startswith("6=0.5") or "12=0.5" in half[0]["units"]
    only = export("--metrics", "accuracy", name="labels")
    assert len(read_manifest(only)) == 4 * 7


def test_the_row_equals_the_weight_it_copies(export, bench_run, bundle, capsys):
    folder = export()
    make_edits(folder, "procedural/stargan")
    code, records = bench_run("--methods", "stargan", "--edits", str(folder), "--no-figures")
    assert code == 0
    rows = {
        name: {r["metric"]: r for r in records if r.get("row") == name}
        for name in ("stargan", "elsewhere")
    }
    assert rows["stargan"].keys() == rows["elsewhere"].keys()
    for metric, own in rows["stargan"].items():
        other = rows["elsewhere"][metric]
        if metric in SEARCHING:
            assert other["status"] == "not measured" and "search" in other["note"]
            continue
        assert other["status"] == own["status"], (metric, other["note"])
        for name, value in {"": own["value"], **own["parts"]}.items():
            found = {"": other["value"], **other["parts"]}[name]
            # Editors round alike in batches of one and of many but for single grey levels.
            assert found == (value and pytest.approx(value, rel=1e-4, abs=1e-4)), (metric, name)
    assert rows["elsewhere"]["accuracy"]["weights"] == "edits"
    assert "elsewhere" in capsys.readouterr().out


def test_emotions_without_units_are_exported():
    emotions = (*EMOTIONS, "contempt")
    assert describe_units(Request(0, "contempt", 0.5), emotions) == ""
    assert "12=0.5" in describe_units(Request(0, "happiness", 0.5), emotions)


def test_edits_alone_measure_no_weights(export, bench_run):
    folder = export("--metrics", "accuracy,identity_distance")
    make_edits(folder, "procedural/stargan")
    code, records = bench_run("--metrics", "accuracy,fed", "--edits", str(folder), "--no-figures")
    scores = {(r["row"], r["metric"]): r for r in records}
    assert code == 0 and not {row for row, _ in scores} & set(BENCH_METHODS)
    assert scores["elsewhere", "accuracy"]["status"] == "ok"
    assert scores["elsewhere", "fed"]["status"] == "not measured"  # not exported
    before = scores["elsewhere", "accuracy"]["weights_sha256"]
    write_png(folder / "edited" / "00003.png", torch.zeros(3, 32, 32, dtype=torch.uint8))
    _, records = bench_run("--metrics", "accuracy", "--edits", str(folder), "--no-figures")
    assert records[-1]["weights_sha256"] != before


CHANGED = {
    "size of text": {"size": "32"},
    "huge size": {"size": 10**9},
    "unknown set": {"sets": ["hidden"]},
    "no sets": {"sets": 7},
}


def spoil(folder: Path, how: str) -> None:
    rows = read_manifest(folder)
    edited = folder / rows[2]["edited"]
    if how == "missing row":
        write_manifest(folder, rows[:-1])
    elif how == "doubled row":
        write_manifest(folder, [*rows, rows[4]])
    elif how == "unknown emotion":
        write_manifest(folder, [rows[0] | {"emotion": "joyful"}, *rows[1:]])
    elif how == "no number":
        write_manifest(folder, [rows[0] | {"intensity": "full"}, *rows[1:]])
    elif how == "no column":
        write_manifest(folder, [{k: v for k, v in row.items() if k != "edited"} for row in rows])
    elif how == "no manifest":
        (folder / "manifest.csv").unlink()
    elif how == "binary manifest":
        (folder / "manifest.csv").write_bytes(b"\xff\xfe\0\0")
    elif how == "missing picture":
        edited.unlink()
    elif how == "empty name":
        write_manifest(folder, [rows[0] | {"edited": ""}, *rows[1:]])
    elif how == "damaged picture":
        edited.write_bytes(edited.read_bytes()[:60])
    elif how == "wrong size":
        Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(edited)
    elif how == "outside":
        shutil.copy(edited, folder.parent / "outside.png")
        write_manifest(folder, [rows[0] | {"edited": "../outside.png"}, *rows[1:]])
    elif how == "a pipe":
        (folder / "manifest.csv").unlink()
        os.mkfifo(folder / "manifest.csv")
    elif how == "million rows":
        write_manifest(folder, rows * 1000)
    elif how == "NUL":
        write_manifest(folder, [rows[0] | {"edited": "\0"}, *rows[1:]])
    elif how in CHANGED:
        path = folder / "export.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | CHANGED[how]))
    elif how == "nested export":
        (folder / "export.json").write_text("[" * 200_000)
    elif how == "export is a pipe":
        (folder / "export.json").unlink()
        os.mkfifo(folder / "export.json")
    elif how == "no export":
        (folder / "export.json").unlink()
    elif how == "damaged export":
        (folder / "export.json").write_text("{")
    elif how == "other faces":
        path = folder / "export.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "x"}))


@pytest.mark.parametrize(
    "how, words",
    [
        ("missing row", ["lacks 1 of 28 rows", "0003.png"]),
        ("doubled row", ["line 30", "line 6"]),
        ("unknown emotion", ["line 2", "joyful"]),
        ("no number", ["line 2", "full"]),
        ("no column", ["'edited'"]),
        ("no manifest", ["manifest.csv"]),
        ("binary manifest", ["manifest.csv"]),
        ("missing picture", ["line 4", "00002.png", "1 of 28"]),
        ("empty name", ["line 2", "(empty)"]),
        ("damaged picture", ["00002.png"]),
        ("wrong size", ["48 x 40", "32 x 32"]),
        ("no export", ["export.json"]),
        ("damaged export", ["export.json"]),
        ("other faces", ["other faces"]),
        ("outside", ["line 2", "outside.png", "folder"]),
        ("a pipe", ["manifest.csv"]),
        ("million rows", ["line 30", "line 2"]),
        ("NUL", ["manifest.csv"]),
        ("nested export", ["export.json"]),
        ("export is a pipe", ["export.json"]),
        *((how, ["export.json", "damaged"]) for how in CHANGED),
    ],
)
def test_what_is_wrong_with_edits_is_said(export, bench_run, capsys, how, words):
    folder = export("--metrics", "accuracy")
    make_edits(folder, "procedural/stargan")
    spoil(folder, how)
    code, records = bench_run("--metrics", "accuracy", "--edits", str(folder), "--no-figures")
    error = capsys.readouterr().err
    assert code == 2 and records == []
    assert error.count("\n") == 1 and all(word in error for word in words), error


@pytest.mark.parametrize(
    "options, words",
    [
        (["--seed", "1"], ["--seed 0"]),
        (["--size", "64"], ["--size"]),
        (["--methods", "elsewhere"], ["elsewhere"]),
    ],
)
def test_other_settings_than_exported_are_refused(export, bench_run, capsys, options, words):
    folder = export("--metrics", "accuracy")
    make_edits(folder, "procedural/stargan")
    code, _ = bench_run("--metrics", "accuracy", "--edits", str(folder), "--no-figures", *options)
    error = capsys.readouterr().err
    assert code == 2 and all(word in error for word in words), error


def test_rows_need_names_of_their_own(export, bench_run, bundle, capsys):
    folder = export("--metrics", "accuracy")
    make_edits(folder, "procedural/stargan")
    shutil.copytree(folder, folder.with_name("stargan"))
    edits = ["--methods", "stargan", "--edits", str(folder.with_name("stargan"))]
    code, _ = bench_run("--metrics", "accuracy", *edits, "--no-figures")
    assert code == 2 and "stargan" in capsys.readouterr().err


def test_an_export_overwrites_no_edits(export, capsys):
    folder = export("--metrics", "accuracy")
    options = ["--protocol", "tiny", "--export-sources", str(folder)]
    for more in ([], ["--no-figures"], ["--size", "4"], ["--metrics", "ere@1"]):
        assert run.main([*options, *more]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 4 and "--no-figures" in said and "--size" in said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_manifests_of_spreadsheets_are_read(export, bench_run, encoding):
    folder = export("--metrics", "accuracy")
    make_edits(folder, "procedural/stargan")
    manifest = folder / "manifest.csv"
    head, *rows = manifest.read_text().splitlines()
    lines = [f"{head},note", *(f"{row},é" for row in rows)]
    manifest.write_text("\r\n".join(lines), encoding=encoding)
    code, _ = bench_run("--metrics", "accuracy", "--edits", str(folder), "--no-figures")
    assert code == 0
