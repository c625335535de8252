"""Training windows for the five-point network.

Windows are sampled around aligned faces, so their points are the template's under a known
transform.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.faces.align import SIDE, template
from ganmut.faces.landmarks.five_points import SIZE

MIRRORED = [1, 0, 2, 4, 3]  # index of each point's mirror image


@dataclass(frozen=True)
class Jitter:
    """Largest deviation of a window from the aligned crop.

    shift: share of the side. scale: natural logarithm of the scale. rotation: degrees.
    """

    shift: float
    scale: float
    rotation: float


# The first pass starts at a box of the cascade (FAR), later ones at the points of the pass before.
FAR, NEAR = Jitter(0.14, 0.34, 32), Jitter(0.04, 0.1, 8)


@dataclass(frozen=True)
class Windows:
    """Inputs and targets of a training step.

    x: N x 1 x 64 x 64 in 0..1. points: N x 5 x 2 in pixels, valid where face. face: bool N.
    """

    x: Tensor
    points: Tensor
    face: Tensor


def make_windows(
    faces: Tensor,
    negatives: Tensor,
    generator: torch.Generator,
    negative_share: float = 0.4,
    jitter: Jitter | None = None,
) -> Windows:
    """One window per face (uint8 N x 1 x 128 x 128, aligned): jittered, relit, on a background.

    negatives: uint8 M x 1 x 128 x 128 images without faces, used as backgrounds. negative_share:
    share of windows labelled as no face, which show a background alone (60 %) or a face that is too
    large, too small, rotated or shifted. jitter: by default half FAR and half NEAR.
    """
    n, rand = len(faces), _uniform(generator)
    is_negative = torch.rand(n, generator=generator) < negative_share
    empty = is_negative & (torch.rand(n, generator=generator) < 0.6)
    matrix = _placement(n, generator, jitter)
    # A face at the wrong scale or angle is a negative: another proposal will have it right.
    matrix[is_negative] = _misplacement(int(is_negative.sum()), generator)
    flip = torch.rand(n, generator=generator) < 0.5
    x = torch.where(flip[:, None, None, None], faces.flip(-1), faces).float() / 255
    background = _sample(
        _pick(negatives, n, generator), _placement(n, generator, Jitter(0.3, 0.5, 60)), 1
    )
    background = background * rand(n, 0.4, 1) + rand(n, 0, 0.4)
    mask = _face_mask(n, generator)
    mask[empty] = 0
    face = _sample(torch.cat([x, mask], 1), matrix)
    inside = _inside(matrix)
    # 30 % of the windows keep the whole crop with its border repeated, as at the edge of a picture.
    replicated = (torch.rand(n, generator=generator) < 0.3) & ~empty
    inside[replicated] = 1
    alpha = torch.where(replicated[:, None, None, None], 1.0, face[:, 1:]) * inside
    x = alpha * face[:, :1] + (1 - alpha) * background
    return Windows(_degrade(x, generator), _points(matrix, flip), ~is_negative)


def _uniform(generator: torch.Generator) -> Callable[[int, float, float], Tensor]:
    """rand(n, low, high) -> N x 1 x 1 x 1 uniform samples."""

    def rand(n: int, low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low

    return rand


def _pick(negatives: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n x 1 x 128 x 128 in 0..1: negatives drawn with replacement."""
    return negatives[torch.randint(len(negatives), (n,), generator=generator)].float() / 255


def _similarity(scale: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
    """N x 2 x 3 similarities from window to crop, both in -1..1 coordinates; rotation in
    radians."""
    cos, sin = scale * rotation.cos(), scale * rotation.sin()
    return torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).unflatten(1, (2, 3))


def _placement(n: int, generator: torch.Generator, jitter: Jitter | None = None) -> Tensor:
    """N x 2 x 3 random placements of the window within `jitter`, by default half FAR, half NEAR."""
    near = torch.rand(n, generator=generator) < 0.5
    limits = [
        torch.where(near, getattr(NEAR, name), getattr(FAR, name))
        if jitter is None
        else torch.full((n,), getattr(jitter, name))
        for name in ("shift", "scale", "rotation")
    ]
    draw = torch.rand(n, 4, generator=generator) * 2 - 1
    return _similarity(
        (draw[:, 0] * limits[1]).exp(),
        draw[:, 1] * limits[2] * (math.pi / 180),
        draw[:, 2:] * limits[0][:, None] * 2,  # the side is 2 long in -1..1 coordinates
    )


