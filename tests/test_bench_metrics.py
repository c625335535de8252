"""The contract of every metric, on a toy world whose truth is known: ends, corruption, order,
batches, too few.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import PROTOCOL, ToyRow, UnitRow, gather, world

import bench.metrics
from bench import regions, tables
from bench.ground_truth import Answers
from bench.metrics import METRICS, NotMeasured, TooFew
from bench.metrics.ere import smallest_error, targets
from bench.metrics.real_neighbour_rate import real_nearest
from bench.metrics.smoothness import largest_step
from bench.protocol import Protocol
from bench.systems import IdentityRow, OracleRow, RealRow, Row, read
from ganmut.codes import OneHot
from ganmut.datasets import FaceSet, open_source
from ganmut.emotions import EMOTIONS
from ganmut.registry import Registry


def score(name: str, row: Row, cache: Path, faces: FaceSet, protocol: Protocol = PROTOCOL):
    return METRICS[name]().compute(gather(row, faces, cache, protocol))


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return world(64, 0)


def oracle(faces: FaceSet, cache: Path) -> OracleRow:
    return OracleRow(faces, Answers(faces, PROTOCOL.n_accuracy, cache / "answers"))


# The ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fed", "fid", "identity"])
def test_returning_the_input_scores_zero(name, faces, tmp_path):
    found = score(name, IdentityRow(faces), tmp_path, faces)
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.interval == pytest.approx((0, 0), abs=1e-6)


def test_returning_the_input_is_right_once_per_face(faces, tmp_path):
    # The toy classifier reads every face right, and a face keeps its own emotion under all seven
    # requests.
    found = score("accuracy", IdentityRow(faces), tmp_path, faces)
    assert found.value == pytest.approx(100 / 7, abs=0.5)


def test_returning_the_input_has_no_smoothness(faces, tmp_path):
    found = score("smoothness", IdentityRow(faces), tmp_path, faces)
    assert np.isnan(found.value)
    assert found.interval is None
    assert "100 %" in found.note


def test_the_oracle_is_right_and_keeps_everything(faces, tmp_path):
    row = oracle(faces, tmp_path)
    assert score("accuracy", row, tmp_path, faces).value == 100
    assert score("identity", row, tmp_path, faces).value == pytest.approx(0, abs=1e-6)
    error = score("oracle", row, tmp_path, faces)
    assert error.value == 0
    assert error.parts["ssim"] == pytest.approx(1)
    assert score("smoothness", row, tmp_path, faces).value < 0.5
    assert score("au_error", row, tmp_path, faces).value == pytest.approx(0, abs=1e-6)
    focus = score("concentration", row, tmp_path, faces)
    assert focus.value == pytest.approx(1, abs=0.01)  # changes of a few grey levels do not count
    assert 0 < focus.parts["area"] < 0.7


def test_real_against_real_is_small_and_its_accuracy_the_classifiers(faces, tmp_path):
    row = RealRow(faces, world(64, 1))
    same = score("fed", row, tmp_path, faces)
    worst = score("fed", ToyRow(faces, reach=0.0), tmp_path, faces)
    assert 0 < same.value < worst.value / 5
    found = score("accuracy", row, tmp_path, faces)
    assert found.n == 64
    assert found.value == pytest.approx(100, abs=5)
    assert set(found.parts) == set(EMOTIONS)


def test_real_without_a_second_half_is_not_measured(faces, tmp_path):
    with pytest.raises(NotMeasured, match="second half"):
        score("fed", RealRow(faces, None), tmp_path, faces)


# Corruption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spoilt", "levels"),
    [
        ("fed", "noise", (0, 60, 150)),
        ("fid", "noise", (0, 60, 150)),
        ("identity", "noise", (0, 20, 60)),
        ("oracle", "noise", (0, 20, 60)),
        ("au_error", "lost", (0, 2, 5)),
        ("ere@1", "lost", (0, 4, 6)),
        ("ere@2", "lost", (0, 4, 6)),
        ("smoothness", "steps", (0, 3, 1)),
    ],
)
def test_worse_edits_score_worse(name, spoilt, levels, faces, tmp_path):
    rows = [ToyRow(faces, **{spoilt: level}) for level in levels]
    found = [score(name, row, tmp_path, faces) for row in rows]
    values = [one.parts["equal"] if name.startswith("ere") else one.value for one in found]
    if name in ("fed", "fid"):  # perfect edits differ from these mixed faces: only noise is ordered
        values = values[1:]
    assert values == sorted(values)
    assert len(set(values)) == len(values)


def test_concentration_falls_with_noise(faces, tmp_path):
    values = [
        score("concentration", ToyRow(faces, noise=noise), tmp_path, faces).value
        for noise in (0, 20, 60)
    ]
    assert values[0] == pytest.approx(1, abs=0.01)
    assert values[0] > values[1] > values[2]


def test_accuracy_falls_with_noise(faces, tmp_path):
    values = [
        score("accuracy", ToyRow(faces, noise=noise), tmp_path, faces).value
        for noise in (0, 300, 3000)
    ]
    assert values[0] == 100
    assert values[0] > values[1] > values[2]


# Definitions --------------------------------------------------------------------------------------


def test_a_ramp_is_a_tenth_and_a_step_is_one():
    ramp, step = np.linspace(0, 1, 11), np.repeat([0.0, 1.0], [5, 6])
    assert largest_step(ramp) == pytest.approx(0.1)
    assert largest_step(step) == 1
    assert largest_step(0.3 + 0.5 * ramp) == pytest.approx(0.1)


def test_a_way_with_no_range_is_left_out():
    found = largest_step(np.stack([np.linspace(0, 0.049, 11), np.linspace(0, 0.051, 11)]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.1)


def test_the_target_is_the_face_with_the_highest_kth_score():
    softmax = np.array([[0.8, 0.1, 0.1], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0], [1, 0, 0]])
    assert (targets(softmax, 3, 4) == softmax[1]).all()
    assert (targets(softmax, 2, 4) == softmax[2]).all()
    assert (targets(softmax, 3, 2)[2:] == softmax[2]).all()  # each batch has its own


def test_ere_is_the_smallest_mean_square():
    reached = np.array([[[0.5, 0.5], [1.0, 0.0]]])
    assert smallest_error(reached, np.array([[0.9, 0.1]])) == pytest.approx([0.01])


def test_ere_reports_the_papers_budget_and_the_equal_one(faces, tmp_path):
    found = score("ere@1", ToyRow(faces), tmp_path, faces)
    assert found.parts["equal"] < found.value  # soft labels reach what the seven labels cannot
    assert set(found.draws) == {"", "equal"}


def test_neighbours_tell_real_from_edited():
    real = np.random.default_rng(0).normal(size=(60, 3))
    assert (real_nearest(real, real) == 0.5).all()  # returning the input: every neighbour is a tie
    apart = real_nearest(real, real + 100)
    assert (apart == 0).all()  # a cloud of its own
    others = np.random.default_rng(1).normal(size=(2000, 3))
    more = np.random.default_rng(2).normal(size=(2000, 3))
    assert real_nearest(others, more).mean() == pytest.approx(0.5, abs=0.05)


def test_a_source_is_not_its_edits_neighbour():
    real, edited = np.array([[0.0], [100.0], [200.0]]), np.array([[1.0], [5.0], [9.0]])
    assert real_nearest(real, edited).tolist() == [0, 0, 0]  # 0 is nearest to 1, but its source
    assert real_nearest(real, edited + 92).tolist() == [0, 0, 1]  # 101: 100 is another's source


def test_real_neighbours_at_the_ends(faces, tmp_path):
    same = score("tsne", IdentityRow(faces), tmp_path, faces)
    assert same.value == pytest.approx(50, abs=1e-9)
    assert score("tsne", ToyRow(faces, reach=0.0), tmp_path, faces).value == 0
    real = score("tsne", RealRow(faces, world(64, 1)), tmp_path, faces)
    assert real.value == pytest.approx(50, abs=25)


def test_units_are_asked_of_all_alike_and_codes_only_where_they_are_units(faces, tmp_path):
    by_label = score("au_error", ToyRow(faces), tmp_path / "a", faces)
    by_units = score("au_error", UnitRow(faces), tmp_path / "b", faces)
    assert by_units.value == pytest.approx(by_label.value, abs=0.01)
    assert "units" not in by_label.parts
    assert by_units.parts["units"] == pytest.approx(0, abs=0.02)
    assert by_units.intervals["units"][1] < 0.02
    assert {"AU 12", "AU 45", "happy"} <= set(by_units.parts)
    assert "AU 12" not in by_units.intervals  # values alone: seventeen columns of them


def test_units_of_an_emotion_without_a_prototype_are_left_out(faces, tmp_path):
    class Contempt(ToyRow):
        pass

    names = (*EMOTIONS[:-1], "contempt")
    other = replace(faces, emotions=names)
    row = Contempt(other)
    row.space, row.emotions = OneHot(names), names
    found = score("au_error", row, tmp_path, other)
    assert np.isnan(found.parts["contempt"])
    assert found.value == pytest.approx(0, abs=1e-6)


def test_an_edit_that_changes_nothing_has_no_concentration(faces, tmp_path):
    class Idle(ToyRow):
        def edit(self, faces, codes):
            return self.faces.images[faces]

    with pytest.raises(NotMeasured, match="no edit changes any pixel"):
        score("concentration", Idle(faces), tmp_path, faces)


def test_an_even_change_scores_the_regions_area(faces, tmp_path):
    class Even(ToyRow):
        def edit(self, faces, codes):
            return (self.faces.images[faces].int() + 10).clamp(0, 255).to(torch.uint8)

    found = score("concentration", Even(faces), tmp_path, faces)
    assert found.value == pytest.approx(found.parts["area"], abs=0.02)


def test_without_a_truth_fixed_boxes_say_where(faces, tmp_path):
    blind = replace(faces, ground_truth=None)
    found = score("concentration", ToyRow(blind), tmp_path, blind)
    assert "fixed boxes" in found.note
    assert 0 < found.value <= 1


def test_regions_are_where_the_answer_differs():
    source = torch.full((2, 3, 64, 64), 100, dtype=torch.uint8)
    answer = source.clone()
    answer[0, :, 40:50, 20:40] += 30
    answer[1, :, :1, :1] += 30  # too small to be an expression
    needed = regions.rendered(source, answer)
    assert needed[0].sum() == 12 * 22  # one pixel of margin
    assert not needed[1].any()


def test_boxes_hold_what_the_renderer_moves():
    people = open_source("procedural").load("test", 64, 15, seed=0, progress=False)
    rows = torch.arange(0, 15, 7)  # every first face of a person is labelled neutral
    assert not regions.boxes("neutral", 64).any()
    for emotion in EMOTIONS[1:]:
        answer = people.ground_truth(rows, emotion, 1.0)
        moved = (
            (answer.float() - people.ground_truth(rows, "neutral", 1.0).float()).abs().sum((0, 1))
        )
        box = regions.boxes(emotion, 64)
        assert (moved * box).sum() / moved.sum() > 0.7, emotion
        assert box.float().mean() < 0.6, emotion


def test_the_oracle_reads_codes_as_they_were_meant():
    space = OneHot(EMOTIONS)
    asked = [("neutral", 1.0), ("sad", 0.3), ("angry", 1.0)]
    emotion, intensity = read(torch.stack([space.of(*each) for each in asked]))
    assert emotion.tolist() == [0, 2, 6]
    assert intensity.tolist() == pytest.approx([1.0, 0.3, 1.0])


# Order, batches, numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "au_error",
        "concentration",
        "ere@1",
        "fed",
        "fid",
        "identity",
        "oracle",
        "smoothness",
        "tsne",
    ],
)
def test_batch_size_does_not_matter(name, faces, tmp_path):
    found = []
    for batch in (1, 7, 64):
        row = ToyRow(faces, noise=30)
        row.batch = batch
        found.append(score(name, row, tmp_path / str(batch), faces))
    assert found[0].value == pytest.approx(found[1].value, rel=1e-9)
    assert found[0].value == pytest.approx(found[2].value, rel=1e-9)
    assert found[0].interval == pytest.approx(found[2].interval, rel=1e-9)


@pytest.mark.parametrize(
    "name", ["accuracy", "au_error", "concentration", "fed", "identity", "oracle", "smoothness"]
)
def test_order_of_faces_does_not_matter(name, faces, tmp_path):
    whole = replace(PROTOCOL, n_accuracy=64, n_smooth=64)
    turned = faces.select(torch.arange(63, -1, -1))
    one = score(name, ToyRow(faces), tmp_path, faces, whole)
    two = score(name, ToyRow(turned), tmp_path, turned, whole)
    # FED draws its codes by position, so only as close as another draw of codes.
    assert one.value == pytest.approx(two.value, rel=1e-6 if name != "fed" else 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "au_error",
        "concentration",
        "ere@1",
        "ere@2",
        "fed",
        "fid",
        "identity",
        "oracle",
        "smoothness",
        "tsne",
    ],
)
def test_too_few_faces_says_how_many(name, tmp_path):
    few = world(1, 0)
    with pytest.raises(TooFew, match=r"needs at least \d+ faces, got 1"):
        score(name, ToyRow(few), tmp_path, few)


def test_fed_needs_more_faces_than_features(tmp_path):
    few = world(7, 0)
    with pytest.raises(TooFew, match="at least 8 faces, got 7"):
        score("fed", ToyRow(few), tmp_path, few)


def test_intervals_hold_the_value(faces, tmp_path):
    for name in ("fed", "identity", "oracle"):
        found = score(name, ToyRow(faces, noise=40), tmp_path, faces)
        assert found.interval[0] < found.value < found.interval[1]


def test_where_there_is_no_truth_the_oracle_is_not_measured(faces, tmp_path):
    blind = replace(faces, ground_truth=None)
    with pytest.raises(NotMeasured, match="only rendered faces"):
        score("oracle", ToyRow(blind), tmp_path, blind)


# The room -----------------------------------------------------------------------------------------


def test_every_metric_says_what_it_is():
    for name in METRICS:
        metric = METRICS[name]
        assert metric.title and metric.needs and metric.version >= 1
        assert metric.minimum >= 2
        assert metric.higher_is_better in (True, False, None)
        assert metric.rows <= {"editor", "identity", "oracle", "real"}
        assert metric.about in tables.TABLES


TOY_METRIC = '''
"""A toy."""
from bench.metrics.base import METRICS, Metric, by_face


@METRICS.register("brightness")
class Brightness(Metric):
    title = "brightness"
    needs = ("labels:images",)
    higher_is_better = None

    def compute(self, evidence):
        seen = evidence["labels:images"]
        return by_face({"all": seen.mean((1, 2, 3, 4))}, evidence)
'''


def test_a_file_dropped_into_the_room_is_a_metric(faces, tmp_path, monkeypatch):
    (tmp_path / "brightness.py").write_text(TOY_METRIC)
    monkeypatch.setattr(bench.metrics, "__path__", [*bench.metrics.__path__, str(tmp_path)])
    fresh = Registry("metric", "bench.metrics")
    fresh._entries = dict(METRICS._entries)
    monkeypatch.setattr(bench.metrics.base, "METRICS", fresh)
    try:
        assert "brightness" in fresh.names()
        assert set(METRICS.names()) < set(fresh.names())
        found = fresh["brightness"]().compute(gather(ToyRow(faces), faces, tmp_path))
        assert 0 < found.value < 255
    finally:
        sys.modules.pop("bench.metrics.brightness", None)
