"""Action units of photographs: blendshapes as units, the providers, and the column they write."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganmut.action_units import blendshapes
from ganmut.action_units.base import PROVIDERS, ProviderUnavailable
from ganmut.action_units.blendshapes import BLENDSHAPES, TABLE
from ganmut.action_units.files import write_units
from ganmut.action_units.mediapipe import pad_image
from ganmut.cli import main
from ganmut.datasets import BadData, open_source
from ganmut.emotions import UNITS
from ganmut.registry import UnknownNameError

SMILE = {"mouthSmileLeft": 1, "mouthSmileRight": 1}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))


def picture(path: Path, shade: int = 120) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (shade, 80, 60)).save(path)
    return path


def faces(root: Path, form: str, people: int = 12) -> list[str]:
    """A folder with metadata; picture 0 is missing, picture 1 is no picture."""
    rows = [
        {"file_name": f"{p}-{e}.png", "emotion": e, "person": str(p), "AU28_c": "1"}
        for p in range(people)
        for e in ("neutral", "happy")
    ]
    for i, row in enumerate(rows):
        picture(root / row["file_name"], i)
    (root / rows[0]["file_name"]).unlink()
    (root / rows[1]["file_name"]).write_bytes(b"text")
    if form == "jsonl":
        (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with open(root / "metadata.csv", "w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return [row["file_name"] for row in rows]


# Blendshapes


def test_table_covers_units_and_uses_known_blendshapes():
    assert tuple(TABLE) == UNITS and len(BLENDSHAPES) == len(set(BLENDSHAPES)) == 52
    used = set()
    for proxy in TABLE.values():
        proxy.intensity(lambda name: used.add(name) or 0.0)
        assert 0 <= proxy.rest < proxy.full <= 1
        assert all(0 < abs(change) < 1 for change in proxy.changes().values())
    sided = {name for name in used if f"{name}Left" in BLENDSHAPES}
    assert used - sided <= set(BLENDSHAPES) and len(used) == 18


@pytest.mark.parametrize(
    "raised, units",
    [
        ({}, ()),
        ({"browInnerUp": 1}, (1,)),
        ({"eyeWideLeft": 0.2, "eyeWideRight": 0.2}, (5,)),
        (SMILE | {"eyeSquintLeft": 0, "eyeSquintRight": 0}, (12,)),
        (SMILE | {"eyeSquintLeft": 1, "eyeSquintRight": 1}, (6, 7, 12)),
        ({"jawOpen": 1}, (25, 26)),
        ({"jawOpen": 1, "mouthClose": 1}, (26,)),
        ({"mouthPressLeft": 1, "mouthPressRight": 1}, (23,)),
        ({"mouthPucker": 1, "jawLeft": 1, "eyeLookUpLeft": 1}, ()),
    ],
)
def test_blendshapes_raise_the_units_that_the_table_says(raised, units):
    at_rest = {"eyeSquintLeft": 0.3, "eyeSquintRight": 0.3, "browDownLeft": 0.1}
    named = dict.fromkeys(BLENDSHAPES, 0.0) | at_rest | raised
    units_of_lists = blendshapes.units([named[name] for name in BLENDSHAPES])
    assert units_of_lists == blendshapes.units(named)
    assert {unit for unit, value in zip(UNITS, units_of_lists, strict=True) if value > 0} == set(
        units
    )
    assert all(value in (0, 1) for value in units_of_lists)


def test_half_a_smile_is_half_a_unit():
    named = dict.fromkeys(BLENDSHAPES, 0.0) | {"mouthSmileLeft": 0.95}
    assert blendshapes.units(named)[UNITS.index(12)] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "given, message",
    [
        ([0.0] * 51, r"51.*52"),
        ([1.5] * 52, r"0\.\.1"),
        ({"jawOpen": 0.1}, "browInnerUp"),
    ],
)
def test_blendshapes_that_cannot_be_used(given, message):
    with pytest.raises(ValueError, match=message):
        blendshapes.units(given)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_folder_s_blendshapes_are_its_units(tmp_path, form):
    names = faces(tmp_path, form)
    for name in names[:2]:
        picture(tmp_path / name)
    smile = [0.95 if "Smile" in name else 0.0 for name in BLENDSHAPES]
    path = tmp_path / f"metadata.{form}"
    if form == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row | {"blendshapes": smile}) + "\n" for row in rows))
    else:
        lines = path.read_text().splitlines()
        cells = ['"' + json.dumps(smile) + '"'] * (len(lines) - 1)
        pairs = zip(lines, ["blendshapes", *cells], strict=True)
        path.write_text("\n".join(",".join(pair) for pair in pairs))
    loaded = open_source(f"folder:{tmp_path}").load("train", 8, progress=False)
    assert loaded.units[:, UNITS.index(12)].eq(1).all() and loaded.units.sum(1).eq(1).all()


# Writing the column


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_bundled_provider_writes_the_column_once(tmp_path, form, capsys):
    names = faces(tmp_path, form)
    report = write_units(tmp_path, "bundled", progress=False)
    assert "rendered faces" in capsys.readouterr().err
    assert report.file == tmp_path / f"metadata.{form}" and report.done == len(names) - 2
    assert set(report.failed) == set(names[:2]) and "no such file" in report.failed[names[0]]
    with pytest.raises(BadData, match=r"2 rows"):
        open_source(f"folder:{tmp_path}")
    source = open_source(f"folder:{tmp_path}?on_error=skip")
    assert len(source.rows) == len(names) - 2
    assert source.load("train", 8, progress=False).units.shape[1] == 17
    written = report.file.read_bytes()
    again = write_units(tmp_path, "bundled", progress=False)
    assert (again.done, again.before) == (0, len(names)) and report.file.read_bytes() == written
    assert b"AU28_c" in written and b"units_by" in written  # other columns stay


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    faces(tmp_path, "jsonl", people=30)
    calls = []

    class Slow:
        def __init__(self, model):
            pass

        def estimate_units(self, images):
            calls.append(len(images))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return [(0.5,) * 17] * len(images)

    monkeypatch.setitem(PROVIDERS._entries, "slow", Slow)
    with pytest.raises(KeyboardInterrupt):
        write_units(tmp_path, "slow", progress=False)
    report = write_units(tmp_path, "slow", progress=False)
    assert (report.before, report.done) == (32, 28) and calls == [30, 28, 28]


def test_folders_without_metadata_get_some(tmp_path):
    for i in range(8):
        picture(tmp_path / "a" / ("neutral", "happy")[i % 2] / f"{i}.png", i)
        picture(tmp_path / "b" / f"{i}.png", i)
    write_units(tmp_path / "a", "bundled", progress=False)
    assert open_source(f"folder:{tmp_path / 'a'}").emotions == ("neutral", "happy")
    report = write_units(tmp_path / "b", "bundled", progress=False)
    rows = [json.loads(line) for line in report.file.read_text().splitlines()]
    assert set(rows[0]) == {"file_name", "units", "units_by"} and len(rows) == 8


def test_bad_folders_and_providers_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for folder, message in (("gone", "gone"), ("empty", "empty")):
        with pytest.raises(BadData, match=message):
            write_units(tmp_path / folder, "bundled")
    faces(tmp_path / "split" / "train", "jsonl")
    with pytest.raises(BadData, match="train"):
        write_units(tmp_path / "split", "bundled")
    with pytest.raises(UnknownNameError, match="'bundled'"):
        write_units(tmp_path / "split" / "train", "bundeld")
    with pytest.raises(ProviderUnavailable, match="'emotion'"):
        PROVIDERS["bundled"]("procedural/emotion")
    assert main(["units", str(tmp_path / "empty"), "--provider", "bundled"]) == 2
    assert str(tmp_path / "empty") in capsys.readouterr().err


def test_the_command(tmp_path, capsys):
    names = faces(tmp_path, "jsonl")
    assert main(["units", str(tmp_path), "--provider", "bundled"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{len(names) - 2} faces")
    assert f"{names[1]}: " in printed.err


# MediaPipe


def test_mediapipe_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ProviderUnavailable, match=r"pip install 'ganmut\[units\]'"):
        PROVIDERS["mediapipe"]("x")
    landmarker(monkeypatch)
    with pytest.raises(ProviderUnavailable, match=r"face_landmarker\.task.*https://"):
        PROVIDERS["mediapipe"]("")
    with pytest.raises(ProviderUnavailable, match=r"'gone\.task'"):
        PROVIDERS["mediapipe"]("gone.task")
    (tmp_path / "bad.task").write_text("text")
    with pytest.raises(ProviderUnavailable, match=r"bad\.task"):
        PROVIDERS["mediapipe"](str(tmp_path / "bad.task"))


def landmarker(monkeypatch) -> list[np.ndarray]:
    """The part of MediaPipe 1.2 that the provider uses, without its network; returns what it saw.

    A face where the picture's middle is red, smiling as much as it is red."""
    shown_images: list[np.ndarray] = []

    class Options(types.SimpleNamespace):
        pass

    class FaceLandmarker:
        @classmethod
        def create_from_options(cls, options):
            assert options.output_face_blendshapes and options.num_faces == 1
            if not Path(options.base_options.model_asset_path).read_bytes().startswith(b"PK"):
                raise RuntimeError("Unable to open zip archive.")
            return cls()

        def detect(self, image):
            shown_images.append(image.data)
            red = float(image.data[image.data.shape[0] // 2, image.data.shape[1] // 2, 0]) / 255
            score = {name: red if "Smile" in name else 0.0 for name in BLENDSHAPES}
            found = [types.SimpleNamespace(category_name=k, score=v) for k, v in score.items()]
            return types.SimpleNamespace(face_blendshapes=[found] if red > 0.1 else [])

    package = types.ModuleType("mediapipe")
    package.Image = lambda image_format, data: types.SimpleNamespace(data=data)
    package.ImageFormat = types.SimpleNamespace(SRGB=1)
    tasks = types.ModuleType("mediapipe.tasks.python")
    tasks.BaseOptions = Options
    tasks.vision = types.SimpleNamespace(
        FaceLandmarker=FaceLandmarker, FaceLandmarkerOptions=Options
    )
    for name, module in (
        ("mediapipe", package),
        ("mediapipe.tasks", types.ModuleType("tasks")),
        ("mediapipe.tasks.python", tasks),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return shown_images


def test_mediapipe_blendshapes_become_units(tmp_path, monkeypatch):
    shown_images = landmarker(monkeypatch)
    (tmp_path / "face_landmarker.task").write_bytes(b"PK\3\4")
    for i, shade in enumerate((0, 121, 242)):
        picture(tmp_path / "faces" / f"{i}.png", shade)
    report = write_units(
        tmp_path / "faces", "mediapipe", str(tmp_path / "face_landmarker.task"), progress=False
    )
    rows = [json.loads(line) for line in report.file.read_text().splitlines()]
    smiles = [row["units"] and row["units"][UNITS.index(12)] for row in rows]
    assert smiles[0] == [] and smiles[1:] == pytest.approx([0.4995, 0.999], abs=2e-3)
    assert report.failed == {"0.png": "no face found"}
    assert all(min(shown.shape[:2]) >= 256 and shown.flags.c_contiguous for shown in shown_images)
    assert pad_image(np.zeros((600, 400, 3), np.uint8)).shape == (900, 700, 3)
