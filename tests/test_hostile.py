"""Hostile pictures: each gives a face or one sentence, and a folder of them is gone through."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hostile_pictures import HOSTILE
from PIL import Image
from skimage import data as samples

from ganmut import faces, files, images
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS


@pytest.fixture(scope="module")
def album(tmp_path_factory) -> Path:
    """A folder with all of them, a link to nowhere, and a folder that is called like a picture."""
    root = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in HOSTILE.items():
        face = Image.fromarray(samples.astronaut()[:300, 60:400])
        (root / name).write_bytes(make(face))
    (root / "folder.jpg").mkdir()
    os.symlink(root / "gone.png", root / "link.png")
    return root


FEW = ("empty.jpg", "truncated.png", "bomb.png", "animated.webp", "black.png", "grey16.png")


@pytest.fixture(params=[FEW, pytest.param(tuple(HOSTILE), marks=pytest.mark.slow)], ids=len)
def folder(request, album, tmp_path) -> Path:
    """Some of the album, or all; always with the link and the folder."""
    root = tmp_path / "in"
    shutil.copytree(album, root, symlinks=True)
    for name in HOSTILE.keys() - set(request.param):
        (root / name).unlink()
    return root


@pytest.fixture(scope="module")
def editor() -> Editor:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    return Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})


def one_sentence(text: str) -> bool:
    return 10 < len(text) < 400 and "\n" not in text and "Traceback" not in text


def test_there_are_twenty_of_them():
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize("name", HOSTILE)
def test_each_gives_a_face_or_one_sentence(album, editor, tmp_path, name):
    _, face = HOSTILE[name]
    try:
        records = faces.edit_files(
            [album / name],
            faces.EditSettings(editor, editor.space.of("happy"), face="all"),
            tmp_path / "out",
        )
    except ValueError as error:
        assert face is not True and one_sentence(str(error)), error
        assert not (tmp_path / "out").exists()
        return
    assert face is not False and all(record["score"] > 0 for record in records)
    assert name != "ten_faces.png" or len(records) == 10
    edited = images.read_image(records[0]["out"])
    assert edited.shape == images.read_image(album / name).shape


def test_hostile_folder_is_edited_to_its_end(folder, editor, tmp_path):
    records = faces.edit_files(
        [folder],
        faces.EditSettings(editor, editor.space.of("happy")),
        tmp_path / "out",
        progress=False,
    )
    check(folder, records, {Path(r["file"]).name: r.get("error") for r in records})
    assert files.read_lines(tmp_path / "out" / "faces.jsonl") == (records, [])


def test_hostile_folder_is_aligned_to_its_end(folder, tmp_path):
    report = faces.align_files(folder, tmp_path / "out", progress=False)
    rows = [json.loads(x) for x in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    check(folder, rows, {row["origin"]: None for row in rows} | report.skipped)
    assert all(
        images.read_image(tmp_path / "out" / row["file_name"]).shape == (128,) * 2 + (3,)
        for row in rows
    )
    again = faces.align_files(folder, tmp_path / "out", progress=False)
    assert (again.faces, again.existing, again.skipped) == (0, report.faces, report.skipped)


def check(folder: Path, rows: list, reasons: dict[str, str | None]) -> None:
    """Every picture of the folder is accounted for, by a face or by a reason in one sentence."""
    names = {path.name for path in folder.iterdir()} & HOSTILE.keys()
    assert names <= set(reasons) <= {*names, "link.png", "folder.jpg"} and rows
    for name in names:
        face, reason = HOSTILE[name][1], reasons[name]
        assert (reason is None or face is not True) and (reason or face is not False), name
        assert reason is None or one_sentence(reason)
