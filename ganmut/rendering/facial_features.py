"""Layers of the face: skin, folds, eyes, brows and beard; the mouth is in mouth.py.

Each layer changes the maps of a canvas `c`: albedo (B x 3 x H x W, linear light), height z (px),
gloss, and wet (light added after shading). `s` holds the shape parameters of
`ganmut.rendering.geometry.face_shape`, tensors B x 1 x 1; `u` its action units, 0..1. Constants are
px of the 128-px crop unless said otherwise, fitted by eye to photographs.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.rendering import geometry
from ganmut.rendering.primitives import blend, bump, color_ramp, ridge, sample_texture, srgb, step

# Skin from the lightest to the darkest, sRGB 0..255: photographs under even light.
SKIN = (
    (226, 186, 164),
    (217, 172, 146),
    (206, 158, 128),
    (190, 140, 106),
    (160, 112, 80),
    (122, 81, 57),
    (92, 61, 45),
    (70, 47, 37),
)
HAIR = ((205, 168, 112), (168, 124, 76), (112, 76, 48), (66, 45, 32), (34, 26, 22), (22, 18, 17))
IRIS = ((66, 42, 26), (98, 68, 40), (112, 100, 60), (98, 116, 100), (98, 120, 138), (128, 146, 162))


def paint_skin(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds the face mask and the skin's albedo: tone, blood flow, dark circles, freckles."""
    ax, y, u = c.ax, c.y, s.u
    width = geometry.outline(s, y)
    # Where the outline runs flat, at the chin, the way along x is longer than the way to the edge:
    # the factor keeps the edge as sharp there as at the cheeks.
    c.face = step((width - ax) * (width / s.head_w).clamp(0.35, 1), 0.8)
    tone = color_ramp(SKIN, s.tone)
    # Undertone changes red and blue; green, most of the luminance, stays.
    warm = torch.cat([1 + 0.025 * s.undertone, 1 + 0 * s.undertone, 1 - 0.05 * s.undertone], 1)[
        ..., None
    ]
    c.skin = tone * warm
    # Cheeks, nose, chin and lids have more blood near the surface, and more so when they move.
    blood = (
        0.55 * bump(ax, y, 25, 12, 12, 9)
        + 0.6 * bump(ax, y, 0, 11, 8, 6)
        + 0.3 * bump(ax, y, 0, 53, 10, 7)
        + 0.45 * bump(ax, y, s.eye_x, s.eye_y, 11, 6)
    ) * (1 + 0.25 * u[12] + 0.2 * u[4])
    tired = bump(ax, y, s.eye_x - 3, s.eye_y + 7.5, 8.5, 4.2) * (0.3 + 0.55 * s.bags) + 0.5 * bump(
        ax, y, 10, s.eye_y, 4, 6
    )
    # Redness and dark circles are less visible on dark skin.
    amount = 1 - 0.55 * s.tone
    red = torch.tensor([0.03, -0.17, -0.16], device=c.device).view(1, 3, 1, 1)
    dim = torch.tensor([-0.16, -0.2, -0.12], device=c.device).view(1, 3, 1, 1)
    shade = 1 + 0.055 * c.cloud + 0.045 * c.pore
    # Only the peaks of the noise are freckles; times 4: 0..1.
    spots = (sample_texture(c.texture, c.x / 40, c.y / 40)[:, 2] - 0.62).clamp(0, 0.25) * 4
    shade = shade - 0.5 * s.freckles * spots * bump(ax, y, 12, 8, 26, 14)
    tint = 1 + (blood * amount * (1 + 0.4 * c.cloud))[:, None] * red + (tired)[:, None] * dim
    c.albedo = c.skin * tint * shade[:, None]
    c.z = c.z + (0.06 + 0.05 * s.age) * c.pore
    c.gloss = c.gloss + 0.1 * bump(ax, y, 0, 4, 6, 14) + 0.07 * bump(ax, y, 0, -38, 22, 12)
    _nostrils(c, s)


