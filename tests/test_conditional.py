"""Methods on expressions: what they learn, their weight folders, data that cannot be used."""

from __future__ import annotations

import dataclasses
import os
import shutil

import pytest
import torch

import ganmut
from ganmut import weights
from ganmut.cli import main
from ganmut.datasets.base import BadData
from ganmut.errors import ParameterError
from ganmut.expression.conditional import (
    LabelledExpressions,
    check_expressions,
    expression_methods,
    expression_settings,
    train_on_expressions,
)
from ganmut.expression.conditional_weight import LearnedDrawing, build_conditional, save_conditional
from ganmut.expression.point_set import IBUG, MESH
from ganmut.expression.render import VERSION
from ganmut.expression.weight import (
    example_crop,
    load_expression_model,
    save_expression_model,
)
from ganmut.weights import BadWeights, bundled_root
from ganmut.weights.editors import build_method
from ganmut.weights.storage import read

EMOTIONS = ("neutral", "happy", "sad")


def make_expressions(controls: int = 4, faces: int = 60) -> LabelledExpressions:
    """Expressions near 0 for neutral, near 1 in the emotion's own control for the others."""
    labels = torch.arange(faces) % len(EMOTIONS)
    noise = torch.randn(faces, controls, generator=torch.Generator().manual_seed(0))
    shown = torch.nn.functional.one_hot(labels, controls + 1)[:, 1:]
    return LabelledExpressions(shown + 0.1 * noise, labels, EMOTIONS)


@pytest.mark.parametrize("name", expression_methods())
def test_every_method_learns_where_labels_lie(name):
    data = make_expressions()
    method = train_on_expressions(name, data, torch.zeros(4), steps=150, progress=False)
    neutral = data.values[data.labels == 0]
    for index, emotion in enumerate(EMOTIONS[1:]):
        code = method.space().of(emotion).expand(len(neutral), -1)
        generator = method.G
        with torch.no_grad():
            faces = method.encode(generator.inputs(neutral))
            edited = generator.expressions(method.edit(faces, code).images).mean(0)
        assert int(edited.argmax()) == index
        assert edited[index] > 0.4


