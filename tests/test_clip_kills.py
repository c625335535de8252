"""A clip whose edit is killed: nothing of it stays, and the next run makes the clip of one go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from clips import moving_face, write_video

import ganmut
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS

ROOT = Path(ganmut.__file__).parent.parent


@pytest.fixture
def command(tmp_path) -> list[str]:
    clip = write_video(tmp_path / "clip.mp4", moving_face(30))
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    method = kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False)
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    weight = ganmut.weights.save(tmp_path / "stargan", method, {"kimg": 0}, pixels)
    words = ["edit", str(clip), "--weights", str(weight), "--emotion", "happy", "--device", "cpu"]
    return [sys.executable, "-m", "ganmut", *words]


def begin(command: list[str], out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [*command, "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_killed_clip_begins_again(command, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    target = out / "edited.mp4"
    process = begin(command, target)
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in out.glob(".*.tmp")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists() and not (out / "edited.jsonl").exists()
    for path in (target, tmp_path / "once.mp4"):
        assert begin(command, path).wait(timeout=300) == 0
    assert sorted(path.name for path in out.iterdir()) == ["edited.jsonl", "edited.mp4"]
    assert target.read_bytes() == (tmp_path / "once.mp4").read_bytes()
