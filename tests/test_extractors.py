"""Extractors: they learn, they are frozen, their files are whole, and their own scores are true."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest
import torch

from ganmut import extractors, files, images, weights
from ganmut.datasets import BadData, FaceSet
from ganmut.emotions import UNITS
from ganmut.errors import ParameterError
from ganmut.extractors.augment import augment
from ganmut.extractors.base import ResidualBlock, resnet, vgg
from ganmut.extractors.identity import verification
from ganmut.extractors.loading import verify
from ganmut.extractors.train import train_extractor
from ganmut.registry import UnknownNameError
from ganmut.weights import publish, storage
from ganmut.weights.storage import BadWeights

SIZE = 32
EMOTIONS = ("neutral", "happy", "angry")
QUICK = {"size": SIZE, "batch": 16, "device": "cpu", "dtype": "fp32", "progress": False}


def toy(split: str, people: int, each: int = 6, seed: int = 0) -> FaceSet:
    """Faces whose tint is the person, whose bright band is the emotion, whose chin is AU 12.

    People are numbered from 1000 in the test split; the band lies high, in the middle or low.
    """
    generator = torch.Generator().manual_seed(seed)
    n = people * each
    person = torch.arange(people).repeat_interleave(each)
    emotion = torch.arange(n) % len(EMOTIONS)
    tint = torch.rand(people, 3, generator=generator)[person] * 120
    images = tint[:, :, None, None].expand(n, 3, SIZE, SIZE).clone()
    for i, e in enumerate(emotion.tolist()):
        images[i, :, 8 * e + 1 : 8 * e + 7, 4:28] += 100
    units = torch.zeros(n, len(UNITS))
    units[:, UNITS.index(12)] = torch.rand(n, generator=generator)
    images[:, :, 24:] += 130 * units[:, UNITS.index(12)][:, None, None, None]
    images += torch.randn(images.shape, generator=generator) * 3
    return FaceSet(
        source="toy",
        split=split,
        emotions=EMOTIONS,
        images=images.clamp(0, 255).to(torch.uint8),
        emotion=emotion,
        units=units,
        person=person + (1000 if split == "test" else 0),
        fingerprint=f"{split}{seed}",
    )


TRAIN, TEST = toy("extractor", 40), toy("test", 12, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One folder an extractor, trained for a few seconds."""
    root = tmp_path_factory.mktemp("trained")
    steps = {"emotion": 40, "units": 120, "identity": 40}
    return {
        name: train_extractor(name, TRAIN, TEST, out=root / "toy" / name, steps=n, **QUICK)
        for name, n in steps.items()
    }


def scores(folder) -> dict:
    return storage.read_config(folder)["scores"]


def test_the_registry_knows_the_three_networks():
    assert {"emotion", "identity", "units"} <= set(extractors.EXTRACTORS.names())


@pytest.mark.parametrize("name", extractors.EXTRACTORS.names())
def test_networks_are_small_and_have_128_features(name):
    network = extractors.EXTRACTORS[name]()
    assert sum(p.numel() for p in network.parameters()) <= 1_500_000
    extraction = network(torch.randint(0, 256, (2, 3, 70, 70)).to(torch.uint8))
    assert extraction.features.shape == (2, 128) and extraction.features.dtype == torch.float32


@pytest.mark.parametrize("name", ["emotion", "identity"])
def test_second_networks_are_built_differently(name):
    layers = [
        {type(layer) for layer in extractors.EXTRACTORS[kind]().trunk.modules()}
        for kind in (name, f"{name}_resnet")
    ]
    assert torch.nn.MaxPool2d in layers[0] - layers[1]
    assert {torch.nn.AdaptiveAvgPool2d, ResidualBlock} <= layers[1] - layers[0]


@pytest.mark.parametrize("side", [1, 7, 64])
def test_residual_networks_take_any_side(side):
    assert resnet((4, 4, 8, 8), 16).eval()(torch.zeros(2, 3, side, side)).shape == (2, 16)


def test_the_emotion_classifier_learns(trained):
    found = scores(trained["emotion"])
    assert found["accuracy"] > 0.9 and set(found["per_emotion"]) == set(EMOTIONS)
    assert found["faces"] == len(TEST) == sum(map(sum, found["confusion"]))
    extraction = extractors.load(trained["emotion"], "cpu")(TEST.faces())
    assert torch.allclose(extraction.outputs.sum(1), torch.ones(len(TEST)))
    correct = (extraction.outputs.argmax(1) == TEST.emotion).float()
    for i, name in enumerate(EMOTIONS):  # what the card says is what the loaded network does
        assert found["per_emotion"][name] == pytest.approx(float(correct[TEST.emotion == i].mean()))


