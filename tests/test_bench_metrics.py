"""Metrics on a toy world with ground truth: reference systems, corruption, order, batches, too few
faces.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import PROTOCOL, ToySystem, UnitSystem, toy_features, world

import bench.metrics
from bench import tables
from bench.features import regions
from bench.features.extract import FEATURES
from bench.features.ground_truth import GroundTruth
from bench.metrics import METRICS, NotMeasured, TooFew
from bench.metrics.base import by_set
from bench.metrics.ere import smallest_error, targets
from bench.metrics.gamut_mixtures import same_mixture
from bench.metrics.gamut_share import opposition
from bench.metrics.real_neighbour_rate import real_nearest
from bench.metrics.smoothness import largest_step
from bench.metrics.steps_by_radius import half_steps
from bench.metrics.style_share import variances
from bench.protocol import Protocol
from bench.systems import (
    GroundTruthSystem,
    NoEditSystem,
    RealSplitSystem,
    System,
    decode_one_hot,
)
from ganmut.codes import DiscSpace, LabelSpace, StyleSpace
from ganmut.datasets import FaceSet, open_source
from ganmut.emotions import EMOTIONS
from ganmut.registry import Registry


def score(name: str, system: System, cache: Path, faces: FaceSet, protocol: Protocol = PROTOCOL):
    return METRICS[name]().compute(toy_features(system, faces, cache, protocol))


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return world(64, 0)


def ground_truth_system(faces: FaceSet, cache: Path) -> GroundTruthSystem:
    return GroundTruthSystem(faces, GroundTruth(faces, PROTOCOL.n_accuracy, cache / "ground_truth"))


def test_second_judge_measures_the_same_again(faces, tmp_path):
    features = toy_features(ToySystem(faces, noise=40), faces, tmp_path)
    first = METRICS["accuracy"]().compute(features)
    second = METRICS["second_accuracy"]().compute(features)
    assert (first.value, first.interval) == (second.value, second.interval)
    networks = features.extractors.networks
    assert networks["second_emotion"].images_seen == networks["emotion"].images_seen > 0


@pytest.mark.parametrize("name", [n for n in METRICS if n.startswith("second_")])
def test_second_metrics_read_second_judges_alone(name):
    roles = {FEATURES[need.split(":")[1]][1] for need in METRICS[name].needs}
    assert roles and all(role.startswith("second_") for role in roles)
    assert METRICS[name].version == METRICS[name.removeprefix("second_")].version


# Reference systems --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fed", "fid", "identity_distance"])
def test_no_edit_scores_zero(name, faces, tmp_path):
    found = score(name, NoEditSystem(faces), tmp_path, faces)
    assert found.value == pytest.approx(0, abs=1e-6)
    assert found.interval == pytest.approx((0, 0), abs=1e-6)


def test_no_edit_is_right_for_one_emotion(faces, tmp_path):
    # The toy classifier reads every face right, and a face keeps its own emotion under all seven
    # requests.
    found = score("accuracy", NoEditSystem(faces), tmp_path, faces)
    assert found.value == pytest.approx(100 / 7, abs=0.5)


def test_no_edit_has_no_smoothness(faces, tmp_path):
    found = score("smoothness", NoEditSystem(faces), tmp_path, faces)
    assert np.isnan(found.value)
    assert found.interval is None
    assert found.note.startswith("100 %")


def test_ground_truth_scores_are_perfect(faces, tmp_path):
    row = ground_truth_system(faces, tmp_path)
    assert score("accuracy", row, tmp_path, faces).value == 100
    assert score("identity_distance", row, tmp_path, faces).value == pytest.approx(0, abs=1e-6)
    error = score("ground_truth_l1", row, tmp_path, faces)
    assert error.value == 0
    assert error.parts["ssim"] == pytest.approx(1)
    assert score("smoothness", row, tmp_path, faces).value < 0.5
    assert score("au_error", row, tmp_path, faces).value == pytest.approx(0, abs=1e-6)
    focus = score("edit_localisation", row, tmp_path, faces)
    assert focus.value == pytest.approx(1, abs=0.01)  # changes of a few grey levels do not count
    assert 0 < focus.parts["area"] < 0.7


def test_real_split_pins_fed_and_accuracy(faces, tmp_path):
    row = RealSplitSystem(faces, world(64, 1))
    same = score("fed", row, tmp_path, faces)
    worst = score("fed", ToySystem(faces, reach=0.0), tmp_path, faces)
    assert 0 < same.value < worst.value / 5
    found = score("accuracy", row, tmp_path, faces)
    assert found.n == 64
    assert found.value == pytest.approx(100, abs=5)
    assert set(found.parts) == set(EMOTIONS)


def test_real_split_needs_a_second_half(faces, tmp_path):
    with pytest.raises(NotMeasured):
        score("fed", RealSplitSystem(faces, None), tmp_path, faces)


# Corruption ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spoilt", "levels"),
    [
        ("fed", "noise", (0, 60, 150)),
        ("fid", "noise", (0, 60, 150)),
        ("identity_distance", "noise", (0, 20, 60)),
        ("ground_truth_l1", "noise", (0, 20, 60)),
        ("au_error", "lost", (0, 2, 5)),
        ("ere@1", "lost", (0, 4, 6)),
        ("ere@2", "lost", (0, 4, 6)),
        ("smoothness", "steps", (0, 3, 1)),
    ],
)
def test_worse_edits_score_worse(name, spoilt, levels, faces, tmp_path):
    rows = [ToySystem(faces, **{spoilt: level}) for level in levels]
    found = [score(name, row, tmp_path, faces) for row in rows]
    values = [one.parts["equal"] if name.startswith("ere") else one.value for one in found]
    if name in ("fed", "fid"):  # perfect edits differ from these mixed faces: only noise is ordered
        values = values[1:]
    assert values == sorted(values)
    assert len(set(values)) == len(values)


def test_edit_localisation_falls_with_noise(faces, tmp_path):
    values = [
        score("edit_localisation", ToySystem(faces, noise=noise), tmp_path, faces).value
        for noise in (0, 20, 60)
    ]
    assert values[0] == pytest.approx(1, abs=0.01)
    assert values[0] > values[1] > values[2]


def test_accuracy_falls_with_noise(faces, tmp_path):
    values = [
        score("accuracy", ToySystem(faces, noise=noise), tmp_path, faces).value
        for noise in (0, 300, 3000)
    ]
    assert values[0] == 100
    assert values[0] > values[1] > values[2]


# Definitions --------------------------------------------------------------------------------------


def test_smoothness_of_a_ramp_and_a_step():
    ramp, step = np.linspace(0, 1, 11), np.repeat([0.0, 1.0], [5, 6])
    assert largest_step(ramp) == pytest.approx(0.1)
    assert largest_step(step) == 1
    assert largest_step(0.3 + 0.5 * ramp) == pytest.approx(0.1)


def test_path_without_range_is_left_out():
    found = largest_step(np.stack([np.linspace(0, 0.049, 11), np.linspace(0, 0.051, 11)]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(0.1)


def test_ere_target_has_the_highest_kth_score():
    softmax = np.array([[0.8, 0.1, 0.1], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0], [1, 0, 0]])
    assert (targets(softmax, 3, 4) == softmax[1]).all()
    assert (targets(softmax, 2, 4) == softmax[2]).all()
    assert (targets(softmax, 3, 2)[2:] == softmax[2]).all()  # each batch has its own


def test_ere_is_the_smallest_mean_square():
    reached = np.array([[[0.5, 0.5], [1.0, 0.0]]])
    assert smallest_error(reached, np.array([[0.9, 0.1]])) == pytest.approx([0.01])


def test_ere_resamples_batches_not_faces(faces, tmp_path):
    # With one error per batch, sixteen faces of a batch add nothing to the interval.
    protocol = replace(PROTOCOL, ere_batch=16, ere_edited=16)
    found = score("ere@1", ToySystem(faces), tmp_path, faces, protocol)
    batches = protocol.n_ere // 16
    assert found.samples[""].shape == (1, batches) and found.n == protocol.n_ere
    assert found.value == pytest.approx(float(found.samples[""].mean()))
    assert f"{batches} targets" in found.note


def test_ere_has_two_budgets(faces, tmp_path):
    found = score("ere@1", ToySystem(faces), tmp_path, faces)
    assert found.parts["equal"] < found.value  # soft labels reach what the seven labels cannot
    assert set(found.draws) == {"", "equal"}


def test_style_share_compares_two_variances():
    # Two emotions, two styles, two probabilities: styles move them by .1, labels by .3 on average.
    p = np.array([[0.9, 0.7], [0.4, 0.6]])
    over, between = variances(np.stack([p, 1 - p], -1)[None])
    assert over == pytest.approx([2 * 0.1**2])
    assert between == pytest.approx([2 * 0.15**2])


def test_style_share_needs_styles(faces, tmp_path):
    with pytest.raises(NotMeasured):
        score("style_share", ToySystem(faces), tmp_path, faces)
    system = ToySystem(faces)
    # The latent mixes a label with the next one; the label itself moves the face more.
    system.space = StyleSpace(
        EMOTIONS,
        1,
        lambda which, z: torch.lerp(
            torch.eye(7)[which], torch.eye(7)[(which + 1) % 7], 0.2 * z.sigmoid()
        ),
    )
    found = score("style_share", system, tmp_path, faces)
    assert 0 < found.value < 0.2
    # Data of fewer emotions: the grid has the styles of the editor's.
    few = replace(faces, emotions=("neutral", "sad", "happy"), emotion=faces.emotion % 3)
    assert 0 < score("style_share", system, tmp_path, few).value < 0.2


def test_opposite_centres_have_cosine_minus_one():
    codes = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    right, left, up = np.eye(4)[[0]], np.eye(4)[[1]], np.eye(4)[[2]]
    assert opposition(codes, right, left) == pytest.approx([-1])
    assert opposition(codes, right, up) == pytest.approx([0])
    assert opposition(codes, right, right + 1) == pytest.approx([1])  # an even part moves nothing


def test_gamut_shares_are_areas(faces, tmp_path):
    class Halves(ToySystem):
        """Happy on the right of the disc, angry on the left."""

        def edit(self, faces, codes):
            shown = torch.eye(7)[torch.where(codes[:, 0] > 0, 1, 6)]
            return super().edit(faces, shown)

    system = Halves(faces)
    system.space = DiscSpace(EMOTIONS, torch.randn(6, 2))
    found = score("gamut_share", system, tmp_path, faces)
    chart = system.space.chart(PROTOCOL.chart_side)
    right = (chart.codes[chart.valid][:, 0] > 0).float().mean()
    assert found.parts["happy"] == pytest.approx(float(right))
    assert found.parts["happy"] + found.parts["angry"] == pytest.approx(1)
    assert found.value == found.parts["angry"]
    assert found.parts["cosine of happy and negative"] == pytest.approx(-1, abs=1e-3)


def test_same_mixture_takes_ambiguous_codes_that_lie_apart():
    codes = np.array([[-1.0, 0.0], [-0.9, 0.0], [0.0, 0.0], [1.0, 0.0]])
    softmax = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.4, 0.1], [0.9, 0.1, 0.0]])
    # The first two are equal but near, the last is no mixture.
    variation, pair = same_mixture(codes, softmax)
    assert variation == pytest.approx(0.1) and pair in ((0, 2), (1, 2))
    assert np.isnan(same_mixture(codes[:2], softmax[:2])[0])


def test_gamut_mixtures_count_emotions(faces, tmp_path):
    class Mixed(ToySystem):
        """Two emotions at once on the right of the disc, one on the left."""

        def edit(self, faces, codes):
            both = (torch.eye(7)[1] + torch.eye(7)[6]) / 2
            shown = torch.where(codes[:, :1] > 0, both, torch.eye(7)[2])
            return super().edit(faces, shown)

    system = Mixed(faces)
    system.space = DiscSpace(EMOTIONS, torch.randn(6, 2))
    found = score("gamut_mixtures", system, tmp_path, faces)
    assert found.value >= 2
    assert found.parts["same mixture"] == pytest.approx(0, abs=1e-6)


def test_gamut_metrics_need_two_dimensions(faces, tmp_path):
    for name in ("gamut_share", "gamut_mixtures", "fed_uniform"):
        assert METRICS[name].needs_of(ToySystem(faces)) == ()
        with pytest.raises(NotMeasured):
            score(name, ToySystem(faces), tmp_path, faces)


def test_halves_of_a_path_have_their_own_steps():
    # Even up to the middle, then a jump of half the range.
    path = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
    lower, upper = half_steps(np.stack([path, path[::-1], 0.01 * path]))
    assert lower[:2] == pytest.approx([0.1, 0.0]) and upper[:2] == pytest.approx([0.5, 0.0])
    assert np.isnan(lower[2]) and np.isnan(upper[2])


def test_steps_by_radius_of_an_even_editor(faces, tmp_path):
    found = score("steps_by_radius", ToySystem(faces), tmp_path, faces)
    assert found.value == pytest.approx(found.parts["lower half"] - found.parts["upper half"])


def test_neighbours_separate_real_from_edited():
    real = np.random.default_rng(0).normal(size=(60, 3))
    assert (real_nearest(real, real) == 0.5).all()  # returning the input: every neighbour is a tie
    apart = real_nearest(real, real + 100)
    assert (apart == 0).all()  # a cloud of its own
    others = np.random.default_rng(1).normal(size=(2000, 3))
    more = np.random.default_rng(2).normal(size=(2000, 3))
    assert real_nearest(others, more).mean() == pytest.approx(0.5, abs=0.05)


def test_source_is_no_neighbour_of_its_edit():
    real, edited = np.array([[0.0], [100.0], [200.0]]), np.array([[1.0], [5.0], [9.0]])
    assert real_nearest(real, edited).tolist() == [0, 0, 0]  # 0 is nearest to 1, but its source
    assert real_nearest(real, edited + 92).tolist() == [0, 0, 1]  # 101: 100 is another's source


def test_real_neighbour_rate_of_reference_systems(faces, tmp_path):
    same = score("real_neighbour_rate", NoEditSystem(faces), tmp_path, faces)
    assert same.value == pytest.approx(50, abs=1e-9)
    assert score("real_neighbour_rate", ToySystem(faces, reach=0.0), tmp_path, faces).value == 0
    real = score("real_neighbour_rate", RealSplitSystem(faces, world(64, 1)), tmp_path, faces)
    assert real.value == pytest.approx(50, abs=25)


def test_au_error_by_label_and_by_units(faces, tmp_path):
    by_label = score("au_error", ToySystem(faces), tmp_path / "a", faces)
    by_units = score("au_error", UnitSystem(faces), tmp_path / "b", faces)
    assert by_units.value == pytest.approx(by_label.value, abs=0.01)
    assert "units" not in by_label.parts
    assert by_units.parts["units"] == pytest.approx(0, abs=0.02)
    assert by_units.intervals["units"][1] < 0.02
    assert {"AU 12", "AU 45", "happy"} <= set(by_units.parts)
    assert "AU 12" not in by_units.intervals  # values alone: seventeen columns of them


def test_emotion_without_prototype_is_left_out(faces, tmp_path):
    class Contempt(ToySystem):
        pass

    names = (*EMOTIONS[:-1], "contempt")
    other = replace(faces, emotions=names)
    row = Contempt(other)
    row.space, row.emotions = LabelSpace(names), names
    found = score("au_error", row, tmp_path, other)
    assert np.isnan(found.parts["contempt"])
    assert found.value == pytest.approx(0, abs=1e-6)


def test_unchanged_edit_has_no_localisation(faces, tmp_path):
    class Idle(ToySystem):
        def edit(self, faces, codes):
            return self.faces.images[faces]

    with pytest.raises(NotMeasured):
        score("edit_localisation", Idle(faces), tmp_path, faces)


def test_even_change_scores_the_area(faces, tmp_path):
    class Even(ToySystem):
        def edit(self, faces, codes):
            return (self.faces.images[faces].int() + 10).clamp(0, 255).to(torch.uint8)

    found = score("edit_localisation", Even(faces), tmp_path, faces)
    assert found.value == pytest.approx(found.parts["area"], abs=0.02)


def test_fixed_boxes_replace_missing_ground_truth(faces, tmp_path):
    blind = replace(faces, ground_truth=None)
    found = score("edit_localisation", ToySystem(blind), tmp_path, blind)
    assert "fixed boxes" in found.note
    assert 0 < found.value <= 1


def test_regions_are_where_ground_truth_differs():
    source = torch.full((2, 3, 64, 64), 100, dtype=torch.uint8)
    rendered = source.clone()
    rendered[0, :, 40:50, 20:40] += 30
    rendered[1, :, :1, :1] += 30  # too small to be an expression
    region = regions.changed_region(source, rendered)
    assert region[0].sum() == 12 * 22  # one pixel of margin
    assert not region[1].any()


def test_boxes_contain_the_rendered_change():
    people = open_source("procedural").load("test", 64, 15, seed=0, progress=False)
    rows = torch.arange(0, 15, 7)  # every first face of a person is labelled neutral
    assert not regions.box_region("neutral", 64).any()
    for emotion in EMOTIONS[1:]:
        rendered = people.ground_truth(rows, emotion, 1.0)
        change = (
            (rendered.float() - people.ground_truth(rows, "neutral", 1.0).float()).abs().sum((0, 1))
        )
        box = regions.box_region(emotion, 64)
        assert (change * box).sum() / change.sum() > 0.7, emotion
        assert box.float().mean() < 0.6, emotion


def test_one_hot_codes_are_decoded():
    space = LabelSpace(EMOTIONS)
    asked = [("neutral", 1.0), ("sad", 0.3), ("angry", 1.0)]
    emotion, intensity = decode_one_hot(torch.stack([space.of(*each) for each in asked]))
    assert emotion.tolist() == [0, 2, 6]
    assert intensity.tolist() == pytest.approx([1.0, 0.3, 1.0])


# Order, batches, numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "au_error",
        "edit_localisation",
        "ere@1",
        "fed",
        "fid",
        "identity_distance",
        "ground_truth_l1",
        "smoothness",
        "real_neighbour_rate",
    ],
)
def test_batch_size_does_not_matter(name, faces, tmp_path):
    found = []
    for batch in (1, 7, 64):
        row = ToySystem(faces, noise=30)
        row.batch = batch
        found.append(score(name, row, tmp_path / str(batch), faces))
    assert found[0].value == pytest.approx(found[1].value, rel=1e-9)
    assert found[0].value == pytest.approx(found[2].value, rel=1e-9)
    assert found[0].interval == pytest.approx(found[2].interval, rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "au_error",
        "edit_localisation",
        "fed",
        "identity_distance",
        "ground_truth_l1",
        "smoothness",
    ],
)
def test_order_of_faces_does_not_matter(name, faces, tmp_path):
    whole = replace(PROTOCOL, n_accuracy=64, n_smooth=64)
    turned = faces.select(torch.arange(63, -1, -1))
    one = score(name, ToySystem(faces), tmp_path, faces, whole)
    two = score(name, ToySystem(turned), tmp_path, turned, whole)
    # FED draws its codes by position, so only as close as another draw of codes.
    assert one.value == pytest.approx(two.value, rel=1e-6 if name != "fed" else 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy",
        "au_error",
        "edit_localisation",
        "ere@1",
        "ere@2",
        "fed",
        "fid",
        "identity_distance",
        "ground_truth_l1",
        "smoothness",
        "real_neighbour_rate",
    ],
)
def test_too_few_faces_are_refused(name, tmp_path):
    few = world(1, 0)
    with pytest.raises(TooFew, match=r"\d+ .* 1\b"):
        score(name, ToySystem(few), tmp_path, few)


def test_fed_needs_more_faces_than_features(tmp_path):
    few = world(7, 0)
    with pytest.raises(TooFew, match=r"\b8 .* 7\b"):
        score("fed", ToySystem(few), tmp_path, few)


def test_unbiased_shares_stay_below_their_largest():
    class Faces:
        protocol = PROTOCOL

    # One face of ten misses: recentred draws would reach beyond 1.
    hit = np.append(np.ones(9), 0)

    def share(counts):
        return float(np.average(hit, weights=counts))

    found = by_set(share, 10, Faces, biased=False)
    assert found.value == 0.9 and found.interval[1] <= 1 and found.draws[""].max() == 1


def test_intervals_contain_the_value(faces, tmp_path):
    for name in ("fed", "identity_distance", "ground_truth_l1"):
        found = score(name, ToySystem(faces, noise=40), tmp_path, faces)
        assert found.interval[0] < found.value < found.interval[1]


def test_without_ground_truth_l1_is_not_measured(faces, tmp_path):
    blind = replace(faces, ground_truth=None)
    with pytest.raises(NotMeasured):
        score("ground_truth_l1", ToySystem(blind), tmp_path, blind)


# Registration -------------------------------------------------------------------------------------


def test_every_metric_declares_itself():
    for name in METRICS:
        metric = METRICS[name]
        assert metric.title and metric.needs and metric.version >= 1
        assert metric.minimum >= 2
        assert metric.higher_is_better in (True, False, None)
        assert metric.systems <= {"editor", "no_edit", "ground_truth", "real_split"}
        assert metric.group in (*tables.GROUPS, "second")


TOY_METRIC = '''
"""A toy."""
from .base import METRICS, Metric, by_face


@METRICS.register("toy_brightness")
class Brightness(Metric):
    title = "brightness"
    needs = ("labels:images",)
    higher_is_better = None

    def compute(self, features):
        pictures = features["labels:images"]
        return by_face({"all": pictures.mean((1, 2, 3, 4))}, features)
'''


def test_new_file_is_a_metric(faces, tmp_path, monkeypatch):
    (tmp_path / "toy_brightness.py").write_text(TOY_METRIC)
    monkeypatch.setattr(bench.metrics, "__path__", [*bench.metrics.__path__, str(tmp_path)])
    fresh = Registry("metric", "bench.metrics")
    fresh._entries = dict(METRICS._entries)
    monkeypatch.setattr(bench.metrics.base, "METRICS", fresh)
    try:
        assert "toy_brightness" in fresh.names()
        assert set(METRICS.names()) < set(fresh.names())
        found = fresh["toy_brightness"]().compute(toy_features(ToySystem(faces), faces, tmp_path))
        assert 0 < found.value < 255
    finally:
        sys.modules.pop("bench.metrics.toy_brightness", None)
