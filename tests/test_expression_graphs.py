"""ONNX graphs of the expression model: the edits of PyTorch for other faces, sizes and codes than
those of the trace, by onnxruntime."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from skimage import data as samples

import ganmut
from ganmut import images, weights
from ganmut.expression import render, traced
from ganmut.expression.graphs import ExactDistances
from ganmut.faces import crop_face, detect_faces
from ganmut.weights.onnx_graphs import TOLERANCE, export_onnx

GRAPHS = ("encode", "decode")
# Controls that fold the astronaut's face, all at once and in full.
CONTORTED = (
    "browOuterUp",
    "eyeBlink",
    "jawForward",
    "jawOpen",
    "mouthClose",
    "mouthDimple",
    "mouthFrown",
    "mouthLowerDown",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthSmile",
    "mouthStretch",
)
RNG = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Editor and edit by onnxruntime of photos/expression, whose codes reach every expression."""
    checked = weights.read(weights.resolve("photos/expression"), "editor")
    folder, error = export_onnx(checked, tmp_path_factory.mktemp("graphs") / "expression")
    assert error is not None and error < TOLERANCE
    encode, decode = (onnxruntime.InferenceSession(folder / f"{n}.onnx") for n in GRAPHS)
    known = {node.name for node in decode.get_inputs()}

    def edit(x: torch.Tensor, code: torch.Tensor | None) -> np.ndarray:
        """Under a code, or under the expression that the face shows."""
        names = [node.name for node in encode.get_outputs()]
        given = dict(zip(names, encode.run(None, {"images": x.numpy()}), strict=True))
        given["code"] = given["expression"][None] if code is None else code.numpy()
        return decode.run(["images"], {k: v for k, v in given.items() if k in known})[0]

    return weights.build_method(checked), edit, json.loads((folder / "editor.json").read_text())


@pytest.fixture(scope="module")
def face():
    """The astronaut's crop with its margin, float 1 x 3 x S x S in [-1, 1]."""
    picture = samples.astronaut()
    crop, _ = crop_face(picture, detect_faces(picture)[0], 200, 2.0)
    return images.to_float(images.to_tensor(crop[None]))


def pytorch(method, x, code):
    with torch.no_grad():
        return method.edit(method.encode(x, 2.0), code).images.numpy()


@pytest.mark.parametrize("side", [128, 301])
@pytest.mark.parametrize("emotion", ["happy", "sad", "neutral"])
def test_edits_of_any_size(graphs, face, side, emotion):
    method, edit, facts = graphs
    x = F.interpolate(face, size=side, mode="bilinear", antialias=True)
    code = torch.tensor([facts["codes"][emotion]])
    there = edit(x, code)
    with ExactDistances():
        assert np.abs(there - pytorch(method, x, code)).max() < TOLERANCE
    # The distances of an everyday edit are rounded: single pixels differ, by less than two levels.
    apart = np.abs(there - pytorch(method, x, code))
    assert apart.mean() < 1e-4 and apart.max() < 0.05


def test_flows_that_would_fold(graphs, face, monkeypatch):
    method, edit, _ = graphs
    rounds = []

    def counted(*args):
        rounds.append(1)
        return whole_flow(*args)

    whole_flow = render.whole_flow
    monkeypatch.setattr(render, "whole_flow", counted)
    full = [method.model.controls.index(name) for name in CONTORTED]
    code = torch.zeros(1, method.space().dim)
    code[0, full] = method.model.highest[full]
    with ExactDistances():
        here = pytorch(method, face, code)
    assert len(rounds) > 2
    assert np.abs(edit(face, code) - here).max() < TOLERANCE


def test_own_expression_changes_nothing(graphs, face):
    _, edit, _ = graphs
    assert np.abs(edit(face, None) - face.numpy()).max() < 1e-6


@pytest.mark.parametrize(
    "spec", ["photos/wheel", "procedural/gganmut_expression", "procedural/transport"]
)
def test_spaces_drawn_by_the_model(spec, tmp_path):
    checked = weights.read(weights.resolve(spec), "editor")
    folder, error = export_onnx(checked, tmp_path / "graphs")
    facts = json.loads((folder / "editor.json").read_text())
    assert error is not None and error < TOLERANCE
    assert facts["margin"] == 2.0 and facts["code_dim"] == ganmut.load(spec).space.dim
    assert facts["features"]["crop"] == [3, "side", "side"]


def test_operators_of_graphs_agree_with_torch(monkeypatch):
    x = torch.rand(2, 3, 37, 53, generator=RNG)
    rows = torch.rand(4, 11, generator=RNG)
    system = torch.rand(2, 40, 40, generator=RNG).double() + 8 * torch.eye(40)
    right = torch.rand(2, 40, 2, generator=RNG).double()
    calls = [
        lambda: traced.area_means(x, 16),
        lambda: traced.box_blur(x, 5),
        lambda: traced.running_maximum(rows),
        lambda: traced.search_sorted(rows.sort(1).values, rows).float(),
        lambda: traced.search_sorted(rows[0].sort().values, rows[1], right=True).float(),
        lambda: traced.lower_median(rows[0, :10]),
        lambda: traced.distances(x[0, :, :, :2], x[1, :, :9, :2]),
        lambda: traced.solve(system, right),
        lambda: traced.least_squares(system[0, :, :3], right[0]),
    ]
    expected = [call() for call in calls]
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    for call, value in zip(calls, expected, strict=True):
        assert torch.allclose(call(), value, atol=2e-5)