def _nostrils(c: SimpleNamespace, s: SimpleNamespace) -> None:
    ax, y = c.ax, c.y
    hole = bump(ax, y - 0.12 * (ax - 4), s.wing_x * 0.5 - 0.3, s.wing_y + 3.9, 2.3, 1.15)
    c.albedo = blend(c.albedo, c.skin * 0.12, (hole * 1.2).clamp(0, 0.85))
    c.gloss = c.gloss * (1 - hole)


def paint_folds(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds wrinkles and folds, from age and from action units, to the height map."""
    c.z[:, c.top_rows] += _forehead(s, *(m[:, c.top_rows] for m in (c.x, c.y, c.ax, c.cloud)))
    c.z[:, c.eye_rows] += _wrinkles(s, *(m[:, c.eye_rows] for m in (c.y, c.ax, c.cloud)))
    c.z[:, c.low_rows] += _nasolabial(s, *(m[:, c.low_rows] for m in (c.y, c.ax)))
    c.z[:, c.mouth_rows] += _mouth_folds(s, *(m[:, c.mouth_rows] for m in (c.x, c.y, c.ax, c.pore)))


def _forehead(s: SimpleNamespace, x: Tensor, y: Tensor, ax: Tensor, cloud: Tensor) -> Tensor:
    """Height of forehead lines (units 1, 2) and frown furrows (units 4, 9), px."""
    u = s.u
    curve, _ = geometry.brow(s, x)
    # Forehead lines follow the brow; with the inner brow alone only their middle shows.
    lift = (0.35 * u[1] + 0.65 * u[2]).clamp(max=1)
    wave = torch.cos((y - 0.45 * (curve - s.brow_y) + 0.4 * cloud + 2) * (6.2832 / 6.4)) * 0.5 + 0.5
    reach = 27 - 11 * (u[1] - u[2]).clamp(min=0)
    # The cube makes the furrows narrow and the skin between them wide.
    z = -(0.22 * s.age + 0.95 * lift) * wave**3 * bump(ax, y, 0, -42 - 2 * lift, reach, 10)
    # Frown: two upright furrows and the skin bunched between the brows.
    frown = (u[4] + 0.2 * u[9]) * (1 + 0.3 * s.age) + 0.12 * s.age
    furrow = ridge(ax - 4.3 + 0.1 * (y - s.brow_y), 1.1)
    bunch = 1.1 * ridge(ax, 2.6) - 1.5 * furrow + 0.9 * ridge(ax - 8, 3)
    z = z + frown * ridge(y - s.brow_y - 2 - 1.5 * u[4], 7.5) * bunch
    across = ridge(y - s.eye_y + 4.5 + 0.05 * ax.square(), 1.0) * ridge(ax, 5)
    return z - (0.7 * u[4] + 1.3 * u[9] + 0.2 * s.age) * across


def _wrinkles(s: SimpleNamespace, y: Tensor, ax: Tensor, cloud: Tensor) -> Tensor:
    """Height of nose wrinkles (unit 9), crow's feet (unit 6) and lower-lid furrows, px."""
    u = s.u
    fan = (
        torch.cos((y + 0.9 * ax - 0.05 * ax.square() + 0.8 * cloud) * (6.2832 / 5.2)) * 0.5 + 0.5
    ).square()
    z = -0.85 * u[9] * fan * bump(ax, y, 5.0, s.eye_y + 8, 5.0, 7) * (0.75 + 0.5 * cloud)
    # Crow's feet spread from the outer corner of the eye.
    dx, dy = ax - s.eye_x - s.eye_w + 1, y - s.eye_y - 0.5
    rays = (torch.cos(torch.atan2(dy, dx + 1e-3) * 9) * 0.5 + 0.5).square()
    z = z - (0.8 * u[6] * (0.5 + 0.5 * s.age) + 0.3 * s.age) * rays * bump(dx, dy, 6, 0.5, 4.5, 6)
    low = s.eye_y + s.lid_low + 3.2 + 0.0175 * (ax - s.eye_x).square()
    deep = 0.75 * u[6] + 0.5 * u[7] + 0.35 * s.bags + 0.4 * u[9]
    return z - deep * ridge(y - low, 0.95) * ridge(ax - s.eye_x + 1, 8)


def _mouth_folds(s: SimpleNamespace, x: Tensor, y: Tensor, ax: Tensor, pore: Tensor) -> Tensor:
    """Height of the dimpled chin (unit 17) and the creases at the mouth corners, px."""
    u = s.u
    z = 0.8 * u[17] * pore * bump(x, y, 0, s.chin - 8, 9, 6)
    z = z - 1.0 * u[17] * ridge(y - s.chin + 15.5 + 0.02 * ax.square(), 1.6) * ridge(ax, 9)
    corner = y - s.mouth_y - s.corner
    side = ax - s.mouth_x - 4.0 - 0.02 * (y - s.mouth_y).square()
    z = z - (0.9 * u[20] + 0.7 * u[14] + 0.35 * u[12]) * ridge(side, 1.3) * ridge(corner, 6)
    tail = ax - s.mouth_x - 0.5 - 0.2 * corner
    return z - (0.45 * s.fold * s.age + 0.9 * u[15]) * ridge(tail, 1.3) * ridge(corner - 6, 5)


def _nasolabial(s: SimpleNamespace, y: Tensor, ax: Tensor) -> Tensor:
    """Height of the nasolabial fold and of the cheek beside it, px."""
    u = s.u
    pull = torch.maximum(torch.maximum(u[12], u[10]), 0.9 * u[9])
    top, bottom = s.wing_y - 3 - 1.5 * u[9], s.mouth_y + 3 + 0.4 * s.corner
    t = (y - top) / (bottom - top)
    # A power of a negative number would be NaN.
    tc = t.clamp(0, 1.15)
    path = (
        s.wing_x
        + 1.2
        + (s.mouth_x + 5.0 - s.wing_x) * tc**0.85
        + (1.2 + 1.6 * pull) * torch.sin(3.1416 * tc.clamp(max=1))
    )
    depth = (0.42 * s.fold + 1.25 * pull + 0.25 * u[15] + 0.2 * u[20]).clamp(max=1.6)
    # The fold ends softly at the nostril and beside the mouth.
    window = torch.sigmoid((t + 0.02) * 12) * torch.sigmoid((1.05 - t) * 9)
    d = ax - path
    return (
        depth
        * window
        * (1.5 * ridge(d - 4.8, 4.6) - 1.25 * ridge(d, 1.9) - 0.5 * ridge(d + 2.5, 3))
    )


def paint_eyes(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds lids, lashes, sclera, iris and pupil of both eyes: |x| mirrors all but the gaze."""
    r, u = c.eye_rows, s.u
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    up, low = geometry.lids(s, x)
    v = (ax - s.eye_x) / s.eye_w
    inside = step(y - up, 0.35) * step(low - y, 0.35) * step((1 - v.abs()) * s.eye_w, 0.6)
    dx = ax - s.eye_x - x.sign() * c.gaze[:, :1, None]
    dy = y - (s.eye_y - 0.35 + c.gaze[:, 1:, None])
    # A hooded lid hides its crease; a raised or closed one moves it.
    crease = up - 2.1 - 1.6 * (1 - s.eye_hood) + 0.5 * u[5] - 1.2 * u[45]
    across = step(1.12 - v.abs(), 0.16)
    dim = (0.34 * ridge(y - crease, 0.8) + 0.16 * ridge(y - (up + crease) / 2, 1.6)) * across
    albedo = c.albedo[..., r, :] * (1 - dim)[:, None]
    albedo = blend(albedo, _eyeball(c, s, v, y, up, low, dx, dy), inside)
    rim = 0.32 * ridge(y - low - 0.5, 0.55) * across * (1 - inside)
    albedo = blend(albedo, c.skin * srgb(225, 175, 165, device=c.device), rim)
    c.albedo[..., r, :] = _lashes(c, s, albedo, (v, y, up, low))
    ball = inside * (1 - v.square()).clamp(min=0)
    fold = 1.0 * ridge(y - up + 0.8, 1.2) * across * (1 - inside)
    z = 2.0 * ball - 1.5 * ridge(y - crease, 1.0) * across + fold
    c.z[:, r] += z + 0.7 * ridge(y - low - 1.6, 1.3) * across
    c.eye = F.pad(inside, (0, 0, r.start, c.side - r.stop))
    c.gloss = c.gloss * (1 - 0.95 * c.eye)  # a wet eye mirrors lamps (below), it has no sheen
    _catchlight(c, s, x, dx, dy, inside * step(y - up - 0.3, 0.5), r)


def _eyeball(
    c: SimpleNamespace,
    s: SimpleNamespace,
    v: Tensor,
    y: Tensor,
    up: Tensor,
    low: Tensor,
    dx: Tensor,
    dy: Tensor,
) -> Tensor:
    """Colour of sclera, iris and pupil under the shadow of the upper lid."""
    d = (dx.square() + dy.square()).sqrt()
    look = sample_texture(c.texture, torch.atan2(dy, dx) / 3.1416 * 0.9, d / 20)
    radius = 4.05
    rim = 1 - 0.72 * step(d - radius * 0.86, 0.7)
    # Inside 0.62 of the radius lies the lighter ring around the pupil.
    spokes = rim * (1.05 + 0.35 * look[:, 0]) * (1 + 0.5 * (d < radius * 0.62)) * (0.85 + 0.05 * dy)
    iris = (
        color_ramp(IRIS, s.iris_light * 0.75 + 0.25 * s.iris_hue * s.iris_light) * spokes[:, None]
    )
    iris = blend(iris, iris * 0.03, step(1.62 - d, 0.45))
    bulge = (1 - 0.35 * v.square() - 0.02 * (y - s.eye_y).square()).clamp(0.2, 1)
    white = srgb(224, 212, 206, device=c.device) * (1 - 0.35 * s.tone)[..., None]
    pink = srgb(196, 120, 108, device=c.device) * (0.4 + 0.6 * bulge)[:, None]
    sclera = blend(white * bulge[:, None], pink, ridge(v + 0.95, 0.17) * 0.8 + 0.07)
    eye = blend(sclera, iris, step(radius - d, 0.5))
    shadow = 0.42 + 0.58 * step(y - up - 1.9, 1.9)
    # Exposure follows the skin; eyes do not get lighter with it.
    return eye * (shadow * (1 - 0.25 * ridge(y - low, 0.9)) * (1 - 0.3 * s.tone))[:, None]


def _lashes(
    c: SimpleNamespace, s: SimpleNamespace, albedo: Tensor, at: tuple[Tensor, ...]
) -> Tensor:
    v, y, up, low = at
    across = step(1.08 - v.abs(), 0.1)
    dark = srgb(30, 20, 16, device=c.device)
    makeup = 0.75 + 0.55 * (1 - s.sex)
    # Lashes thicken towards the temple, v = 1.
    thick = (0.55 + 0.3 * (v + 1)) * makeup
    upper = ridge(y - up + 0.25 * thick, 0.75 * thick) * across
    albedo = blend(albedo, dark, (0.95 * upper).clamp(0, 0.95))
    return blend(
        albedo, c.skin * 0.25, 0.42 * ridge(y - low - 0.15, 0.45) * across * step(v + 0.6, 0.5)
    )


def _catchlight(
    c: SimpleNamespace,
    s: SimpleNamespace,
    x: Tensor,
    dx: Tensor,
    dy: Tensor,
    inside: Tensor,
    rows: slice,
) -> None:
    azimuth, height = (
        torch.deg2rad(c.lights[:, 0, None, None]),
        torch.deg2rad(c.lights[:, 1, None, None]),
    )
    # dx is mirrored with |x|, the lamp is not: the sign undoes it.
    lx, ly = azimuth.sin() * 2.2 * x.sign(), -height.sin() * 2.6 - 0.3
    spot = step(0.85 - ((dx - lx).square() + (dy - ly).square()).sqrt(), 0.5) * 0.75
    soft = 0.02 * bump(dx, dy, -lx, 2.0, 2.4, 1.6)
    c.wet = c.wet + F.pad((spot + soft) * inside, (0, 0, rows.start, c.side - rows.stop))


def paint_brows(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds brow hairs: outward strokes, densest along the brow's centre line."""
    r = c.brow_rows
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    line, t = geometry.brow(s, x)
    tc = t.clamp(0, 1)
    thick = s.brow_thick * (0.95 + 0.5 * tc * (1 - tc) * 2 - 0.62 * tc**3)
    d = (y - line) / thick
    stroke = sample_texture(
        c.texture, (ax + 0.9 * (y - line) * (1 - 0.9 * tc)) / 66, (y - line + 0.25 * ax) / 150
    )[:, 0]
    ends = step(t + 0.02, 0.07) * step(1.0 - t, 0.16)
    # The power makes the brow fuller and its edge steeper than a Gaussian's.
    body = torch.exp(-(d.square() ** 1.4))
    alpha = (body * (0.9 + 0.5 * stroke) * s.brow_dense * ends).clamp(0, 0.93)
    c.hair = _hair_colour(s)
    dark = c.hair * 0.55 * (1 - 0.35 * s.grey)[..., None]
    # Brows stay visible on dark skin.
    dark = torch.minimum(dark, c.skin * 0.45)
    c.albedo[..., r, :] = blend(c.albedo[..., r, :], dark, alpha)
    c.z[:, r] += alpha * (0.5 + 0.4 * stroke)
    c.gloss[:, r] *= 1 - 0.7 * alpha


def _hair_colour(s: SimpleNamespace) -> Tensor:
    base = color_ramp(HAIR, s.melanin)
    red = srgb(150, 70, 36, device=base.device) * (1.25 - s.melanin)[..., None]
    base = base + (red - base) * (s.redness * 0.8)[..., None]
    return base + (srgb(176, 174, 172, device=base.device) - base) * (s.grey * 0.85)[..., None]


def paint_beard(c: SimpleNamespace, s: SimpleNamespace) -> None:
    """Adds stubble, moustache and beard; does nothing where no face of the batch has any."""
    if not bool((s.stubble + s.beard + s.moustache > 0).any()):
        return
    r = c.mouth_rows
    x, y, ax = c.x[:, r], c.y[:, r], c.ax[:, r]
    top, _, _, bottom = geometry.lips(s, x)
    lip = step(y - top + 0.8, 0.8) * step(bottom + 0.6 - y, 0.8) * step(s.mouth_x - ax, 1.0)
    cheek = 33 - 0.95 * (ax - 19).clamp(min=0) - 0.5 * (1 - (ax / 19).clamp(max=1)) * 4
    region = step(y - cheek - 2 * c.cloud[:, r] + 1.5 * c.white[:, r], 5.5) * (
        0.75 + 0.25 * step(y - 44, 12)
    )
    spread = s.mouth_x + 1.5 + 0.35 * (y - s.mouth_y)
    lip_hair = step(y - s.wing_y - 6.0 - 0.02 * ax.square() + 0.8 * c.white[:, r], 1.6)
    lip_hair = lip_hair * step(spread - ax + c.white[:, r], 3.0) * step(s.mouth_y + 9 - y, 5)
    bare = bump(ax, y, 7.5, s.mouth_y + 12 + 6 * s.u[26], 4, 3) * 0.5
    hair = sample_texture(c.texture, (x + 0.2 * y * x / 30) / 72, (y - 0.3 * ax) / 260)[:, 0]
    fine = sample_texture(c.texture, x / 30, y / 30)[:, 0]
    full = (torch.maximum(region * s.beard, lip_hair * s.moustache) * (1 - lip) * (1 - bare)).clamp(
        0, 1
    )
    shadow = torch.maximum(region, lip_hair) * (1 - lip) * s.stubble * 0.26 * (0.75 + 0.5 * fine)
    albedo = blend(
        c.albedo[..., r, :], c.skin * srgb(150, 140, 140, device=c.device) * 0.75, shadow
    )
    albedo = blend(
        albedo,
        torch.minimum(c.hair * 0.6, c.skin * 0.42) * (0.7 + 0.6 * hair)[:, None],
        (full * (0.78 + 0.5 * hair)).clamp(0, 0.95),
    )
    c.albedo[..., r, :] = albedo
    c.z[:, r] += full * (1.0 + 0.45 * hair)
    c.gloss[:, r] *= 1 - 0.8 * full
