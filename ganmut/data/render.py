"""Pixels of a `Truth`: a lit height field with painted layers, in batched torch, the same on CPU and GPU.

Broad shapes are evaluated on a grid of the picture's size and enlarged; what is sharp (lids, lips, folds, hair) on a
grid of twice that, averaged down at the end. Colours are linear light until the last step.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.data import anatomy

CHUNK = 2**24  # supersampled pixels per pass on an accelerator: about 6 GB of maps
# Skin from the lightest to the darkest, sRGB 0..255: photographs under even light.
SKIN = ((238, 203, 184), (226, 184, 160), (212, 165, 134), (190, 140, 106), (160, 112, 80), (122, 81, 57), (92, 61, 45), (70, 47, 37))
HAIR = ((205, 168, 112), (168, 124, 76), (112, 76, 48), (66, 45, 32), (34, 26, 22), (22, 18, 17))
IRIS = ((66, 42, 26), (98, 68, 40), (112, 100, 60), (96, 122, 104), (94, 126, 158), (132, 158, 182))


def render(truth, size: int = 128, device: str | torch.device = "cpu") -> Tensor:
    """uint8 N x 3 x size x size, RGB, on `device`. On the CPU the bytes do not depend on what else is in the batch."""
    if size < 16:
        raise ValueError(f"size must be at least 16 px, got {size}")
    if torch.device(device).type != "cpu":
        step = max(1, CHUNK // (2 * size) ** 2)
        rows = [_picture(truth.select(slice(i, i + step)), size, device) for i in range(0, len(truth), step)]
        return torch.cat(rows)
    # One face per call: vectorised kernels may round differently in another batch shape. Threads run over faces.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(pool.map(lambda i: _picture(truth.select(slice(i, i + 1)), size, "cpu"), range(len(truth))))
    finally:
        torch.set_num_threads(threads)
    return torch.cat(rows)


@torch.no_grad()
def _picture(truth, size: int, device) -> Tensor:
    s = anatomy.shape(truth, device)
    c = _canvas(s, truth, size, device)
    _skin(c, s)
    _folds(c, s)
    _eyes(c, s)
    _mouth(c, s)
    _brows(c, s)
    _beard(c, s)
    light = _lighting(c, s)
    image = _backdrop(c, s, light)
    image = over(image, light.shaded, c.face)
    image = _front_hair(c, s, light, image)
    image = _glasses(c, s, light, image)
    return _camera(c, image)


# ---------------------------------------------------------------------------------------------------- small tools


def bump(x: Tensor, y: Tensor, cx, cy, sx, sy) -> Tensor:
    """exp(-dx^2 - dy^2): 1 at (cx, cy), falling off over (sx, sy) px."""
    return torch.exp(-((x - cx) / sx).square() - ((y - cy) / sy).square())


def ridge(d: Tensor, s) -> Tensor:
    return torch.exp(-(d / s).square())


def step(d: Tensor, width: float = 0.5) -> Tensor:
    """Soft step: 0 below -width, 1 above width (px)."""
    t = (d / (2 * width) + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def over(below: Tensor, above: Tensor, alpha: Tensor) -> Tensor:
    """`above` (B x 3 x H x W or B x 3 x 1 x 1) painted on `below` with alpha B x H x W."""
    return below + (above - below) * alpha[:, None]


def linear(*rgb: float, device="cpu") -> Tensor:
    """sRGB 0..255 to linear light, 1 x 3 x 1 x 1."""
    return (torch.tensor(rgb, device=device).view(1, 3, 1, 1) / 255) ** 2.2


def palette(colours, t: Tensor) -> Tensor:
    """Colour at t (B x 1 x 1, 0..1) along a list of sRGB colours; linear light, B x 3 x 1 x 1."""
    table = (torch.tensor(colours, dtype=torch.float32, device=t.device) / 255) ** 2.2
    at = t.flatten().clamp(0, 1) * (len(colours) - 1)
    low = at.floor().long().clamp(max=len(colours) - 2)
    part = (at - low)[:, None]
    return (table[low] * (1 - part) + table[low + 1] * part)[:, :, None, None]


def lattice(seed: Tensor, channel: int, height: int, width: int) -> Tensor:
    """Hashed noise, uniform in [-1, 1), B x height x width: the same numbers on every device."""
    mask = 0xFFFFFFFF
    x = torch.arange(height * width, device=seed.device).view(1, height, width) * 0x1E3779B1
    x = (x + (seed[:, None, None] + channel * 0x3C6EF35F) * 0x5EBCA77) & mask
    for shift, factor in ((16, 0x45D9F3B), (15, 0x2C1B3C6D), (16, 0x297A2D39)):
        x = ((x ^ (x >> shift)) * factor) & mask
    return (x ^ (x >> 15)).to(torch.float32) * (2.0 / 2**32) - 1


def enlarge(x: Tensor, side: int) -> Tensor:
    return F.interpolate(x, size=(side, side), mode="bicubic", align_corners=False)


def blur(x: Tensor, k: int) -> Tensor:
    """Box blur twice (k odd), edges repeated, B x H x W."""
    pad = k // 2
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x[:, None], (pad,) * 4, mode="replicate"), k, 1)[:, 0]
    return x


def look_up(texture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Texture B x C x h x w at coordinates in [-1, 1]; mirrored beyond."""
    return F.grid_sample(texture, torch.stack([x, y], -1), mode="bilinear", padding_mode="reflection", align_corners=False)


# --------------------------------------------------------------------------------------------------------- canvas


