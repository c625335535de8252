"""Mouths: how far an expression opens them, as regressions say and as they are drawn."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import torch

from ganmut import weights
from ganmut.emotions import UNITS
from ganmut.expression.openings import fit_gap, gap_terms, middle_gap
from ganmut.expression.point_set import IBUG, MESH, PointSet
from ganmut.expression.weight import (
    example_crop,
    load_expression_model,
    save_expression_model,
)
from ganmut.rendering.geometry import landmarks
from ganmut.rendering.sampler import sample_parameters
from ganmut.rendering.shading import render

PARTED = UNITS.index(25)


def test_products_join_where_landmarks_are_exact():
    expression = torch.tensor([[1.0, 2.0, 3.0]])
    assert torch.equal(gap_terms(expression, MESH), expression)
    assert gap_terms(expression, IBUG).tolist() == [[1, 2, 3, 1, 2, 3, 4, 6, 9]]


def test_a_gap_of_products_is_recovered():
    expression = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    gap = (8 * expression[:, 0] * expression[:, 1] - 1).clamp(min=0).numpy()

    def error(points: PointSet) -> float:
        terms = gap_terms(expression, points).numpy()
        weights = fit_gap(terms, gap)
        return float(np.abs(np.maximum(terms @ weights[:-1] + weights[-1], 0) - gap).mean())

    assert error(IBUG) < 0.1 and error(MESH) > 0.18


def test_rendered_mouths_part_without_a_jump():
    """As unit 25 grows, drawn lips part as the renderer's do."""
    faces = sample_parameters(0, "test", range(6))
    shut = faces.units.clone()
    shut[:, [PARTED, UNITS.index(26)]] = 0
    steps = torch.linspace(0, 0.8, 9)

    def asked(step: float) -> torch.Tensor:
        units = shut.clone()
        units[:, PARTED] = step
        return units

    model = load_expression_model(weights.bundled_root() / "procedural" / "expression")
    changes = torch.zeros(len(steps), len(UNITS))
    changes[:, PARTED] = steps
    images = render(dataclasses.replace(faces, units=shut), 128).float() / 255
    closed = landmarks(dataclasses.replace(faces, units=shut))
    drawn = torch.stack(
        [
            middle_gap(model.displacement(model.basis(*face), changes).points, IBUG.mouth)
            for face in zip(images, closed, shut, strict=True)
        ]
    )
    true = torch.stack(
        [
            middle_gap(landmarks(dataclasses.replace(faces, units=asked(float(step)))), IBUG.mouth)
            for step in steps
        ],
        1,
    )
    assert (drawn.diff(dim=1) > -1e-3).all()
    assert float((drawn.diff(dim=1) - true.diff(dim=1)).abs().max()) < 0.5
    assert float((drawn - true).abs().mean()) < 0.4


def test_weights_without_products_are_read(tmp_path):
    """As earlier versions wrote them: a weight for each control, and the constant."""
    bundled = load_expression_model(weights.bundled_root() / "procedural" / "expression")
    old = copy.deepcopy(bundled)  # it is shared by all who load it
    whole, controls = old.mouth_gap.clone(), len(old.controls)
    old.mouth_gap = torch.cat([whole[:controls], whole[-1:]])
    folder = save_expression_model(old, tmp_path / "expression", {"faces": 3})
    found = load_expression_model(folder).mouth_gap
    assert torch.equal(found[:controls], whole[:controls]) and found[-1] == whole[-1]
    assert len(found) == len(whole) and not found[controls:-1].any()


def test_a_smile_keeps_the_teeth_together():
    editor = weights.load("photos/expression", "cpu")
    model = editor.method.model
    basis = editor.prepare(example_crop(MESH)[None]).features[0]
    smile = model.rest.clone()
    smile[model.controls.index("mouthSmile")] = 1.0
    # The chin moves with a smile; the jaw stays closed.
    assert model.jaw_drop(basis, smile[None]).abs() > 0.3
    assert model.jaw_opening(basis, smile[None]).abs() < 0.01
    smile[model.controls.index("jawOpen")] = 0.6
    assert model.jaw_opening(basis, smile[None]) > 3
