"""Photographs without colour stay without it; photographs with colour keep their hue."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import color
from skimage import data as samples

from ganmut import images, weights
from ganmut.datasets import FaceSet
from ganmut.faces import edit_image

SETS = ("photos", "procedural")
EDITORS = [f"{group}/{name}" for group in SETS for name in weights.list_weights(group)]
PICTURE = samples.astronaut()[:300, 60:400]


class OnGPU(torch.Tensor):
    """A tensor that NumPy cannot read, as those on a GPU."""

    def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize("channels", [1, 3])
def test_faces_on_a_gpu_are_grey_or_not(channels):
    """A training on a GPU asks its faces there at every tick."""
    pixels = torch.arange(channels).mul(40).to(torch.uint8).view(1, -1, 1, 1).expand(9, 3, 8, 8)
    where = pixels.clone().as_subclass(OnGPU)
    labels = torch.zeros(9, dtype=torch.int64)
    assert FaceSet("t", "train", ("neutral",), where, labels, "").grey is (channels == 1)


@pytest.mark.parametrize("name", EDITORS)
def test_grey_photographs_stay_grey(name):
    editor = weights.load(name, "cpu")
    level = images.luma(images.to_tensor(PICTURE)[None].float()).round()[0]
    grey = images.to_array(level.expand(3, -1, -1).byte())
    edited = edit_image(grey, editor, editor.space.of("angry")).pixels
    assert np.ptp(edited, axis=-1).max() == 0
    assert np.abs(edited.astype(int) - grey).max() > 20


@pytest.mark.parametrize("emotion", ["neutral", "surprised", "sad", "angry"])
def test_skin_keeps_its_hue(emotion):
    editor = weights.load("photos/expression", "cpu")
    edited = edit_image(PICTURE, editor, editor.space.of(emotion)).pixels
    change = np.abs(edited.astype(int) - PICTURE).max(-1)
    before, after = color.rgb2lab(PICTURE), color.rgb2lab(edited)
    hues = [np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) for lab in (before, after)]
    chroma = np.minimum(*(np.hypot(lab[..., 1], lab[..., 2]) for lab in (before, after)))
    skin = (change > 6) & (chroma > 10) & (np.abs(hues[0] - 50) < 40) & (before[..., 0] > 40)
    assert skin.sum() > 500
    turned = hues[1][skin] - hues[0][skin]
    assert abs(turned.mean()) < 4 and np.median(np.abs(turned)) < 8
