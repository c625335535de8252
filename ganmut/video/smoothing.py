"""Points of a face without the noise of single frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ganmut.faces.detectors.builtin import eye_distance
from ganmut.video.tracking import TrackedFrame

REACH = 3  # frames on either side
SPREAD = 1.5  # frames, standard deviation in time
STILL = 0.03  # eye distances, standard deviation of what counts as noise: a pixel of a small face


def steady(tracked: Iterator[TrackedFrame]) -> Iterator[TrackedFrame]:
    """Yields the frames with points smoothed over time; holds 2 * REACH + 1 of them.

    A bilateral filter: the mean of the frames around, weighted by their distance in time and by
    how far the face moved meanwhile, so that noise is averaged and movement stays.
    """
    window: deque[TrackedFrame] = deque()
    place = 0  # of the next frame to yield
    for item in tracked:
        window.append(item)
        if len(window) - place > REACH:
            yield _smoothed(window, place)
            place += 1
        if place > REACH:
            window.popleft()
            place -= 1
    for index in range(place, len(window)):
        yield _smoothed(window, index)


def _smoothed(window: deque[TrackedFrame], place: int) -> TrackedFrame:
    item = window[place]
    if item.points is None:
        return item
    near = [
        (other.points, index - place)
        for index, other in enumerate(window)
        if other.points is not None and other.shot == item.shot and abs(index - place) <= REACH
    ]
    points = np.stack([five for five, _ in near])
    steps = np.array([step for _, step in near])
    moved = np.linalg.norm(points - item.points, axis=2).mean(1) / eye_distance(item.points)
    weights = np.exp(-0.5 * (steps / SPREAD) ** 2 - 0.5 * (moved / STILL) ** 2)
    smoothed = (points * (weights / weights.sum())[:, None, None]).sum(0)
    return replace(item, points=smoothed)
