"""Layers around the face: background, hair, neck, collar, ears and glasses.

`c` is the canvas, `s` the face shape and `light` the lighting (ganmut.rendering.shading); images
are B x 3 x H x W in linear light.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.rendering import geometry
from ganmut.rendering.primitives import blend, bump, hash_noise, ridge, sample_texture, srgb, step


def _strands(c: SimpleNamespace, s: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Noise along hair (B x H x W, -1..1) and the distance from the parting, px."""
    # Hair falls in rays from a point above the head, so polar coordinates follow it.
    # The clamp keeps atan2 away from the point itself, where the angle has no direction.
    dy = (c.y + 104).clamp(min=10)
    dx = c.x - s.hair_part
    far = (dx.square() + dy.square()).sqrt()
    # Straight hair has no wave; curls are wider as well as stronger.
    wave = s.hair_curl * (
        0.05 * torch.sin(far / (7 + 5 * s.hair_curl) + 2.5 * c.cloud) + 0.05 * c.cloud
    )
    angle = torch.atan2(dx, dy) + wave
    fine = sample_texture(c.texture, angle * 1.9, far / 700)[:, 0]
    wide = sample_texture(c.texture, angle * 0.55, far / 900 + 0.3)[:, 0]
    return 0.55 * fine + 0.6 * wide, far


def _hair_light(
    c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace, strand: Tensor, far: Tensor
) -> Tensor:
    """Colour of lit hair, B x 3 x H x W."""
    kx, ky, kz = light.key
    # The hair is lit like a sphere around the head.
    nx, ny = (c.x / 58).clamp(-1, 1), ((c.y + 34) / 62).clamp(-1, 1)
    # The clamp keeps the root real beyond the sphere's edge.
    nz = (1 - 0.8 * (nx.square() + ny.square())).clamp(min=0.1).sqrt()
    lamp = (0.25 + nx * kx + ny * ky + nz * kz).clamp(
        min=0.05
    ) * 1.1 * light.power + light.ambient * 1.1
    # Hair reflects in a band across the strands.
    band = (
        ridge(far - 50 - 5 * strand, 9) * (0.35 + 0.65 * strand.clamp(min=0))
        + 0.25 * strand.clamp(min=0) ** 2
    )
    tone = c.hair * (lamp * (0.72 + 0.42 * strand))[:, None].clamp(min=0.02)
    return tone + ((0.05 + 0.25 * c.hair.mean(1)) * band * lamp)[:, None] * (0.6 + c.hair)


def paint_background(c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace) -> Tensor:
    """The layers behind the face: plain background, hair behind the head, neck, collar, ears."""
    p = c.lights[:, :, None, None]
    turn, grey = p[:, 8], p[:, 6]
    ramp = (c.sx * turn.cos() + c.sy * turn.sin()) / 64
    level = (grey**2.0) * (1 + 0.3 * ramp) + 0.01
    blotch = F.interpolate(
        hash_noise(c.seed, 11, 5, 5)[:, None], size=(c.side, c.side), mode="bicubic"
    )[:, 0]
    tint = torch.cat([1 + 0.05 * p[:, 7], 1 + 0 * p[:, 7], 1 - 0.05 * p[:, 7]], 1)[..., None]
    image = (level * (1 + 0.14 * blotch))[:, None] * tint
    c.strand, c.far = _strands(c, s)
    c.hair_lit = _hair_light(c, s, light, c.strand, c.far)
    # The head's hair is a superellipse: 0.4 is 1 / 2.5. Only hair that leaves the crop (90 > 64)
    # widens downwards.
    reach = s.head_w + s.hair_side * (1 - 0.75 * s.bald) + 1.2 * c.strand * (0.5 + s.hair_curl)
    above = ((s.mid - c.y) / (s.crown + s.hair_side)).clamp(min=0)
    wide = reach * (1 - above.clamp(max=1) ** 2.5).clamp(min=0) ** 0.4
    back = step(wide + 0.05 * (c.y + 8).clamp(min=0) * (s.hair_end > 90) - c.ax, 1.0) * step(
        s.hair_end + 8 - c.y + 5 * c.strand, 4
    )
    c.wide = wide
    image = blend(image, c.hair_lit * 0.5, back)
    image = _neck(c, s, light, image)
    return _ears(c, s, light, image)


def _neck(c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace, image: Tensor) -> Tensor:
    r = c.mouth_rows
    ax, y, x = c.ax[:, r], c.y[:, r], c.x[:, r]
    neck = step(33 + 2.5 * s.sex + 0.004 * (y - 40).clamp(min=0) ** 2 - ax, 0.8) * step(y - 20, 3)
    kx = light.key[0]
    shade = (0.5 + 0.35 * kx * x / 36 - 0.3 * ridge(ax - 33, 9)).clamp(
        0.12, 1
    ) * light.power + 0.3 * light.ambient
    # The jaw casts a shadow on the neck.
    drop = geometry.outline(s, y)
    shade = shade * (0.42 + 0.58 * step(ax - drop - 6, 8))
    part = blend(image[..., r, :], c.skin * (shade * (1 + 0.05 * c.cloud[:, r]))[:, None], neck)
    level = 0.02 + 0.5 * s.shirt**2
    colour = torch.cat([level * (0.9 + 0.1 * s.undertone.sign()), level, level * 1.08], 1)[
        ..., None
    ]
    cloth = step(y - 61 + 0.22 * (ax - 26) + 0.5 * c.pore[:, r], 1.0)
    image[..., r, :] = blend(
        part, colour * (0.75 + 0.15 * c.white[:, r] + 0.2 * kx * x / 64)[:, None], cloth
    )
    return image


