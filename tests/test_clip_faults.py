"""Clips that are broken or lie, and disks that are full: one sentence, and nothing half-written."""

from __future__ import annotations

import resource
from fractions import Fraction

import pytest
import torch
from attack.base import run
from clips import moving_face, write_video
from hostile_clips import HOSTILE_CLIPS, encode
from PIL import Image

from ganmut.cli import main
from ganmut.decoding import BadImage, read_picture
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.faces import EditSettings, edit_files
from ganmut.methods.base import METHODS
from ganmut.video.containers import missing_bytes
from ganmut.video.editing import edit_clip
from ganmut.video.reading import CLEAR, open_clip


@pytest.fixture(scope="module")
def settings() -> EditSettings:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    editor = Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})
    return EditSettings(editor, editor.space.of("happy"))


@pytest.mark.parametrize(
    "name",
    [
        "empty.mp4",
        "page.mp4",
        "pointer.mp4",
        "playlist.mp4",
        "no_frames.mp4",
        "no_frames.mkv",
        "sound_only.mp4",
        "no_key_frame.mp4",
        "huge_table.mp4",
        "damaged_5_4.mp4",
        "after_years.mkv",
        "two_sizes.mp4",
        "pipe.mp4",
        "folder.mp4",
        "loop.mov",
    ],
)
def test_clips_that_are_none_are_refused(name, settings, tmp_path):
    source, out = tmp_path / name, tmp_path / "out"
    HOSTILE_CLIPS[name](source)
    with pytest.raises(BadImage, match=name):
        edit_clip(source, settings, out / "b.mp4", progress=False)
    assert not out.exists() or list(out.iterdir()) == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi"])
def test_a_missing_byte_is_noticed(suffix, settings, tmp_path):
    source = tmp_path / f"a.{suffix}"
    codec = {"webm": "libvpx-vp9", "avi": "mpeg4"}.get(suffix, "libx264")
    whole = encode(source, moving_face(4), codec).read_bytes()
    with open(source, "rb") as file:
        assert missing_bytes(file) == 0 and file.tell() == 0
    source.write_bytes(whole + b"trailer of a camera" * 9)
    with open_clip(source) as clip:
        assert len(list(clip.frames())) == 4
    source.write_bytes(whole[:-1])
    with pytest.raises(BadImage, match="1 bytes"):
        edit_clip(source, settings, tmp_path / "b.mp4", progress=False)


@pytest.mark.parametrize("name", ["no_matrix.mov", "turned_45.mp4"])
def test_clips_without_a_direction_stay_upright(name, settings, tmp_path):
    HOSTILE_CLIPS[name](tmp_path / name)
    record = edit_clip(tmp_path / name, settings, tmp_path / "b.mp4", progress=False)
    assert record["edited_frames"] == 6 and len(record["notes"]) == 1


def test_lost_transparency_is_said(settings, tmp_path):
    HOSTILE_CLIPS["see_through.mov"](tmp_path / "a.mov")
    clear = Image.fromarray(moving_face(1)[0]).convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    clear.save(tmp_path / "a.webp", save_all=True, append_images=[clear.rotate(1)], lossless=True)
    for name in ("a.mov", "a.webp"):
        record = edit_clip(tmp_path / name, settings, tmp_path / "b.mp4", progress=False)
        assert record["notes"] == [CLEAR]


@pytest.mark.parametrize("name", ["animation_cut.webp", "mp4_named.gif"])
def test_a_damaged_animation_is_named(name, settings, tmp_path):
    HOSTILE_CLIPS[name](tmp_path / name)
    with pytest.raises(BadImage, match=name):
        edit_files([tmp_path / name], settings, tmp_path / "b.mp4", progress=False)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".gif", ".webp"])
@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_full_disk_is_one_sentence(suffix, size, tmp_path, bundle, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundle))
    source = write_video(tmp_path / "a.mp4", moving_face(3))
    out = tmp_path / "out"
    out.mkdir()

    def limited() -> int:
        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        where = ["--out", str(out / f"b{suffix}"), "--method", "procedural/stargan"]
        return main(["edit", str(source), *where, "--emotion", "happy", "--device", "cpu"])

    outcome = run(limited)
    assert outcome.status == 2 and not outcome.traceback, outcome.output
    assert f"b{suffix}: File too large; free" in outcome.output
    assert list(out.iterdir()) == []


def test_slow_clips_are_whole(settings, tmp_path):
    ticks = [0, 10**6, 2 * 10**6]
    source = encode(tmp_path / "a.mp4", moving_face(3), times=ticks, rate=Fraction(1, 1000))
    assert edit_clip(source, settings, tmp_path / "b.mp4", progress=False)["frames"] == 3


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>", b"version https://git-lfs.github.com"])
def test_what_stands_in_for_a_picture_is_said(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(BadImage, match="not the file"):
        read_picture(tmp_path / "a.png")
