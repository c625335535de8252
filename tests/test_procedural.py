"""Rendered faces: the same bytes whoever asks, and expressions that move what they should."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from ganmut.datasets import open_source
from ganmut.datasets.base import BadData
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.rendering.geometry import TEMPLATE, landmarks
from ganmut.rendering.sampler import TRAIN_PRIOR, sample_parameters, with_expression
from ganmut.rendering.shading import _render_batch, render

UNCHANGED = (
    "index",
    "person",
    "seed",
    "identity",
    "emotion_units",
    "pose",
    "gaze",
    "lights",
    "camera",
)
# Pinned: a change here means that weights trained on these faces no longer fit them.
FINGERPRINT = "31f112e3c8a4199b"
MEANS = (149.3, 115.77)


@pytest.fixture(scope="module")
def truth():
    return sample_parameters(0, "test", range(0, 8))


def only(truth, **units):
    """The truth with neutral faces except for some units at 1: only(truth, au12=1)."""
    values = torch.zeros(len(UNITS))
    for name, value in units.items():
        values[UNITS.index(int(name.removeprefix("au")))] = value
    return with_expression(truth, units=values)


def test_bytes_do_not_depend_on_the_batch(truth):
    whole = render(truth, 64)
    assert whole.shape == (8, 3, 64, 64) and whole.dtype == torch.uint8
    order = torch.tensor([5, 0, 3])
    assert torch.equal(render(truth.select(order), 64), whole[order])
    alone = sample_parameters(0, "test", [6])
    assert torch.equal(render(alone, 64)[0], whole[6])


def test_batched_rendering_gives_the_same_faces(truth):
    batched = _render_batch(truth, 32, "cpu")
    assert (batched.int() - render(truth, 32)).abs().max() <= 2


def test_ground_truth_does_not_depend_on_batch(truth):
    again = sample_parameters(0, "test", [7, 2, 2])
    for field in fields(truth):
        column = getattr(truth, field.name)
        assert torch.equal(getattr(again, field.name), column[[7, 2, 2]]), field.name


def test_parameters_and_pixels_are_pinned(truth):
    assert truth.fingerprint == FINGERPRINT
    means = render(truth.select([0, 7]), 64).float().mean((1, 2, 3))
    torch.testing.assert_close(means, torch.tensor(MEANS), atol=1.0, rtol=0)


def test_people_are_in_one_split_only():
    splits = [sample_parameters(0, s, range(0, 210, 7)) for s in ("train", "extractor", "test")]
    people = torch.cat([s.person for s in splits])
    assert len(people.unique()) == len(people) == 90
    identities = torch.cat([s.identity for s in splits])
    assert torch.cdist(identities, identities).fill_diagonal_(9).min() > 0.1
    one = sample_parameters(0, "train", range(7))
    assert len(one.person.unique()) == 1 and len(one.identity.unique(dim=0)) == 1


def test_with_expression_changes_only_the_expression(truth):
    happy = with_expression(truth, "happy")
    assert all(torch.equal(getattr(happy, name), getattr(truth, name)) for name in UNCHANGED)
    assert (happy.emotion == EMOTIONS.index("happy")).all()
    assert (happy.units[:, UNITS.index(12)] > 0.6).all()
    half = with_expression(truth, "happy", 0.5)
    torch.testing.assert_close(half.units, happy.units / 2)
    for zero in (with_expression(truth, "neutral"), with_expression(truth, "angry", 0.0)):
        assert (zero.units == 0).all() and (zero.mixture[:, 0] == 1).all()
    each = with_expression(truth, "sad", torch.linspace(0, 1, 8))
    assert (each.units.sum(1).diff() > 0).all()


def test_mixtures_units_and_labels_are_consistent():
    train = sample_parameters(3, "train", range(2800))
    torch.testing.assert_close(train.mixture.sum(1), torch.ones(2800))
    assert ((train.units >= 0) & (train.units <= 1)).all()
    share = train.emotion.bincount(minlength=7) / 2800
    torch.testing.assert_close(share, torch.tensor(TRAIN_PRIOR), atol=0.03, rtol=0)
    assert (((train.mixture > 0).sum(1)) <= 4).all()  # three emotions and neutral
    test = sample_parameters(3, "test", range(70))
    assert (test.emotion.bincount() == 10).all()
    # Labels are ambiguous, as annotators are: the strongest emotion is often not the label.
    assert 0.5 < (train.mixture.argmax(1) == train.emotion).float().mean() < 0.95


def test_landmarks_are_inside_and_eyes_on_template():
    people = with_expression(sample_parameters(1, "train", range(0, 350, 7)), "neutral")
    points = landmarks(people, 128)
    assert points.shape == (50, 68, 2) and points.dtype == torch.float32
    assert (points > -2).all() and (points < 133).all()  # a chin may touch the lower edge
    for i, eye in enumerate((points[:, 36:42], points[:, 42:48])):
        off = eye.mean(1) - (torch.tensor(TEMPLATE[i]) + 64)
        assert off.norm(dim=1).max() < 7 and off.mean(0).norm() < 2
    torch.testing.assert_close(landmarks(people, 64) * 2, points)


@pytest.mark.parametrize(
    "unit, rows",
    [
        (2, slice(4, 30)),
        (4, slice(8, 34)),
        (45, slice(20, 34)),
        (12, slice(30, 64)),
        (25, slice(42, 62)),
        (17, slice(38, 64)),
        (9, slice(14, 56)),
    ],
)
def test_a_unit_changes_its_own_region(truth, unit, rows):
    front = truth.select([0, 7])
    change = (render(only(front, **{f"au{unit}": 1.0}), 64).float() - render(only(front), 64)).abs()
    rows_changed = change.sum((0, 1, 3))
    assert rows_changed.sum() > 1000, f"unit {unit} shows nothing"
    assert rows_changed[rows].sum() > 0.75 * rows_changed.sum()


def test_bad_arguments_are_refused(truth):
    with pytest.raises(ValueError, match="0 to 1"):
        only(truth, au12=1.5)
    with pytest.raises(ValueError, match="0 to 1"):
        only(truth, au4=float("nan"))
    with pytest.raises(ValueError, match="0 to 1"):
        with_expression(truth, "sad", -0.1)
    with pytest.raises(ValueError, match="17"):
        with_expression(truth, units=torch.zeros(5))
    with pytest.raises(ValueError, match="either"):
        with_expression(truth)
    with pytest.raises(ValueError, match="fearful"):
        with_expression(truth, "fearfull")
    with pytest.raises(BadData, match="tset"):
        sample_parameters(0, "tset", [0])
    with pytest.raises(BadData, match="indices"):
        sample_parameters(0, "test", [-1])


def test_source_gives_faces_and_ground_truth(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path))
    faces = open_source("procedural").load("extractor", 32, 8, seed=2, progress=False)
    assert (len(faces), faces.size, faces.source, faces.split) == (8, 32, "procedural", "extractor")
    truth = sample_parameters(2, "extractor", range(8))
    assert torch.equal(faces.faces(), render(truth, 32)) and torch.equal(faces.units, truth.units)
    answer = faces.ground_truth(torch.tensor([3, 1]), "angry", 1.0)
    assert torch.equal(answer, render(with_expression(truth.select([3, 1]), "angry"), 32))
    assert torch.equal(
        faces.select(torch.tensor([4, 3])).ground_truth(torch.tensor([1]), "angry", 1.0), answer[:1]
    )


def test_missing_devices_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for spec in ("procedural:cuda", "procedural:gpu", "procedural?device=cuda"):
        with pytest.raises(BadData, match=r"procedural:(cuda|gpu)"):
            open_source(spec)