def test_the_unit_regressor_learns_the_unit_that_varies(trained):
    found = scores(trained["units"])
    assert list(found["correlation_per_unit"]) == ["12"] and found["correlation"] > 0.7
    extraction = extractors.load(trained["units"], "cpu")(TEST.faces())
    apart = (extraction.outputs - TEST.units).abs().mean(0)
    assert found["mae_per_unit"]["12"] == pytest.approx(float(apart[UNITS.index(12)]), abs=1e-5)
    assert (
        extraction.outputs.shape == (len(TEST), 17)
        and 0 <= extraction.outputs.min() <= extraction.outputs.max() <= 1
    )


def test_identity_embedder_separates_new_people(trained):
    found = scores(trained["identity"])
    assert found["auc"] > 0.85 and found["people"] == 12
    assert found["cosine_same_person"] > found["cosine_other_person"] + 0.2
    extraction = extractors.load(trained["identity"], "cpu")(TEST.faces())
    assert torch.allclose(extraction.features.norm(dim=1), torch.ones(len(TEST)), atol=1e-5)
    assert torch.equal(extraction.features, extraction.outputs)


def test_people_with_one_face_are_not_learned_from():
    faces = toy("extractor", 10)
    faces.person[0] = 999
    task = extractors.EXTRACTORS["identity"](EMOTIONS, SIZE).training_task(faces, torch.Generator())
    assert 0 not in task.rows and len(task.rows) == len(faces) - 1
    assert task.targets.max() == 9 and task.extra[0].shape == (10, 128)


def test_verification_is_the_area_under_the_curve():
    person = torch.tensor([0, 0, 1, 1, 2, 2])
    features = torch.nn.functional.normalize(
        torch.randn(6, 4, generator=torch.manual_seed(3)), dim=1
    )
    cosine = features @ features.T
    same = [cosine[i, j] for i in range(6) for j in range(i) if person[i] == person[j]]
    other = [cosine[i, j] for i in range(6) for j in range(i) if person[i] != person[j]]
    wins = sum(float(s > o) for s in same for o in other) / (len(same) * len(other))
    assert verification(person, features)["auc"] == pytest.approx(wins)
    perfect = torch.eye(4)[person]
    assert verification(person, perfect)["auc"] == 1


@pytest.mark.parametrize("name", ["emotion", "identity", "units"])
def test_a_folder_is_whole_and_golden(trained, name):
    folder = trained[name]
    assert verify(folder) == 0
    assert {p.name for p in folder.iterdir()} == {
        "network.safetensors",
        "config.json",
        "golden.safetensors",
        "README.md",
    }
    config = storage.read_config(folder)
    assert config["kind"] == "extractor" and config["data_fingerprint"] == "extractor0"
    card = (folder / "README.md").read_text()
    assert (
        card.startswith("---\n")
        and "license: apache-2.0" in card
        and "no editor is trained on" in card
    )
    loaded = extractors.load(folder, "cpu")
    assert loaded.sha256 == config["sha256"] and loaded.emotions == EMOTIONS
    assert not any(p.requires_grad for p in loaded.parameters())


def test_the_same_faces_give_the_same_features(trained):
    network = extractors.load(trained["emotion"], "cpu")
    faces = TEST.faces()
    whole = network(faces)
    singles = torch.cat([network(faces[i : i + 1]).features for i in range(4)])
    assert torch.allclose(whole.features[:4], singles, atol=1e-5)
    assert torch.equal(network.train()(faces).outputs, whole.outputs)
    big = torch.nn.functional.interpolate(faces.float(), scale_factor=2).to(torch.uint8)
    assert (network(big).outputs - whole.outputs).abs().max() < 0.05


