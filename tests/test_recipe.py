"""Settings: presets, the command line, recipe.json."""

from __future__ import annotations

import json

import pytest

from ganmut.cli import main
from ganmut.methods.base import METHODS
from ganmut.training import config as recipes


@pytest.mark.parametrize("preset", list(recipes.PRESETS))
@pytest.mark.parametrize("method", list(METHODS))
def test_recipe_json_alone_repeats_a_run(method, preset):
    both = recipes.resolve_settings(method, preset, seed=3)
    text = recipes.to_json(*both)
    assert recipes.from_json(text) == both
    assert recipes.settings_hash(*recipes.from_json(text)) == recipes.settings_hash(*both)
    assert recipes.settings_hash(
        *recipes.resolve_settings(method, preset, seed=4)
    ) != recipes.settings_hash(*both)


def test_paper_is_the_published_setting():
    recipe, config = recipes.resolve_settings("ganmut", "paper")
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
    _, config = recipes.resolve_settings("gganmut", "paper")
    assert (config.lambda_div, config.lambda_cls) == (2, 0.5)


def test_the_command_line_overrides_both_dataclasses(capsys):
    assert (
        main(
            [
                "train",
                "ganmut",
                "--recipe=cpu",
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
        (["train", "ganmut", "--recipe=fast"], "There are: paper, cpu, photos, gpu"),
        (["train", "ganmut", "--kimg=-1"], "above 0"),
        (["train", "ganmut", "--condition=plain"], "concat, adain"),
        (["train", "ganmut", "--head-jitter=1"], "head-jitter"),
        (["train", "ganmut", "--lambda_cls=1"], "lambda_cls"),
        (["train", "resume", "nowhere"], "not a run directory"),
        (["trian"], "train"),
    ],
)
def test_bad_words_exit_with_2_and_say_what_exists(words, says, capsys):
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert says in capsys.readouterr().err


def test_a_critic_that_does_not_fit_the_size():
    _, config = recipes.resolve_settings("stargan", "paper")
    with pytest.raises(ValueError, match="64 divides, got 96"):
        METHODS["stargan"](config, ("neutral", "happy"), 96)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"recipe": {"method": "stargan", "speed": 1}, "config": {}}']
)
def test_a_broken_recipe_json(text):
    with pytest.raises(ValueError, match="recipe"):
        recipes.from_json(text)
