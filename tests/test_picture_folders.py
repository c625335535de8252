"""Folders of pictures in every form: each is edited, or counted with a reason."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from hostile_pictures import ENDLESS
from PIL import Image
from skimage import data as samples

from ganmut import decoding, faces
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.encoding import MARK, read_comment
from ganmut.errors import ParameterError
from ganmut.faces import align, paste_back
from ganmut.methods.base import METHODS

FACE = Image.fromarray(samples.astronaut()[:300, 60:400])
READ = ("a.png", "b.jpg", "c.jfif", "d.gif", "e.avif", "f.heic", "g.webp", "h.bmp", "i.tiff")


@pytest.fixture(scope="module")
def editor() -> Editor:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    return Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})


@pytest.fixture
def folder(tmp_path):
    """Pictures that can be read, and, before and after them, what can not."""
    pytest.importorskip("pillow_heif")
    decoding.register_heif()
    root = tmp_path / "in"
    root.mkdir()
    for name in READ:
        FACE.save(root / name)
    (root / "b0.png").write_bytes(ENDLESS)
    (root / "b1.eps").write_bytes(ENDLESS)
    (root / "e0.jpg").write_bytes((root / "e.avif").read_bytes()[:2000])
    (root / "z.psd").write_bytes(b"8BPS")
    os.mkfifo(root / "b2.png")
    (root / "notes.txt").write_text("no picture")
    return root


BAD = {"b0.png", "b1.eps", "b2.png", "e0.jpg", "z.psd"}


def test_each_file_is_edited_or_has_a_reason(folder, editor, tmp_path):
    records = faces.edit_files(
        [folder],
        faces.EditSettings(editor, editor.space.of("happy")),
        tmp_path / "out",
        progress=False,
    )
    by_name = {os.path.basename(r["file"]): r for r in records}
    assert {name for name, r in by_name.items() if "error" in r} == BAD
    assert set(by_name) == {*READ, *BAD}


def test_align_names_each_file_too(folder, tmp_path):
    report = faces.align_files(folder, tmp_path / "out", progress=False)
    assert set(report.skipped) == BAD and report.faces == len(READ)


def test_no_output_replaces_another_input(editor, tmp_path):
    for name in ("in/sub/x.jpg", "out/sub/x.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        FACE.save(tmp_path / name)
    before = (tmp_path / "out/sub/x.png").read_bytes()
    settings = faces.EditSettings(editor, editor.space.of("happy"))
    with pytest.raises(ParameterError, match="overwrite"):
        paths = [tmp_path / "in", tmp_path / "out/sub/x.png"]
        faces.edit_files(paths, settings, tmp_path / "out", progress=False)
    assert (tmp_path / "out/sub/x.png").read_bytes() == before


def test_a_damaged_file_does_not_end_a_training(folder):
    from ganmut.datasets.base import open_source

    labels = {"a.png": "happy", "b.jpg": "neutral", "e0.jpg": "happy", "b0.png": "neutral"}
    rows = [{"file_name": n, "emotion": e, "split": "train"} for n, e in labels.items()]
    lines = map(json.dumps, rows)
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    source = open_source(f"folder:{folder}", on_error="skip")
    assert len(source.load("train", 32, progress=False)) == 2


def test_files_are_written_with_the_mark(editor, tmp_path, monkeypatch):
    FACE.save(tmp_path / "a.png")
    edit = (editor, editor.space.of("happy"))
    faces.edit_files([tmp_path / "a.png"], faces.EditSettings(*edit), tmp_path / "b.png")
    monkeypatch.setenv("GANMUT_MARK", "0")
    faces.edit_files([tmp_path / "a.png"], faces.EditSettings(*edit), tmp_path / "c.png")
    with Image.open(tmp_path / "b.png") as marked, Image.open(tmp_path / "c.png") as plain:
        assert read_comment(marked) == read_comment(plain) == MARK
        changed = (np.asarray(marked) != np.asarray(plain)).any(-1)
        assert changed[-20:].any() and not changed[:-20].any()


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_face_is_edited_where_it_lies(editor, tmp_path, monkeypatch, turn):
    monkeypatch.setenv("GANMUT_MARK", "0")
    FACE.save(tmp_path / "a.png")
    FACE.rotate(-turn, expand=True).save(tmp_path / "t.png")
    edit = (editor, editor.space.of("happy"))
    faces.edit_files([tmp_path / "a.png"], faces.EditSettings(*edit), tmp_path / "a_out.png")
    (record,) = faces.edit_files(
        [tmp_path / "t.png"], faces.EditSettings(*edit), tmp_path / "t_out.png"
    )
    assert any("turned" in note for note in record["notes"])
    with Image.open(tmp_path / "a_out.png") as upright, Image.open(tmp_path / "t_out.png") as lying:
        assert lying.size == FACE.rotate(turn, expand=True).size
        back = np.asarray(lying.rotate(turn, expand=True)).astype(int)
        change = np.abs(back - np.asarray(FACE)).mean()
        assert np.abs(back - np.asarray(upright)).mean() < 0.2 * change and change > 0.5


def test_animations_are_noted_in_the_record(editor, tmp_path):
    FACE.save(tmp_path / "a.gif", save_all=True, append_images=[FACE.rotate(9), FACE.rotate(5)])
    (record,) = faces.edit_files(
        [tmp_path / "a.gif"],
        faces.EditSettings(editor, editor.space.of("happy")),
        tmp_path / "b.png",
    )
    assert "3 frames" in record["notes"][0]


def test_pasting_in_bands_gives_the_same_bytes(monkeypatch):
    picture, draw = samples.astronaut(), np.random.default_rng(0)
    source, edited = draw.integers(0, 255, (2, 64, 64, 3), np.uint8)
    flow = draw.normal(0, 2, (64, 64, 2)).astype(np.float32)
    (face,) = faces.detect_faces(picture)
    transform = align.similarity(face.points, 64)
    whole = [paste_back.paste_face(picture, source, edited, transform, f) for f in (None, flow)]
    monkeypatch.setattr(paste_back, "BAND", 1000)
    banded = [paste_back.paste_face(picture, source, edited, transform, f) for f in (None, flow)]
    assert np.array_equal(whole[0], banded[0]) and np.array_equal(whole[1], banded[1])


def test_large_crops_are_reduced_in_bytes(monkeypatch):
    picture = np.asarray(Image.fromarray(samples.astronaut()).resize((1500, 1500)))
    points = np.array([[500, 300], [800, 300], [650, 480], [530, 640], [770, 640.0]])
    before, _ = align.crop_face(picture, points, 64)
    monkeypatch.setattr(align, "LARGE", 1000)
    after, _ = align.crop_face(picture, points, 64)
    difference = np.abs(before.astype(int) - after)
    assert difference.max() <= 8 and difference.mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("size", [(4000, 3000), (6000, 4000), (8000, 6000)])
def test_phone_pictures_come_back_at_full_size(editor, tmp_path, size):
    wide = Image.new("RGB", (400, 300), "grey")
    wide.paste(FACE, (30, 0))
    wide.resize(size).save(tmp_path / "a.jpg")
    faces.edit_files(
        [tmp_path / "a.jpg"],
        faces.EditSettings(editor, editor.space.of("happy")),
        tmp_path / "b.jpg",
    )
    with Image.open(tmp_path / "b.jpg") as edited:
        assert edited.size == size