def test_the_same_seed_gives_the_same_file(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    folders = [
        train_extractor("emotion", TRAIN, TEST, out=tmp_path / str(i), steps=2, seed=seed, **QUICK)
        for i, seed in enumerate((0, 0, 1))
    ]
    sums = [storage.read_config(folder)["sha256"] for folder in folders]
    assert sums[0] == sums[1] != sums[2]
    assert torch.equal(before, torch.get_rng_state())  # nobody else's random numbers change


def test_features_carry_gradients_to_the_picture(trained):
    network = extractors.load(trained["identity"], "cpu")
    x = torch.zeros(2, 3, SIZE, SIZE, requires_grad=True)
    network.embed(x)[:, 0].sum().backward()
    assert x.grad.abs().sum() > 0


def without(faces: FaceSet, **changes) -> FaceSet:
    return FaceSet(**{**faces.__dict__, **changes})


WRONG = [
    ("units", without(TRAIN, units=None), "toy"),
    ("identity", without(TRAIN, person=None), "person"),
    ("identity", without(TRAIN, person=torch.arange(len(TRAIN))), "0 of 240"),
    ("emotion", without(TRAIN, emotion=TRAIN.emotion % 2), "angry"),
    ("emotion", without(TRAIN, person=TEST.person[:1].repeat(240)), "6"),
    ("emotion", without(TRAIN, emotions=("neutral", "sad", "angry")), "sad"),
]


@pytest.mark.parametrize(("name", "faces", "message"), WRONG)
def test_unusable_training_data_is_refused(tmp_path, name, faces, message):
    with pytest.raises(BadData, match=message):
        train_extractor(name, faces, TEST, out=tmp_path / "x", steps=1, **QUICK)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("setting", [{"batch": 0}, {"epochs": 0}, {"epochs": float("inf")}])
def test_a_training_of_no_length_is_refused(tmp_path, setting):
    with pytest.raises(ParameterError, match=r"above|least"):
        train_extractor("units", TRAIN, TEST, out=tmp_path / "x", **QUICK | setting)


def test_unknown_names_and_wrong_folders_are_refused(trained, monkeypatch):
    with pytest.raises(UnknownNameError, match="'emotion'"):
        train_extractor("emotions", TRAIN, TEST, out="x", steps=1)
    root = trained["emotion"].parent.parent
    monkeypatch.setenv("GANMUT_WEIGHTS", str(root))
    assert weights.list_weights("toy", "extractor") == ["emotion", "identity", "units"]
    assert weights.list_weights("toy") == []
    assert extractors.load("toy/units", "cpu").name == "units"
    with pytest.raises(UnknownNameError, match="'toy/units'"):
        extractors.load("toy/unit")
    with pytest.raises(BadWeights, match="units"):
        weights.load("toy/units")


def test_damage_and_another_version_are_refused(tmp_path):
    folder = train_extractor("units", TRAIN, TEST, out=tmp_path / "u", steps=1, **QUICK)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "version": 0}))
    with pytest.raises(BadWeights, match=r"\b0\b.*units.*\b1\b"):
        extractors.load(folder)
    path.write_text(json.dumps({**config, "size": 64}))
    with pytest.raises(BadWeights, match=r"network\.safetensors.*'trunk\.\d+\.weight'"):
        extractors.load(folder)
    path.write_text(json.dumps(config))
    (folder / "network.safetensors").write_bytes(b"")
    with pytest.raises(BadWeights, match=r"network\.safetensors.*\b0\b"):
        extractors.load(folder)


