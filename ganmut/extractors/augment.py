"""Augmentation of the training faces of extractors, for robustness to cameras and editors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """Randomly augmented faces, N x 3 x S x S in [-1, 1].

    Half are mirrored; shift up to 6 % of the side, scale up to 8 %, rotation up to 6 degrees;
    brightness, contrast and tint; half are blurred; noise. The generator is on the device of x.
    """
    x = _transform(x, generator)
    n = len(x)
    # Judges must not read an editor's exposure or tint as expression.
    x = x * _uniform(generator, 0.8, 1.2, n, 1, 1, 1) + _uniform(generator, -0.2, 0.2, n, 1, 1, 1)
    x = x + _uniform(generator, -0.06, 0.06, n, 3, 1, 1)
    # Blur by mixing with a 5 x 5 average: the faces of a small generator are soft.
    blur = _uniform(generator, -0.8, 0.8, n, 1, 1, 1).clamp(min=0)
    x = torch.lerp(x, F.avg_pool2d(x, 5, 1, 2, count_include_pad=False), blur)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return (x + noise * _uniform(generator, 0, 0.05, n, 1, 1, 1)).clamp(-1, 1)


def _transform(x: Tensor, generator: torch.Generator) -> Tensor:
    """x mirrored, rotated, scaled and shifted at random."""
    n = len(x)
    # The mirror is a sign in the matrix: one resampling for all motions.
    mirror = _uniform(generator, -1, 1, n).sign()
    angle, scale = _uniform(generator, -0.105, 0.105, n), _uniform(generator, 0.92, 1.08, n)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = _uniform(generator, -0.12, 0.12, n, 2)  # affine_grid coordinates: the side is 2
    rows = [cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).reshape(n, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device) * (high - low) + low
