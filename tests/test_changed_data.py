"""A training goes on with other data than it began with only when told to, and says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import SHORT

from ganmut import files, weights
from ganmut.cli import main
from ganmut.training import loop, presets
from ganmut.training.run_dir import RunDir, RunError

STEPS = {"faces": 0, "kimg": 0.032, "kimg_per_tick": 0.016, "d_warmup_kimg": 0, "g_warmup_kimg": 0}


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), shade, np.uint8)).save(path)


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunDir:
    """A training on a folder of twenty images."""
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))
    for i in range(10):
        for emotion in ("neutral", "happy"):
            picture(tmp_path / "faces" / "train" / emotion / f"{i}.png", 20 * i)
    spec = f"folder:{tmp_path / 'faces'}"
    settings = presets.resolve_settings("stargan", "stable", "cpu", **(SHORT | STEPS), data=spec)
    return RunDir(loop.train(*settings, tmp_path / "runs", device="cpu", progress=False))


def test_a_file_of_the_same_size_is_noticed(run, tmp_path):
    file = tmp_path / "faces" / "train" / "happy" / "3.png"
    size = file.stat().st_size
    picture(file, 61)  # another shade
    assert file.stat().st_size == size
    with pytest.raises(RunError) as refused:
        loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)
    assert refused.value.parameter == "accept_changed_data"
    picture(file, 60)
    loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)  # put back


def test_a_copy_of_the_data_is_no_change(run, tmp_path):
    for file in (tmp_path / "faces").rglob("*.png"):
        os.utime(file, (1, 1))
    shutil.rmtree(tmp_path / "cache")
    loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)


def test_caches_without_content_are_taken(run, tmp_path):
    (facts,) = (tmp_path / "cache").glob("folder-*.json")
    known = files.from_line(facts.read_text())
    del known["content"]
    facts.write_text(files.to_line(known))
    loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)


def test_changed_data_must_be_accepted(run, tmp_path, capsys):
    first = weights.read_config(run.path / "weights")
    assert "data_changes" not in first
    resume = ["train", "resume", str(run.path), "--device=cpu"]
    assert main(resume) == 0  # the same data
    for i in range(20, 40):
        picture(tmp_path / "faces" / "train" / "happy" / f"{i}.png", i)
    with pytest.raises(RunError) as refused:
        loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)
    assert refused.value.parameter == "accept_changed_data"
    assert first["data_fingerprint"] in str(refused.value)
    assert main(resume) == 2 and "--accept-changed-data" in capsys.readouterr().err
    assert "data_changes" not in weights.read_config(run.path / "weights")
    assert main([*resume, "--accept-changed-data"]) == 0
    later = weights.read_config(run.path / "weights")
    for fingerprint in (first["data_fingerprint"], later["data_fingerprint"]):
        assert fingerprint in later["data_changes"]
    assert later["data_fingerprint"] != first["data_fingerprint"]
    assert later["data_changes"] in (run.path / "weights" / "README.md").read_text()
