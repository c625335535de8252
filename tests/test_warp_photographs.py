"""Pasting back an edit with a flow: the photograph is warped at its own resolution."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data as samples

from ganmut import faces
from ganmut.faces.paste_back import _warp

POINTS = np.array([[205.4, 99.2], [243.2, 101.8], [222.8, 122.1], [205.6, 143.1], [236.9, 145.2]])


@pytest.fixture
def portrait():
    """Photograph, aligned 64 px crop and transform, and a flow that moves its middle by a pixel."""
    picture = samples.astronaut()
    source, transform = faces.crop_face(picture, POINTS, 64)
    flow = np.zeros((64, 64, 2), np.float32)
    flow[12:52, 12:52, 0] = 1.0
    return picture, source, transform, flow


def test_a_flow_of_zero_changes_no_pixel(portrait):
    picture, source, transform, flow = portrait
    assert (faces.paste_face(picture, source, source, transform) == picture).all()
    assert (faces.paste_face(picture, source, source, transform, 0 * flow) == picture).all()


def test_a_flow_moves_the_detail_of_the_photograph(portrait):
    picture, source, transform, flow = portrait
    warped = _warp(source, flow).round().astype(np.uint8)
    x, y = transform.inverse(np.array([[32.0, 32.0]]))[0].round().astype(int)
    there, ahead = transform.inverse(np.array([[32.0, 32.0], [33.0, 32.0]]))
    step = np.broadcast_to(ahead - there, (17, 17, 2)).astype(np.float32)
    expected = _warp(picture, step, (y - 8, x - 8))
    near = (slice(y - 8, y + 9), slice(x - 8, x + 9))
    with_flow = faces.paste_face(picture, source, warped, transform, flow)[near]
    without = faces.paste_face(picture, source, warped, transform)[near]
    blurred, sharp = (np.abs(pixels - expected).mean() for pixels in (without, with_flow))
    assert sharp < 1 and sharp < blurred / 2


def test_a_warped_face_stays_inside_its_crop(portrait):
    picture, source, transform, flow = portrait
    flow[...] = 3.0  # up to the border: it has to fade out there
    pasted = faces.paste_face(
        picture, source, _warp(source, flow).round().astype(np.uint8), transform, flow
    )
    changed = np.argwhere((pasted != picture).any(-1))
    corners = transform.inverse(np.array([[0.0, 0.0], [63.0, 63.0], [0.0, 63.0], [63.0, 0.0]]))
    low, high = corners.min(0)[::-1], corners.max(0)[::-1]
    assert (changed.min(0) > low).all() and (changed.max(0) < high).all()
