"""Training windows for the five-point network: cut round aligned faces, so the points are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.faces.align import SIDE, template
from ganmut.faces.landmarks.five_points import SIZE

MIRRORED = [1, 0, 2, 4, 3]  # the five points of a mirrored face, in order


@dataclass(frozen=True)
class Jitter:
    """How far a window lies from the crop: shift (share of the side), log-scale, degrees."""

    shift: float
    scale: float
    turn: float


# The first look starts from the cascade's box, the second from the first's points.
FAR, NEAR = Jitter(0.14, 0.34, 32), Jitter(0.04, 0.1, 8)


@dataclass(frozen=True)
class Windows:
    """x: N x 1 x 64 x 64 in 0..1; points: N x 5 x 2 in pixels; face: bool N (else no points)."""

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
    """One jittered, relit window a face (uint8 N x 1 x 128 x 128, aligned) on a background.

    negatives: uint8 M x 1 x 128 x 128 pictures without faces. negative_share: share of windows
    without a face: a background alone, or a face so far off the window (too large, too small,
    shifted, turned over) that no points should be believed.
    """
    n, rand = len(faces), _uniform(generator)
    is_negative = torch.rand(n, generator=generator) < negative_share
    empty = is_negative & (torch.rand(n, generator=generator) < 0.6)
    matrix = _placement(n, generator, jitter)
    matrix[is_negative] = _misplacement(int(is_negative.sum()), generator)
    flip = torch.rand(n, generator=generator) < 0.5
    x = torch.where(flip[:, None, None, None], faces.flip(-1), faces).float() / 255
    behind = _sample(
        _pick(negatives, n, generator), _placement(n, generator, Jitter(0.3, 0.5, 60)), 1
    )
    behind = behind * rand(n, 0.4, 1) + rand(n, 0, 0.4)
    alpha = _shape(n, generator)
    alpha[empty] = 0
    front = _sample(torch.cat([x, alpha], 1), matrix)
    inside = _inside(matrix)
    replicated = (torch.rand(n, generator=generator) < 0.3) & ~empty
    inside[replicated] = 1
    shown = torch.where(replicated[:, None, None, None], 1.0, front[:, 1:]) * inside
    x = shown * front[:, :1] + (1 - shown) * behind
    return Windows(_light(x, generator), _points(matrix, flip), ~is_negative)


def _uniform(generator: torch.Generator) -> Callable[[int, float, float], Tensor]:
    def rand(n: int, low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low

    return rand


def _pick(negatives: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return negatives[torch.randint(len(negatives), (n,), generator=generator)].float() / 255


def _similarity(scale: Tensor, turn: Tensor, shift: Tensor) -> Tensor:
    """N x 2 x 3 from window to face crop, both in -1..1 coordinates."""
    cos, sin = scale * turn.cos(), scale * turn.sin()
    return torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).unflatten(1, (2, 3))


def _placement(n: int, generator: torch.Generator, jitter: Jitter | None = None) -> Tensor:
    """Random placements: within `jitter`, or half FAR and half NEAR."""
    near = torch.rand(n, generator=generator) < 0.5
    reach = [
        torch.where(near, getattr(NEAR, name), getattr(FAR, name))
        if jitter is None
        else torch.full((n,), getattr(jitter, name))
        for name in ("shift", "scale", "turn")
    ]
    draw = torch.rand(n, 4, generator=generator) * 2 - 1
    return _similarity(
        (draw[:, 0] * reach[1]).exp(),
        draw[:, 1] * reach[2] * (math.pi / 180),
        draw[:, 2:] * reach[0][:, None] * 2,
    )


def _misplacement(n: int, generator: torch.Generator) -> Tensor:
    """Random placements that no longer show an upright face in the middle of the window."""
    kind = torch.randint(4, (n,), generator=generator)
    draw = torch.rand(n, 4, generator=generator)
    sign = torch.where(draw[:, 3] < 0.5, -1.0, 1.0)
    side = torch.stack([draw[:, 1] * 2 - 1, draw[:, 2] * 2 - 1], 1)
    far = F.normalize(side, dim=1) * (0.9 + 0.7 * draw[:, :1])
    scale = torch.where(kind == 0, 0.45 - 0.2 * draw[:, 0], 1.0)  # a part of a face, enlarged
    scale = torch.where(
        kind == 1, 2.2 + 1.3 * draw[:, 0], scale
    )  # a small face with much around it
    turn = torch.where(
        kind == 2, sign * (80 + 100 * draw[:, 0]) * (math.pi / 180), 0.4 * (draw[:, 0] - 0.5)
    )
    shift = torch.where((kind == 3)[:, None], far, side * 0.3)
    return _similarity(scale, turn, shift)


def _sample(x: Tensor, matrix: Tensor, times: int = 2) -> Tensor:
    """N x C x 64 x 64 of N x C x 128 x 128 under `matrix`, supersampled `times` a side."""
    grid = F.affine_grid(matrix, [len(x), 1, times * SIZE, times * SIZE], align_corners=False)
    seen = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(seen, times)


def _inside(matrix: Tensor) -> Tensor:
    """N x 1 x 64 x 64: 1 where a window shows the crop, 0 beyond, a pixel of slope between."""
    grid = F.affine_grid(matrix, [len(matrix), 1, SIZE, SIZE], align_corners=False)
    return ((1 - grid.abs().amax(-1)) * (SIZE / 2) + 0.5).clamp(0, 1)[:, None]


def _shape(n: int, generator: torch.Generator) -> Tensor:
    """N x 1 x 128 x 128 in 0..1: what is cut out of the crop, from an oval head to the square."""
    rand = _uniform(generator)
    axis = torch.linspace(-1, 1, SIDE)
    power = rand(n, 1.6, 8)
    width, height = rand(n, 0.72, 1.05), rand(n, 0.9, 1.1)
    radius = (axis.abs() / width) ** power + (axis[:, None].abs() / height) ** power
    return ((1 - radius) * rand(n, 3, 12)).clamp(0, 1)


def _points(matrix: Tensor, flip: Tensor) -> Tensor:
    """N x 5 x 2 window pixels of the template's points seen through `matrix`."""
    five = torch.from_numpy(template(SIDE)).float().expand(len(matrix), 5, 2)
    turned = five[:, MIRRORED] * torch.tensor([-1.0, 1]) + torch.tensor([SIDE - 1.0, 0])
    five = torch.where(flip[:, None, None], turned, five)
    unit = (five + 0.5) * (2 / SIDE) - 1
    back = torch.linalg.solve(matrix[:, :, :2], (unit - matrix[:, None, :, 2]).mT).mT
    return (back + 1) * (SIZE / 2) - 0.5


def _light(x: Tensor, generator: torch.Generator) -> Tensor:
    """Side light, gamma, contrast, blur, low resolution, a covered patch and noise."""
    n, rand = len(x), _uniform(generator)
    axis = torch.linspace(-1, 1, SIZE)
    slope = rand(n, -0.45, 0.45) * axis + rand(n, -0.3, 0.3) * axis[:, None]
    x = (x.clamp(1e-3, 1) ** rand(n, -0.6, 0.6).exp() * (1 + slope)).clamp(0, 1)
    coarse = F.interpolate(
        F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False
    )
    x = torch.lerp(x, coarse, (rand(n, -1, 1)).clamp(min=0))
    x = x * rand(n, 0.35, 1.1) + rand(n, -0.1, 0.4)
    at, reach = rand(n, -1, 1), rand(n, 0.05, 0.3)
    down = rand(n, -1, 1)
    covered = ((axis - at).abs() < reach) & ((axis[:, None] - down).abs() < reach)
    covered &= rand(n, 0, 1) < 0.25
    x = torch.where(covered, rand(n, 0, 1), x)
    return (x + rand(n, 0, 0.2) ** 2 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