def _canvas(s, truth, size: int, device) -> SimpleNamespace:
    """Coordinates, textures and the broad height field."""
    side, c = 2 * size, SimpleNamespace(size=size)
    c.side, c.px = side, 128 / side
    c.lights, c.cam, c.gaze = truth.lights.to(device), truth.camera.to(device), truth.gaze.to(device)
    c.seed, c.person = truth.seed.to(device), truth.person.to(device)
    grid = (torch.arange(size, device=device) + 0.5) * (128 / size) - 64
    px, py = grid.view(1, 1, -1).expand(1, size, size), grid.view(1, -1, 1).expand(1, size, size)
    x, y = anatomy.unproject(s, px, py)
    x, y = x.expand(len(truth), -1, -1).contiguous(), y.expand(len(truth), -1, -1).contiguous()
    z = _broad(s, x, y)
    fine = enlarge(torch.stack([x, y, z], 1), side)
    c.x, c.y, c.z = fine[:, 0], fine[:, 1], fine[:, 2]
    c.ax = c.x.abs()
    c.device = device
    grid = (torch.arange(side, device=device) + 0.5) * (128 / side) - 64
    c.sx, c.sy = grid.view(1, 1, -1), grid.view(1, -1, 1)
    c.texture = _texture(c.person)
    look = look_up(c.texture, c.x / 72, c.y / 72)
    c.white, c.cloud, c.pore = look[:, 0], look[:, 1], look[:, 2]
    c.gloss = 0.16 + 0 * c.x
    c.wet = 0 * c.x  # light added after shading: catchlights and wet lips
    rows = lambda a, b: slice(int(side * a), int(side * b))  # noqa: E731
    c.eye_rows, c.mouth_rows, c.brow_rows = rows(0.24, 0.58), rows(0.58, 1), rows(0.08, 0.5)
    return c


def _texture(person: Tensor) -> Tensor:
    """Noise of one person, B x 3 x 192 x 192: fine white, cloudy (several octaves), pores."""
    octave = lambda ch, n: enlarge(lattice(person, ch, n, n)[:, None], 192)  # noqa: E731
    cloud = octave(1, 6) * 0.8 + octave(2, 14) * 0.5 + octave(3, 34) * 0.35
    pore = octave(4, 72) * 0.6 + lattice(person, 5, 192, 192)[:, None] * 0.4
    return torch.cat([lattice(person, 6, 192, 192)[:, None], cloud, pore], 1)


def _broad(s, x: Tensor, y: Tensor) -> Tensor:
    """Height of skull, jaw, cheeks, nose and muzzle, px."""
    ax, u = x.abs(), s.u
    width = anatomy.outline(s, y) + 2.5
    across = (1 - (ax / width).clamp(max=1) ** 2.3 + 0.002).sqrt()
    low = ((y - s.mid) / (s.chin - s.mid)).clamp(0, 1) ** 7
    high = ((s.mid - y) / s.crown).clamp(0, 1) ** 2.4
    z = anatomy.DEPTH * across * (1 - low - high + 0.002).clamp(min=0.002).sqrt()
    smile = torch.maximum(u[12], 0.7 * u[6])
    sneer = torch.maximum(u[10], u[9])
    drop = 9.5 * u[26]
    brow_y = s.brow_y + s.brow_4 * 0.5 + (s.brow_1 + s.brow_2) * 0.35
    for cx, cy, sx, sy, h in (
        (17, brow_y + 2.5, 15, 5.5, 2.0 + 0.9 * s.sex),  # brow ridge
        (7, brow_y + 3, 5.5, 5, 0.8 * s.sex + 1.2 * u[4]),  # corrugator
        (19, s.eye_y - 2.5, 10.5, 6.5, -4.0),  # socket
        (9.5, s.eye_y - 1, 4.2, 6.5, -4.2),  # inner corner
        (s.eye_x + 1, s.eye_y + 0.5, 9.2, 6.6, 3.4),  # eyeball
        (s.eye_x - 1, s.eye_y + 8.2, 9, 2.8, 0.7 * s.bags + 1.4 * u[6] + 0.5 * u[7]),
        (s.eye_x - 3, s.eye_y + 12.5, 8.5, 3.2, -0.9 * s.bags - 0.9 * u[6]),
        (29, 5.0 - 2.5 * u[6], 10, 8, 2.4 * s.cheek + 0.8 * smile),  # cheekbone
        (23.5, 12.5 - 3.5 * smile, 8.5, 8, 0.5 * s.cheek + 4.2 * smile + 1.4 * sneer),  # cheek mass
        (33, 27, 9, 12, -2.2 * s.cheek + 1.5 * smile),  # hollow below it
        (0, 31 + 0.4 * drop, 17, 13, 5.0),  # muzzle
        (0, 46.0 + 0.75 * drop, 11, 4, -2.6 - 0.8 * u[17]),  # below the lower lip
        (0, s.chin - 7.0, 9.5, 7.5, 5.2 * s.chin_size + 1.2 * u[17]),  # chin
        (s.mouth_x + 5, s.mouth_y + s.corner + 2, 5, 6, 1.4 * u[12] + 1.0 * u[15] + 0.8 * u[14]),
        (s.mouth_x + 1.5, s.mouth_y + s.corner, 2.6, 3.4, -1.6 - 1.6 * u[14] - 1.0 * u[12]),
    ):
        z = z + h * bump(ax, y, cx, cy, sx, sy)
    return z + _nose(s, ax, y)


def _nose(s, ax: Tensor, y: Tensor) -> Tensor:
    tip = 11 + s.nose_len
    rise = ((y - s.eye_y + 9) / (tip - s.eye_y + 9)).clamp(0, 1)
    under = torch.sigmoid((tip + 3.6 - y) / 1.25)
    bone = s.nose_high * (0.22 + 0.78 * rise**1.4) * step(y - s.eye_y + 11, 9) * under
    width = 5.6 + 2.2 * rise - 2.2 * ridge(rise - 0.35, 0.3)
    z = bone * torch.exp(-((ax / width).square()))
    z = z + (3.4 + 0.5 * s.nose_tip) * bump(ax, y, 0, tip, 5.2, 4.6)
    z = z + 6.2 * bump(ax, y, s.wing_x - 2.6, s.wing_y + 0.3, 3.6, 4.4)
    z = z - 2.2 * bump(ax, y, s.wing_x + 2.6, s.wing_y + 1.5, 2.0, 5.0)
    return z - 0.9 * bump(ax, y, 0, s.wing_y + 9.5, 1.9, 4.5)  # philtrum


