"""Clips: every frame with the face is edited, everything else is as it was."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from clips import ASTRONAUT, COFFEE, moving_face, read_video, rotate_by_metadata, write_video
from PIL import Image

import ganmut
from ganmut import faces
from ganmut.cli import main
from ganmut.decoding import BadImage
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.encoding import MARK, read_comment
from ganmut.errors import ParameterError
from ganmut.faces.detectors.base import Face, FaceNumberError, NoFace
from ganmut.methods.base import METHODS
from ganmut.video import editing
from ganmut.video.code_path import FrameCodes, Stop, make_code_path
from ganmut.video.editing import Flicker, edit_clip
from ganmut.video.reading import Frame, open_clip
from ganmut.video.smoothing import REACH, steady
from ganmut.video.tracking import STRIDE, TrackedFrame, Tracker
from ganmut.video.writing import check_output

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def unmarked(monkeypatch):
    monkeypatch.setenv("GANMUT_MARK", "0")


@pytest.fixture(scope="module")
def editor() -> Editor:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    return Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})


@pytest.fixture(scope="module")
def happy(editor):
    return editor.space.of("happy")


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clips") / "a.mp4", moving_face(16))


def change(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_every_frame_with_the_face_is_edited(video, editor, happy, tmp_path):
    record = edit_clip(video, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    before, times, sound = read_video(video)
    after, new_times, new_sound = read_video(tmp_path / "b.mp4")
    assert record["frames"] == record["edited_frames"] == len(after) == 16
    assert times == new_times and sound == new_sound and sound
    for one, other in zip(before, after, strict=True):
        assert change(one[:20, :60], other[:20, :60]) < 2  # beside the face only the encoder
        assert change(one[40:140, 80:160], other[40:140, 80:160]) > 4


def test_variable_frame_rates_keep_their_times(editor, happy, tmp_path):
    ticks = [0, 40, 45, 200, 210, 500, 540, 1500]
    source = write_video(tmp_path / "a.mkv", moving_face(8), ticks)
    for name in ("b.mkv", "b.mp4", "b.gif"):
        edit_clip(source, faces.EditSettings(editor, happy), tmp_path / name, progress=False)
    assert read_video(tmp_path / "b.mkv")[1] == [t / 1000 for t in ticks]
    assert read_video(tmp_path / "b.mp4")[1] == pytest.approx([t / 1000 for t in ticks])
    assert read_video(tmp_path / "b.gif")[1] == pytest.approx([t / 1000 for t in ticks], abs=0.02)


def test_rotated_videos_are_edited_upright(editor, happy, tmp_path):
    lying = [np.ascontiguousarray(np.rot90(frame)) for frame in moving_face(6)]
    source = rotate_by_metadata(write_video(tmp_path / "a.mp4", lying))
    record = edit_clip(
        source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False
    )
    (first, *_), _, _ = read_video(tmp_path / "b.mp4")
    assert record["edited_frames"] == 6 and first.shape == (180, 240, 3)
    assert change(first[:20], moving_face(1)[0][:20]) < 4


def test_cuts_and_frames_without_a_face(editor, happy, tmp_path):
    frames = [*moving_face(6), *[COFFEE] * 11, *moving_face(5)]
    source = write_video(tmp_path / "a.mp4", frames)
    record = edit_clip(
        source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False
    )
    assert (record["edited_frames"], record["without_face"], record["cuts"]) == (11, 11, 2)
    before, after = read_video(source)[0], read_video(tmp_path / "b.mp4")[0]
    assert max(change(a, b) for a, b in zip(before[6:17], after[6:17], strict=True)) < 3


def test_a_clip_without_a_face_writes_nothing(editor, happy, tmp_path):
    source = write_video(tmp_path / "a.mp4", [COFFEE] * 3)
    with pytest.raises(NoFace, match="3 frames"):
        edit_clip(
            source, faces.EditSettings(editor, happy), tmp_path / "out" / "b.mp4", progress=False
        )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name, share", [("a.mp4", 0.6), ("a.mkv", 0.5), ("a.webm", 0.0)])
def test_truncated_videos_are_refused_whole(editor, happy, tmp_path, name, share):
    source = tmp_path / name
    if share:
        write_video(source, moving_face(60))
        source.write_bytes(source.read_bytes()[: int(source.stat().st_size * share)])
    else:
        source.write_bytes(b"#EXTM3U\n/etc/passwd\n")  # a playlist opens nothing
    with pytest.raises(BadImage, match=name):
        edit_clip(source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    assert not (tmp_path / "b.mp4").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_animations_keep_frames_times_and_mark(editor, happy, tmp_path, form):
    pictures = [Image.fromarray(frame) for frame in moving_face(5)]
    source = tmp_path / f"a.{form}"
    durations = [100, 60, 200, 40, 300]
    pictures[0].save(source, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    record = edit_clip(
        source, faces.EditSettings(editor, happy), tmp_path / f"b.{form}", progress=False
    )
    assert record["edited_frames"] == 5
    with Image.open(tmp_path / f"b.{form}") as edited:
        assert edited.n_frames == 5 and read_comment(edited) == MARK
        found = []
        for number, picture in enumerate(pictures):
            edited.seek(number)
            shown = np.asarray(edited.convert("RGB"))
            found.append(edited.info["duration"])
            assert change(shown[:20], np.asarray(picture)[:20]) < 9
        assert found == durations
    edit_clip(source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    assert read_video(tmp_path / "b.mp4")[1] == pytest.approx([0, 0.1, 0.16, 0.36, 0.4], abs=1e-3)


def test_the_output_says_whether_animations_stay(editor, happy, tmp_path):
    pictures = [Image.fromarray(frame) for frame in moving_face(3)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    for name, kind in (("b.png", "face"), ("b.webp", "frames")):
        (record,) = faces.edit_files(
            [tmp_path / "a.gif"], faces.EditSettings(editor, happy), tmp_path / name, progress=False
        )
        assert kind in record
    with pytest.raises(ParameterError, match=r"\.mp4"):
        video = write_video(tmp_path / "a.mp4", moving_face(2))
        faces.edit_files([video], faces.EditSettings(editor, happy), tmp_path / "b.png")


def test_folders_hold_pictures_and_clips(video, editor, happy, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    ASTRONAUT.save(source / "p.png")
    (source / "a.mp4").write_bytes(video.read_bytes())
    (source / "b.mp4").write_bytes(b"no video")
    saved = Editor(editor.method, editor.config | {"sha256": "1" * 64})
    records = faces.edit_files([source], faces.EditSettings(saved, happy), out, progress=False)
    assert [("frames" in r, "error" in r) for r in records] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    written = (out / "a.mp4").stat().st_mtime_ns
    assert (
        faces.edit_files([source], faces.EditSettings(saved, happy), out, progress=False) == records
    )
    assert (out / "a.mp4").stat().st_mtime_ns == written
    with pytest.raises(ParameterError, match=r"p\.png"):
        way = make_code_path(editor, [Stop("neutral", 1, 0), Stop("happy", 1, 1)])
        faces.edit_files(
            [source], faces.EditSettings(saved, happy, path=way), tmp_path / "new", progress=False
        )


def test_a_failure_on_the_way_leaves_nothing(video, editor, happy, tmp_path, monkeypatch):
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    real = editing._edit
    monkeypatch.setattr(editing, "_edit", fail)
    (tmp_path / "b.mp4").write_bytes(b"an earlier one")
    with pytest.raises(KeyboardInterrupt):
        edit_clip(video, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["b.mp4"]
    assert (tmp_path / "b.mp4").read_bytes() == b"an earlier one"


def test_sound_that_a_format_cannot_hold(video, editor, happy, tmp_path):
    with pytest.raises(BadImage, match="aac"):
        edit_clip(video, faces.EditSettings(editor, happy), tmp_path / "b.webm", progress=False)
    record = edit_clip(video, faces.EditSettings(editor, happy), tmp_path / "b.gif", progress=False)
    assert "sound" in record["notes"][0]
    # FFmpeg's lists of codecs have Opus for MP4 and MOV alike; before a frame is edited.
    opus = write_video(tmp_path / "a.mkv", moving_face(2), sound="libopus")
    with open_clip(opus) as clip, pytest.raises(BadImage, match=r"\.mov .*opus.*\.mkv"):
        check_output(clip, ".mov")


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_sound_before_the_first_frame_is_kept(name, editor, happy, tmp_path):
    ticks = [400 + 40 * number for number in range(6)]
    source = write_video(tmp_path / name, moving_face(6), ticks)
    edit_clip(source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    assert read_video(tmp_path / "b.mp4")[1:] == read_video(source)[1:]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_the_same_edit_makes_the_same_bytes(suffix, editor, happy, tmp_path):
    source = write_video(tmp_path / "a.mkv", moving_face(3), sound="libopus")
    one, other = tmp_path / f"b{suffix}", tmp_path / f"c{suffix}"
    for out in (one, other):
        edit_clip(source, faces.EditSettings(editor, happy), out, progress=False)
    assert one.read_bytes() == other.read_bytes()


def test_a_missing_package_has_its_remedy(video, editor, happy, tmp_path, monkeypatch):
    pictures = [Image.fromarray(frame) for frame in moving_face(2)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    monkeypatch.setitem(sys.modules, "av", None)
    for source in (video, tmp_path / "a.gif"):
        with pytest.raises(BadImage, match="pip install"):
            edit_clip(source, faces.EditSettings(editor, happy), tmp_path / "b.gif", progress=False)


def test_the_metadata_and_the_mark(video, editor, happy, tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_MARK", "1")
    edit_clip(video, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    with open_clip(tmp_path / "b.mp4") as clip:
        assert clip.stream.container.metadata["comment"] == MARK
        last = list(clip.frames())[-1].pixels
    assert change(last[-18:, :120], read_video(video)[0][-1][-18:, :120]) > 5


def test_modules_are_imported_in_any_order():
    # One process, which forgets the project's modules in between: torch is imported once.
    code = """