def test_pictures_of_the_wrong_kind_are_refused():
    network = extractors.EXTRACTORS["emotion"](EMOTIONS, SIZE)
    with pytest.raises(ValueError, match=r"uint8.*torch\.float32"):
        network(torch.zeros(1, 3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"\b5\b.*\b32\b.*\b16\b"):
        vgg((16,) * 5, 16, 128)


def test_variations_keep_the_range_and_follow_the_seed():
    x = TRAIN.faces()[:8].float() / 127.5 - 1
    one, same, other = (augment(x, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert one.shape == x.shape and one.min() >= -1 and one.max() <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert (one - x).abs().mean() > 0.02


def test_an_onnx_embedder_sees_arcface_s_own_crop(tmp_path):
    """This network tells the means of 4 x 4 tiles; the project's crop is 7 px of 128 too high."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("AveragePool", ["x"], ["tiles"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["tiles"], ["y"]),
    ]
    shapes = [("x", ["n", 3, 112, 112]), ("y", ["n", 48])]
    ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in shapes]
    model = helper.make_model(
        helper.make_graph(nodes, "tiles", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "tiles.onnx")
    network = extractors.load(f"onnx:{tmp_path / 'tiles.onnx'}")
    faces = torch.full((2, 3, 128, 128), 127, dtype=torch.uint8)
    faces[0, 0, 25:57] = 255  # after the move: the second of the four rows of tiles, red
    faces[1, 2, 57:89] = 255  # the third, blue
    extraction = network(faces).features.reshape(2, 3, 4, 4)
    assert extraction[0].argmax() // 4 == 1 and extraction[1].argmax() // 4 == 2 * 4 + 2
    assert (
        extraction[0, 0, 1].min() > 0.4
        and extraction[0].abs().sum() - extraction[0, 0, 1].sum() < 0.3
    )
    assert network.sha256 == files.sha256(tmp_path / "tiles.onnx")


def test_files_that_are_no_embedder_are_refused(tmp_path):
    with pytest.raises(BadWeights, match=r"none\.onnx"):
        extractors.load(f"onnx:{tmp_path / 'none.onnx'}")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    with pytest.raises(BadWeights, match=r"noise\.onnx"):
        extractors.load(f"onnx:{tmp_path / 'noise.onnx'}")


def classifier(path, classes: int):
    """An ONNX file that tells which of `classes` columns of a 8 px picture is the brightest."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.zeros((3 * classes, classes), np.float32)
    weight[np.arange(3 * classes), np.arange(3 * classes) % classes] = 1 / 255
    strip = [1, 1, 8, 8 // classes]
    nodes = [
        helper.make_node("AveragePool", ["x"], ["bars"], kernel_shape=strip[2:], strides=strip[2:]),
        helper.make_node("Flatten", ["bars"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=1),
    ]
    shapes = [("x", ["n", 3, 8, 8]), ("y", ["n", classes])]
    ends = [helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in shapes]
    graph = helper.make_graph(
        nodes, "bars", ends[:1], ends[1:], [numpy_helper.from_array(weight, "weight")]
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_onnx_classifier_gives_features_in_project_order(tmp_path):
    classifier(tmp_path / "bars.onnx", 4)
    network = extractors.load(f"onnx:{tmp_path / 'bars.onnx'}:Anger,neutral,surprise,happiness")
    assert network.emotions == ("neutral", "happy", "surprised", "angry")
    faces = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    faces[0, :, :, 24:] = 255  # the last column: happiness
    faces[1, :, :, :8] = 255  # the first: anger
    extraction = network(faces)
    assert extraction.outputs.argmax(1).tolist() == [1, 3]
    assert torch.allclose(extraction.outputs.sum(1), torch.ones(2))
    assert extraction.features.shape == (
        2,
        12,
    )  # three channels of four columns enter the last layer
    assert network.sha256 == files.sha256(tmp_path / "bars.onnx")
    with pytest.raises(BadWeights, match=r"\b4\b.*\b2\b"):
        extractors.load(f"onnx:{tmp_path / 'bars.onnx'}:neutral,happy")(faces)
    with pytest.raises(BadWeights, match="neutral"):
        extractors.load(f"onnx:{tmp_path / 'bars.onnx'}:happy,sad,angry,fearful")


def test_extractor_of_grey_faces_uses_luma(tmp_path):
    grey = toy("train", 12)
    grey = dataclasses.replace(grey, images=grey.images[:, :1].expand(-1, 3, -1, -1))
    folder = train_extractor("emotion", grey, TEST, out=tmp_path / "e", steps=2, **QUICK)
    extractor, faces = extractors.load(folder, "cpu"), TEST.faces()[:4]
    light = images.luma(faces.float()).round().clamp(0, 255).to(torch.uint8).expand_as(faces)
    assert verify(folder) < 1e-5
    assert torch.allclose(extractor(faces).outputs, extractor(light).outputs, atol=5e-3)
    card = (folder / "README.md").read_text()
    assert "that editors are trained on, too" in card


def test_weight_of_rare_emotions_is_limited(trained):
    extractor = extractors.load(trained["emotion"], "cpu")
    labels = torch.tensor([0] * 60 + [1] * 60 + [2])
    faces = dataclasses.replace(
        TRAIN, images=TRAIN.images[:121], emotion=labels, units=None, person=None
    )
    loss, features = extractor.training_task(faces, torch.Generator()).loss, torch.randn(2, 128)
    rare, common = torch.tensor([0, 2]), torch.tensor([0, 1])
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(extractor.logits(features), rare, reduction="none")
        # A mean weighted 4 to 121 / 180, not 121 / 3 to 121 / 180.
        share = 4 / (4 + 121 / 180)
        expected = share * each[1] + (1 - share) * each[0]
        assert torch.allclose(loss(features, rare, 0.0), expected, atol=1e-5)
        assert loss(features, common, 0.0).isfinite()


def test_an_extractor_is_bundled_with_its_note(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(tmp_path))
    folder = publish.bundle(trained["emotion"], "photos", "emotion", note="From toys.")
    assert folder == tmp_path / "photos" / "emotion" and verify(folder) < 1e-5
    assert extractors.load("photos/emotion", "cpu").config["note"] == "From toys."
    card = (folder / "README.md").read_text()
    assert "\nFrom toys.\n" in card and 'extractors.load("photos/emotion")' in card