# ----------------------------------------------------------------------------------------------------------- skin


def _skin(c, s) -> None:
    """Face mask and the skin's colour: tone, blood, shadows of sleep, freckles."""
    ax, y, u = c.ax, c.y, s.u
    width = anatomy.outline(s, y)
    c.face = step((width - ax) * (width / s.head_w).clamp(0.35, 1), 0.8)
    tone = palette(SKIN, s.tone)
    warm = torch.cat([1 + 0.025 * s.undertone, 1 + 0 * s.undertone, 1 - 0.05 * s.undertone], 1)[..., None]
    c.skin = tone * warm
    blood = (0.55 * bump(ax, y, 25, 12, 12, 9) + 0.6 * bump(ax, y, 0, 11, 8, 6) + 0.3 * bump(ax, y, 0, 53, 10, 7)
             + 0.45 * bump(ax, y, s.eye_x, s.eye_y, 11, 6)) * (1 + 0.25 * u[12] + 0.2 * u[4])  # fmt: skip
    tired = bump(ax, y, s.eye_x - 3, s.eye_y + 7.5, 8.5, 4.2) * (0.3 + 0.55 * s.bags) + 0.5 * bump(ax, y, 10, s.eye_y, 4, 6)
    amount = 1 - 0.55 * s.tone
    red = torch.tensor([0.03, -0.17, -0.16], device=c.device).view(1, 3, 1, 1)
    dim = torch.tensor([-0.16, -0.2, -0.12], device=c.device).view(1, 3, 1, 1)
    shade = 1 + 0.055 * c.cloud + 0.045 * c.pore
    spots = (look_up(c.texture, c.x / 40, c.y / 40)[:, 2] - 0.62).clamp(0, 0.25) * 4
    shade = shade - 0.5 * s.freckles * spots * bump(ax, y, 12, 8, 26, 14)
    tint = 1 + (blood * amount * (1 + 0.4 * c.cloud))[:, None] * red + (tired)[:, None] * dim
    c.albedo = c.skin * tint * shade[:, None]
    c.z = c.z + (0.06 + 0.05 * s.age) * c.pore
    c.gloss = c.gloss + 0.1 * bump(ax, y, 0, 4, 6, 14) + 0.07 * bump(ax, y, 0, -38, 22, 12)
    _nostrils(c, s)


def _nostrils(c, s) -> None:
    ax, y = c.ax, c.y
    hole = bump(ax + 0.35 * (y - s.wing_y), y, s.wing_x * 0.5 + 1.0, s.wing_y + 3.6, 2.6, 1.35)
    c.albedo = over(c.albedo, c.skin * 0.05, (hole * 1.25).clamp(0, 0.92))
    c.gloss = c.gloss * (1 - hole)


def _folds(c, s) -> None:
    """Lines and folds of the surface: what age leaves and what the units raise."""
    ax, x, y, u = c.ax, c.x, c.y, s.u
    z = _nasolabial(c, s)
    curve, _ = anatomy.brow(s, x)
    # Forehead lines follow the brow; with the inner brow alone only their middle shows.
    lift = (0.5 * u[1] + 0.5 * u[2] + 0.18 * u[1]).clamp(max=1)
    wave = torch.cos((y - 0.45 * (curve - s.brow_y) + 0.4 * c.cloud + 2) * (6.2832 / 6.4)) * 0.5 + 0.5
    reach = 27 - 11 * (u[1] - u[2]).clamp(min=0)
    z = z - (0.22 * s.age + 0.95 * lift) * wave**3 * ridge(y + 42 + 2 * lift, 10) * ridge(ax, reach)
    # Frown: two upright furrows and the skin bunched between the brows.
    frown = (u[4] + 0.35 * u[9]) * (1 + 0.3 * s.age) + 0.12 * s.age
    between = ridge(y - s.brow_y - 2 - 1.5 * u[4], 7.5)
    z = z + frown * between * (1.1 * ridge(ax, 2.6) - 1.5 * ridge(ax - 4.3 + 0.1 * (y - s.brow_y), 1.1) + 0.9 * ridge(ax - 8, 3))
    z = z - (0.7 * u[4] + 1.3 * u[9] + 0.2 * s.age) * ridge(y - s.eye_y + 4.5 + 0.05 * ax.square(), 1.0) * ridge(ax, 5)
    # Wrinkled nose: fans over the bridge and down its sides.
    fan = (torch.cos((y + 0.55 * ax) * (6.2832 / 3.9)) * 0.5 + 0.5) ** 2
    z = z - 1.25 * u[9] * fan * bump(ax, y, 4.5, s.eye_y + 8, 6, 8.5)
    # Crow's feet spread from the outer corner of the eye.
    dx, dy = ax - s.eye_x - s.eye_w + 1, y - s.eye_y - 0.5
    angle = torch.atan2(dy, dx + 1e-3)
    rays = (torch.cos(angle * 9) * 0.5 + 0.5) ** 2
    z = z - (0.8 * u[6] * (0.5 + 0.5 * s.age) + 0.3 * s.age) * rays * bump(dx, dy, 6, 0.5, 4.5, 6)
    # Under the eye: the lower lid's furrow when the cheek rises; chin dimples; creases beside a stretched mouth.
    low = s.eye_y + s.lid_low + 3.2 + 0.05 * (ax - s.eye_x).square() * 0.35
    z = z - (0.75 * u[6] + 0.5 * u[7] + 0.35 * s.bags + 0.4 * u[9]) * ridge(y - low, 0.95) * ridge(ax - s.eye_x + 1, 8)
    z = z + 1.5 * u[17] * c.pore * bump(x, y, 0, s.chin - 8, 9, 6) - 1.0 * u[17] * ridge(y - s.chin + 15.5 + 0.02 * ax.square(), 1.6) * ridge(ax, 9)
    side = ax - s.mouth_x - 4.0
    z = z - (0.9 * u[20] + 0.7 * u[14] + 0.35 * u[12]) * ridge(side - 0.02 * (y - s.mouth_y).square(), 1.3) * ridge(y - s.mouth_y - s.corner, 6)
    tail = ax - s.mouth_x - 0.5 - 0.2 * (y - s.mouth_y - s.corner)
    z = z - (0.45 * s.fold * s.age + 0.9 * u[15]) * ridge(tail, 1.3) * ridge(y - s.mouth_y - s.corner - 6, 5)
    c.z = c.z + z