import importlib, sys
for module in ("editing", "code_path", "tracking"):
    importlib.import_module(f"ganmut.video.{module}")
    from ganmut.faces import edit_clip
    for name in [n for n in sys.modules if n.partition(".")[0] == "ganmut"]:
        del sys.modules[name]
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# Parts --------------------------------------------------------------------------------------------


class Points:
    """A detector that finds the astronaut's face in frames where it is not hidden."""

    def __init__(self, found: list[Face], hidden: int = 0):
        self.found, self.hidden, self.searches = found, hidden, 0

    def detect(self, picture: np.ndarray) -> list[Face]:
        self.searches += 1
        return [] if picture.mean() < 5 or self.searches <= self.hidden else self.found


@pytest.fixture(scope="module")
def found():
    return faces.detect_faces(moving_face(1)[0])


def as_frames(pixels):
    return (Frame(p, Fraction(i, 25), Fraction(1, 25)) for i, p in enumerate(pixels))


def test_found_faces_are_followed_back(found):
    detector = Points(found, hidden=1)
    tracked = list(Tracker(detector).track(as_frames(moving_face(1) * 20)))
    assert all(item.points is not None and item.shot == 0 for item in tracked)
    assert detector.searches == 2  # not one a frame


def test_frames_without_a_face_are_rarely_searched(found):
    detector, dark = Points(found), np.zeros((180, 240, 3), np.uint8)
    tracked = list(Tracker(detector).track(as_frames([dark] * 40)))
    assert [item.points for item in tracked] == [None] * 40
    assert detector.searches == 40 // STRIDE