def test_training_repeats_with_its_seed():
    first, second, other = (
        train_on_expressions(
            "ganmut", make_expressions(), torch.zeros(4), steps=5, seed=seed, progress=False
        )
        for seed in (1, 1, 2)
    )
    same = zip(first.G.state_dict().values(), second.G.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert not torch.equal(first.G.directions, other.G.directions)


@pytest.mark.parametrize("name", expression_methods())
def test_every_setting_of_a_training_is_read(name):
    data = make_expressions()
    for setting in expression_settings(name):
        # Not a default of any method, and a size where it is one.
        value = 3 if setting in ("style", "hidden") else 0.375
        method = train_on_expressions(
            name, data, torch.zeros(4), steps=1, settings={setting: value}, progress=False
        )
        assert getattr(method.config, setting) == value


def test_loss_weights_are_checked_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ganmut.expression.conditional.trange", lambda *_, **__: 1 / 0)
    words = ["train-expressions", "ganmut", "--out", str(tmp_path)]
    for word, said in (("--lambda-info=-1", "lambda_info"), ("--lambda-info=nan", "lambda_info")):
        assert main([*words, word]) == 2
        assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = load_expression_model()
    data = make_expressions(len(model.controls))
    method = train_on_expressions("ganmut", data, model.rest, steps=60, progress=False)
    path = tmp_path_factory.mktemp("set") / "ganmut_expression"
    return save_conditional(
        path, method, LearnedDrawing(points=MESH.name, learned="ganmut", gain=2.0), {"steps": 60}
    )


def test_a_saved_method_loads_again(folder):
    assert weights.verify(folder) == 0
    editor = ganmut.load(folder)
    assert (editor.space.kind, editor.emotions) == ("gamut", EMOTIONS)
    face = editor.prepare(example_crop(MESH)[None])
    assert editor.edit(face, editor.space.of("happy")).shape == (1, 3, 118, 118)


@pytest.mark.parametrize(
    "change",
    [
        {"learned": "nobody"},
        {"learned": ["ganmut"]},
        {"points": "ibug_68"},
        {"points": 3},
        {"gain": float("nan")},
        {"gain": 99},
    ],
)
def test_weights_of_another_model_are_refused(folder, change):
    whole = read(folder, "editor")
    drawing = whole.config["drawing"] | change
    with pytest.raises(BadWeights):
        build_conditional(dataclasses.replace(whole, config=whole.config | {"drawing": drawing}))


def test_another_basis_than_that_of_training_is_refused(folder, tmp_path):
    assert read(folder).config["drawing"]["model"] == load_expression_model().sha256
    shutil.copytree(folder, tmp_path / folder.name)
    other = load_expression_model()
    facts = {"faces": 0}
    try:
        other.rest += 0.01
        save_expression_model(other, tmp_path / "expression", facts)
    finally:
        other.rest -= 0.01
    with pytest.raises(BadWeights, match=load_expression_model().sha256[:12]):
        build_conditional(read(tmp_path / folder.name, "editor"))


def test_weights_of_earlier_versions_load(folder):
    whole = read(folder, "editor")
    drawing = {name: v for name, v in whole.config["drawing"].items() if name != "model"}
    build_conditional(dataclasses.replace(whole, config=whole.config | {"drawing": drawing}))


def test_edits_depend_on_what_draws_them(folder):
    method, other = (ganmut.load(spec).method for spec in (folder, "procedural/ganmut_expression"))
    assert method.model.sha256 in method.dependencies
    # Another model, other landmarks; the code that draws is the same.
    assert set(method.dependencies) & set(other.dependencies) == {VERSION}


@pytest.mark.parametrize("name", expression_methods())
def test_expressions_are_computed_in_float32(name):
    editor = ganmut.load(f"procedural/{name}_expression")
    codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
    source = editor.method.model.rest.expand(len(codes), -1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = editor.method.expression(source, codes)
    assert torch.equal(rounded, editor.method.expression(source, codes))


def test_a_reference_face_gives_a_style():
    editor = ganmut.load("procedural/stargan_v2_expression")
    code = editor.encode_reference(example_crop(IBUG)[None], "happy")
    assert code.shape == (1, editor.space.dim)
    with pytest.raises(ValueError, match="reference"):
        ganmut.load("procedural/smit_expression").encode_reference(
            example_crop(IBUG)[None], "happy"
        )


def test_networks_on_expressions_need_a_drawing(folder):
    whole = read(folder, "editor")
    plain = {k: v for k, v in whole.config.items() if k != "drawing"} | {"method": "ganmut"}
    with pytest.raises(BadWeights):
        build_method(dataclasses.replace(whole, config=plain))


def test_a_spread_of_zero_is_refused(tmp_path):
    model = load_expression_model()
    data = make_expressions(len(model.controls))
    method = train_on_expressions("stargan", data, model.rest, steps=1, progress=False)
    method.G.spread.zero_()
    drawing = LearnedDrawing(points=MESH.name, learned="stargan")
    with pytest.raises(BadWeights):  # the golden edits are made by what would be loaded
        save_conditional(tmp_path / "stargan_expression", method, drawing, {})


def test_a_model_on_other_landmarks_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / "expression").symlink_to(bundled_root() / "procedural" / "expression")
    with pytest.raises(BadWeights, match="ibug_68"):
        build_conditional(read(tmp_path / folder.name, "editor"))


def test_a_replaced_model_is_read_again(tmp_path):
    for name, at in (("photos", 1), ("procedural", 2)):
        shutil.rmtree(tmp_path / "expression", ignore_errors=True)
        shutil.copytree(bundled_root() / name / "expression", tmp_path / "expression")
        os.utime(tmp_path / "expression" / "config.json", (at, at))
        points = {"photos": MESH, "procedural": IBUG}[name]
        assert load_expression_model(tmp_path / "expression").points is points


def test_gain_moves_along_the_learned_change(folder):
    editor = ganmut.load(folder)
    method, source = editor.method, editor.method.model.rest[None]
    code, neutral = (editor.space.of(name)[None] for name in ("happy", "neutral"))
    method.model.highest.fill_(9)
    method.gain = 0.0
    start = method.expression(source, code)
    assert torch.allclose(start, method.expression(source, neutral), atol=1e-5)
    method.gain = 0.5
    half = method.expression(source, code) - start
    method.gain = 1.0
    raised = half > 1e-3
    assert raised.any()
    assert torch.allclose(
        (method.expression(source, code) - start)[raised], 2 * half[raised], atol=1e-4
    )


def broken(kind: str) -> LabelledExpressions:
    data = make_expressions()
    if kind == "nan":
        return dataclasses.replace(data, values=data.values * float("nan"))
    if kind == "few":
        return dataclasses.replace(data, labels=data.labels.clamp(max=1))
    return dataclasses.replace(data, emotions=("happy", "sad", "neutral"))


@pytest.mark.parametrize("kind", ["nan", "few", "order"])
def test_expressions_that_teach_nothing_are_refused(kind):
    with pytest.raises(BadData):
        check_expressions(broken(kind))


def test_expressions_of_another_length_are_refused():
    with pytest.raises(BadData):
        train_on_expressions("ganmut", make_expressions(), torch.zeros(5), steps=1, progress=False)


def test_a_training_without_steps_is_refused():
    with pytest.raises(ParameterError, match="steps"):
        train_on_expressions("ganmut", make_expressions(), torch.zeros(4), steps=0, progress=False)


def test_methods_on_images_are_refused():
    with pytest.raises(ValueError, match="defgan"):
        train_on_expressions("defgan", make_expressions(), torch.zeros(4), steps=1, progress=False)