def _nasolabial(c, s) -> Tensor:
    ax, y, u = c.ax, c.y, s.u
    pull = torch.maximum(torch.maximum(u[12], u[10]), 0.9 * u[9])
    top, bottom = s.wing_y - 3 - 1.5 * u[9], s.mouth_y + 3 + 0.4 * s.corner
    t = (y - top) / (bottom - top)
    tc = t.clamp(0, 1.15)
    path = s.wing_x + 1.2 + (s.mouth_x + 5.0 - s.wing_x) * tc**0.85 + (1.2 + 1.6 * pull) * torch.sin(3.1416 * tc.clamp(max=1))
    depth = (0.42 * s.fold + 1.25 * pull + 0.25 * u[15] + 0.2 * u[20]).clamp(max=1.6)
    window = torch.sigmoid((t + 0.02) * 12) * torch.sigmoid((1.05 - t) * 9)
    d = ax - path
    return depth * window * (1.5 * ridge(d - 4.2, 4.2) - 1.35 * ridge(d, 1.5) - 0.4 * ridge(d + 2.5, 2.5))


# ----------------------------------------------------------------------------------------------------------- eyes


def _eyes(c, s) -> None:
    """Lids, lashes, sclera, iris, pupil; both eyes at once, mirrored, except for the gaze."""
    r = c.eye_rows
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    u = s.u
    up, low = anatomy.lids(s, x)
    v = (ax - s.eye_x) / s.eye_w
    inside = step(y - up, 0.35) * step(low - y, 0.35) * step((1 - v.abs()) * s.eye_w, 0.6)
    dx = ax - s.eye_x - x.sign() * c.gaze[:, :1, None]
    dy = y - (s.eye_y - 0.35 + c.gaze[:, 1:, None])
    d = (dx.square() + dy.square()).sqrt()
    look = look_up(c.texture, torch.atan2(dy, dx) / 3.1416 * 0.9, d / 20)
    iris = palette(IRIS, s.iris_light * 0.75 + 0.25 * s.iris_hue * s.iris_light)
    radius = 4.15
    rim = 1 - 0.72 * step(d - radius * 0.86, 0.7)
    tone = iris * (rim * (1.05 + 0.35 * look[:, 0]) * (1 + 0.5 * (d < radius * 0.62)) * (0.85 + 0.05 * dy))[:, None]
    tone = over(tone, tone * 0.03, step(1.62 - d, 0.45))
    round_off = 1 - 0.35 * v.square() - 0.02 * (y - s.eye_y).square()
    sclera = linear(226, 214, 208, device=c.device) * round_off.clamp(0.2, 1)[:, None]
    pink = ridge(v + 0.93, 0.2) * 0.9 + 0.12
    sclera = over(sclera, linear(196, 120, 108, device=c.device) * (0.4 + 0.6 * round_off.clamp(0.2, 1))[:, None], pink)
    eye = over(sclera, tone, step(radius - d, 0.5))
    shadow = 0.42 + 0.58 * step(y - up - 1.9, 1.9)
    eye = eye * (shadow * (1 - 0.25 * ridge(y - low, 0.9)))[:, None]
    albedo = c.albedo[..., r, :]
    crease = up - 2.1 - 1.6 * (1 - s.eye_hood) + 0.5 * u[5] - 1.2 * u[45]
    across = step(1.12 - v.abs(), 0.16)
    albedo = albedo * (1 - (0.34 * ridge(y - crease, 0.8) + 0.16 * ridge(y - (up + crease) / 2, 1.6)) * across)[:, None]
    albedo = over(albedo, eye, inside)
    albedo = over(albedo, c.skin * linear(225, 175, 165, device=c.device), 0.5 * ridge(y - low - 0.5, 0.55) * across * (1 - inside))
    _lashes(c, s, albedo, (v, y, up, low, ax))
    c.albedo = torch.cat([c.albedo[..., : r.start, :], c.lashed, c.albedo[..., r.stop :, :]], 2)
    z = (2.0 * (inside * (1 - v.square()).clamp(min=0)) - 1.5 * ridge(y - crease, 1.0) * across
         + 1.0 * ridge(y - up + 0.8, 1.2) * across * (1 - inside) + 0.7 * ridge(y - low - 1.6, 1.3) * across)  # fmt: skip
    c.z = torch.cat([c.z[:, : r.start], c.z[:, r] + z, c.z[:, r.stop :]], 1)
    c.eye = F.pad(inside, (0, 0, r.start, c.side - r.stop))
    _catchlight(c, s, x, dx, dy, inside * step(y - up - 0.3, 0.5), r)


def _lashes(c, s, albedo: Tensor, at) -> None:
    v, y, up, low, ax = at
    across = step(1.08 - v.abs(), 0.1)
    dark = linear(30, 20, 16, device=c.device)
    makeup = 0.75 + 0.55 * (1 - s.sex)
    thick = (0.55 + 0.3 * (v + 1)) * makeup
    upper = ridge(y - up + 0.25 * thick, 0.75 * thick) * across
    albedo = over(albedo, dark, (0.95 * upper).clamp(0, 0.95))
    c.lashed = over(albedo, c.skin * 0.25, 0.42 * ridge(y - low - 0.15, 0.45) * across * step(v + 0.6, 0.5))


