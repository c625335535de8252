"""Speed: the baseline computes the same losses, steps and edits as the library."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest
import torch

from bench.speed import baseline
from bench.speed import run as speed
from bench.speed.baseline import Baseline, Optimisations
from ganmut import device as hardware
from ganmut.datasets.base import Batch
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.training import presets
from ganmut.training.trainer import Trainer

SIZE, N = 32, 16
TOY = {
    "width": 4,
    "blocks": 1,
    "d_width": 4,
    "d_layers": 4,
    "batch": N,
    "size": SIZE,
    "dtype": "fp32",
}


def method_of(name: str, seed: int = 0):
    recipe, config = presets.resolve_settings(name, "paper", **TOY)
    torch.manual_seed(seed)
    return recipe, METHODS[name](config, EMOTIONS, SIZE)


def batch_of(seed: int = 1) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(N, 3, SIZE, SIZE, generator=rng) * 2 - 1
    return Batch(x, torch.randint(len(EMOTIONS), (N,), generator=rng))


def own_terms(method, batch, target, rng):
    """The library's terms of both players, by name."""
    x_fake = method.fake(batch, target)
    d = method.d_loss(batch, target, x_fake.detach())
    d |= method.d_penalty(batch, target, x_fake.detach(), rng)
    return d, method.g_loss(batch, target, x_fake)


@pytest.mark.parametrize("name", baseline.METHOD_TERMS)
@pytest.mark.parametrize("lean", [False, True])
def test_baseline_has_the_losses_of_the_library(name, lean):
    _, method = method_of(name)
    batch = batch_of()
    target = method.sample_targets(batch, hardware.generator(3))
    plain = Baseline(method, optimisations=Optimisations(no_graph=lean, one_pass=lean))
    plain.rng = hardware.generator(5)
    theirs_d, theirs_g = plain.d_terms(batch, target), plain.g_terms(batch, target)
    theirs_d["adv"] = theirs_d.pop("real") + theirs_d.pop("fake")
    ours_d, ours_g = own_terms(method, batch, target, hardware.generator(5))
    for ours, theirs in ((ours_d, theirs_d), (ours_g, theirs_g)):
        assert ours.keys() == theirs.keys()
        for term in ours:
            torch.testing.assert_close(theirs[term], ours[term], rtol=1e-4, atol=1e-5, msg=term)


@pytest.mark.parametrize("name", baseline.METHOD_TERMS)
def test_baseline_takes_the_same_first_step(name):
    recipe, method = method_of(name)
    plain = Baseline(method_of(name)[1], recipe.lr_d)
    trainer = Trainer(method, recipe, torch.device("cpu"))
    before = [p.clone() for p in plain.D.parameters()]
    trainer.train_step(batch_of())
    plain.train_step(batch_of())
    moved = [(p - q).abs().max() for p, q in zip(plain.D.parameters(), before, strict=True)]
    assert min(moved) > 0
    own = baseline.discriminator_like(method)
    for a, b in zip(plain.D.parameters(), own.parameters(), strict=True):
        # Adam's first step is the gradient's sign: entries with all but no gradient may differ
        assert ((a - b).abs() > 0.1 * recipe.lr_d).float().mean() < 0.01


@pytest.mark.parametrize("name", baseline.METHOD_TERMS)
def test_baseline_edits_like_the_editor(name):
    _, method = method_of(name)
    plain, editor = Baseline(method), Editor(copy.deepcopy(method), {})
    faces = editor.prepare((batch_of().x[:2] * 127.5 + 127.5).round().to(torch.uint8))
    code = editor.space.of("happy")
    apart = (plain.edit(faces.x, code).int() - editor.edit(faces, code).int()).abs()
    assert apart.max() <= 6  # the editor computes in bfloat16 where the machine is faster with it
    assert apart.float().mean() < 1


def test_every_optimisation_runs():
    recipe, method = method_of("ganmut")
    for field in dataclasses.fields(Optimisations):
        plain = Baseline(method, recipe.lr_d, Optimisations(**{field.name: True}))
        plain.train_step(batch_of())
        assert all(p.isfinite().all() for p in plain.G.parameters())
        assert bool(plain.log) != (field.name == "lazy_log")


def test_baseline_refuses_unpublished_layouts():
    _, config = presets.resolve_settings(
        "ganmut", "stable", "cpu", **{k: TOY[k] for k in ("width", "blocks")}
    )
    method = METHODS["ganmut"](config, EMOTIONS, 64)
    with pytest.raises(ValueError, match=config.condition):
        baseline.generator_like(method)


def test_last_line_is_json(capsys):
    toy = [f"--{k}={v}" for k, v in TOY.items() if k in ("width", "blocks", "d_width", "d_layers")]
    code = speed.main(
        ["--methods=stargan", "--size=32", "--batch=8", "--rounds=1", "--steps", *toy]
    )
    lines = capsys.readouterr().out.strip().splitlines()
    result = json.loads(lines[-1])
    assert code == 0
    (row,) = result["training"]
    assert row["method"] == "stargan" and row["own_img_s"] > 0 and row["ratio"] > 0
    assert {edit["batch"] for edit in result["edit"]} == {1, 16}
    assert result["steps"][0]["step"] == "baseline"


@pytest.mark.parametrize("words", [["--methods=ganmutt"], ["--size=0"], ["--size=big"]])
def test_invalid_arguments_exit_with_2(words, capsys):
    assert speed.main([*words, "--rounds=1"]) == 2
    assert capsys.readouterr().err.startswith("speed:")
