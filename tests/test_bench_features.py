"""Feature cache: edits and features are made once, resumed after a kill, and never shared between
weights, data or extractors.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import PROTOCOL, TOY, ToyExtractor, ToySystem, toy_features, world

from bench import edit_sets
from bench.features import cache
from bench.systems import EditorSystem, NoEditSystem
from ganmut.codes import DiscSpace, LabelSpace
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS


@pytest.fixture
def faces():
    return world(64, 0)


class Counting(ToySystem):
    """Counts its edits, and stops like a killed process after `until` of them."""

    made, until = 0, 10**9

    def edit(self, faces, codes):
        self.made += len(faces)
        if self.made > self.until:
            raise KeyboardInterrupt
        return super().edit(faces, codes)


@pytest.mark.parametrize("damage", [None, 0, 0.5])
def test_damaged_cache_files_are_made_again(faces, tmp_path, caplog, damage):
    needs = ("labels:softmax", "labels:ground_truth_error")
    row = Counting(faces)
    first = [toy_features(row, faces, tmp_path)[need] for need in needs]
    files = [p for p in tmp_path.rglob("*") if p.suffix in (".safetensors", ".npy")]
    assert len(files) > 2
    for path in files:
        data = bytearray(path.read_bytes())
        data[-9] ^= 4
        path.write_bytes(data if damage is None else data[: int(damage * len(data))])
    again = [toy_features(row, faces, tmp_path)[need] for need in needs]
    assert all(map(np.array_equal, first, again))
    assert all(str(path) in caplog.text for path in files if "ground_truth-" not in path.name)
    caplog.clear()
    made = row.made
    assert np.array_equal(toy_features(row, faces, tmp_path)[needs[0]], first[0])
    assert row.made == made and not caplog.text


def test_full_disk_costs_the_cache_alone(faces, tmp_path, caplog, monkeypatch):
    needs = ("labels:softmax", "labels:ground_truth_error")
    first = [toy_features(ToySystem(faces), faces, tmp_path / "a")[need] for need in needs]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    features = toy_features(ToySystem(faces), faces, tmp_path / "b")
    assert all(map(np.array_equal, first, [features[need] for need in needs]))
    assert caplog.text.count("features of toy are not cached") == 1
    assert [p for p in (tmp_path / "b").rglob("*") if p.is_file()] == []


def test_one_pass_serves_all_features(faces, tmp_path):
    row = Counting(faces)
    features = toy_features(row, faces, tmp_path)
    features.request(["labels:softmax", "labels:embedding", "labels:ground_truth_error"])
    shapes = [
        features[f"labels:{name}"].shape for name in ("softmax", "embedding", "ground_truth_error")
    ]
    assert shapes == [(32, 7, 7), (32, 7, 32), (32, 7, 2)]
    assert row.made == 32 * 7
    assert features.extractors["emotion"].images_seen == 32 * 7


def test_equal_edits_are_made_once(faces, tmp_path):
    row = Counting(faces)
    toy_features(row, faces, tmp_path)["paths:softmax"]
    assert row.made == 8 * (6 * 10 + 1)  # six paths start at one neutral picture


def test_null_space_is_edited_once_per_face(faces, tmp_path):
    features = toy_features(NoEditSystem(faces), faces, tmp_path)
    found = features["paths:softmax"]
    assert found.shape == (8, 6, 11, 7)
    assert features.extractors["emotion"].images_seen == 8


def test_features_are_cached_on_disk(faces, tmp_path):
    first = toy_features(Counting(faces), faces, tmp_path)["paths:softmax"]
    row = Counting(faces)
    again = toy_features(row, faces, tmp_path)
    assert (again["paths:softmax"] == first).all()
    assert row.made == 0
    assert again.seconds["paths"] > 0  # what it took when it was made


def test_edit_sets_share_equal_edits_and_time(faces, tmp_path):
    row = Counting(faces)
    row.space = DiscSpace(EMOTIONS, torch.eye(2).repeat(3, 1))
    row.edit = lambda rows, codes: ToySystem.edit(row, rows, torch.eye(7)[rows % 7])
    features = toy_features(row, faces, tmp_path, replace(PROTOCOL, budget=441))
    assert (features["paper_grid:softmax"] == features["equal_grid:softmax"]).all()
    assert features.seconds["paper_grid"] > 0
    assert features.seconds["equal_grid"] == 0


def test_killed_run_resumes_at_the_last_chunk(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 32)
    whole = toy_features(Counting(faces), faces, tmp_path / "whole")["labels:softmax"]
    row = Counting(faces)
    row.until = 100
    with pytest.raises(KeyboardInterrupt):
        toy_features(row, faces, tmp_path / "killed")["labels:softmax"]
    again = Counting(faces)
    found = toy_features(again, faces, tmp_path / "killed")["labels:softmax"]
    assert (found == whole).all()
    assert again.made == 7 * 32 - 96  # three chunks of 32 were cached


def test_damaged_cache_file_is_replaced(faces, tmp_path):
    first = toy_features(Counting(faces), faces, tmp_path)["prior:emotion_features"]
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:20])
    assert (toy_features(Counting(faces), faces, tmp_path)["prior:emotion_features"] == first).all()


@pytest.mark.parametrize("changed", ["weights", "faces", "extractor"])
def test_other_inputs_share_no_cache_file(changed, faces, tmp_path):
    toy_features(Counting(faces), faces, tmp_path)["prior:emotion_features"]
    row = Counting(faces)
    if changed == "weights":
        row.sha256 = "other"
    if changed == "faces":
        faces = world(64, 1)
        row = Counting(faces)
    features = toy_features(row, faces, tmp_path)
    if changed == "extractor":

        class Other(ToyExtractor):
            sha256 = "other extractor"

        features.extractors.networks["emotion"] = Other("emotion")
    features["prior:emotion_features"]
    assert row.made == 64


def test_broken_extractor_fails_only_its_features(faces, tmp_path):
    features = toy_features(ToySystem(faces), faces, tmp_path)

    class Broken(ToyExtractor):
        def __call__(self, images):
            raise RuntimeError("broken")

    features.extractors.networks["identity"] = Broken("identity")
    features.request(["labels:softmax", "labels:embedding"])
    assert features["labels:softmax"].shape == (32, 7, 7)
    with pytest.raises(RuntimeError, match="broken"):
        features["labels:embedding"]


def test_a_face_is_encoded_once_for_its_codes(monkeypatch):
    method = METHODS["stargan"]
    small = method(method.Config(width=8, blocks=1), EMOTIONS, TOY["size"], training=False)
    editor, encoded = Editor(small, {}), []
    prepare = editor.prepare
    monkeypatch.setattr(editor, "prepare", lambda x: (encoded.append(len(x)), prepare(x))[1])
    people = world(4, 0)
    system = EditorSystem("stargan", editor, people)
    code = editor.space.of("happy").repeat(3, 1)
    for rows in ([0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 1]):
        edited = system.edit(torch.tensor(rows), code)
        fresh = editor.edit(prepare(people.images[rows]), code)
        assert (edited.int() - fresh.int()).abs().max() <= 2  # rounding of another batch size
    assert encoded == [1, 2, 1]  # the second batch needs no encoding


def test_source_is_warped_by_a_flow_alone():
    method = METHODS["defgan"]
    small = method(method.Config(width=8, blocks=1), EMOTIONS, TOY["size"], training=False)
    editor, images = Editor(small, {}), world(2, 0).images.repeat(1, 1, 4, 4)
    images = images[..., : TOY["size"], : TOY["size"]]
    faces, flow = editor.prepare(images), torch.zeros(2, 2, TOY["size"], TOY["size"])
    assert torch.equal(editor.warp_source(faces, flow), images)
    flow[:, 0] = 1  # each pixel shows its neighbour to the right
    assert torch.equal(editor.warp_source(faces, flow)[..., :-1], images[..., 1:])


def test_prior_follows_the_test_labels(faces):
    happy = faces.select((faces.emotion == 1).nonzero()[:, 0])
    codes = edit_sets.build("prior", ToySystem(happy), happy, PROTOCOL).codes
    assert codes.argmax(1).tolist() == [1] * len(happy)


def test_prior_names_emotions_of_data_and_editor(faces):
    """Fewer emotions in another order: row 1 of the data is the editor's row 2."""
    sad = replace(faces, emotions=("neutral", "sad", "happy"), emotion=torch.ones(64).long())
    codes = edit_sets.build("prior", ToySystem(sad), sad, PROTOCOL).codes
    assert codes.argmax(1).tolist() == [EMOTIONS.index("sad")] * 64