def _catchlight(c, s, x, dx, dy, inside, rows) -> None:
    azimuth, height = torch.deg2rad(c.lights[:, 0, None, None]), torch.deg2rad(c.lights[:, 1, None, None])
    lx, ly = azimuth.sin() * 2.2 * x.sign(), -height.sin() * 2.6 - 0.3
    spot = step(0.95 - ((dx - lx).square() + (dy - ly).square()).sqrt(), 0.5) * 0.9
    soft = 0.05 * bump(dx, dy, -lx, 2.0, 2.4, 1.6)
    c.wet = c.wet + F.pad((spot + soft) * inside, (0, 0, rows.start, c.side - rows.stop))


def _brows(c, s) -> None:
    """Brow hairs: strokes that lean outwards, denser in the middle of the brow's height."""
    r = c.brow_rows
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    line, t = anatomy.brow(s, x)
    tc = t.clamp(0, 1)
    thick = s.brow_thick * (0.95 + 0.5 * tc * (1 - tc) * 2 - 0.62 * tc**3)
    d = (y - line) / thick
    stroke = look_up(c.texture, (ax + 0.75 * (y - line) * (1 - 0.8 * tc)) / 26, (y - line + 0.25 * ax) / 90)[:, 0]
    ends = step(t + 0.02, 0.07) * step(1.0 - t, 0.16)
    body = torch.exp(-(d.square() ** 1.4))
    alpha = (body * (0.86 + 0.5 * stroke) * s.brow_dense * ends).clamp(0, 0.93)
    c.hair = _hair_colour(s)
    dark = c.hair * 0.55 * (1 - 0.35 * s.grey)[..., None]
    dark = torch.minimum(dark, c.skin * 0.45)
    c.albedo = torch.cat([c.albedo[..., : r.start, :], over(c.albedo[..., r, :], dark, alpha), c.albedo[..., r.stop :, :]], 2)
    c.z = torch.cat([c.z[:, : r.start], c.z[:, r] + alpha * (0.5 + 0.4 * stroke), c.z[:, r.stop :]], 1)
    c.gloss = torch.cat([c.gloss[:, : r.start], c.gloss[:, r] * (1 - 0.7 * alpha), c.gloss[:, r.stop :]], 1)


def _hair_colour(s) -> Tensor:
    base = palette(HAIR, s.melanin)
    red = linear(150, 70, 36, device=base.device) * (1.25 - s.melanin)[..., None]
    base = base + (red - base) * (s.redness * 0.8)[..., None]
    return base + (linear(176, 174, 172, device=base.device) - base) * (s.grey * 0.85)[..., None]


# ---------------------------------------------------------------------------------------------------------- mouth


def _mouth(c, s) -> None:
    """Lips with their creases, and what lies between them: teeth, tongue, darkness."""
    r, u = c.mouth_rows, s.u
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    top, upper, lower, bottom = anatomy.lips(s, x)
    v = ax / s.mouth_x
    edge = step((1 - v) * s.mouth_x, 0.5)
    skin = c.albedo[..., r, :]
    colour = c.skin * linear(212, 150, 146, device=c.device) * 1.1
    red = linear(150, 52, 58, device=c.device)
    colour = colour + (red - colour) * (0.25 * s.lip_red + 0.5 * s.lip_stick)[..., None] * (1 - 0.6 * s.tone[..., None])
    crease = look_up(c.texture, c.x[:, r] / 22, (y - upper) / 120)[:, 0]
    paint = colour * (1 + 0.1 * crease)[:, None]
    on_upper = step(y - top, 0.9) * step(upper - y, 0.45) * edge
    on_lower = step(y - lower, 0.45) * step(bottom - y, 1.0) * edge
    # The upper lip faces down and is darker; a shadow lies under the lower lip.
    skin = skin * (1 - 0.22 * ridge(y - bottom - 1.8, 1.7) * ridge(v, 0.75))[:, None]
    skin = over(skin, paint * 0.82, on_upper * 0.92)
    skin = over(skin, paint, on_lower * 0.92)
    opening = step(y - upper, 0.4) * step(lower - y, 0.4) * edge * step(s.gap * (1 - v) - 0.25, 0.3)
    skin = over(skin, _inside(c, s, v, y, upper, lower), opening)
    seam = ridge(y - upper, 0.62 + 0.25 * u[23]) * step(1.04 - v, 0.06) * (1 - step(s.gap * (1 - v) - 0.8, 0.6))
    skin = over(skin, c.skin * linear(120, 60, 56, device=c.device) * 0.35, (0.85 * seam).clamp(0, 0.9))
    pit = bump(ax, y, s.mouth_x + 0.3, s.line_y + s.corner * 1.0, 1.5, 1.2)
    skin = skin * (1 - 0.4 * pit)[:, None]
    c.albedo = torch.cat([c.albedo[..., : r.start, :], skin], 2)
    middle, half = (top + upper) / 2, (upper - top).clamp(min=0.8)
    z = 1.3 * on_upper * (1 - ((y - middle) / half).square()).clamp(0, 1) * s.upper_lip / 4
    middle, half = (lower + bottom) / 2, (bottom - lower).clamp(min=0.8)
    z = z + 2.3 * on_lower * (1 - ((y - middle) / half).square() * 1.6).clamp(0, 1) * s.lower_lip / 5.5
    z = z - 1.4 * seam - 2.5 * opening - 0.8 * ridge(y - bottom - 1.6, 1.4) * ridge(v, 0.7) + 0.25 * crease * (on_upper + on_lower)
    c.z = torch.cat([c.z[:, : r.start], c.z[:, r] + z], 1)
    gloss = (on_lower + 0.5 * on_upper) * (0.15 + 0.3 * s.lip_stick) - 0.1 * opening
    c.gloss = torch.cat([c.gloss[:, : r.start], c.gloss[:, r] + gloss], 1)
    c.opening = F.pad(opening, (0, 0, r.start, 0))


