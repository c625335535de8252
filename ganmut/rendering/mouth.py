"""The layer of the mouth: lips, teeth, tongue. Canvas and parameters as in facial_features.py."""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.rendering import geometry
from ganmut.rendering.primitives import blend, bump, ridge, sample_texture, srgb, step


def paint_mouth(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds the lips with their creases, and the inside of the open mouth: teeth and tongue."""
    r, u = c.mouth_rows, s.u
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    curves = geometry.lips(s, x)
    top, upper, lower, bottom = curves
    v = ax / s.mouth_x
    edge = step((1 - v) * s.mouth_x, 0.5)
    crease = sample_texture(c.texture, x / 62, (y - upper) / 200)[:, 0]
    paint = _lip_colour(c, s) * (1 + 0.1 * crease)[:, None]
    on_upper = step(y - top, 0.9) * step(upper - y, 0.45) * edge
    on_lower = step(y - lower, 0.45) * step(bottom - y, 1.0) * edge
    # The upper lip faces down and is darker; a shadow lies under the lower lip.
    shadow = 0.22 * ridge(y - bottom - 1.8, 1.7) * ridge(v, 0.75)
    skin = c.albedo[..., r, :] * (1 - shadow)[:, None]
    skin = blend(skin, paint * 0.82, on_upper * 0.92)
    skin = blend(skin, paint, on_lower * 0.92)
    apart = s.gap * (1 - v)
    opening = step(y - upper, 0.4) * step(lower - y, 0.4) * edge * step(apart - 0.25, 0.3)
    skin = blend(skin, _inside(c, s, v, y, upper, lower), opening)
    seam = (
        ridge(y - upper, 0.62 + 0.25 * u[23]) * step(1.04 - v, 0.06) * (1 - step(apart - 0.8, 0.6))
    )
    dark = c.skin * srgb(120, 60, 56, device=c.device) * 0.35
    skin = blend(skin, dark, (0.85 * seam).clamp(0, 0.9))
    pit = bump(ax, y, s.mouth_x + 0.3, s.line_y + s.corner * 1.0, 1.5, 1.2)
    c.albedo[..., r, :] = skin * (1 - 0.4 * pit)[:, None]
    c.z[:, r] += _lip_relief(s, v, y, curves, on_upper, on_lower) - 1.4 * seam - 2.5 * opening
    c.z[:, r] += 0.25 * crease * (on_upper + on_lower)
    gloss = (on_lower + 0.5 * on_upper) * (0.15 + 0.3 * s.lip_stick) - 0.1 * opening
    c.gloss[:, r] += gloss
    c.opening = F.pad(opening, (0, 0, r.start, 0))


def _lip_colour(c: SimpleNamespace, s: SimpleNamespace) -> Tensor:
    colour = c.skin * srgb(206, 138, 140, device=c.device) * 1.12
    red = srgb(150, 52, 58, device=c.device)
    amount = (0.25 * s.lip_red + 0.5 * s.lip_stick) * (1 - 0.6 * s.tone)
    return colour + (red - colour) * amount[..., None]


def _lip_relief(
    s: SimpleNamespace,
    v: Tensor,
    y: Tensor,
    curves: tuple[Tensor, ...],
    on_upper: Tensor,
    on_lower: Tensor,
) -> Tensor:
    """Swell of both lips and the hollow under the lower one, px."""
    top, upper, lower, bottom = curves
    across = (y - (top + upper) / 2) / (upper - top).clamp(min=0.8)
    z = 1.3 * on_upper * (1 - across.square()).clamp(0, 1) * s.upper_lip / 4
    across = (y - (lower + bottom) / 2) / (bottom - lower).clamp(min=0.8)
    z = z + 2.3 * on_lower * (1 - across.square() * 1.6).clamp(0, 1) * s.lower_lip / 5.5
    return z - 0.8 * ridge(y - bottom - 1.6, 1.4) * ridge(v, 0.7)


def _inside(
    c: SimpleNamespace, s: SimpleNamespace, v: Tensor, y: Tensor, upper: Tensor, lower: Tensor
) -> Tensor:
    """Albedo of the open mouth, B x 3 x H x W. The upper teeth are fixed to the skull and the lower
    ones to the jaw, so their height depends on unit 26 only, not on the lips."""
    u = s.u
    x = v * s.mouth_x
    dark = srgb(58, 22, 22, device=c.device) * (0.35 + 0.5 * (1 - v.square()).clamp(0, 1))[:, None]
    tongue = srgb(168, 84, 82, device=c.device) * (0.9 - 0.3 * v.square())[:, None].clamp(0.2, 1)
    back = blend(
        dark,
        tongue,
        0.85 * step(y - (lower - 0.42 * s.gap + 4 * v.square()), 1.6) * step(s.gap - 5, 2),
    )
    white = srgb(226, 216, 200, device=c.device) * (1 - 0.35 * s.tone)[..., None]
    gaps = (
        1
        - 0.22 * ridge(torch.remainder(x + 2.0, 4.0) - 2.0, 0.45) * step(x - 0.2, 0.2)
        - 0.25 * ridge(x, 0.35)
    )
    # Towards the corners the teeth recede into the cheeks' shadow.
    shade = gaps * (1 - 0.62 * (x / (s.mouth_w + 2)).square()).clamp(0.12, 1)
    bite = s.mouth_y + 1.9 + s.corner * 0.25 * v.square() + 0.5 * torch.cos(x * 1.57).abs() * 0.5
    upper_row = step(bite - y, 0.5) * (0.45 + 0.55 * step(y - upper - 0.9, 1.2))
    lower_bite = s.mouth_y + 2.6 + 10.0 * u[26] - s.corner * 0.2
    lower_row = step(y - lower_bite, 0.5) * (0.35 + 0.3 * step(lower - y - 0.8, 1.0))
    back = blend(
        back, white * (shade * 0.62)[:, None], lower_row.clamp(0, 1) * step(s.gap - 2.2, 1)
    )
    return blend(
        back,
        white * (shade * (0.5 + 0.5 * step(y - upper - 0.6, 1.4)))[:, None],
        step(bite - y, 0.5) * upper_row.clamp(0.6, 1),
    )
