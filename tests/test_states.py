"""Damaged state: noticed by the name of its file, never used in silence, and the run goes on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import SHORT, TOY, random_batch, toy

from ganmut import device as hardware
from ganmut import files
from ganmut.cli import main
from ganmut.training import loop, presets
from ganmut.training.run_dir import KEEP, RunDir, RunError, read_snapshot, write_snapshot
from ganmut.training.trainer import Trainer

STEPS = {"faces": 32, "kimg": 0.048, "kimg_per_tick": 0.016, "d_warmup_kimg": 0, "g_warmup_kimg": 0}


def flip(path: Path, place: int = -20) -> None:
    """Flips one bit of a file's byte."""
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data)


@pytest.fixture
def run(tmp_path) -> RunDir:
    """A training of three ticks of one step."""
    settings = presets.resolve_settings("stargan", "stable", "cpu", **(SHORT | STEPS))
    return RunDir(loop.train(*settings, tmp_path, device="cpu", progress=False))


def resume(run: RunDir) -> Path | None:
    return loop.train(*run.recipe(), device="cpu", resume=run.path, progress=False)


def ticks(run: RunDir) -> list[int]:
    records, invalid = files.read_lines(run.path / "stats.jsonl")
    assert not invalid
    return [record["step"] for record in records]


def test_the_older_snapshot_replaces_a_damaged_one(run, caplog):
    old, new = run.snapshots()
    whole = {k: v.clone() for k, v in load_file(new).items()}  # not mapped to the file
    flip(new)
    resume(run)
    assert new.name in caplog.text and old.name not in caplog.text
    again = load_file(new)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert ticks(run) == [1, 2, 3]


def test_no_snapshot_left_is_said_not_started_over(run, caplog):
    for path in run.snapshots():
        flip(path)
    with pytest.raises(RunError, match=run.path.name):
        resume(run)
    assert all(path.name in caplog.text for path in run.snapshots()) and ticks(run) == [1, 2, 3]
    for path in run.snapshots():
        path.unlink()
    caplog.clear()
    resume(run)  # killed before its first snapshot: said, and no tick stands twice
    assert run.path.name in caplog.text and ticks(run) == [1, 2, 3]


@pytest.mark.parametrize("key", ["step", "g_steps", "seconds", "origin"])
def test_a_snapshot_must_say_where_it_stands(run, key):
    old, new = run.snapshots()
    meta = {k: v for k, v in run.latest().meta.items() if k != key}
    save_file(load_file(new), new, {"meta": json.dumps(meta)})  # not sealed: nobody's checksum
    with pytest.raises(files.DamagedFile, match=rf"{new.name}.*\b{key}\b"):
        read_snapshot(new)
    assert run.latest().path == old


def test_snapshots_of_earlier_versions_are_read(run):
    path = run.snapshots()[-1]
    meta = {k: v for k, v in run.latest().meta.items() if k != "settings"}
    save_file(load_file(path), path, {"meta": json.dumps(meta)})
    assert run.latest().path == path
    assert resume(run) == run.path


def test_a_snapshot_keeps_the_memory_format(tmp_path, monkeypatch):
    """channels_last, as on CUDA: moments of another order than their parameter's mix its values."""
    monkeypatch.setattr(hardware, "memory_format", lambda device: torch.channels_last)
    recipe, _ = presets.resolve_settings("stargan", "stable", "cpu", **TOY)

    def steps(trainer: Trainer, n: int) -> dict[str, torch.Tensor]:
        batch = random_batch()
        for _ in range(n):
            trainer.adversarial_step(batch)
        return {k: v.clone() for k, v in trainer.tensors().items()}

    whole = Trainer(toy("stargan"), recipe, torch.device("cpu"))
    path = tmp_path / "s.safetensors"
    write_snapshot(path, steps(whole, 2), whole.meta())
    resumed = Trainer(toy("stargan"), recipe, torch.device("cpu"))
    resumed.restore(read_snapshot(path))
    one, two = steps(whole, 1), steps(resumed, 1)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_a_recipe_of_other_networks_is_named(run, capsys):
    recipe = run.path / "recipe.json"
    text = recipe.read_text()
    recipe.write_text(text.replace('"width": 8', '"width": 16'))
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    error = capsys.readouterr().err
    assert "recipe.json" in error and error.count("\n") == 1
    recipe.write_text(text[:-9])
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    assert str(recipe) in capsys.readouterr().err


def test_a_changed_setting_is_said(run, caplog):
    recipe = run.path / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"kimg": 0.048', '"kimg": 0.064'))
    resume(run)
    assert "kimg 0.048 -> 0.064" in caplog.text and ticks(run) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "text",
    ["[]", '{"recipe": [], "config": []}', "[" * 100_000, "\0", '{"recipe": {}, "config": {}}'],
)
def test_a_recipe_that_is_none_is_named(run, capsys, text):
    (run.path / "recipe.json").write_text(text)
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    assert str(run.path / "recipe.json") in capsys.readouterr().err


