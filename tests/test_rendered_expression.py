"""The expression model of rendered faces: its data, its landmarks and its code space."""

from __future__ import annotations

import pytest
import torch

import ganmut
from ganmut.datasets.base import BadData
from ganmut.emotions import EMOTIONS, UNITS, prototype_units
from ganmut.expression.landmark_net import find_landmarks, load_landmark_net
from ganmut.expression.point_set import IBUG, MESH, UNIT_CONTROLS
from ganmut.expression.recipes import RECIPES, recipes
from ganmut.expression.rendered_landmarks import landmark_set, render_landmark_set
from ganmut.expression.weight import landmarks_for
from ganmut.weights import BadWeights, bundled_root


@pytest.fixture(scope="module")
def faces():
    return render_landmark_set("test", 6, progress=False)


@pytest.fixture(scope="module")
def editor():
    return ganmut.load("procedural/expression", "cpu")


def test_every_face_has_a_posed_twin(faces):
    assert len(faces) == 12
    assert faces.posed.tolist() == [False] * 6 + [True] * 6
    assert faces.person[:6] == faces.person[6:]
    assert torch.equal(faces.pose[:6], faces.pose[6:])
    assert not torch.equal(faces.expression[:6], faces.expression[6:])
    assert set(faces.emotion[:6]) <= set(EMOTIONS) and set(faces.emotion[6:]) == {""}
    assert (faces.landmarks.shape, faces.expression.shape) == ((12, 68, 2), (12, 17))


def test_the_number_of_faces_can_be_chosen():
    assert len(landmark_set("procedural", "test", 80, progress=False)) == 2 * 8
    with pytest.raises(ValueError, match="at least 80"):
        landmark_set("procedural", "train", 79)


def test_bundled_network_finds_rendered_landmarks(faces):
    network = load_landmark_net(bundled_root() / "procedural" / "landmarks")
    found = find_landmarks(network, faces.images[:, None].float() / 255)
    assert network.points is IBUG
    assert (found.points - faces.landmarks).norm(dim=-1).mean() < 1
    assert (found.expression - faces.expression)[:6].abs().mean() < 0.1


def test_units_are_the_controls(editor):
    space = editor.space
    code = space.units({12: 1.0, 26: 0.5}, [0.0] * len(UNITS))
    assert space.controls == UNIT_CONTROLS
    assert code[UNITS.index(12)] == 1 and code[UNITS.index(26)] == 0.5
    assert torch.equal(space.units_of(code), code)


def test_emotions_are_the_renderers_own(editor):
    happy = editor.space.of("happy") - editor.space.of("neutral")
    expected = torch.tensor(prototype_units("happy"))
    assert torch.allclose(happy, expected, atol=2e-3)  # as the weight's half precision keeps it
    assert recipes(MESH) is RECIPES and set(recipes(IBUG)) == set(EMOTIONS[1:])


def test_own_expression_changes_no_pixel(editor):
    face = (torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 255).byte()
    prepared = editor.prepare(face)
    assert torch.equal(editor.edit(prepared, prepared.source_codes[0]), face)


def test_landmarks_of_another_scheme_are_refused(editor, tmp_path):
    (tmp_path / "landmarks").symlink_to(bundled_root() / "photos" / "landmarks")
    with pytest.raises(BadWeights):
        landmarks_for(editor.method.model, tmp_path / "expression")


def test_a_folder_without_landmarks_is_refused(tmp_path):
    with pytest.raises(BadData):
        landmark_set(tmp_path, "train", progress=False)


def test_the_hairline_holds_open_foreheads(editor):
    ellipse = editor.method.model.ellipse
    places = (IBUG.hairline(ellipse) - ellipse[0]) / ellipse[1]
    assert torch.allclose(places.norm(dim=1), torch.ones(7), atol=1e-5)
    assert (places[:, 1] < 0).all()
    assert len(MESH.hairline(ellipse)) == 0
