"""The emotion wheel: its codes, what lies between emotions, its weight folder."""

from __future__ import annotations

import math

import pytest
import torch

import ganmut
from ganmut import weights
from ganmut.expression.landmark_net import load_landmark_net
from ganmut.expression.weight import build_wheel, load_expression_model, save_wheel
from ganmut.expression.wheel import ExpressionWheel, wheel_directions
from ganmut.weights import BadWeights
from ganmut.weights.storage import Weights, read


@pytest.fixture(scope="module")
def editor():
    return ganmut.load("photos/wheel")


def test_the_rim_holds_the_recipes(editor):
    model = load_expression_model()
    for emotion in model.emotions:
        code = editor.space.of(emotion)
        recipe = model.recipes[model.emotions.index(emotion)]
        assert code.norm() == pytest.approx(1, abs=1e-6)
        shown = editor.method.expression(code[None])[0]
        assert torch.allclose(shown, model.clamp_expression(model.rest + recipe), atol=1e-4)


def test_the_middle_is_neutral(editor):
    model = load_expression_model()
    shown = editor.method.expression(editor.space.of("neutral")[None])[0]
    assert torch.allclose(shown, model.clamp_expression(model.rest), atol=1e-6)


def test_expressions_are_continuous_round_the_wheel(editor):
    angles = torch.linspace(0, 2 * math.pi, 721)
    shown = editor.method.expression(torch.stack([angles.cos(), angles.sin()], 1))
    assert (shown[1:] - shown[:-1]).abs().max() < 0.05
    assert torch.allclose(shown[0], shown[-1], atol=1e-4)


def test_between_two_emotions_lies_their_mean(editor):
    model = load_expression_model()
    first, second = editor.space.of("happy"), editor.space.of("surprised")
    middle = torch.nn.functional.normalize(first + second, dim=0)
    recipes = [model.recipes[model.emotions.index(name)] for name in ("happy", "surprised")]
    expected = model.clamp_expression(model.rest + sum(recipes) / 2)
    assert torch.allclose(editor.method.expression(middle[None])[0], expected, atol=1e-3)


def test_directions_are_equally_far_apart():
    directions = wheel_directions(("sad", "happy", "bored"))
    cosines = directions @ directions.T
    assert torch.allclose(
        cosines - torch.diag(cosines.diag()), -0.5 * (1 - torch.eye(3)), atol=1e-6
    )


def test_a_wheel_of_one_emotion_turns():
    model = load_expression_model()
    wheel = ExpressionWheel(
        model, load_landmark_net(), wheel_directions(("happy",)), ("neutral", "happy")
    )
    shown = wheel.expression(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert torch.isfinite(shown).all()
    assert torch.allclose(shown[0], shown[1], atol=1e-6)


def test_a_saved_wheel_loads_again(tmp_path):
    folder = save_wheel(tmp_path / "wheel", load_expression_model())
    assert weights.verify(folder) == 0
    assert ganmut.load(folder).space.kind == "gamut"


@pytest.mark.parametrize("damage", ["directions", "emotions"])
def test_a_wheel_that_fits_nothing_is_refused(tmp_path, damage):
    whole = read(save_wheel(tmp_path / "wheel", load_expression_model()), "editor")
    config, tensors = dict(whole.config), dict(whole.tensors)
    if damage == "directions":
        tensors["directions"] = tensors["directions"][:3]
    else:
        config["emotions"] = [*config["emotions"][:-1], "bored"]
    with pytest.raises(BadWeights):
        build_wheel(Weights(tensors, config, whole.folder))
