"""What `python -m ganmut edit` makes of its options, with bundled weights."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

from ganmut.cli import main
from ganmut.images import read_image


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "astronaut.png"
    Image.fromarray(samples.astronaut()[:300, 60:400]).save(path)
    return path


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "coffee.png"
    Image.fromarray(samples.coffee()).save(path)
    return path


def edited(photo, out, *options) -> np.ndarray:
    assert main(["edit", str(photo), "--out", str(out), *map(str, options)]) == 0
    return read_image(out)


def test_units_by_their_numbers(photo, tmp_path):
    method = ("--method", "procedural/defgan")
    smile = edited(photo, tmp_path / "smile.png", *method, "--units", "AU12=1", "25=.8")
    brows = edited(photo, tmp_path / "brows.png", *method, "--units", "4=1")
    assert smile.shape == read_image(photo).shape and not np.array_equal(smile, brows)
    assert not np.array_equal(smile, read_image(photo))


@pytest.mark.parametrize(
    "options, took",
    [
        (["--emotion", "sad"], "photos/expression"),
        (["--emotion", "sad", "--method", "ganmut"], "photos/ganmut"),
        (["--emotion", "sad", "--method", "photos/ganmut"], "photos/ganmut"),
        (["--emotion", "sad", "--method", "gganmut"], "procedural/gganmut"),
    ],
)
def test_the_command_says_which_weight_it_took(photo, tmp_path, capsys, options, took):
    edited(photo, tmp_path / "out.png", *options)
    assert f" {took}, " in capsys.readouterr().out


def test_a_reference_steers_how_an_emotion_is_shown(photo, tmp_path):
    options = ["--method", "stargan_v2", "--emotion", "happy"]
    named = edited(photo, tmp_path / "named.png", *options)
    like = edited(photo, tmp_path / "like.png", *options, "--reference", photo)
    none = [
        edited(photo, tmp_path / f"{k}.png", *options, "--intensity", 0, *more)
        for k, more in enumerate([[], ["--reference", photo]])
    ]
    assert not np.array_equal(named, like)
    assert np.array_equal(*none)  # no intensity, no style


def test_the_code_itself(photo, tmp_path):
    edited(photo, tmp_path / "a.png", "--method", "ganmut", "--code", 0.6, -0.2)
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["face"] == 1


@pytest.mark.parametrize(
    "method, options, words",
    [
        ("defgan", ["--units", "12=1.5"], ["12", "1.5"]),
        ("defgan", ["--units", "12=nan"], ["12", "nan"]),
        ("defgan", ["--units", "12=1", "AU12=0"], ["--units: ", "12"]),
        ("defgan", ["--units", "13=1"], ["13", "1, 2, 4"]),
        ("defgan", ["--units", "smile"], ["AU=VALUE", "'smile'"]),
        ("defgan", ["--units", "12=1", "--emotion", "happy"], ["--emotion, --code, --units: "]),
        ("defgan", [], ["--emotion, --code, --units: "]),
        ("defgan", ["--code", "1", "1"], ["17", "2"]),
        ("defgan", ["--code", *["2"] * 17], ["--code: ", "defgan", "1 1 1"]),
        ("ganmut", ["--code", "3", "4"], ["--code: ", "ganmut", "0.6 0.8"]),
        ("ganmut", ["--code", "nan", "0"], ["NaN"]),
        ("ganmut", ["--units", "12=1"], ["--units: ", "ganmut"]),
        ("defgan", ["--units", "12=1"], ["--source-units: ", "defgan", "17"]),
        (
            "expression",
            ["--units", "4=1", "--source-units", "12=1"],
            ["--source-units: ", "expression"],
        ),
        ("stargan_v2", ["--emotion", "happy", "--intensity", "2"], ["intensity"]),
    ],
)
def test_bad_targets_are_refused(photo, tmp_path, capsys, method, options, words):
    out = tmp_path / "out.png"
    try:
        status = main(["edit", str(photo), "--out", str(out), "--method", method, *options])
    except SystemExit as end:
        status = end.code
    assert status == 2 and not out.exists()
    error = capsys.readouterr().err
    assert all(word in error for word in words)


@pytest.mark.parametrize(
    "method, options, sentence",
    [
        ("stargan_v2", ["--emotion", "happy"], "coffee.png: "),
        ("stargan_v2", [], "--emotion, --code, --units: "),
        ("ganmut", ["--emotion", "happy"], "GANmut"),
    ],
)
def test_references_that_cannot_be_read(photo, empty, tmp_path, capsys, method, options, sentence):
    reference = empty if method == "stargan_v2" else photo
    arguments = ["--method", method, "--reference", str(reference), *options]
    assert main(["edit", str(photo), "--out", str(tmp_path / "out.png"), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_names_without_text_are_edited_and_logged(photo, tmp_path, capsys):
    name = tmp_path / "in" / os.fsdecode(b"\xff.png")
    name.parent.mkdir()
    shutil.copy(photo, name)
    out = tmp_path / "out"
    asked = ["edit", str(name.parent), "--out", str(out), "--method", "procedural/ganmut"]
    assert main([*asked, "--emotion", "happy"]) == 0
    (record,) = [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
    assert record["file"] == str(name)


@pytest.mark.parametrize("command", ["edit", "align", "train"])
def test_an_output_that_leads_nowhere(photo, tmp_path, command, capsys):
    out = tmp_path / "loop"
    out.symlink_to("loop")
    asked = {
        "edit": [str(photo.parent), "--emotion", "happy"],
        "align": [str(photo.parent)],
        "train": ["stargan"],
    }
    assert main([command, *asked[command], "--out", str(out)]) == 2
    assert "--out" in capsys.readouterr().err