def _misplacement(n: int, generator: torch.Generator) -> Tensor:
    """N x 2 x 3 random placements without an upright face in the centre of the window.

    kind 0: a part of the face; 1: the face too small; 2: rotated by 80 to 180 degrees; 3: shifted.
    """
    kind = torch.randint(4, (n,), generator=generator)
    draw = torch.rand(n, 4, generator=generator)
    sign = torch.where(draw[:, 3] < 0.5, -1.0, 1.0)
    direction = torch.stack([draw[:, 1] * 2 - 1, draw[:, 2] * 2 - 1], 1)
    far = F.normalize(direction, dim=1) * (0.9 + 0.7 * draw[:, :1])
    scale = torch.where(kind == 0, 0.45 - 0.2 * draw[:, 0], 1.0)
    scale = torch.where(kind == 1, 2.2 + 1.3 * draw[:, 0], scale)
    rotation = torch.where(
        kind == 2, sign * (80 + 100 * draw[:, 0]) * (math.pi / 180), 0.4 * (draw[:, 0] - 0.5)
    )
    shift = torch.where((kind == 3)[:, None], far, direction * 0.3)
    return _similarity(scale, rotation, shift)


def _sample(x: Tensor, matrix: Tensor, supersampling: int = 2) -> Tensor:
    """N x C x 64 x 64 windows of x (N x C x 128 x 128) under `matrix`, antialiased."""
    side = supersampling * SIZE
    grid = F.affine_grid(matrix, [len(x), 1, side, side], align_corners=False)
    sampled = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, supersampling)


def _inside(matrix: Tensor) -> Tensor:
    """N x 1 x 64 x 64: 1 where a window shows the crop, 0 outside, with a ramp of one pixel."""
    grid = F.affine_grid(matrix, [len(matrix), 1, SIZE, SIZE], align_corners=False)
    return ((1 - grid.abs().amax(-1)) * (SIZE / 2) + 0.5).clamp(0, 1)[:, None]


def _face_mask(n: int, generator: torch.Generator) -> Tensor:
    """N x 1 x 128 x 128 in 0..1: soft superellipses, from an oval around the head to the crop."""
    rand = _uniform(generator)
    axis = torch.linspace(-1, 1, SIDE)
    power = rand(n, 1.6, 8)
    width, height = rand(n, 0.72, 1.05), rand(n, 0.9, 1.1)
    radius = (axis.abs() / width) ** power + (axis[:, None].abs() / height) ** power
    return ((1 - radius) * rand(n, 3, 12)).clamp(0, 1)


def _points(matrix: Tensor, flip: Tensor) -> Tensor:
    """N x 5 x 2: the template's points in pixels of the windows; flip: bool N, mirrored faces."""
    five = torch.from_numpy(template(SIDE)).float().expand(len(matrix), 5, 2)
    mirrored = five[:, MIRRORED] * torch.tensor([-1.0, 1]) + torch.tensor([SIDE - 1.0, 0])
    five = torch.where(flip[:, None, None], mirrored, five)
    unit = (five + 0.5) * (2 / SIDE) - 1
    # `matrix` maps window to crop, so the points of the crop need its inverse.
    back = torch.linalg.solve(matrix[:, :, :2], (unit - matrix[:, None, :, 2]).mT).mT
    return (back + 1) * (SIZE / 2) - 0.5


def _degrade(x: Tensor, generator: torch.Generator) -> Tensor:
    """The windows with side light, gamma, blur, contrast, an occluding patch and noise, in 0..1."""
    n, rand = len(x), _uniform(generator)
    axis = torch.linspace(-1, 1, SIZE)
    slope = rand(n, -0.45, 0.45) * axis + rand(n, -0.3, 0.3) * axis[:, None]
    x = (x.clamp(1e-3, 1) ** rand(n, -0.6, 0.6).exp() * (1 + slope)).clamp(0, 1)
    coarse = F.interpolate(
        F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    x = torch.lerp(x, coarse, (rand(n, -1, 1)).clamp(min=0))
    x = x * rand(n, 0.35, 1.1) + rand(n, -0.1, 0.4)
    centre_x, half_side = rand(n, -1, 1), rand(n, 0.05, 0.3)
    centre_y = rand(n, -1, 1)
    occluded = (axis - centre_x).abs() < half_side
    occluded = occluded & ((axis[:, None] - centre_y).abs() < half_side)
    occluded &= rand(n, 0, 1) < 0.25
    x = torch.where(occluded, rand(n, 0, 1), x)
    return (x + rand(n, 0, 0.2) ** 2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
