"""Evidence: made once, kept, taken up again after a kill, never mixed up between weights, data or
judges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import PROTOCOL, Judge, ToyRow, gather, world

from bench import edit_sets
from bench import feature_cache as room
from bench.systems import IdentityRow
from ganmut.codes import Disc, OneHot
from ganmut.emotions import EMOTIONS


@pytest.fixture
def faces():
    return world(64, 0)


class Counting(ToyRow):
    """Counts its edits, and stops like a killed process after `until` of them."""

    made, until = 0, 10**9

    def edit(self, faces, codes):
        self.made += len(faces)
        if self.made > self.until:
            raise KeyboardInterrupt
        return super().edit(faces, codes)


def test_an_edit_is_made_once_for_all_views(faces, tmp_path):
    row = Counting(faces)
    known = gather(row, faces, tmp_path)
    known.want(["labels:softmax", "labels:embedding", "labels:answer"])
    shapes = [known[f"labels:{view}"].shape for view in ("softmax", "embedding", "answer")]
    assert shapes == [(32, 7, 7), (32, 7, 32), (32, 7, 2)]
    assert row.made == 32 * 7
    assert known.judges["emotion"].looked == 32 * 7


def test_equal_edits_are_made_once(faces, tmp_path):
    row = Counting(faces)
    gather(row, faces, tmp_path)["paths:softmax"]
    assert row.made == 8 * (6 * 10 + 1)  # six ways leave from one neutral picture


def test_what_ignores_its_code_is_looked_at_once_a_face(faces, tmp_path):
    known = gather(IdentityRow(faces), faces, tmp_path)
    found = known["paths:softmax"]
    assert found.shape == (8, 6, 11, 7)
    assert known.judges["emotion"].looked == 8


def test_evidence_is_kept_on_disk(faces, tmp_path):
    first = gather(Counting(faces), faces, tmp_path)["paths:softmax"]
    row = Counting(faces)
    again = gather(row, faces, tmp_path)
    assert (again["paths:softmax"] == first).all()
    assert row.made == 0
    assert again.seconds["paths"] > 0  # what it took when it was made


def test_two_plans_with_the_same_edits_share_them_and_their_seconds(faces, tmp_path):
    row = Counting(faces)
    row.space = Disc(EMOTIONS, torch.eye(2).repeat(3, 1))
    row.edit = lambda rows, codes: ToyRow.edit(row, rows, torch.eye(7)[rows % 7])
    known = gather(row, faces, tmp_path, replace(PROTOCOL, budget=441))
    assert (known["paper_grid:softmax"] == known["equal_grid:softmax"]).all()
    assert known.seconds["paper_grid"] > 0
    assert known.seconds["equal_grid"] == 0


def test_a_killed_run_goes_on_where_it_was(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "CHUNK", 32)
    whole = gather(Counting(faces), faces, tmp_path / "whole")["labels:softmax"]
    row = Counting(faces)
    row.until = 100
    with pytest.raises(KeyboardInterrupt):
        gather(row, faces, tmp_path / "killed")["labels:softmax"]
    again = Counting(faces)
    found = gather(again, faces, tmp_path / "killed")["labels:softmax"]
    assert (found == whole).all()
    assert again.made == 7 * 32 - 96  # three chunks of 32 were kept


def test_a_damaged_file_is_made_again(faces, tmp_path):
    first = gather(Counting(faces), faces, tmp_path)["prior:features"]
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:20])
    assert (gather(Counting(faces), faces, tmp_path)["prior:features"] == first).all()


@pytest.mark.parametrize("changed", ["weights", "faces", "judge"])
def test_other_weights_faces_or_judges_share_nothing(changed, faces, tmp_path):
    gather(Counting(faces), faces, tmp_path)["prior:features"]
    row = Counting(faces)
    if changed == "weights":
        row.sha256 = "other"
    if changed == "faces":
        faces = world(64, 1)
        row = Counting(faces)
    known = gather(row, faces, tmp_path)
    if changed == "judge":

        class Other(Judge):
            sha256 = "other judge"

        known.judges.networks["emotion"] = Other("emotion")
    known["prior:features"]
    assert row.made == 64


def test_a_broken_network_costs_only_who_needs_it(faces, tmp_path):
    known = gather(ToyRow(faces), faces, tmp_path)

    class Broken(Judge):
        def __call__(self, images):
            raise RuntimeError("broken")

    known.judges.networks["identity"] = Broken("identity")
    known.want(["labels:softmax", "labels:embedding"])
    assert known["labels:softmax"].shape == (32, 7, 7)
    with pytest.raises(RuntimeError, match="broken"):
        known["labels:embedding"]


def test_plans_are_the_same_for_the_same_seed(faces):
    row = ToyRow(faces)
    one, two = (edit_sets.make("prior", row, 64, PROTOCOL) for _ in range(2))
    assert torch.equal(one.codes, two.codes)


@pytest.mark.parametrize(
    "budget, published, equal", [(441, 441, 441), (64, 64, 64), (500, 441, 484)]
)
def test_ere_searches_the_published_grid_within_its_budget(faces, budget, published, equal):
    row, toy = ToyRow(faces), replace(PROTOCOL, budget=budget)
    row.space = Disc(EMOTIONS, torch.randn(6, 2))
    assert edit_sets.make("paper_grid", row, 64, toy).shape == (32, published)
    assert edit_sets.make("equal_grid", row, 64, toy).shape == (32, equal)


def test_seven_labels_stay_seven_under_any_budget(faces):
    row = ToyRow(faces)
    row.space = OneHot(EMOTIONS)
    assert edit_sets.make("paper_grid", row, 64, PROTOCOL).shape == (32, 7)


def test_progress_is_told_in_edits(faces, tmp_path):
    told = []

    class Told:
        def __call__(self, label, total):
            told.append((label, total))
            return self

        def __enter__(self):
            return told.append

        def __exit__(self, *error):
            return False

    known = gather(ToyRow(faces), faces, tmp_path)
    known.track = Told()
    known["prior:features"]
    (label, total), *steps = told
    assert label == "toy: prior"
    assert total == sum(steps) == 64


def test_softmax_is_in_the_datas_order(faces, tmp_path):
    known = gather(ToyRow(faces), faces, tmp_path)
    straight = known["source:softmax"]

    class Turned(Judge):
        sha256 = "turned"

        def __call__(self, images):
            seen = super().__call__(images)
            seen.outputs = seen.outputs.flip(1)
            return seen

    other = gather(ToyRow(faces), faces, tmp_path)
    other.judges.networks["emotion"] = Turned("emotion", EMOTIONS[::-1])
    other.real.judges.networks["emotion"] = other.judges.networks["emotion"]
    assert np.allclose(other["source:softmax"], straight)


def test_a_classifier_without_an_emotion_is_refused(faces, tmp_path):
    known = gather(ToyRow(faces), faces, tmp_path)
    known.judges.networks["emotion"] = Judge("emotion", EMOTIONS[:-1])
    with pytest.raises(ValueError, match="does not know angry"):
        known["prior:softmax"]
