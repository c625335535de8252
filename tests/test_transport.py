"""Expression transport: what it does to distributions and to one face, its codes, its weight."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import ganmut
from ganmut import weights
from ganmut.datasets.base import BadData
from ganmut.expression import transport
from ganmut.expression.conditional import LabelledExpressions
from ganmut.expression.landmark_net import load_landmark_net
from ganmut.expression.point_set import IBUG
from ganmut.expression.transport import TransportSpace, fit_transport
from ganmut.expression.transport_weight import build_transport, save_transport
from ganmut.weights import BadWeights
from ganmut.weights.storage import Weights, read

NAMES = ("neutral", "happy", "sad")
CONTROLS = 17


def drawn_faces(each: int = 4000) -> LabelledExpressions:
    """Gaussians of one covariance round three centres."""
    draws = torch.Generator().manual_seed(0)
    shape = 0.3 * torch.eye(CONTROLS) + 0.05 * torch.randn(CONTROLS, CONTROLS, generator=draws)
    centres = torch.randn(3, CONTROLS, generator=draws) * 0.15
    label = torch.arange(3).repeat(each)
    noise = torch.randn(len(label), CONTROLS, generator=draws)
    return LabelledExpressions(centres[label] + noise @ shape, label, NAMES)


@pytest.fixture(scope="module")
def editor():
    return ganmut.load("procedural/transport", "cpu")


@pytest.fixture(scope="module")
def unbounded(editor):
    """The method with controls that may take any value."""
    model = type(editor.method.model)(editor.emotions[1:], editor.method.model.controls, IBUG)
    model.clamp_expression = lambda expression: expression
    network = load_landmark_net()
    return transport.ExpressionTransport(model, network, editor.method.fitted, editor.emotions)


def test_moved_faces_are_spread_like_the_emotion(monkeypatch, unbounded):
    monkeypatch.setattr(transport, "STRENGTH", 1.0)
    faces = drawn_faces()
    fitted = fit_transport(faces)
    method = transport.ExpressionTransport(unbounded.model, load_landmark_net(), fitted, NAMES)
    code = TransportSpace(NAMES, fitted).of("happy").expand(len(faces.values), -1)
    moved = fitted.coordinates(method.expression(faces.values, code))
    real = fitted.coordinates(faces.values[faces.labels == 1])
    assert torch.allclose(moved.mean(0), real.mean(0), atol=0.05)
    assert torch.allclose(moved.var(0), real.var(0), atol=0.1)
    assert (fitted.coordinates(faces.values).var(0) > 1.2).all()  # they were not before


def test_no_smaller_change_has_these_coordinates():
    faces = drawn_faces()
    fitted = fit_transport(faces)
    wanted = torch.tensor([1.0, -2.0])
    change = fitted.back @ wanted
    assert torch.allclose(change @ fitted.axes, wanted, atol=1e-3)
    groups = [faces.values[faces.labels == kind] for kind in range(3)]
    within = sum(torch.cov(group.T) for group in groups) / 3 + transport.RIDGE * torch.eye(CONTROLS)
    inverse = torch.linalg.inv(within.double()).float()
    others = torch.randn(64, CONTROLS, generator=torch.Generator().manual_seed(1)) * 0.1
    others = others - others @ fitted.axes @ fitted.back.T  # directions without coordinates
    longer = change + others
    assert torch.allclose(longer @ fitted.axes, wanted.expand(64, -1), atol=1e-3)
    assert (((longer @ inverse) * longer).sum(1) > change @ inverse @ change).all()


def test_codes_of_the_grid_are_places(editor, unbounded):
    places = editor.space.grid(5)
    draws = torch.Generator().manual_seed(2)
    source = torch.rand(5, CONTROLS, generator=draws)
    found = unbounded.fitted.coordinates(unbounded.expression(source, places))
    assert torch.allclose(found, places[:, :-2], atol=1e-3)


def test_the_way_runs_from_neutral_to_the_emotion(editor, unbounded):
    source = torch.rand(1, CONTROLS, generator=torch.Generator().manual_seed(3))
    neutral, happy = editor.space.of("neutral"), editor.space.of("happy")
    path = editor.space.path(neutral, happy, 41)
    assert torch.allclose(path[20], editor.space.of("happy", 0.5), atol=1e-6)
    shown = unbounded.fitted.coordinates(unbounded.expression(source.expand(41, -1), path))
    line = (shown - shown[0]) @ (shown[-1] - shown[0]) / (shown[-1] - shown[0]).square().sum()
    assert line[0] == 0 and line[-1] == pytest.approx(1, abs=1e-4)
    assert (line.diff() > 0).all()
    seen = unbounded.fitted.shares(shown)[:, editor.emotions.index("happy")]
    straight = torch.lerp(shown[0], shown[-1], torch.linspace(0, 1, 41)[:, None])
    before = unbounded.fitted.shares(straight)[:, editor.emotions.index("happy")]
    assert seen.diff().abs().max() < before.diff().abs().max()


def test_mixtures_lie_between_their_emotions(editor):
    space = editor.space
    assert torch.allclose(space.mix({"sad": 0.4}), space.of("sad", 0.4), atol=1e-6)
    both = space.mix({"sad": 0.3, "angry": 0.3})
    apart = space.of("sad", 0.6), space.of("angry", 0.6)
    assert torch.allclose(both, (apart[0] + apart[1]) / 2, atol=1e-5)


def test_the_same_faces_give_the_same_transport():
    first, second = (fit_transport(drawn_faces(200)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"emotions": ("happy", "neutral", "sad")}, "neutral"),
        ({"labels": torch.zeros(600).long()}, "0 faces"),
        ({"values": torch.full((600, CONTROLS), torch.nan)}, "finite"),
        ({"values": torch.rand(600, 2)}, "3 emotions need"),
    ],
)
def test_unusable_expressions_are_refused(change, words):
    with pytest.raises(BadData, match=words):
        fit_transport(dataclasses.replace(drawn_faces(200), **change))


@pytest.fixture(scope="module")
def saved(tmp_path_factory, editor):
    folder = tmp_path_factory.mktemp("set") / "transport"
    return save_transport(folder, editor.method.fitted, editor.emotions, IBUG, {"faces": 7})


def test_a_saved_transport_edits_alike(saved, editor):
    assert weights.verify(saved) == 0
    again = ganmut.load(saved, "cpu")
    assert torch.equal(again.space.of("fearful"), editor.space.of("fearful"))
    assert again.method.dependencies == editor.method.dependencies


@pytest.mark.parametrize("damage", ["points", "emotions", "model", "drawing"])
def test_a_transport_that_fits_nothing_is_refused(saved, damage):
    whole = read(saved, "editor")
    config, tensors = dict(whole.config), dict(whole.tensors)
    if damage == "points":
        tensors["points"] = tensors["points"][:3]
    elif damage == "emotions":
        config["emotions"] = config["emotions"][:-1]
    elif damage == "model":
        config["drawing"] = {"points": IBUG.name, "model": "0" * 64}
    else:
        config["drawing"] = {"points": "none", "model": ""}
    with pytest.raises(BadWeights):
        build_transport(Weights(tensors, config, whole.folder))
