"""Signals: a command that is stopped ends with one sentence and its status, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toys import SHORT_OPTIONS

import ganmut
from ganmut import files
from ganmut.training.run_dir import RunDir

ROOT = Path(ganmut.__file__).parent.parent
ENV = os.environ | {"OMP_NUM_THREADS": "1"}
STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
# What an extension module makes of an exception during its import.
SLOW = """
import time
print("importing", flush=True)
try:
    time.sleep(30)
except BaseException:
    raise ImportError("core failed to import")
"""


@pytest.mark.parametrize(("number", "status"), STOPS)
@pytest.mark.parametrize("command", [["-m", "ganmut", "train", "ganmut"], ["bench/run.py"]])
def test_imports_may_be_stopped(tmp_path, number, status, command):
    (tmp_path / "torch.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=ENV | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == status
    assert error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize(("number", "status"), STOPS)
def test_a_stopped_training_keeps_its_state(tmp_path, number, status):
    command = [
        "train",
        "stargan",
        *SHORT_OPTIONS,
        "--kimg=400",
        "--device=cpu",
        f"--out={tmp_path}",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganmut", *command],
        cwd=ROOT,
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/snapshots/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == status
    assert "resume" in error.splitlines()[-1] and "Traceback" not in error
    (folder,) = tmp_path.iterdir()
    run = RunDir(folder)
    records, invalid = files.read_lines(folder / "stats.jsonl")
    assert run.latest() and records and not invalid
    assert not list(folder.rglob(".*"))  # neither a lock nor a temporary