def test_memory_that_does_not_suffice_is_said(run, capsys):
    recipe = run.path / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"width": 8', '"width": 1000000000000'))
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    assert "memory" in capsys.readouterr().err


def test_only_regular_files_are_snapshots(run, caplog):
    old, new = run.snapshots()
    for put in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        new.unlink() if new.is_file() else None
        put(new)
        assert run.latest().path == old and new.name in caplog.text
        caplog.clear()
        os.rmdir(new) if new.is_dir() else new.unlink()


@pytest.mark.parametrize("torn", ['{"step": 4', '{"step": 4, "a": {"b": 1}', "\x00\x00"])
def test_torn_stats_do_not_stop_a_training(run, torn):
    run.snapshots()[-1].unlink()
    with open(run.path / "stats.jsonl", "a") as file:
        file.write(torn)
    resume(run)
    assert ticks(run) == [1, 2, 3]


def test_lost_stats_are_said(run, caplog):
    (run.path / "stats.jsonl").write_text("")
    resume(run)
    assert str(run.path / "stats.jsonl") in caplog.text and ticks(run) == []


def test_numbers_that_are_not_finite_become_null(run):
    run.log({"step": 9, "d/adv": float("nan")})
    assert files.read_lines(run.path / "stats.jsonl")[0][-1] == {"step": 9, "d/adv": None}


def test_two_trainings_do_not_share_a_run(run, capsys):
    with run.lock():
        assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    assert f"process {files.os.getpid()} on " in capsys.readouterr().err and ticks(run) == [1, 2, 3]


def test_temporaries_of_a_killed_training_are_removed(run):
    left = [run.path / "snapshots" / ".00000009.safetensors.0123abcd.tmp", run.path / ".x.12.tmp"]
    for path in left:
        path.write_bytes(b"half")
    resume(run)
    assert not any(path.exists() for path in left)


def test_a_full_disk_costs_one_tick(run, monkeypatch, capsys):
    real = files.os.fsync

    def full(descriptor: int) -> None:
        if (run.path / "snapshots" / "fill").exists():
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    whole = load_file(run.snapshots()[-1])
    run.snapshots()[-1].unlink()
    (run.path / "snapshots" / "fill").touch()
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 2
    error = capsys.readouterr().err
    assert "No space left" in error and str(run.path) in error and "Traceback" not in error
    assert [p.suffix for p in run.snapshots()] == [".safetensors"]
    (run.path / "snapshots" / "fill").unlink()
    assert main(["train", "resume", str(run.path), "--device=cpu"]) == 0
    again = load_file(run.snapshots()[-1])
    assert all(torch.equal(whole[name], again[name]) for name in whole) and ticks(run) == [1, 2, 3]


def test_the_space_of_all_snapshots_is_required(tmp_path, monkeypatch):
    asked = []
    create = RunDir.create
    monkeypatch.setattr(
        RunDir, "create", lambda out, r, c, need: asked.append(need) or create(out, r, c, need)
    )
    settings = presets.resolve_settings("stargan", "stable", "cpu", **(SHORT | STEPS))
    run = RunDir(loop.train(*settings, tmp_path, device="cpu", progress=False))
    sizes = [path.stat().st_size for path in run.snapshots()]
    assert len(sizes) == KEEP and asked[0] > 0.9 * (KEEP + 1) * sizes[0]


def test_folders_without_a_recipe_are_removed(tmp_path):
    settings = presets.resolve_settings("stargan", "stable", "cpu", **SHORT)
    killed, other = tmp_path / "00000-stargan-procedural-32", tmp_path / "00001-notes"
    for folder, name in ((killed, ".recipe.json.0123abcd.tmp"), (other, "thesis.txt")):
        folder.mkdir()
        (folder / name).write_text("half")
        os.utime(folder, (0, 0))
    created = RunDir.create(tmp_path, *settings).path
    assert sorted(tmp_path.iterdir()) == [other, created] and created.name[:5] == "00002"


def test_a_folder_that_gets_its_recipe_stays(tmp_path):
    """Of a training that begins at the same moment, which would go on in the folder of this one."""
    settings = presets.resolve_settings("stargan", "stable", "cpu", **SHORT)
    starting = tmp_path / "00000-stargan-procedural-32"
    starting.mkdir()
    assert RunDir.create(tmp_path, *settings).path.name[:5] == "00001" and starting.is_dir()


def test_two_trainings_take_two_numbers(tmp_path, monkeypatch):
    settings = presets.resolve_settings("stargan", "stable", "cpu", **SHORT)
    first = RunDir.create(tmp_path, *settings)
    listed = [[], list(tmp_path.iterdir())]  # as if the first had come between look and creation
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(listed.pop(0)))
    assert RunDir.create(tmp_path, *settings).path.name[:5] == "00001" > first.path.name[:5]
