"""Logs of a training for other programs: the numbers of stats.jsonl, and the sample grids."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from toys import SHORT, SHORT_OPTIONS

from ganmut.cli import main
from ganmut.errors import ParameterError
from ganmut.training import loop as training
from ganmut.training import presets
from ganmut.training.logs import TensorBoardLog, numbers_of

TWO_TICKS = {"kimg": 0.064, "kimg_per_tick": 0.032, "faces": 16}


def run(out: Path, log: str, **place: object) -> Path:
    recipe, config = presets.resolve_settings("stargan", "stable", "cpu", **(SHORT | TWO_TICKS))
    where = place or {"out": out}
    return training.train(recipe, config, device="cpu", progress=False, log_to=[log], **where)


def read_stats(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]


def test_tensorboard_gets_reports_and_grids(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package's own imports
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        folder = run(tmp_path, "tensorboard")
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
    stats = read_stats(folder)
    assert set(events.Tags()["scalars"]) == set(numbers_of(stats[0])) | set(numbers_of(stats[1]))
    for name, value in numbers_of(stats[-1]).items():
        last = events.Scalars(name)[-1]
        assert last.step == stats[-1]["step"] and last.value == pytest.approx(value, abs=1e-5)
    assert [picture.step for picture in events.Images("samples")] == [s["step"] for s in stats]


@pytest.fixture
def wandb(monkeypatch):
    """A package that keeps what it is given."""
    module = ModuleType("wandb")
    module.calls, module.finished = [], []

    def init(**options):
        return SimpleNamespace(
            log=lambda values, step: module.calls.append((step, values)),
            finish=lambda: module.finished.append(options),
        )

    module.init, module.Image = init, lambda pixels: pixels
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_gets_them_by_the_same_hook(tmp_path, wandb):
    folder = run(tmp_path, "wandb")
    stats = read_stats(folder)
    assert [step for step, _ in wandb.calls] == [s["step"] for s in stats]
    values = wandb.calls[-1][1]
    assert values["samples"].shape[2] == 3
    assert {k: v for k, v in values.items() if k != "samples"} == numbers_of(stats[-1])
    run(tmp_path, "wandb", resume=folder)
    ids = [options["id"] for options in wandb.finished]
    assert len(ids) == 2 and ids[0] == ids[1]


def test_a_log_is_closed_after_a_failure(tmp_path, wandb, monkeypatch):
    monkeypatch.setattr(training.Trainer, "train_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "wandb")
    assert len(wandb.finished) == 1


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_starts_no_run(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    asked = ["train", "stargan", "--out", str(tmp_path), "--log-to", name, *SHORT_OPTIONS]
    assert main(asked) == 2
    error = capsys.readouterr().err
    assert "--log-to" in error and f"pip install {name}" in error
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_log_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="comet"):
        run(tmp_path, "comet")


def test_reports_without_a_value_are_left_out():
    assert numbers_of({"step": 3, "a": 1, "b": float("nan"), "c": None, "d": 0.5}) == {
        "a": 1.0,
        "d": 0.5,
    }


def test_a_full_disk_of_tensorboard_is_one_error(tmp_path, monkeypatch, capfd):
    gfile = pytest.importorskip("tensorboard.compat.tensorflow_stub.io.gfile")
    real, calls = gfile.LocalFileSystem._write, []

    def write(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*arguments)

    monkeypatch.setattr(gfile.LocalFileSystem, "_write", write)
    hook = threading.excepthook
    with pytest.raises(OSError, match="tensorboard") as caught:
        run(tmp_path, "tensorboard")
    assert caught.value.errno == errno.ENOSPC
    assert "Traceback" not in capfd.readouterr().err and threading.excepthook is hook


def test_a_log_replaces_no_file(tmp_path):
    (tmp_path / "tensorboard").symlink_to("tensorboard")
    with pytest.raises(ParameterError) as caught:
        TensorBoardLog(tmp_path, 0)
    assert caught.value.parameter == "log_to"
