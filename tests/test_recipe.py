"""Settings: presets, the command line, recipe.json."""

from __future__ import annotations

import dataclasses
import json

import pytest
from toys import PRESETS

from ganmut.cli import main
from ganmut.methods.base import METHODS
from ganmut.training import config as recipes
from ganmut.training import presets


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("method", list(METHODS))
def test_recipe_json_alone_repeats_a_run(method, preset):
    both = presets.resolve_settings(method, **PRESETS[preset], seed=3)
    text = recipes.to_json(*both)
    assert recipes.from_json(text) == both
    assert recipes.settings_hash(*recipes.from_json(text)) == recipes.settings_hash(*both)
    assert recipes.settings_hash(
        *presets.resolve_settings(method, **PRESETS[preset], seed=4)
    ) != recipes.settings_hash(*both)


def test_paper_is_the_published_setting():
    recipe, config = presets.resolve_settings("ganmut", "paper")
    assert (recipe.batch, recipe.kimg, recipe.lr_g, recipe.beta1, recipe.size) == (
        16,
        16000,
        1e-4,
        0.5,
        128,
    )
    assert (config.lambda_rho, config.sigma, config.g_interval, config.lambda_gp, config.width) == (
        4,
        0.1,
        5,
        10,
        64,
    )
    _, config = presets.resolve_settings("gganmut", "paper")
    assert (config.lambda_div, config.lambda_cls) == (2, 0.5)


def test_the_command_line_overrides_both_dataclasses(capsys):
    assert (
        main(
            [
                "train",
                "ganmut",
                "--budget=cpu",
                "--kimg=7",
                "--lambda-info",
                "2",
                "--no-flip",
                "--dry-run",
            ]
        )
        == 0
    )
    both = json.loads(capsys.readouterr().out)
    assert (
        both["recipe"]["kimg"] == 7
        and both["config"]["lambda_info"] == 2
        and not both["recipe"]["flip"]
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "ganmutt"], "ganmut"),
        (["train", "stargan", "--lambda-rho=4"], "lambda-rho"),
        (["train", "ganmut", "--budget=fast"], "There are: paper, quick, cpu, gpu"),
        (["train", "ganmut", "--kimg=-1"], "--kimg"),
        (["train", "ganmut", "--kimg=inf"], "--kimg"),
        (["train", "ganmut", "--kimg=0.007"], "--kimg"),  # less than half a batch
        (["train", "ganmut", "--kimg=nan"], "--kimg"),
        (["train", "ganmut", "--width=0"], "--width"),
        (["train", "ganmut", "--blocks=-1"], "--blocks"),
        (["train", "ganmut", "--lr-g=1e30"], "--lr-g"),
        (["train", "ganmut", "--seed=-1"], "--seed"),
        (["train", "ganmut", "--random-share=2"], "--random-share"),
        (["train", "ganmut", "--penalty-interval=0"], "--penalty-interval"),
        (["train", "ganmut", "--condition=plain"], "concat, adain"),
        (["train", "ganmut", "--head-jitter=1"], "head-jitter"),
        (["train", "smit", "--lambda-cls-fake=1"], "lambda-cls-fake"),
        (["train", "stargan_v2", "--head-noise=1"], "head-noise"),
        (["train", "ganmut", "--recipe=cpu"], "recipe"),
        (["train", "ganmut", "--lambda_cls=1"], "lambda_cls"),
        (["train", "resume", "nowhere"], "not a run directory"),
        (["trian"], "train"),
    ],
)
def test_bad_arguments_exit_with_2(words, says, capsys):
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert says in capsys.readouterr().err


def test_discriminator_needs_a_divisible_size():
    _, config = presets.resolve_settings("stargan", "paper")
    with pytest.raises(ValueError, match=r"\b64\b.*\b96\b"):
        METHODS["stargan"](config, ("neutral", "happy"), 96)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"recipe": {"method": "stargan", "speed": 1}, "config": {}}']
)
def test_a_broken_recipe_json(text):
    with pytest.raises(ValueError, match="recipe"):
        recipes.from_json(text)


@pytest.mark.parametrize("cls", [recipes.Recipe, *(METHODS[name].Config for name in METHODS)])
def test_every_field_has_a_help_text(cls):
    fields = [field for field in dataclasses.fields(cls) if field.name != "method"]
    assert all(len(field.metadata["help"]) > 5 for field in fields)


def test_explain_names_the_origin_of_values(capsys):
    words = ["train", "stargan", "--domain=photographs", "--lr-g=0.001", "--explain"]
    assert main(words) == 0
    rows = (line.split(None, 2) for line in capsys.readouterr().out.splitlines() if line)
    origin = {row[0]: row[-1].strip() for row in rows}
    assert origin["lr_g"] == "command line" and origin["adversarial"] == "objective"
    assert origin["width"] == "budget" and origin["augment"] == "domain"
    assert origin["output"] == "photographs" and origin["beta1"] == "default"


def test_a_preset_without_field_is_an_error(monkeypatch):
    monkeypatch.setitem(presets.BUDGETS, "cpu", {"speed": 1})
    with pytest.raises(ValueError, match="speed"):
        presets.resolve_settings("stargan", "stable", "cpu")
    monkeypatch.setattr(METHODS["smit"], "SHORT_SCHEDULE", {"condition": "adain"})
    with pytest.raises(ValueError, match="condition"):
        presets.resolve_settings("smit", "stable", "quick")
