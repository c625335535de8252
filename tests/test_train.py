"""The loop: it learns, it resumes bit for bit after a kill, it stops on NaN with an address, it
refuses what cannot work."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import SHORT, SHORT_OPTIONS, TOY, toy

import ganmut
from ganmut.cli import main
from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.methods.base import METHODS
from ganmut.training import loop as training
from ganmut.training import presets
from ganmut.training.run_dir import RunDir, RunError, inherit_discriminator
from ganmut.training.sampler import Sampler
from ganmut.training.trainer import DivergenceError, LossMeter, Trainer

ROOT = Path(ganmut.__file__).parent.parent


def run(out: Path, method: str = "ganmut", **overrides: object) -> Path:
    settings = presets.resolve_settings(method, "stable", "cpu", **(SHORT | overrides))
    return training.train(*settings, out, device="cpu", progress=False)


def test_run_directory_has_all_files(tmp_path):
    folder = run(tmp_path)
    assert folder.name == "00000-ganmut-procedural-32"
    stats = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [s["kimg"] for s in stats] == [0.064, 0.128, 0.192]
    assert {"d_warmup/cls", "g_warmup/rec"} <= set(stats[0]) and {
        "d/adv",
        "g/rho",
        "d_penalty/r1",
    } <= set(stats[2])
    assert len(list((folder / "samples").glob("*.png"))) == 3
    assert len(RunDir(folder).snapshots()) == 2
    editor = ganmut.load(folder / "weights")
    assert editor.config["kimg"] == 0.192 and editor.config["method"] == "ganmut"
    settings = presets.resolve_settings("ganmut", "stable", "cpu", **SHORT)
    assert RunDir.create(tmp_path, *settings, 0).path.name.startswith("00001-")


def test_checkpoints_are_weights_of_their_kimg(tmp_path):
    settings = presets.resolve_settings("ganmut", "stable", "cpu", **SHORT)
    folder = training.train(
        *settings, tmp_path, device="cpu", progress=False, checkpoint_kimg=0.096
    )
    names = ["ganmut-0.128", "ganmut-0.192"]  # the first ticks from .096 and .192 on
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == names
    editors = [ganmut.load(folder / "checkpoints" / name) for name in names]
    assert [editor.config["kimg"] for editor in editors] == [0.128, 0.192]
    last, final = (
        load_file(path / "generator.safetensors")
        for path in (folder / "checkpoints" / names[1], folder / "weights")
    )
    assert all(torch.equal(last[name], final[name]) for name in final)


@pytest.mark.parametrize(("batch", "distance"), [(10, 0.1), (16, 0.7), (64, 0.064), (25, 4.0)])
def test_ticks_lie_at_the_multiples(batch, distance):
    """Thousandths have no exact binary form: 0.3 / 0.1 is below 3, 0.1 + 0.1 + 0.1 is above 0.3."""
    images = round(1000 * distance)
    passed = [training.passed_multiples(s * batch / 1000, distance) for s in range(3000)]
    assert passed == [s * batch // images for s in range(3000)]


def test_days_that_are_left_are_shown():
    record = dict.fromkeys(("kimg", "sec_per_kimg", "memory_gib"), 1.0) | {"left": 30 * 3600.0}
    assert "30:00:00" in training.status(record)


def test_warm_ups_without_a_training_are_said(tmp_path, caplog):
    run(tmp_path, kimg=0.064)
    assert "g_warmup_kimg" in caplog.text
    caplog.clear()
    run(tmp_path)
    assert not caplog.text


def test_checkpoints_need_a_distance(tmp_path):
    settings = presets.resolve_settings("ganmut", "stable", "cpu", **SHORT)
    with pytest.raises(ParameterError):
        training.train(*settings, tmp_path, progress=False, checkpoint_kimg=0)


ONE_TICK = {"kimg": 0.064, "kimg_per_tick": 0.064, "faces": 16}


@pytest.fixture(scope="module")
def donor(tmp_path_factory) -> Path:
    """A run of EF-GAN that others begin with."""
    return run(tmp_path_factory.mktemp("donor"), "efgan", **ONE_TICK)


def test_init_from_adds_up_kimg_and_steps(donor, tmp_path):
    first = donor / "weights"
    both = run(tmp_path, "efgan_cascade", init_from=str(first), g_warmup_kimg=0.0, **ONE_TICK)
    one, two = (ganmut.load(folder).config for folder in (first, both / "weights"))
    assert two["kimg"] == pytest.approx(one["kimg"] + 0.064) and two["minutes"] >= one["minutes"]
    assert two["g_steps"] == one["g_steps"] + (0.064 - 0.032) * 1000 / two["recipe"]["batch"]


def test_an_autoencoder_warm_up_learns(tmp_path):
    folder = run(
        tmp_path,
        method="stargan",
        output="tanh",
        d_warmup_kimg=0,
        g_warmup_kimg=1.6,
        kimg=1.6,
        kimg_per_tick=0.4,
        lr_g=2e-3,
    )
    stats = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["g_warmup/rec"] < 0.6 * stats[0]["g_warmup/rec"]


def test_inherit_discriminator_needs_a_run(donor):
    config = presets.resolve_settings("efgan_cascade", "stable", "cpu", **SHORT)[1]
    discriminator = METHODS["efgan_cascade"](config, EMOTIONS, 32).D
    before = {k: v.clone() for k, v in discriminator.state_dict().items()}
    assert not inherit_discriminator(discriminator, donor / "weights")
    other = METHODS["stargan"](
        presets.resolve_settings("stargan", "stable", "cpu", **TOY)[1], EMOTIONS, 32
    ).D
    assert not inherit_discriminator(other, donor)
    assert inherit_discriminator(discriminator, donor)
    newest = load_file(RunDir(donor).snapshots()[-1])
    for name, value in discriminator.state_dict().items():
        assert torch.equal(value, newest[f"method.D.{name}"])
    assert any(not torch.equal(v, before[k]) for k, v in discriminator.state_dict().items())


def test_kill_and_resume_is_bit_for_bit(tmp_path):
    whole = run(tmp_path / "whole")
    command = [
        sys.executable,
        "-m",
        "ganmut",
        "train",
        "ganmut",
        *SHORT_OPTIONS,
        "--device=cpu",
        f"--out={tmp_path / 'cut'}",
    ]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cut").glob("*/snapshots/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "no snapshot before the end"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (cut,) = (tmp_path / "cut").iterdir()
    # What a kill in the middle of a write leaves behind is passed over.
    newest = cut / "snapshots" / "99999999.safetensors"
    newest.write_bytes(RunDir(cut).snapshots()[-1].read_bytes()[:-100])
    assert main(["train", "resume", str(cut), "--device=cpu"]) == 0
    newest.unlink(missing_ok=True)
    ours, theirs = (load_file(RunDir(f).snapshots()[-1]) for f in (whole, cut))
    assert ours.keys() == theirs.keys()
    assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == []
    lines = [json.loads(x)["kimg"] for x in (cut / "stats.jsonl").read_text().splitlines()]
    assert lines == [0.064, 0.128, 0.192]


def test_not_finite_stops_with_phase_term_and_step(tmp_path, monkeypatch):
    def overflow(self, batch):
        return {"cls": self.classify(batch.x).square().mean() * float("inf")}

    monkeypatch.setattr(METHODS["ganmut"], "d_warmup_loss", overflow)
    with pytest.raises(
        DivergenceError,
        match=r"d_warmup.*\bcls\b.*\b0\b",
    ):
        run(tmp_path)


def test_meter_names_the_first_bad_step():
    meter = LossMeter()
    for step, value in enumerate([1.0, 2.0, float("inf"), float("nan")]):
        meter.add("g", {"rec": torch.tensor(value), "adv": torch.tensor(1.0)}, step)
    with pytest.raises(DivergenceError, match=r"\bg\b.*\brec\b.*\b2\b"):
        meter.read()


def test_balanced_sampling_and_the_data_s_own_prior():
    emotion = torch.tensor([0] * 90 + [1] * 9 + [2])
    faces = FaceSet(
        "test",
        "train",
        ("neutral", "happy", "sad"),
        torch.zeros(100, 3, 8, 8, dtype=torch.uint8),
        emotion,
        "x",
    )
    recipe, _ = presets.resolve_settings("stargan", "stable", "cpu", batch=3000)
    for balanced, share in ((True, 1 / 3), (False, 0.01)):
        chosen = dataclasses.replace(recipe, balanced=balanced)
        rows = Sampler(faces, chosen, torch.device("cpu")).rows(0)
        assert abs(float((emotion[rows] == 2).float().mean()) - share) < 0.03


def test_ema_averages_parameters_and_copies_directions():
    recipe, config = presets.resolve_settings("ganmut", "stable", "cpu", **TOY)
    trainer = Trainer(METHODS["ganmut"](config, ganmut.EMOTIONS, 32), recipe, torch.device("cpu"))
    with torch.no_grad():
        for parameter in trainer.method.G.parameters():
            parameter.add_(1.0)
    before = {k: v.clone() for k, v in trainer.ema.named_parameters()}
    trainer.update_ema()
    own = dict(trainer.method.G.named_parameters())
    decay = 2 / 11  # the ramp's first step
    for name, now in trainer.ema.named_parameters():
        expected = (
            own[name] if name == "directions" else before[name] * decay + own[name] * (1 - decay)
        )
        torch.testing.assert_close(now, expected)


def test_ema_follows_the_buffers():
    recipe, _ = presets.resolve_settings("efgan", "paper", "cpu", **TOY)
    trainer = Trainer(toy("efgan", "paper"), recipe, torch.device("cpu"))
    with torch.no_grad():
        for buffer in trainer.method.G.buffers():
            buffer.add_(1)
    trainer.update_ema()
    own, kept = (dict(g.named_buffers()) for g in (trainer.method.G, trainer.ema))
    assert any(name.endswith(".u") for name in kept)  # the spectral norms
    assert all(torch.equal(kept[name], own[name]) for name in own)


def test_learning_rate_falls_to_zero():
    recipe, config = presets.resolve_settings(
        "stargan", "stable", "cpu", **TOY, kimg=1.6, lr_decay_fraction=0.5, lr_g=1.0
    )
    trainer = Trainer(METHODS["stargan"](config, ganmut.EMOTIONS, 32), recipe, torch.device("cpu"))
    rates = []
    for trainer.step in (0, 50, 75, 100):
        trainer.schedule()
        rates.append(trainer.opt_g.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 0.5, 0])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as error:
        run(tmp_path / "file" / "runs")
    assert error.value.parameter == "out" and str(tmp_path) in str(error.value)


def test_full_disk_is_refused_before_training(tmp_path):
    settings = presets.resolve_settings("stargan", "stable", "cpu", **SHORT)
    with pytest.raises(RunError, match=f"{2**40}"):
        RunDir.create(tmp_path, *settings, need_bytes=2**60)
    assert list(tmp_path.iterdir()) == []


def test_unknown_split_or_source():
    with pytest.raises(BadData, match="tset"):
        training.open_source("procedural").load("tset", 32, 4)
    with pytest.raises(ValueError, match="'procedural'"):
        training.open_source("procedual")
