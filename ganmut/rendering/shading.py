"""Images of `FaceParameters`: a shaded height field with colour layers, in batched PyTorch.

Broad shapes are evaluated on a grid of the image's size and upsampled; sharp ones (lids, lips,
folds, hair) on a grid of twice that size, which is averaged at the end. Colours are linear light
until the camera model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.device import one_thread, use_one_thread
from ganmut.images import luma
from ganmut.rendering import facial_features, geometry, mouth, surroundings
from ganmut.rendering.primitives import (
    Device,
    blend,
    blur,
    bump,
    hash_noise,
    ridge,
    sample_texture,
    step,
    upsample,
)

if TYPE_CHECKING:
    from ganmut.rendering.sampler import FaceParameters

Vector = Sequence[Tensor]  # x, y and z

CHUNK = 2**24  # supersampled pixels per pass on an accelerator: about 6 GB of maps


def render(parameters: FaceParameters, size: int = 128, device: Device = "cpu") -> Tensor:
    """uint8 N x 3 x size x size, RGB, on `device`. On the CPU the bytes do not depend on what else
    is in the batch. Raises ValueError for a size below 16.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 px, got {size}")
    if torch.device(device).type != "cpu":
        step = max(1, CHUNK // (2 * size) ** 2)
        rows = [
            _render_batch(parameters.select(slice(i, i + step)), size, device)
            for i in range(0, len(parameters), step)
        ]
        return torch.cat(rows)
    # One face per call: vectorised kernels may round differently in another batch shape. Threads
    # run over faces.
    pool = ThreadPoolExecutor(os.cpu_count(), initializer=use_one_thread)
    with one_thread(), torch.inference_mode(), pool:
        rows = list(
            pool.map(
                lambda i: _render_batch(parameters.select(slice(i, i + 1)), size, "cpu"),
                range(len(parameters)),
            )
        )
    return torch.cat(rows)


@torch.no_grad()
def _render_batch(parameters: FaceParameters, size: int, device: Device) -> Tensor:
    s = geometry.face_shape(parameters, device)
    c = _canvas(s, parameters, size, device)
    facial_features.paint_skin(c, s)
    facial_features.paint_folds(c, s)
    facial_features.paint_eyes(c, s)
    mouth.paint_mouth(c, s)
    facial_features.paint_brows(c, s)
    facial_features.paint_beard(c, s)
    light = _lighting(c, s)
    image = surroundings.paint_background(c, s, light)
    image = blend(image, light.shaded, c.face)
    image = surroundings.paint_front_hair(c, s, light, image)
    image = surroundings.paint_glasses(c, s, light, image)
    return _camera(c, image)


def _canvas(
    s: SimpleNamespace, parameters: FaceParameters, size: int, device: Device
) -> SimpleNamespace:
    """Coordinates, textures and the broad height field."""
    side, c = 2 * size, SimpleNamespace(size=size)
    c.side, c.px = side, 128 / side
    c.lights, c.cam, c.gaze = (
        parameters.lights.to(device),
        parameters.camera.to(device),
        parameters.gaze.to(device),
    )
    c.seed, c.person = parameters.seed.to(device), parameters.person.to(device)
    grid = (torch.arange(size, device=device) + 0.5) * (128 / size) - 64
    px, py = grid.view(1, 1, -1).expand(1, size, size), grid.view(1, -1, 1).expand(1, size, size)
    x, y = geometry.unproject(s, px, py)
    x, y = (
        x.expand(len(parameters), -1, -1).contiguous(),
        y.expand(len(parameters), -1, -1).contiguous(),
    )
    z = _broad(s, x, y)
    fine = upsample(torch.stack([x, y, z], 1), side)
    c.x, c.y, c.z = (fine[:, i].contiguous() for i in range(3))
    c.ax = c.x.abs()
    c.device = device
    grid = (torch.arange(side, device=device) + 0.5) * (128 / side) - 64
    c.sx, c.sy = grid.view(1, 1, -1), grid.view(1, -1, 1)
    c.texture = _texture(c.person)
    look = sample_texture(c.texture, c.x / 72, c.y / 72)
    c.white, c.cloud, c.pore = look[:, 0], look[:, 1], look[:, 2]
    c.exposure = (0.62 + 0.36 * s.tone)[..., None]  # a photographer meters on the face
    c.gloss = 0.17 - 0.07 * s.tone + 0 * c.x
    c.wet = 0 * c.x  # light added after shading: catchlights and wet lips
    rows = lambda a, b: slice(int(side * a), int(side * b))  # noqa: E731
    c.eye_rows, c.mouth_rows, c.brow_rows = rows(0.24, 0.6), rows(0.58, 1), rows(0.08, 0.5)
    c.top_rows, c.low_rows, c.ear_rows = rows(0, 0.52), rows(0.48, 1), rows(0.3, 0.8)
    return c


def _texture(person: Tensor) -> Tensor:
    """Noise of one person, B x 3 x 192 x 192: fine white, cloudy (several octaves), pores."""
    octave = lambda ch, n: upsample(hash_noise(person, ch, n, n)[:, None], 192)  # noqa: E731
    cloud = octave(1, 6) * 0.8 + octave(2, 14) * 0.5 + octave(3, 34) * 0.35
    pore = octave(4, 72) * 0.6 + hash_noise(person, 5, 192, 192)[:, None] * 0.4
    return torch.cat([hash_noise(person, 6, 192, 192)[:, None], cloud, pore], 1)


def _broad(s: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Height of skull, jaw, cheeks, nose and muzzle, px."""
    ax, u = x.abs(), s.u
    width = geometry.outline(s, y) + 2.5
    across = (1 - (ax / width).clamp(max=1) ** 2.3 + 0.002).sqrt()
    low = ((y - s.mid) / (s.chin - s.mid)).clamp(0, 1) ** 7
    high = ((s.mid - y) / s.crown).clamp(0, 1) ** 2.4
    ax = (x.square() + 5).sqrt()  # pairs of bumps blend over the middle without a crease
    z = geometry.DEPTH * across * (1 - low - high + 0.002).clamp(min=0.002).sqrt()
    smile = torch.maximum(u[12], 0.7 * u[6])
    sneer = torch.maximum(u[10], u[9])
    drop = 9.5 * u[26]
    brow_y = s.brow_y + s.brow_4 * 0.5 + (s.brow_1 + s.brow_2) * 0.35
    for cx, cy, sx, sy, h in (
        (17, brow_y + 2.5, 15, 5.5, 2.0 + 0.9 * s.sex),  # brow ridge
        (7, brow_y + 3, 5.5, 5, 0.8 * s.sex + 1.2 * u[4]),  # corrugator
        (19, s.eye_y - 2.5, 11, 7, -5.4),  # socket
        (10.2, s.eye_y - 1.5, 5.4, 6.5, -4.4),  # inner corner
        (s.eye_x + 1, s.eye_y + 0.5, 9.2, 6.6, 3.4),  # eyeball
        (s.eye_x - 1, s.eye_y + 8.2, 9, 2.8, 0.7 * s.bags + 1.4 * u[6] + 0.5 * u[7]),
        (s.eye_x - 3, s.eye_y + 12.5, 8.5, 3.2, -0.9 * s.bags - 0.9 * u[6]),
        (29, 4.0 - 2.5 * u[6], 10, 8, 3.6 * s.cheek + 0.8 * smile),  # cheekbone
        (23.5, 12.5 - 3.5 * smile, 8.5, 8, 0.5 * s.cheek + 4.0 * smile + 1.4 * sneer),  # cheek mass
        (31, 27, 9, 13, -3.6 * s.cheek + 1.5 * smile),
        (41, -30, 8, 12, -3.0),  # temple
        (15, -42, 14, 10, 1.6),  # hollow below it
        (0, 31 + 0.4 * drop, 17, 13, 5.0),  # muzzle
        (0, 46.0 + 0.75 * drop, 11, 4, -2.6 - 0.8 * u[17]),  # below the lower lip
        (0, s.chin - 7.0, 9.5, 7.5, 5.2 * s.chin_size + 1.2 * u[17]),  # chin
        (s.mouth_x + 5, s.mouth_y + s.corner + 2, 5, 6, 1.4 * u[12] + 1.0 * u[15] + 0.8 * u[14]),
        (s.mouth_x + 1.5, s.mouth_y + s.corner, 2.6, 3.4, -1.6 - 1.6 * u[14] - 1.0 * u[12]),
    ):
        z = z + h * bump(ax, y, cx, cy, sx, sy)
    return z + _nose(s, ax, y)


def _nose(s: SimpleNamespace, ax: Tensor, y: Tensor) -> Tensor:
    tip = 11 + s.nose_len
    rise = ((y - s.eye_y + 9) / (tip - s.eye_y + 9)).clamp(0, 1)
    under = torch.sigmoid((tip + 3.4 - y) / 1.7)
    bone = s.nose_high * (0.22 + 0.78 * rise**1.4) * step(y - s.eye_y + 11, 9) * under
    width = 6.6 + 1.2 * rise - 1.8 * ridge(rise - 0.4, 0.35)
    z = bone * torch.exp(-((ax / width).square()))
    z = z + (3.4 + 0.5 * s.nose_tip) * bump(ax, y, 0, tip, 5.2, 4.6)
    z = z + 7.0 * bump(ax, y, s.wing_x - 2.5, s.wing_y + 0.4, 3.7, 4.3)
    z = z - 2.2 * bump(ax, y, s.wing_x + 2.6, s.wing_y + 1.5, 2.0, 5.0)
    return z - 0.9 * bump(ax, y, 0, s.wing_y + 9.5, 1.9, 4.5)  # philtrum


def _lighting(c: SimpleNamespace, s: SimpleNamespace) -> SimpleNamespace:
    """Key light (direction, power), ambient, and the shaded face, B x 3 x H x W."""
    p = c.lights[:, :, None, None]
    key = _direction(p[:, 0], p[:, 1])
    view = (c.z * s.yaw.cos() - c.x * s.yaw.sin()) * s.pitch.cos() + c.y * s.pitch.sin()
    normal = _normals(view, c.px)
    lit, clear = _occlusion(c, view, key)
    lamp = _lamp(p, normal, key, lit, clear)
    half = [(a + b) for a, b in zip(key, (0, 0, 1), strict=True)]
    norm = (half[0].square() + half[1].square() + half[2].square()).rsqrt()
    shine = (_dot(normal, half) * norm).clamp(min=0) ** 18 * c.gloss * lit * p[:, 2]
    # Mouth and eyes get less of the shape's shading: light also comes in from the front.
    inside, eye = c.opening[:, None], c.eye[:, None]
    lamp = lamp * (1 - inside) + inside * 0.85 * lamp.mean((2, 3), keepdim=True)
    lamp = lamp * (1 - 0.45 * eye) + 0.45 * eye * lamp.mean((2, 3), keepdim=True) * 1.2
    shaded = c.albedo * lamp * (0.5 + 0.5 * clear)[:, None]
    shaded = shaded + (shine * clear + 0.9 * c.wet)[:, None]
    return SimpleNamespace(key=key, ambient=p[:, 5], shaded=shaded, power=p[:, 2])


def _normals(view: Tensor, px: float) -> tuple[Tensor, Tensor, Tensor]:
    pad = F.pad(view[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    gx = (pad[:, 1:-1, 2:] - pad[:, 1:-1, :-2]) / (2 * px)
    gy = (pad[:, 2:, 1:-1] - pad[:, :-2, 1:-1]) / (2 * px)
    inv = (gx.square() + gy.square() + 1).rsqrt()
    return -gx * inv, -gy * inv, inv


def _dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _occlusion(c: SimpleNamespace, view: Tensor, key: Vector) -> tuple[Tensor, Tensor]:
    """How much of the key light and of the ambient light arrives, about 0..1: shadows, hollows."""
    coarse = F.avg_pool2d(view[:, None], 2)[:, 0]
    hollow = (blur(coarse, 2 * round(c.size / 32) + 1) - coarse).clamp(-2, 6) * 0.07
    hollow = hollow + (blur(coarse, 2 * round(c.size / 96) + 1) - coarse).clamp(-1, 3) * 0.16
    maps = torch.stack([_cast_shadow(c, coarse, key), hollow], 1)
    maps = F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    return 1 - 0.8 * maps[:, 0], 1 - maps[:, 1].clamp(-0.08, 0.65)


def _lamp(p: Tensor, normal: Vector, key: Vector, lit: Tensor, clear: Tensor) -> Tensor:
    """Light that arrives on the skin: key, fill and ambient, B x 3 x H x W."""
    warm = p[:, 3]
    tint = torch.cat([1 + 0.05 * warm, 1 + 0 * warm, 1 - 0.08 * warm], 1)[..., None]
    colour = tint * p[:, 2, None] * 2.2
    fill = _direction(-p[:, 0].sign() * 42, p[:, 1] * 0.3 + 6)
    dot = _dot(normal, key)
    side = _dot(normal, fill).clamp(min=0) * p[:, 4] * 1.2
    ambient = p[:, 5] * (0.85 - 0.35 * normal[1]) * clear
    channels = []
    for i, wrap in enumerate((0.34, 0.2, 0.15)):  # light bleeds through skin, red the furthest
        diffuse = ((dot + wrap) / (1 + wrap)).clamp(min=0) * (lit + (1 - lit) * wrap * 0.35)
        channels.append(colour[:, i] * diffuse + (side + ambient) * (0.97, 0.98, 1.05)[i])
    return torch.stack(channels, 1)


def _direction(azimuth: Tensor, height: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, h = torch.deg2rad(azimuth), torch.deg2rad(height)
    return a.sin() * h.cos(), -h.sin(), a.cos() * h.cos()


def _cast_shadow(c: SimpleNamespace, z: Tensor, key: Vector) -> Tensor:
    """0..1 where the height field stands between a point and the key light; marched over twelve
    steps.
    """
    flat = (key[0].square() + key[1].square()).sqrt().clamp(min=0.05)
    ux, uy, slope = key[0] / flat, key[1] / flat, key[2] / flat
    g = (torch.arange(c.size, device=z.device) + 0.5) * (2 / c.size) - 1
    gx, gy = g.view(1, 1, -1).expand_as(z), g.view(1, -1, 1).expand_as(z)
    worst = torch.zeros_like(z)
    for k in range(1, 11):
        far = 0.6 + 1.05 * k + 0.09 * k * k  # px of the 128-px crop
        at = torch.stack([gx + ux * far / 64, gy + uy * far / 64], -1)
        there = F.grid_sample(z[:, None], at, padding_mode="border", align_corners=False)[:, 0]
        worst = torch.maximum(worst, (there - z - slope * far) / (1.2 + 0.25 * far))
    return blur(step(worst - 0.5, 0.5), 3)


def _camera(c: SimpleNamespace, image: Tensor) -> Tensor:
    """Average down, expose, blur, thin out the colour, add noise, round."""
    cam = c.cam[:, :, None, None, None]
    image = F.avg_pool2d(image, 2) * (1 + cam[:, 5]) * c.exposure
    image = 1 - torch.exp(-1.18 * image.clamp(min=0))  # highlights roll off like film
    image = image.clamp(1e-5, 1) ** (1 / 2.2)
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + (soft - image) * cam[:, 3]
    grey = luma(image)
    colour = F.avg_pool2d(image - grey, 2)
    colour = F.interpolate(colour, size=(c.size, c.size), mode="bilinear", align_corners=False)
    image = image + (grey + colour - image) * cam[:, 6]
    n = c.size
    grain = torch.stack(
        [hash_noise(c.seed, 21 + k, n, n) + hash_noise(c.seed, 25 + k, n, n) for k in range(3)], 1
    )
    grain = 0.75 * grain.mean(1, True) * 1.7 + 0.4 * grain
    image = image + cam[:, 4] * grain
    return (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)
