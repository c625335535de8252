"""Several processes: the order, the results and the bytes of one, and no process is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import ASTRONAUT, moving_face, write_video
from PIL import Image
from skimage import data

import ganmut
from ganmut import faces, workers
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.files import read_lines
from ganmut.methods.base import METHODS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def weight(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    method = kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False)
    folder = tmp_path_factory.mktemp("weights") / "stargan"
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    return ganmut.weights.save(folder, method, {"kimg": 0}, pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for number in range(4):
        ASTRONAUT.crop((40 + 5 * number, 0, 380, 300)).save(root / f"{number}.png")
    Image.fromarray(data.coffee()[:200, :200]).save(root / "0a.png")
    (root / "2a.png").write_bytes(b"no picture")
    write_video(root / "3a.mp4", moving_face(4))
    return root


def edit(folder: Path, weight: Path, out: Path, count: int) -> list[dict]:
    editor = ganmut.load(weight, "cpu")
    code = editor.space.of("happy")
    return faces.edit_files(
        [folder], faces.EditSettings(editor, code), out, progress=False, workers=count
    )


def test_two_processes_write_what_one_writes(folder, weight, tmp_path):
    one, two = (edit(folder, weight, tmp_path / name, n) for name, n in (("one", 1), ("two", 2)))
    assert len(one) == 7 and sum("error" in record for record in one) == 2
    moved = json.loads(json.dumps(two).replace(str(tmp_path / "two"), str(tmp_path / "one")))
    assert moved == one
    assert read_lines(tmp_path / "two" / "faces.jsonl") == (two, [])
    names = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in ("one", "two")]
    assert names[0] == names[1] and len(names[0]) == 6
    for name in names[0]:
        if name.endswith(".png"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "two" / "1.png").unlink()
    assert edit(folder, weight, tmp_path / "two", 2) == two


@pytest.mark.parametrize("count, images", [(0, 2), (-1, 2), (10**9, 2), (2, 1)])
def test_processes_without_work_are_refused(folder, weight, tmp_path, count, images):
    for number in range(images):
        shutil.copy(folder / f"{number}.png", tmp_path)
    with pytest.raises(ParameterError) as caught:
        edit(tmp_path, weight, tmp_path / "out", count)
    assert caught.value.parameter == "workers"


def test_an_editor_without_a_weight_stays_here(folder, tmp_path):
    kind = METHODS["stargan"]
    bare = Editor(kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False), {})
    with pytest.raises(ParameterError, match="folder"):
        faces.edit_files(
            [folder], faces.EditSettings(bare, bare.space.of("happy")), tmp_path / "o", workers=2
        )


# What worker processes do in the tests below.


def end_on_two(path: Path, target: Path) -> str:
    if path.name == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def refuse_on_four(path: Path, target: Path) -> str:
    if path.name == "4":
        raise ParameterError("face", "two words")
    return path.name


FILES = [(Path(str(n)), Path("out")) for n in range(6)]


# A pool costs seconds: each of these looks at its results and at its failure.


def test_results_come_in_order_until_a_failure():
    made = []
    with pytest.raises(ParameterError, match="two words") as caught:
        for result in workers.map_items(refuse_on_four, FILES, 2):
            made.append(result)
    assert made == list("0123") and caught.value.parameter == "face"


def test_a_system_without_semaphores_is_said(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(0, "Error")  # what Python raises where a semaphore cannot be made

    monkeypatch.setattr(workers, "ProcessPoolExecutor", full)
    with pytest.raises(ParameterError, match="/dev/shm") as caught:
        next(workers.map_items(abs, [(1,), (2,)], 2))
    assert caught.value.parameter == "workers"


def test_a_killed_worker_is_an_error():
    with pytest.raises(ParameterError, match="killed"):
        list(workers.map_items(end_on_two, FILES, 2))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_command(tmp_path, number):
    (tmp_path / "in").mkdir()
    for name in range(40):
        ASTRONAUT.resize((256, 256)).save(tmp_path / "in" / f"{name:02d}.png")
    asked = ["edit", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "2"]
    command = subprocess.Popen(
        [sys.executable, "-m", "ganmut", *asked, "--emotion", "sad"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "out" / "faces.jsonl"
    limit = time.monotonic() + 200
    while not log.is_file() and time.monotonic() < limit:
        time.sleep(0.1)
    children = _children(command.pid)
    assert len(children) >= 2
    command.send_signal(number)
    error = command.communicate(timeout=60)[1]
    limit = time.monotonic() + 30
    while any(map(_runs, children)) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not any(map(_runs, children))
    assert "Traceback" not in error, error
    records, invalid = read_lines(log)
    assert 0 < len(records) < 40 and not invalid
    assert np.array_equal(
        [Path(r["file"]).name for r in records], [f"{n:02d}.png" for n in range(len(records))]
    )


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _runs(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_weight_that_changes_meanwhile_is_said(folder, weight, tmp_path):
    copy = shutil.copytree(weight, tmp_path / "stargan")
    editor = ganmut.load(copy, "cpu")
    settings = faces.EditSettings(editor, editor.space.of("happy"))
    shutil.rmtree(copy)
    with pytest.raises(ganmut.weights.BadWeights, match="stargan"):
        faces.edit_files([folder], settings, tmp_path / "out", progress=False, workers=2)
    assert not list((tmp_path / "out").glob(".*.tmp"))
