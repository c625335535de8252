"""Rendered faces with landmarks: what is learned from photographs, where everything is exact."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from tqdm import trange

from ganmut.datasets.procedural import CHUNK
from ganmut.device import generator as seeded
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.expression.landmark_data import LandmarkSet, read_landmark_set
from ganmut.expression.point_set import IBUG, SIZE
from ganmut.images import luma
from ganmut.rendering.geometry import landmarks
from ganmut.rendering.sampler import SPLITS, FaceParameters, sample_parameters, with_expression
from ganmut.rendering.shading import render

RENDERED = "procedural"
COUNTS = {"train": 7000, "test": 700}
LEAST = 80  # faces that a training or a fit begins with
MOVED_SHARE = 0.35  # of the units that a posed copy shows


def landmark_set(
    data: str | Path, split: str, faces: int = 0, progress: bool = True
) -> LandmarkSet:
    """Faces with landmarks of a split ("train", "test"): rendered ones for "procedural", else the
    photographs of a folder (landmark_data.read_landmark_set).

    faces: how many of the train split, the first ones, and a tenth of it of the test split; 0:
    7,000 rendered ones, all photographs of a folder. Raises BadData, ValueError for fewer than 80.
    """
    if faces and faces < LEAST:
        raise ValueError(f"faces must be 0 or at least {LEAST}, got {faces}")
    count = faces if split == "train" else faces // 10
    if str(data) == RENDERED:
        return render_landmark_set(split, count or COUNTS[split], progress=progress)
    photographs = read_landmark_set(data, split, progress=progress)
    # A selection copies the images: not where all are asked for.
    return photographs[torch.arange(len(photographs)) < count] if count else photographs


def render_landmark_set(
    split: str, count: int, *, seed: int = 0, progress: bool = True
) -> LandmarkSet:
    """`count` rendered faces of a split, and after them a posed copy of each: the same person, pose
    and light with action units drawn one by one, so that no unit stands for another."""
    natural = sample_parameters(seed, split, range(count))
    # Other strengths in every split: test twins must not repeat those of the training.
    twins = with_expression(natural, units=_random_units(count, seed + SPLITS.index(split)))
    both = [natural, twins]
    poses = torch.deg2rad(torch.cat([part.pose for part in both]))
    return LandmarkSet(
        IBUG,
        torch.cat([_grey(part, progress) for part in both]),
        torch.cat([landmarks(part, SIZE) for part in both]),
        poses * torch.tensor([1.0, 1.0, -1.0]),  # roll is anticlockwise in a LandmarkSet
        torch.cat([part.units for part in both]),
        tuple(EMOTIONS[label] for label in natural.emotion.tolist()) + ("",) * count,
        tuple(f"face {index}" for index in natural.index.tolist()) * 2,
        torch.arange(2 * count) >= count,
    )


def _random_units(count: int, seed: int) -> Tensor:
    generator = seeded(seed)
    strength = torch.rand(count, len(UNITS), generator=generator)
    return strength * (torch.rand(strength.shape, generator=generator) < MOVED_SHARE)


def _grey(parameters: FaceParameters, progress: bool) -> Tensor:
    """uint8 N x 128 x 128: the luminance of rendered faces."""
    parts = []
    for start in trange(0, len(parameters), CHUNK, unit=f"x{CHUNK}", disable=not progress):
        faces = render(parameters.select(slice(start, start + CHUNK)), SIZE)
        parts.append(luma(faces.float()).round().clamp(0, 255).to(torch.uint8)[:, 0])
    return torch.cat(parts)