def _inside(c, s, v, y, upper, lower) -> Tensor:
    """Colour of the open mouth: the teeth hang from the skull and rise with the jaw, the lips only uncover them."""
    u = s.u
    x = v * s.mouth_x
    dark = linear(58, 22, 22, device=c.device) * (0.35 + 0.5 * (1 - v.square()).clamp(0, 1))[:, None]
    tongue = linear(168, 84, 82, device=c.device) * (0.9 - 0.3 * v.square())[:, None].clamp(0.2, 1)
    back = over(dark, tongue, 0.85 * step(y - (lower - 0.42 * s.gap + 4 * v.square()), 1.6) * step(s.gap - 5, 2))
    white = linear(226, 216, 200, device=c.device)
    gaps = 1 - 0.22 * ridge(torch.remainder(x + 2.0, 4.0) - 2.0, 0.45) * step(x - 0.2, 0.2) - 0.25 * ridge(x, 0.35)
    # Towards the corners the teeth recede into the cheeks' shadow.
    shade = gaps * (1 - 0.62 * (x / (s.mouth_w + 2)).square()).clamp(0.12, 1)
    bite = s.mouth_y + 1.9 + s.corner * 0.25 * v.square() + 0.5 * torch.cos(x * 1.57).abs() * 0.5
    upper_row = step(bite - y, 0.5) * (0.45 + 0.55 * step(y - upper - 0.9, 1.2))
    lower_bite = s.mouth_y + 2.6 + 10.0 * u[26] - s.corner * 0.2
    lower_row = step(y - lower_bite, 0.5) * (0.35 + 0.3 * step(lower - y - 0.8, 1.0))
    back = over(back, white * (shade * 0.62)[:, None], lower_row.clamp(0, 1) * step(s.gap - 2.2, 1))
    return over(back, white * (shade * (0.5 + 0.5 * step(y - upper - 0.6, 1.4)))[:, None], step(bite - y, 0.5) * upper_row.clamp(0.6, 1))


def _beard(c, s) -> None:
    """Stubble, moustache and beard, on the lower half of the face."""
    r = c.mouth_rows
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    top, _, _, bottom = anatomy.lips(s, x)
    lip = step(y - top + 0.8, 0.8) * step(bottom + 0.6 - y, 0.8) * step(s.mouth_x - ax, 1.0)
    cheek = 33 - 0.95 * (ax - 19).clamp(min=0) - 0.5 * (1 - (ax / 19).clamp(max=1)) * 4
    region = step(y - cheek - 2 * c.cloud[:, r], 4.0)
    spread = s.mouth_x + 1.5 + 0.35 * (y - s.mouth_y)
    lip_hair = step(y - s.wing_y - 6.0 - 0.02 * ax.square() + 0.8 * c.white[:, r], 1.6)
    lip_hair = lip_hair * step(spread - ax + c.white[:, r], 3.0) * step(s.mouth_y + 9 - y, 5)
    bare = bump(ax, y, 7.5, s.mouth_y + 12 + 6 * s.u[26], 4, 3) * 0.5
    hair = look_up(c.texture, (x + 0.25 * y) / 20, (y - 0.6 * ax) / 55)[:, 0]
    fine = look_up(c.texture, x / 30, y / 30)[:, 0]
    full = (torch.maximum(region * s.beard, lip_hair * s.moustache) * (1 - lip) * (1 - bare)).clamp(0, 1)
    shadow = torch.maximum(region, lip_hair) * (1 - lip) * s.stubble * 0.26 * (0.75 + 0.5 * fine)
    albedo = over(c.albedo[..., r, :], c.skin * linear(150, 140, 140, device=c.device) * 0.75, shadow)
    albedo = over(albedo, torch.minimum(c.hair, c.skin * 0.8) * (0.75 + 0.5 * hair)[:, None], (full * (0.82 + 0.35 * hair)).clamp(0, 0.95))
    c.albedo = torch.cat([c.albedo[..., : r.start, :], albedo], 2)
    c.z = torch.cat([c.z[:, : r.start], c.z[:, r] + full * (1.0 + 0.45 * hair)], 1)
    c.gloss = torch.cat([c.gloss[:, : r.start], c.gloss[:, r] * (1 - 0.8 * full)], 1)


# ---------------------------------------------------------------------------------------------------------- light


