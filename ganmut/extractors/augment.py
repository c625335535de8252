"""Faces varied while an extractor learns, so that it tolerates what cameras and editors do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def augment(x: Tensor, generator: torch.Generator) -> Tensor:
    """N x 3 x S x S in [-1, 1] -> the faces as another camera or an editor might give them.

    Mirrored, moved (6 %), scaled (8 %), turned (6 degrees); light, contrast and tint changed;
    half of them softened; a little noise. The generator lives on the device of x.
    """
    x = _moved(x, generator)
    n = len(x)
    x = x * _uniform(generator, 0.8, 1.2, n, 1, 1, 1) + _uniform(generator, -0.2, 0.2, n, 1, 1, 1)
    x = x + _uniform(generator, -0.06, 0.06, n, 3, 1, 1)
    # Softened by mixing with a 5 x 5 average of itself: a small generator's faces are soft.
    soft = _uniform(generator, -0.8, 0.8, n, 1, 1, 1).clamp(min=0)
    x = torch.lerp(x, F.avg_pool2d(x, 5, 1, 2, count_include_pad=False), soft)
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return (x + noise * _uniform(generator, 0, 0.05, n, 1, 1, 1)).clamp(-1, 1)


def _moved(x: Tensor, generator: torch.Generator) -> Tensor:
    n = len(x)
    mirror = _uniform(generator, -1, 1, n).sign()
    angle, scale = _uniform(generator, -0.105, 0.105, n), _uniform(generator, 0.92, 1.08, n)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = _uniform(generator, -0.12, 0.12, n, 2)  # the side is 2 long here
    rows = [cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]]
    where = F.affine_grid(torch.stack(rows, 1).reshape(n, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, where, padding_mode="border", align_corners=False)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, device=generator.device) * (high - low) + low