def _ears(c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace, image: Tensor) -> Tensor:
    r = c.ear_rows
    ax, y, x = c.ax[:, r], c.y[:, r], c.x[:, r]
    cx, cy = s.head_w + 1.6 + 0.11 * (4 - y), s.eye_y + 14.5
    dx, dy = (ax - cx) / 5.4, (y - cy) / 13.5
    # Narrower towards the lobe.
    q = (dx.square() * (1 + 0.4 * dy).clamp(min=0.4) + dy.square()).clamp(min=1e-6).sqrt()
    ear = step((1 - q) * 6, 0.6) * (s.hair_end < 60).float()  # long hair hides them
    bowl = bump(dx, dy, -0.1, 0.05, 0.34, 0.42)
    fold = ridge(q - 0.66, 0.12) * step(0.55 - dy, 0.3)
    rim = ridge(q - 0.88, 0.12) - 0.5 * ridge(q - 1.05, 0.12)
    sided = 0.6 + 0.45 * light.key[0] * x.sign() + 0.12 * rim
    shade = (sided.clamp(min=0.12) * light.power * 1.3 + 0.4 * light.ambient) * (
        1 - 0.6 * bowl - 0.38 * fold
    )
    # The head shades the ear where they meet.
    shade = shade * (1 - 0.35 * step(s.head_w + 1.5 - ax, 2.5))
    # Light shines through the thin skin of an ear and comes out red.
    red = srgb(250, 212, 204, device=c.device) * 1.05
    image[..., r, :] = blend(image[..., r, :], c.skin * red * shade.clamp(min=0.06)[:, None], ear)
    return image


def paint_front_hair(
    c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace, image: Tensor
) -> Tensor:
    """The image with hair over the forehead and beside the face, and its shadow on the skin."""
    ax, y = c.ax, c.y
    base = -6.0
    line = s.hair_line + s.fringe - 0.3 * s.fringe * ridge(c.x - s.hair_part * 0.8, 9)
    # 90 px move the line of a bald head out of the crop.
    line = line - s.hair_peak * ridge(ax - 24, 9) * (1 - (s.fringe > 0).float()) - 90 * s.bald
    up = ((base - y) / (base - line)).clamp(min=0)
    hang = s.hair_end > 20
    side = s.hair_open + 2.5 * s.bald - 1.0 * hang + 0.05 * (y - base).clamp(min=0)
    # A superellipse joins the hairline and the sides without a corner.
    d = (((ax / side) ** 5 + up**5) ** 0.2 - 1) * (base - line).clamp(max=48)
    rough = (1.2 + 0.12 * s.fringe + 0.8 * s.hair_curl) * c.strand
    inside = step(c.wide - ax, 1.2)
    end = step(s.hair_end - y + 3 * c.strand, 2.2 + 1.5 * (1 - hang.float()))
    alpha = step(d + rough - 0.8, 1.5) * end * inside
    thin = 1 - 0.45 * s.bald
    shadow = step(d + 3.5 + rough, 4.0) * end * inside
    image = image * (1 - 0.42 * shadow * (1 - s.bald) * (1 - alpha))[:, None]
    cover = (0.55 + 0.45 * step(d - 3, 4)) * thin * (1 + 0.25 * c.strand)
    return blend(image, c.hair_lit, (alpha * cover.clamp(0, 1) ** 0.35))


def paint_glasses(
    c: SimpleNamespace, s: SimpleNamespace, light: SimpleNamespace, image: Tensor
) -> Tensor:
    if not bool((s.glasses > 0).any()):
        return image
    r = c.eye_rows
    whole, image = image, image[..., r, :]
    ax, y, x = c.ax[:, r], c.y[:, r], c.x[:, r]
    dx, dy = (ax - s.eye_x - 0.2) / s.glass_w, (y - s.eye_y - 1.5) / 10.2
    q = (dx.abs() ** s.glass_round + dy.abs() ** s.glass_round).clamp(min=1e-6) ** (
        1 / s.glass_round
    )
    # q = 1 is the outline of a lens, from round to square by glass_round.
    rim = step(0.75 - ((q - 1) * 11).abs(), 0.45)
    bridge = step(0.8 - (y - s.eye_y + 1.5 - 0.03 * ax.square()).abs(), 0.5) * step(
        s.eye_x - s.glass_w - ax + 0.3, 0.6
    )
    arm = (
        step(0.9 - (y - s.eye_y + 3).abs(), 0.5)
        * step(ax - s.eye_x - s.glass_w, 0.6)
        * step(s.head_w + 1 - ax, 1)
    )
    frame = torch.maximum(torch.maximum(rim, bridge), arm) * s.glasses
    lens = step((1 - q) * 10, 0.6) * s.glasses
    shade = step(1.6 - ((q - 1) * 11 - 1.2 + 0.8 * dy).abs(), 1.4) * s.glasses
    image = image * (1 - 0.22 * shade)[:, None]
    glint = lens * (0.02 + 0.05 * ridge(dx * x.sign() + dy * 0.7 + 0.45, 0.16))
    image = image * (1 - 0.05 * lens)[:, None] + (glint * light.power)[:, None]
    colour = srgb(26, 22, 22, device=c.device) + (
        srgb(150, 120, 80, device=c.device) * (s.shirt > 0.6)[..., None]
    )
    colour = colour * ((0.6 + 0.5 * light.power) * (1 - 0.5 * dy.clamp(-1, 1)))[:, None]
    whole[..., r, :] = blend(image, colour, frame * 0.95)
    return whole