def _lighting(c, s) -> SimpleNamespace:
    """Normals, cast shadows, hollows, and the shaded face, B x 3 x H x W."""
    p = c.lights[:, :, None, None]
    key = _direction(p[:, 0], p[:, 1])
    fill = _direction(-p[:, 0].sign() * 42, p[:, 1] * 0.3 + 6)
    view = (c.z * s.yaw.cos() - c.x * s.yaw.sin()) * s.pitch.cos() + c.y * s.pitch.sin()
    pad = F.pad(view[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    gx = (pad[:, 1:-1, 2:] - pad[:, 1:-1, :-2]) / (2 * c.px)
    gy = (pad[:, 2:, 1:-1] - pad[:, :-2, 1:-1]) / (2 * c.px)
    inv = (gx.square() + gy.square() + 1).rsqrt()
    nx, ny, nz = -gx * inv, -gy * inv, inv
    coarse = F.avg_pool2d(view[:, None], 2)[:, 0]
    hollow = (blur(coarse, 2 * round(c.size / 32) + 1) - coarse).clamp(-2, 6) * 0.055
    hollow = hollow + (blur(coarse, 2 * round(c.size / 96) + 1) - coarse).clamp(-1, 3) * 0.16
    shadow = _cast_shadow(c, coarse, key)
    maps = F.interpolate(torch.stack([shadow, hollow], 1), scale_factor=2, mode="bilinear", align_corners=False)
    lit, open_ = 1 - 0.8 * maps[:, 0], (1 - maps[:, 1].clamp(-0.08, 0.65))
    warm = p[:, 3]
    key_colour = torch.cat([1 + 0.05 * warm, 1 + 0 * warm, 1 - 0.08 * warm], 1)[..., None] * p[:, 2, None] * 1.95
    dot = nx * key[0] + ny * key[1] + nz * key[2]
    side = (nx * fill[0] + ny * fill[1] + nz * fill[2]).clamp(min=0) * p[:, 4] * 1.2
    ambient = p[:, 5] * (0.85 - 0.35 * ny) * open_
    channels = []
    for i, wrap in enumerate((0.34, 0.2, 0.15)):  # light bleeds through skin, red the furthest
        diffuse = ((dot + wrap) / (1 + wrap)).clamp(min=0) * (lit + (1 - lit) * wrap * 0.35)
        channels.append(key_colour[:, i] * diffuse + (side + ambient) * (0.97, 0.98, 1.05)[i])
    half = [(a + b) for a, b in zip(key, (0, 0, 1), strict=True)]
    norm = (half[0].square() + half[1].square() + half[2].square()).rsqrt()
    shine = ((nx * half[0] + ny * half[1] + nz * half[2]) * norm).clamp(min=0) ** 18 * c.gloss * lit * p[:, 2]
    lamp = torch.stack(channels, 1)
    inside = c.opening[:, None]
    lamp = lamp * (1 - inside) + inside * 0.85 * lamp.mean((2, 3), keepdim=True)
    eye = c.eye[:, None]
    lamp = lamp * (1 - 0.45 * eye) + 0.45 * eye * lamp.mean((2, 3), keepdim=True) * 1.2
    shaded = c.albedo * lamp * (0.5 + 0.5 * open_)[:, None] + (shine * open_ + 0.9 * c.wet)[:, None]
    return SimpleNamespace(key=key, colour=key_colour, ambient=p[:, 5], shaded=shaded, lamp=lamp, power=p[:, 2])


def _direction(azimuth: Tensor, height: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, h = torch.deg2rad(azimuth), torch.deg2rad(height)
    return a.sin() * h.cos(), -h.sin(), a.cos() * h.cos()


def _cast_shadow(c, z: Tensor, key) -> Tensor:
    """0..1 where the height field stands between a point and the key light; marched over twelve steps."""
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


# ------------------------------------------------------------------------------------------- background and hair


def _strands(c, s) -> tuple[Tensor, Tensor]:
    """Noise along hair (B x H x W, -1..1) and the distance from the parting, px."""
    dy = (c.y + 104).clamp(min=10)
    dx = c.x - s.hair_part
    far = (dx.square() + dy.square()).sqrt()
    wave = s.hair_curl * (0.05 * torch.sin(far / (7 + 5 * s.hair_curl) + 2.5 * c.cloud) + 0.05 * c.cloud)
    angle = torch.atan2(dx, dy) + wave
    fine = look_up(c.texture, angle * 1.9, far / 700)[:, 0]
    wide = look_up(c.texture, angle * 0.55, far / 900 + 0.3)[:, 0]
    return 0.55 * fine + 0.6 * wide, far


def _hair_light(c, s, light, strand: Tensor, far: Tensor) -> Tensor:
    """Colour of lit hair, B x 3 x H x W."""
    kx, ky, kz = light.key
    nx, ny = (c.x / 58).clamp(-1, 1), ((c.y + 34) / 62).clamp(-1, 1)
    nz = (1 - 0.8 * (nx.square() + ny.square())).clamp(min=0.1).sqrt()
    lamp = (0.25 + nx * kx + ny * ky + nz * kz).clamp(min=0.05) * 1.1 * light.power + light.ambient * 1.1
    band = ridge(far - 50 - 5 * strand, 9) * (0.35 + 0.65 * strand.clamp(min=0)) + 0.25 * strand.clamp(min=0) ** 2
    tone = c.hair * (lamp * (0.72 + 0.42 * strand))[:, None].clamp(min=0.02)
    return tone + ((0.05 + 0.25 * c.hair.mean(1)) * band * lamp)[:, None] * (0.6 + c.hair)


def _backdrop(c, s, light) -> Tensor:
    """Everything behind the face: quiet background, hair behind the head, neck, collar, ears."""
    p = c.lights[:, :, None, None]
    turn, grey = p[:, 8], p[:, 6]
    ramp = (c.sx * turn.cos() + c.sy * turn.sin()) / 64
    level = (grey**2.0) * (1 + 0.3 * ramp) + 0.01
    blotch = F.interpolate(lattice(c.seed, 11, 5, 5)[:, None], size=(c.side, c.side), mode="bicubic")[:, 0]
    tint = torch.cat([1 + 0.05 * p[:, 7], 1 + 0 * p[:, 7], 1 - 0.05 * p[:, 7]], 1)[..., None]
    image = (level * (1 + 0.14 * blotch))[:, None] * tint
    c.strand, c.far = _strands(c, s)
    c.hair_lit = _hair_light(c, s, light, c.strand, c.far)
    reach = s.head_w + s.hair_side * (1 - 0.75 * s.bald) + 1.2 * c.strand * (0.5 + s.hair_curl)
    above = ((s.mid - c.y) / (s.crown + s.hair_side)).clamp(min=0)
    wide = reach * (1 - above.clamp(max=1) ** 2.5).clamp(min=0) ** 0.4
    back = step(wide + 0.05 * (c.y + 8).clamp(min=0) * (s.hair_end > 90) - c.ax, 1.0) * step(s.hair_end + 8 - c.y + 5 * c.strand, 4)
    c.wide = wide
    image = over(image, c.hair_lit * 0.5, back)
    image = _neck(c, s, light, image)
    return _ears(c, s, light, image)


def _neck(c, s, light, image: Tensor) -> Tensor:
    ax, y = c.ax, c.y
    neck = step(33 + 2.5 * s.sex + 0.004 * (y - 40).clamp(min=0) ** 2 - ax, 0.8) * step(y - 20, 3)
    kx = light.key[0]
    shade = (0.5 + 0.35 * kx * c.x / 36 - 0.3 * ridge(ax - 33, 9)).clamp(0.12, 1) * light.power + 0.3 * light.ambient
    drop = anatomy.outline(s, y)
    shade = shade * (0.42 + 0.58 * step(ax - drop - 6, 8))
    image = over(image, c.skin * shade[:, None] * (1 + 0.05 * c.cloud)[:, None], neck)
    level = 0.02 + 0.5 * s.shirt**2
    colour = torch.cat([level * (0.9 + 0.1 * s.undertone.sign()), level, level * 1.08], 1)[..., None]
    cloth = step(y - 61 + 0.22 * (ax - 26) + 0.5 * c.pore, 1.0)
    return over(image, colour * (0.75 + 0.15 * c.white + 0.2 * kx * c.x / 64)[:, None], cloth)


def _ears(c, s, light, image: Tensor) -> Tensor:
    ax, y = c.ax, c.y
    cx, cy = s.head_w + 1.6 + 0.11 * (4 - y), s.eye_y + 14.5
    dx, dy = (ax - cx) / 5.4, (y - cy) / 13.5
    q = (dx.square() * (1 + 0.4 * dy).clamp(min=0.4) + dy.square()).clamp(min=1e-6).sqrt()
    ear = step((1 - q) * 6, 0.6)
    bowl = bump(dx, dy, -0.25, 0.0, 0.38, 0.45)
    fold = ridge(q - 0.72, 0.14) * step(0.5 - dy, 0.3)
    sided = 0.62 + 0.32 * light.key[0] * c.x.sign() + 0.25 * (1 - q)
    shade = (sided * light.power * 1.25 + 0.4 * light.ambient) * (1 - 0.62 * bowl - 0.3 * fold)
    red = linear(246, 196, 188, device=c.device) * 1.2
    return over(image, c.skin * red * shade.clamp(min=0.06)[:, None], ear)


def _front_hair(c, s, light, image: Tensor) -> Tensor:
    """Hair over the forehead and beside the face; its edge is broken by strands and throws a soft shadow."""
    ax, y = c.ax, c.y
    base = -6.0
    line = s.hair_line + s.fringe - 0.3 * s.fringe * ridge(c.x - s.hair_part * 0.8, 9)
    line = line - s.hair_peak * ridge(ax - 24, 9) * (1 - (s.fringe > 0).float()) - 90 * s.bald
    up = ((base - y) / (base - line)).clamp(min=0)
    hang = s.hair_end > 20
    side = s.hair_open - 1.0 * hang + 0.05 * (y - base).clamp(min=0)
    d = (((ax / side) ** 5 + up**5) ** 0.2 - 1) * (base - line).clamp(max=48)
    rough = (1.2 + 0.12 * s.fringe + 0.8 * s.hair_curl) * c.strand
    inside = step(c.wide - ax, 1.2)
    end = step(s.hair_end - y + 3 * c.strand, 2.2 + 1.5 * (1 - hang.float()))
    alpha = step(d + rough - 0.8, 1.5) * end * inside
    thin = 1 - 0.45 * s.bald
    shadow = step(d + 3.5 + rough, 4.0) * end * inside
    image = image * (1 - 0.42 * shadow * thin * (1 - alpha))[:, None]
    cover = (0.55 + 0.45 * step(d - 3, 4)) * thin * (1 + 0.25 * c.strand)
    return over(image, c.hair_lit, (alpha * cover.clamp(0, 1) ** 0.35))


def _glasses(c, s, light, image: Tensor) -> Tensor:
    ax, y = c.ax, c.y
    dx, dy = (ax - s.eye_x - 0.2) / s.glass_w, (y - s.eye_y - 1.5) / 10.2
    q = (dx.abs() ** s.glass_round + dy.abs() ** s.glass_round).clamp(min=1e-6) ** (1 / s.glass_round)
    rim = step(0.75 - ((q - 1) * 11).abs(), 0.45)
    bridge = step(0.8 - (y - s.eye_y + 1.5 - 0.03 * ax.square()).abs(), 0.5) * step(s.eye_x - s.glass_w - ax + 0.3, 0.6)
    arm = step(0.9 - (y - s.eye_y + 3).abs(), 0.5) * step(ax - s.eye_x - s.glass_w, 0.6) * step(s.head_w + 1 - ax, 1)
    frame = torch.maximum(torch.maximum(rim, bridge), arm) * s.glasses
    lens = step((1 - q) * 10, 0.6) * s.glasses
    shade = step(1.6 - ((q - 1) * 11 - 1.2 + 0.8 * dy).abs(), 1.4) * s.glasses
    image = image * (1 - 0.22 * shade)[:, None]
    glint = lens * (0.02 + 0.05 * ridge(dx * c.x.sign() + dy * 0.7 + 0.45, 0.16))
    image = image * (1 - 0.05 * lens)[:, None] + (glint * light.power)[:, None]
    colour = linear(26, 22, 22, device=c.device) + (linear(150, 120, 80, device=c.device) * (s.shirt > 0.6)[..., None])
    return over(image, colour * (0.6 + 0.5 * light.power)[:, None] * (1 - 0.5 * dy.clamp(-1, 1))[:, None], frame * 0.95)


# --------------------------------------------------------------------------------------------------------- camera


def _camera(c, image: Tensor) -> Tensor:
    """Average down, expose, blur, thin out the colour, add noise, round."""
    cam = c.cam[:, :, None, None, None]
    image = F.avg_pool2d(image, 2) * (1 + cam[:, 5]) * 0.74
    image = 1 - torch.exp(-1.18 * image.clamp(min=0))  # highlights roll off like film
    image = image.clamp(1e-5, 1) ** (1 / 2.2)
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + (soft - image) * cam[:, 3]
    grey = (image * torch.tensor([0.299, 0.587, 0.114], device=c.device).view(1, 3, 1, 1)).sum(1, True)
    colour = F.avg_pool2d(image - grey, 2)
    colour = F.interpolate(colour, size=(c.size, c.size), mode="bilinear", align_corners=False)
    image = image + (grey + colour - image) * cam[:, 6]
    n = c.size
    grain = torch.stack([lattice(c.seed, 21 + k, n, n) + lattice(c.seed, 25 + k, n, n) for k in range(3)], 1)
    grain = 0.75 * grain.mean(1, True) * 1.7 + 0.4 * grain
    image = image + cam[:, 4] * grain
    return (image * 255 + 0.5).clamp(0, 255).to(torch.uint8)
