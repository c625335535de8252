"""Any pictures in, the one crop out: layouts, several faces, breaking off and going on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as samples

from ganmut import faces, files, images
from ganmut.cli import main
from ganmut.datasets import BadData, open_source
from ganmut.errors import ParameterError
from ganmut.faces import align_dataset
from ganmut.faces.align import template


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return samples.astronaut()[:300, 60:400]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def align(what, out, **options):
    return faces.align_files(what, out, progress=False, **options)


def test_the_crop_is_the_one_that_editors_know(tmp_path, astronaut):
    photo = save(tmp_path / "in" / "a.png", astronaut)
    report = align(tmp_path / "in", tmp_path / "out", size=64)
    (row,) = lines(tmp_path / "out" / "metadata.jsonl")
    (face,) = faces.detect_faces(astronaut)
    expected, _ = faces.crop_face(images.read_image(photo), face, 64)
    assert np.array_equal(images.read_image(tmp_path / "out" / row["file_name"]), expected)
    assert (report.faces, report.existing, report.skipped) == (1, 0, {})
    assert row["origin"] == "a.png" and row["fill"] == 1 and "emotion" not in row


def test_fill_is_the_covered_share_of_a_crop():
    whole = np.zeros((128, 128, 3), np.uint8)
    for points, share in ((template(128), 1.0), (template(128) - [64, 0], 0.5)):
        _, transform = faces.crop_face(whole, points, 128)
        assert align_dataset.crop_fill(whole, transform, 128) == pytest.approx(share, abs=0.01)


def test_what_a_source_knows_goes_along(tmp_path, astronaut):
    words = ("neutral", "happy", "angry")
    for person in range(4):
        for word in words:
            name = f"Rafd090_{person + 1:02}_Caucasian_female_{word}_frontal.jpg"
            save(tmp_path / "rafd" / name, astronaut)
    save(tmp_path / "rafd" / "Rafd045_01_Caucasian_female_happy_frontal.jpg", astronaut)
    save(tmp_path / "rafd" / "stray.jpg", astronaut)
    report = align(f"rafd:{tmp_path / 'rafd'}", tmp_path / "out")
    assert report.faces == 12 and report.skipped == {"stray.jpg": "not a file name of RaFD"}
    assert lines(tmp_path / "out" / "left_out.jsonl")[0]["file"] == "stray.jpg"
    source = open_source(f"folder:{tmp_path / 'out'}?min_fill=0.9")
    assert source.emotions == ("neutral", "happy", "angry") and len(source.rows) == 12
    assert source.crop == "arcface128_up7"
    known = open_source(f"rafd:{tmp_path / 'rafd'}?on_error=skip")
    assert [(r.label, r.person, r.split) for r in source.rows] == [
        (r.label, r.person, r.split) for r in known.rows
    ]


def test_class_folders_and_metadata_stay_known(tmp_path, astronaut):
    for label in ("neutral", "joy"):
        save(tmp_path / "classes" / label / "a.jpg", astronaut)
    align(tmp_path / "classes", tmp_path / "one")
    assert open_source(f"folder:{tmp_path / 'one'}").emotions == ("neutral", "happy")
    units = [0.5] * 17
    rows = [
        {"file_name": f"classes/{label}/a.jpg", "emotion": label, "person": "x", "units": units}
        for label in ("neutral", "joy")
    ]
    rows.append({"file_name": "gone.jpg", "emotion": "joy"})
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = align(tmp_path, tmp_path / "two")
    assert report.skipped == {"gone.jpg": "missing file"}
    row = lines(tmp_path / "two" / "metadata.jsonl")[0]
    assert (row["person"], row["units"], row["emotion"]) == ("x", units, "neutral")


def test_several_faces_as_in_edit(tmp_path, astronaut):
    small = np.asarray(Image.fromarray(astronaut).resize((238, 210), Image.Resampling.BICUBIC))
    picture = np.full((300, 340 + 238, 3), 128, np.uint8)
    picture[:, :340], picture[:210, 340:] = astronaut, small
    save(tmp_path / "in" / "happy" / "two.png", picture)
    save(tmp_path / "in" / "happy" / "one.png", astronaut)
    names = {}
    for face in ("largest", "all", "2"):
        report = align(tmp_path / "in", tmp_path / face, face=face)
        names[face] = [row["file_name"] for row in lines(tmp_path / face / "metadata.jsonl")]
    assert names["largest"] == ["happy/one.png", "happy/two.png"]
    assert names["all"] == ["happy/one.png", "happy/two.png", "happy/two.face2.png"]
    assert names["2"] == ["happy/two.png"] and len(report.skipped) == 1
    rows = lines(tmp_path / "all" / "metadata.jsonl")
    assert [row.get("emotion") for row in rows] == ["happy", "happy", None]


def test_names_of_further_faces_overwrite_no_image(tmp_path, astronaut):
    two = np.concatenate([astronaut, astronaut], 1)
    save(tmp_path / "in" / "a.png", two)
    save(tmp_path / "in" / "a.face2.png", two)
    report = align(tmp_path / "in", tmp_path / "out", face="all")
    rows = lines(tmp_path / "out" / "metadata.jsonl")
    assert len({row["file_name"] for row in rows}) == report.faces == 4
    names = {row["origin"]: row["file_name"] for row in reversed(rows)}
    assert names == {"a.png": "a.png", "a.face2.png": "a.face2.face1.png"}


def test_a_run_goes_on_where_it_stopped(tmp_path, astronaut, monkeypatch):
    for i in range(4):
        save(tmp_path / "in" / f"{i}.png", np.roll(astronaut, i, 1))
    looked = []

    def look(picture, detector):
        looked.append(picture)
        if len(looked) == 3:
            raise KeyboardInterrupt
        return faces.detect_faces(picture, detector)

    monkeypatch.setattr(align_dataset, "detect_faces", look)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        align(tmp_path / "in", out)
    assert not (out / "metadata.jsonl").exists()  # a folder that looks done is done
    with open(out / "align.jsonl", "a") as log:
        log.write('{"key": "2.png", "faces": [{"face": 1}')  # as a kill leaves it
    (out / ".2.png.0123abcd.tmp").write_text("half a picture")
    report = align(tmp_path / "in", out)
    assert (report.existing, report.faces, len(looked)) == (2, 2, 5)
    assert [row["origin"] for row in lines(out / "metadata.jsonl")] == [
        f"{i}.png" for i in range(4)
    ]
    written = {path: path.read_bytes() for path in out.iterdir()}
    assert align(tmp_path / "in", out).existing == 4 and len(looked) == 5
    assert {path: path.read_bytes() for path in out.iterdir()} == written
    # A crop that was lost and a picture that changed are made again, and new ones are found.
    (out / "0.png").unlink()
    save(tmp_path / "in" / "1.png", samples.coffee())
    save(tmp_path / "in" / "9.png", astronaut)
    report = align(tmp_path / "in", out)
    assert (report.existing, report.faces, set(report.skipped)) == (2, 2, {"1.png"})
    assert not list(out.glob(".*"))


def test_a_damaged_log_is_named(tmp_path, astronaut):
    save(tmp_path / "in" / "0.png", astronaut)
    log = tmp_path / "out" / "align.jsonl"
    log.parent.mkdir()
    log.touch()  # as a kill right after its creation leaves it
    assert align(tmp_path / "in", tmp_path / "out").faces == 1
    log.write_text(log.read_text().replace("128", "129", 1))
    with pytest.raises(ParameterError, match=r"align\.jsonl"):
        align(tmp_path / "in", tmp_path / "out")


def test_two_runs_do_not_share_a_folder(tmp_path, astronaut):
    save(tmp_path / "in" / "0.png", astronaut)
    with files.folder_lock(tmp_path / "out"), pytest.raises(files.InUse, match=str(os.getpid())):
        align(tmp_path / "in", tmp_path / "out")
    assert align(tmp_path / "in", tmp_path / "out").faces == 1


def test_results_are_not_aligned_again(tmp_path, astronaut):
    save(tmp_path / "a.png", astronaut)
    for _ in range(2):
        report = align(tmp_path, tmp_path / "out")
    assert (report.images, report.existing) == (1, 1)


def test_bad_arguments_fail_before_the_work(tmp_path, astronaut):
    save(tmp_path / "in" / "a.png", astronaut)
    (tmp_path / "empty").mkdir()
    save(tmp_path / "full" / "b.png", astronaut)
    cases = [
        (tmp_path / "gone", "out", {}, "gone"),
        (tmp_path / "empty", "out", {}, "empty"),
        (tmp_path / "in", "in", {}, "in"),
        (tmp_path / "in", "full", {}, "full"),
        (tmp_path / "in", "out", {"size": 3}, "16.* 3"),
        (tmp_path / "in", "out", {"detector": "yunet"}, "yunet"),
        ("procedural", "out", {}, "procedural"),
        (f"rafd:{tmp_path / 'in'}", "out", {}, "neutral"),
    ]
    for what, out, options, message in cases:
        with pytest.raises(ValueError, match=message):
            align(what, tmp_path / out, **options)
    assert not (tmp_path / "out").exists()
    align(tmp_path / "in", tmp_path / "out", size=64)
    with pytest.raises(ValueError, match="size 64"):
        align(tmp_path / "in", tmp_path / "out", size=128)
    row = {"file_name": "../full/b.png", "emotion": "happy"}
    (tmp_path / "in" / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(BadData, match=r"full/b\.png"):
        align(tmp_path / "in", tmp_path / "other")


def numbers(report: str) -> list[int]:
    """The numbers of the command's report, without those of its path."""
    return [int(number) for number in re.findall(r"\d+", report.rpartition(":")[0])]


def test_the_command(tmp_path, astronaut, capsys):
    save(tmp_path / "in" / "a.png", astronaut)
    assert main(["align", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    assert numbers(capsys.readouterr().out) == [1, 1, 0, 0]  # faces, images, before, skipped
    save(tmp_path / "in" / "coffee.png", samples.coffee())
    assert main(["align", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "coffee.png: " in told.err and numbers(told.out) == [0, 2, 1, 1]
    (tmp_path / "in" / "coffee.png").write_bytes(b"text")  # named once, though its reader names it
    assert main(["align", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("coffee.png") == 1
