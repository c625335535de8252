"""A clip whose edit is killed: the next run goes on, and makes the clip of one go."""

from __future__ import annotations

import json
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
    clip = write_video(tmp_path / "clip.mp4", moving_face(130))
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


def wait_for(process: subprocess.Popen, folder: Path, pattern: str) -> None:
    """Waits until a process has written to a file of this name, and kills it."""
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in folder.glob(pattern)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("pattern", [".*.parts/000000.*", ".*.parts/000001.*", ".*.mp4.*.tmp"])
def test_a_killed_clip_goes_on(command, tmp_path, pattern):
    """After a segment, after the last one, and while segments are joined."""
    out = tmp_path / "out"
    out.mkdir()
    target = out / "edited.mp4"
    wait_for(begin(command, target), out, pattern)
    assert not target.exists() and not (out / "edited.jsonl").exists()
    for path in (target, tmp_path / "once.mp4"):
        assert begin(command, path).wait(timeout=300) == 0
    assert sorted(path.name for path in out.iterdir()) == ["edited.jsonl", "edited.mp4"]
    assert target.read_bytes() == (tmp_path / "once.mp4").read_bytes()
    here, once = (json.loads(p.with_suffix(".jsonl").read_text()) for p in (target, path))
    assert here | {"out": ""} == once | {"out": ""}
