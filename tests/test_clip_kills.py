"""A clip whose edit is killed: the next run goes on, and makes the clip of one go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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


# A program that kills itself at a moment of the edit: from outside it could be missed.
KILLED = """
import os, signal, sys
from pathlib import Path
from ganmut.cli import main
from ganmut.video import segments

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
{moment}
main(sys.argv[1:])
"""
MOMENTS = {
    "after a segment": """
checkpoint = segments.SegmentWriter.checkpoint
segments.SegmentWriter.checkpoint = lambda *args: checkpoint(*args) and kill()
""",
    "before segments are joined": """
segments._join = lambda *args: kill()
""",
    "while segments are joined": """
segments._join = lambda out, *args: Path(out).write_bytes(b"half") and kill()
""",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_clip_goes_on(command, tmp_path, moment):
    out = tmp_path / "out"
    out.mkdir()
    target = out / "edited.mp4"
    program = [sys.executable, "-c", KILLED.format(moment=MOMENTS[moment]), *command[3:]]
    assert begin(program, target).wait(timeout=300) == -signal.SIGKILL
    assert list(out.glob(".*.parts/000000.*"))
    assert not target.exists() and not (out / "edited.jsonl").exists()
    for path in (target, tmp_path / "once.mp4"):
        assert begin(command, path).wait(timeout=300) == 0
    assert sorted(path.name for path in out.iterdir()) == ["edited.jsonl", "edited.mp4"]
    assert target.read_bytes() == (tmp_path / "once.mp4").read_bytes()
    here, once = (json.loads(p.with_suffix(".jsonl").read_text()) for p in (target, path))
    assert here | {"out": ""} == once | {"out": ""}
