"""Drawing primitives: bumps, ridges, steps, alpha blending, colours, and device-independent noise.

Maps are float tensors B x H x W; distances are px of the 128-px crop; colours are linear light.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Scalar = float | Tensor
Device = str | torch.device
Colours = Sequence[tuple[int, int, int]]


def bell(t: Tensor) -> Tensor:
    """An approximation of exp(-t), t >= 0, exactly 0 from 4.5 on; five times as fast as exp.

    Overwrites t.
    """
    return t.mul_(-1 / 4.5).add_(1).clamp_(min=0).square_().square_()


def bump(x: Tensor, y: Tensor, cx: Scalar, cy: Scalar, sx: Scalar, sy: Scalar) -> Tensor:
    """1 at (cx, cy), falling off like a Gaussian over (sx, sy) px."""
    return bell(((x - cx) / sx).square_() + ((y - cy) / sy).square_())


def ridge(d: Tensor, s: Scalar) -> Tensor:
    """1 where d is 0, falling off like a Gaussian over s px."""
    return bell((d / s).square_())


def step(d: Tensor, width: float = 0.5) -> Tensor:
    """Soft step: 0 below -width, 1 above width (px)."""
    t = (d / (2 * width)).add_(0.5).clamp_(0, 1)
    return (3 - 2 * t).mul_(t).mul_(t)


def blend(below: Tensor, above: Tensor, alpha: Tensor) -> Tensor:
    """`above` (B x 3 x H x W or B x 3 x 1 x 1) blended over `below` with alpha B x H x W."""
    return (above - below).mul_(alpha[:, None]).add_(below)


def srgb(*rgb: float, device: Device = "cpu") -> Tensor:
    """The linear light of an sRGB colour 0..255 (gamma 2.2), 1 x 3 x 1 x 1."""
    return (torch.tensor(rgb, device=device).view(1, 3, 1, 1) / 255) ** 2.2


def color_ramp(colours: Colours, t: Tensor) -> Tensor:
    """Colour at t (B x 1 x 1, 0..1) along a list of sRGB colours; linear light, B x 3 x 1 x 1."""
    table = (torch.tensor(colours, dtype=torch.float32, device=t.device) / 255) ** 2.2
    at = t.flatten().clamp(0, 1) * (len(colours) - 1)
    low = at.floor().long().clamp(max=len(colours) - 2)
    part = (at - low)[:, None]
    return (table[low] * (1 - part) + table[low + 1] * part)[:, :, None, None]


def hash_noise(seed: Tensor, channel: int, height: int, width: int) -> Tensor:
    """Noise B x height x width, uniform in [-1, 1), from a hash of (seed, channel, position).

    Integer arithmetic gives the same numbers on every device, which torch's generators do not.
    """
    mask = 0xFFFFFFFF
    x = torch.arange(height * width, device=seed.device).view(1, height, width) * 0x1E3779B1
    x = (x + (seed[:, None, None] + channel * 0x3C6EF35F) * 0x5EBCA77) & mask
    for shift, factor in ((16, 0x45D9F3B), (15, 0x2C1B3C6D), (16, 0x297A2D39)):
        x = ((x ^ (x >> shift)) * factor) & mask
    return (x ^ (x >> 15)).to(torch.float32) * (2.0 / 2**32) - 1


def upsample(x: Tensor, side: int) -> Tensor:
    """B x C x side x side, bicubic."""
    return F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)


def blur(x: Tensor, k: int) -> Tensor:
    """Box blur twice (k odd), edges repeated, B x H x W."""
    pad = k // 2
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x[:, None], (pad,) * 4, mode="replicate"), k, 1)[:, 0]
    return x


def sample_texture(texture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values of a texture B x C x h x w at coordinates in [-1, 1]; mirrored outside."""
    return F.grid_sample(
        texture,
        torch.stack([x, y], -1),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
