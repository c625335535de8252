"""The frontier: shares at a distance, distances at a share, and the systems at its ends."""

from __future__ import annotations

import numpy as np
import pytest
from toys import ToySystem, toy_features, world

from bench.metrics import METRICS
from bench.metrics.frontier import curve, distance_at, share_at
from bench.systems import NoEditSystem

SHARES, DISTANCES = np.array([10.0, 40, 90, 100]), np.array([0.0, 0.02, 0.06, 0.1])


@pytest.mark.parametrize(("wanted", "share"), [(0.0, 10), (0.01, 25), (0.04, 65), (0.5, 100)])
def test_share_at_a_distance_is_interpolated(wanted, share):
    assert share_at(SHARES, DISTANCES, wanted) == pytest.approx(share)


@pytest.mark.parametrize(("wanted", "distance"), [(10, 0.0), (65, 0.04), (95, 0.08)])
def test_distance_at_a_share_is_interpolated(wanted, distance):
    assert distance_at(SHARES, DISTANCES, wanted) == pytest.approx(distance)


def test_a_path_that_begins_beyond_has_no_share():
    assert np.isnan(share_at(SHARES, DISTANCES + 0.05, 0.04))


def test_a_share_never_reached_has_no_distance():
    assert np.isnan(distance_at(SHARES[:2], DISTANCES[:2], 80))


def test_replicates_weigh_the_faces():
    hit, distance = np.array([[0.0, 100], [0, 0]]), np.array([[0.0, 0.2], [0, 0.4]])
    share, away = curve(hit, distance, np.array([3.0, 1]))
    assert share.tolist() == [0, 75]
    assert away.tolist() == pytest.approx([0, 0.25])


def test_an_editor_beats_no_edit(tmp_path):
    faces = world(60, 1)
    found = {
        system.name: METRICS["frontier"]().compute(toy_features(system, faces, tmp_path))
        for system in (ToySystem(faces), NoEditSystem(faces))
    }
    assert np.isnan(found["no_edit"].parts["distance at 80 %"])
    values = [score.value for score in found.values()]
    assert values[0] > values[1]