def test_a_face_that_is_not_there_is_refused(found):
    with pytest.raises(FaceNumberError):
        list(Tracker(Points(found), "3").track(as_frames(moving_face(2))))


def test_smoothing_averages_noise_and_keeps_movement(found):
    points, draw = found[0].points, np.random.default_rng(0)
    frame = next(as_frames(moving_face(1)))
    noisy = [TrackedFrame(frame, points + draw.normal(0, 0.3, (5, 2)), 0) for _ in range(40)]
    still = np.stack([item.points for item in steady(iter(noisy))]) - points
    assert still.std() < 0.6 * 0.3
    steps = [TrackedFrame(frame, points + (60.0 if k > 9 else 0.0), 0) for k in range(20)]
    moved = [item.points - points for item in steady(iter(steps))]
    assert np.allclose(moved[9], 0, atol=1e-6) and np.allclose(moved[10], 60, atol=1e-6)
    shots = [TrackedFrame(frame, points + k, k // 2) for k in range(6)]
    assert len(list(steady(iter(shots)))) == 6


def test_memory_does_not_grow_with_frames(found, tmp_path, editor, happy, monkeypatch):
    alive: list[weakref.ref] = []
    most = 0

    def frames(clip, take_sound=None):
        nonlocal most
        for item in as_frames(moving_face(1) * 60):
            alive.append(weakref.ref(item))
            most = max(most, sum(ref() is not None for ref in alive))
            yield item

    monkeypatch.setattr("ganmut.video.reading.Clip.frames", frames)
    monkeypatch.setattr(editing, "open_detector", lambda spec: Points(found))
    source = write_video(tmp_path / "a.mp4", moving_face(1))
    edit_clip(source, faces.EditSettings(editor, happy), tmp_path / "b.mp4", progress=False)
    gc.collect()
    assert len(alive) == 60 and most <= 2 * REACH + STRIDE + 4


def test_flicker_is_the_edit_less_the_source(found):
    first, second = (np.full((180, 240, 3), level, np.uint8) for level in (100, 103))
    flicker = Flicker()
    for pixels, edit in ((first, first + 5), (second, second + 12)):
        item = TrackedFrame(Frame(pixels, Fraction(0), Fraction(1)), found[0].points, 0)
        flicker.add(item, edit)
    assert (flicker.edited, flicker.source, flicker.pairs) == (10, 3, 1)
    flicker.add(TrackedFrame(Frame(first, Fraction(0), Fraction(1)), found[0].points, 1), first)
    assert flicker.pairs == 1  # another shot


def test_a_path_goes_through_its_stops(editor):
    stops = [Stop("neutral", 1, 1.0), Stop("happy", 0.5, 2.0), Stop("sad", 1, 4.0)]
    way = make_code_path(editor, stops)
    for seconds, stop in (
        (0, stops[0]),
        (1, stops[0]),
        (2, stops[1]),
        (4, stops[2]),
        (9, stops[2]),
    ):
        expected = editor.space.of(stop.emotion, stop.intensity)
        code, share = way.at(seconds)
        assert torch.allclose(code, expected, atol=1e-6) and share == 1
    between = editor.space.path(way.at(1)[0], way.at(2)[0], 3)[1]
    assert torch.allclose(way.at(1.5)[0], between, atol=0.02)
    with pytest.raises(ParameterError, match="stargan"):
        make_code_path(editor, [Stop("source", 1, 0), Stop("happy", 1, 1)])


@pytest.fixture(scope="module")
def reader():
    return ganmut.load("photos/expression", "cpu")


def as_faces(own: torch.Tensor):
    return SimpleNamespace(source_codes=own[None])


def test_clips_of_face_readers_keep_their_movement(reader):
    asked, smile = reader.space.of("angry"), reader.space.of("happy")
    codes = FrameCodes(reader, asked)
    for step in range(50):  # a smile that lasts is replaced
        code = codes.code(as_faces(smile), step / 25, 0)
        assert torch.allclose(code[0], asked, atol=1e-5)
    blink = torch.zeros_like(smile)
    blink[0] = 0.5
    code = codes.code(as_faces(smile + blink), 2.0, 0)[0]
    assert torch.allclose(code - asked, blink, atol=0.02)  # a short movement stays
    assert torch.allclose(codes.code(as_faces(blink), 2.04, 1)[0], asked, atol=1e-5)  # a new face


def test_a_path_may_start_at_the_source(reader):
    stops = [Stop("source", 1, 0.0), Stop("sad", 1, 1.0), Stop("source", 1, 2.0)]
    codes, own = FrameCodes(reader, make_code_path(reader, stops)), reader.space.of("happy")
    shown = [codes.code(as_faces(own), seconds, 0)[0] for seconds in (0.0, 0.5, 1.0, 2.0)]
    sad = reader.space.of("sad")
    for code, expected in zip(shown, (own, (own + sad) / 2, sad, own), strict=True):
        assert torch.allclose(code, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--path", "happy@0"], ["--path", "two"]),
        (["--path", "neutral@1", "happy@1"], ["--path", "rise"]),
        (["--path", "neutral", "joyful@1"], ["--path", "joyful"]),
        (["--path", "neutral@0", "happy:2@1"], ["--path", "2"]),
        (["--path", "neutral@zero"], ["SECONDS", "neutral@zero"]),
        (["--path", "neutral", "happy@1", "--emotion", "sad"], ["--path, --emotion"]),
        (["--emotion", "happy", "--face", "all"], ["--face", "largest"]),
        (["--path", "source@0", "happy@1"], ["--path", "ganmut"]),
        (["--path", "source@0", "source@1"], ["--path", "emotion"]),
    ],
)
def test_bad_requests_of_clips_are_refused(video, tmp_path, capsys, options, words):
    method = [] if "--method" in options else ["--method", "photos/ganmut"]
    try:
        status = main(["edit", str(video), "--out", str(tmp_path / "b.mp4"), *method, *options])
    except SystemExit as end:
        status = end.code
    error = capsys.readouterr().err
    assert status == 2 and all(word in error for word in words), error
    assert list(tmp_path.iterdir()) == []


def test_the_command_edits_along_a_path(video, tmp_path, capsys):
    out = tmp_path / "b.mp4"
    way = ["--path", "neutral:0", "happy:.5@.3s", "--method", "photos/ganmut"]
    assert main(["edit", str(video), "--out", str(out), *way]) == 0
    said = capsys.readouterr().err
    assert "16 of 16 frames" in said and "flicker" in said
    assert json.loads((tmp_path / "b.jsonl").read_text())["edited_frames"] == 16


LONG = """
import resource, sys
import numpy as np
from test_video import *
from ganmut.video import editing, reading

found = faces.detect_faces(moving_face(1)[0])
frame, peaks = moving_face(1)[0], {}

def frames(clip, take_sound=None):
    for number in range(10_000):
        if number in (1_000, 9_999):
            peaks[number] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield reading.Frame(frame.copy(), Fraction(number, 25), Fraction(1, 25))

reading.Clip.frames = frames
editing._edit = lambda tracked, *rest: tracked.frame.pixels + 1
Tracker._follow = lambda self, frame, points: points
editing.open_detector = lambda spec: Points(found)
torch.manual_seed(0)
kind = METHODS["stargan"]
editor = Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})
happily = faces.EditSettings(editor, editor.space.of("happy"))
edit_clip(sys.argv[1], happily, sys.argv[2], progress=False)
print(peaks[9_999] - peaks[1_000])
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["mp4", "gif"])
def test_ten_thousand_frames_take_no_memory(video, tmp_path, form):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", LONG, str(video), str(tmp_path / f"b.{form}")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40_000  # kilobytes