def test_edit_sets_repeat_with_the_seed(faces):
    row = ToySystem(faces)
    one, two = (edit_sets.build("prior", row, faces, PROTOCOL) for _ in range(2))
    assert torch.equal(one.codes, two.codes)


@pytest.mark.parametrize(
    "budget, published, equal", [(441, 441, 441), (64, 64, 64), (500, 441, 484)]
)
def test_ere_grids_respect_the_budget(faces, budget, published, equal):
    row, toy = ToySystem(faces), replace(PROTOCOL, budget=budget)
    row.space = DiscSpace(EMOTIONS, torch.randn(6, 2))
    assert edit_sets.build("paper_grid", row, faces, toy).shape == (32, published)
    assert edit_sets.build("equal_grid", row, faces, toy).shape == (32, equal)


def test_label_grid_has_seven_codes(faces):
    row = ToySystem(faces)
    row.space = LabelSpace(EMOTIONS)
    assert edit_sets.build("paper_grid", row, faces, PROTOCOL).shape == (32, 7)


def test_progress_counts_edits(faces, tmp_path):
    reported = []

    class Recorder:
        def __call__(self, label, total):
            reported.append((label, total))
            return self

        def __enter__(self):
            return reported.append

        def __exit__(self, *error):
            return False

    features = toy_features(ToySystem(faces), faces, tmp_path)
    features.track = Recorder()
    features["prior:emotion_features"]
    (label, total), *steps = reported
    assert label == "toy: prior"
    assert total == sum(steps) == 64


def test_softmax_has_the_order_of_the_data(faces, tmp_path):
    features = toy_features(ToySystem(faces), faces, tmp_path)
    straight = features["source:softmax"]

    class Reversed(ToyExtractor):
        sha256 = "reversed"

        def __call__(self, images):
            extraction = super().__call__(images)
            extraction.outputs = extraction.outputs.flip(1)
            return extraction

    other = toy_features(ToySystem(faces), faces, tmp_path)
    other.extractors.networks["emotion"] = Reversed("emotion", EMOTIONS[::-1])
    other.source.extractors.networks["emotion"] = other.extractors.networks["emotion"]
    assert np.allclose(other["source:softmax"], straight)


def test_classifier_without_an_emotion_is_refused(faces, tmp_path):
    features = toy_features(ToySystem(faces), faces, tmp_path)
    features.extractors.networks["emotion"] = ToyExtractor("emotion", EMOTIONS[:-1])
    with pytest.raises(ValueError, match="angry"):
        features["prior:softmax"]
