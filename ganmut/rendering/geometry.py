"""Geometry of rendered faces: curves and 68 landmarks from identity and action units.

Face coordinates: px of the 128-px crop, from its centre, before pose and camera; x to the viewer's
right, y down, z towards the viewer. Sizes follow anthropometry at 0.64 px per millimetre (63 mm
between the pupils).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ganmut.emotions import UNITS
from ganmut.rendering.primitives import Device

if TYPE_CHECKING:
    from ganmut.rendering.sampler import FaceParameters

Units = dict[int, Tensor]  # B x 1 x 1 by the number of the action unit
Column = Callable[..., Tensor]  # 1 x 1 x n of n numbers
Points = tuple[Tensor, Tensor]  # x and y of some landmarks, B x 1 x n

# The five points (eyes, nose tip, mouth corners) of the aligned crop: ArcFace's template x
# 128/112, 7 px up, centred.
TEMPLATE = ((-20.23, -11.92), (20.04, -12.14), (0.03, 10.98), (-16.52, 34.56), (16.83, 34.38))
DEPTH = 46.0  # how far the middle of the face stands out over its outline


def face_shape(parameters: FaceParameters, device: Device = "cpu") -> SimpleNamespace:
    """The shape parameters of B faces: tensors B x 1 x 1 in face px, angles in radians."""
    column = {
        n: parameters.identity[:, i, None, None].to(device) for i, n in enumerate(parameters.TRAITS)
    }
    u = {n: parameters.units[:, i, None, None].to(device) for i, n in enumerate(UNITS)}
    s = SimpleNamespace(u=u, **column)
    s.yaw, s.pitch, s.roll = (
        torch.deg2rad(parameters.pose[:, i, None, None].to(device)) for i in range(3)
    )
    _move_mouth(s, u)
    _move_eyes(s, u)
    _move_brows(s, u)
    # A dropped jaw (26) lengthens the face, a raised chin (17) shortens it.
    s.chin = s.chin_y + 9.5 * u[26] - 1.2 * u[17]
    s.wing_y = 12.2 + s.nose_len - 1.9 * u[9] - 0.9 * u[10] - 0.4 * u[12]
    s.wing_x = s.nose_w + 0.8 * u[9] + 0.5 * u[10] + 0.9 * u[12]
    _place(s, parameters, device)
    return s


def _move_mouth(s: SimpleNamespace, u: Units) -> None:
    part = u[25]
    # A smile (12) and a stretch (20) widen the mouth; tight lips (23) and the chin (17) narrow it,
    # and so does the dropped jaw (26), where neither of the first two holds it wide.
    s.mouth_x = (
        s.mouth_w
        + 5.2 * u[12]
        + 4.6 * u[20]
        + 1.2 * u[14]
        + 0.6 * u[10]
        - 1.8 * u[23]
        - 0.9 * u[17]
        - 2.6 * u[26] * (1 - u[12]) * (1 - u[20])
    )
    s.corner = s.mouth_bend - 5.6 * u[12] + 5.6 * u[15] + 1.5 * u[20] + 1.6 * u[26]
    s.line_y = s.mouth_y - 0.6 * u[12] - 1.2 * u[17] - 0.9 * u[10] - 0.5 * u[9]
    # Lips part by unit 25; the jaw (26) opens them wider, and a smile or raised lip too.
    s.gap = part * (2.5 + 2.6 * u[12] + 2.8 * u[10] + 2.6 * u[20]) + u[26] * (2.0 + 9.0 * part)
    s.lift = 3.2 * u[10] + 1.2 * u[9] + 0.7 * u[12] + 1.8 * u[17] + 0.12 * s.gap
    # Units that bare the teeth make the opening square; `lips` takes this as an exponent.
    s.square = (u[10] * 0.8 + u[20] * 0.6 + u[9] * 0.3).clamp(max=1)
    # Products, not sums: lips that several units thin never get a negative height.
    s.upper_lip = (
        s.lip_up * (1 - 0.3 * u[12]) * (1 - 0.6 * u[23]) * (1 - 0.3 * u[20]) * (1 - 0.3 * u[10])
    )
    s.lower_lip = (
        s.lip_low * (1 - 0.2 * u[12]) * (1 - 0.6 * u[23]) * (1 - 0.25 * u[20]) * (1 + 0.12 * u[17])
    )


def _move_eyes(s: SimpleNamespace, u: Units) -> None:
    open_up = (
        s.eye_up
        + 2.9 * u[5]
        - 1.0 * u[7]
        - 0.5 * u[6]
        - 0.5 * u[4]
        - 0.5 * u[9]
        + 0.4 * u[1] * u[2]
    )
    s.lid_low = (s.eye_low - 1.4 * u[7] - 1.1 * u[6] - 0.6 * u[9] + 0.4 * u[5]).clamp(min=0.5)
    # A blink (45) is the way of the upper lid: it stops near the lower one, which stays.
    s.lid_up = open_up.clamp(min=0.7) * (1 - u[45]) - 0.8 * s.lid_low * u[45]
    # A sad brow drags the lid with it: up at the nose, down at the temple.
    s.lid_tilt = s.eye_tilt - 1.3 * (u[1] - u[2]).clamp(min=0)


def _move_brows(s: SimpleNamespace, u: Units) -> None:
    s.brow_in = 8.4 + s.brow_gap - 2.3 * u[4] - 0.4 * u[9]
    s.brow_out = 33.0 + s.brow_gap * 0.5
    s.brow_1 = -6.3 * u[1]
    s.brow_2 = -6.3 * u[2]
    s.brow_4 = 4.9 * u[4] * (1 - 0.65 * u[1]) + 1.3 * u[9] * (1 - 0.5 * u[4])
    s.brow_all = 0.5 * u[7] + 0.7 * u[6]


def outline(s: SimpleNamespace, y: Tensor) -> Tensor:
    """Half width of the head at height y, px; 0 beyond chin and crown."""
    low = ((y - s.mid) / (s.chin - s.mid)).clamp(0, 1) ** s.jaw
    high = ((s.mid - y) / s.crown).clamp(0, 1) ** 2.6
    return s.head_w * (1 - low - high).clamp(min=0).sqrt()


def lids(s: SimpleNamespace, x: Tensor) -> tuple[Tensor, Tensor]:
    """Heights of the upper and the lower lid margin at x (either eye), px; both meet at the
    corners.
    """
    v = ((x.abs() - s.eye_x) / s.eye_w).clamp(-1, 1)
    base = s.eye_y - s.lid_tilt * v
    # The upper lid is highest on the side of the nose, the lower one lowest on the side of the
    # temple; the corners (|v| = 1) stay.
    skew = 1 - v * v
    up = base - s.lid_up * (1 - (v + 0.14 * skew).abs() ** 2.2)
    low = base + s.lid_low * (1 - (v - 0.12 * skew).abs() ** 2.1)
    return up, low


def brow(s: SimpleNamespace, x: Tensor) -> tuple[Tensor, Tensor]:
    """Height of the brow's middle line at x, px, and the position along it (0 at the nose, 1 at the
    temple).
    """
    t = (x.abs() - s.brow_in) / (s.brow_out - s.brow_in)
    c = t.clamp(-0.25, 1.2)
    # One brow rises more than the other, smoothly across the middle.
    side = 1 + s.uneven * x / (x.abs() + 4)
    arch = s.brow_arch * (1 - ((c - 0.62) / 0.62) ** 2)
    inner = (1 - c).clamp(min=0) ** 1.4
    outer = (1 - ((c - 0.75) / 0.75) ** 2).clamp(min=0)
    raised = (s.brow_1 * inner + s.brow_2 * outer) * side
    return s.brow_y + s.brow_all + 1.2 - arch + raised + s.brow_4 * (1 - 0.55 * c), t


def lips(s: SimpleNamespace, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outer upper, inner upper, inner lower and outer lower lip heights at x, px; all meet at the
    corners.
    """
    v = (x.abs() / s.mouth_x).clamp(max=1)
    side = 1 + s.uneven * x.sign()
    full = 1 - v ** (2.0 + 3.0 * s.square)
    # Cupid's bow: a dip in the middle of the upper lip between two peaks.
    wave = 0.55 * torch.exp(-((v / 0.2) ** 2)) - 0.35 * torch.exp(-(((v - 0.45) / 0.25) ** 2))
    upper = s.line_y + s.corner * side * v**1.6 - s.lift * full + wave * (1 - v)
    lower = upper + s.gap * (1 - v ** (2.4 + 2.0 * s.square)).clamp(min=0) ** 0.8
    bow = (1 - 0.2 * torch.exp(-((v / 0.13) ** 2))) * (1 - 0.25 * v)
    top = upper - s.upper_lip * bow * (1 - v**2.4).clamp(min=0) ** 0.8
    bottom = lower + s.lower_lip * (1 - v**2.8).clamp(min=0) ** 0.8
    return top, upper, lower, bottom


def relief(s: SimpleNamespace, x: Tensor, y: Tensor) -> Tensor:
    """Smooth depth used for parallax, px: head and nose without the details that shading adds."""
    head = DEPTH * (1 - 0.5 * (x / s.head_w) ** 2 - 0.28 * ((y + 5) / 70) ** 2)
    # The nose rises from between the eyes (-22) to its tip (12) and ends below its wings.
    ridge = ((y + 22) / 34).clamp(0, 1)
    nose = (
        s.nose_high * ridge * torch.exp(-((x / 8) ** 2)) * torch.sigmoid((s.wing_y + 5 - y) / 2.0)
    )
    return head + nose


def project(s: SimpleNamespace, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Face coordinates to image coordinates (128-px crop, from its centre): pose, then alignment
    and camera.
    """
    z = relief(s, x, y)
    # Orthographic: yaw, then pitch of the turned depth; z only shifts points.
    px = x * s.yaw.cos() + z * s.yaw.sin()
    py = y * s.pitch.cos() - (z * s.yaw.cos() - x * s.yaw.sin()) * s.pitch.sin()
    return s.ar * px - s.ai * py + s.bx, s.ai * px + s.ar * py + s.by


def unproject(s: SimpleNamespace, px: Tensor, py: Tensor, steps: int = 4) -> tuple[Tensor, Tensor]:
    """Image coordinates to face coordinates: the inverse of `project` by fixed-point steps (they
    contract below 25 deg).
    """
    scale = s.ar**2 + s.ai**2
    dx, dy = px - s.bx, py - s.by
    vx, vy = (s.ar * dx + s.ai * dy) / scale, (s.ar * dy - s.ai * dx) / scale
    # The first guess ignores the depth.
    x, y = vx, vy
    for _ in range(steps):
        z = relief(s, x, y)
        ahead = z * s.yaw.cos() - x * s.yaw.sin()
        x, y = (vx - z * s.yaw.sin()) / s.yaw.cos(), (vy + ahead * s.pitch.sin()) / s.pitch.cos()
    return x, y


def _place(s: SimpleNamespace, parameters: FaceParameters, device: Device) -> None:
    """Least-squares similarity of the *neutral* five points to TEMPLATE, then the camera's jitter.

    The neutral points, so that every expression of a person has the same crop.
    """
    one = torch.ones_like(s.eye_x)
    x = torch.cat([-s.eye_x, s.eye_x, 0 * one, -s.mouth_w, s.mouth_w], 2)
    y = torch.cat([s.eye_y, s.eye_y, s.nose_len + 11 * one, s.mouth_y, s.mouth_y], 2)
    s.ar, s.ai, s.bx, s.by = one, 0 * one, 0 * one, 0 * one
    px, py = project(s, x, y)
    q = torch.tensor(TEMPLATE, device=device)
    qx, qy = q[:, 0], q[:, 1]
    cx, cy = px - px.mean(2, True), py - py.mean(2, True)
    dx, dy = qx - qx.mean(), qy - qy.mean()
    # Closed form of the least-squares similarity in complex numbers: (ar + i ai) z + b.
    power = (cx**2 + cy**2).sum(2, True)
    ar, ai = (cx * dx + cy * dy).sum(2, True) / power, (cx * dy - cy * dx).sum(2, True) / power
    jitter = parameters.camera[:, :3, None, None].to(device)
    size, cos, sin = 1 + jitter[:, 2], s.roll.cos(), s.roll.sin()
    s.ar, s.ai = size * (ar * cos - ai * sin), size * (ar * sin + ai * cos)
    mx, my = px.mean(2, True), py.mean(2, True)
    s.bx = qx.mean() + jitter[:, 0] - (s.ar * mx - s.ai * my)
    s.by = qy.mean() + jitter[:, 1] - (s.ai * mx + s.ar * my)


def landmarks(parameters: FaceParameters, size: int = 128) -> Tensor:
    """68 landmarks in iBUG order: N x 68 x 2, float32, pixels of a size x size image (x, y),
    pixel centres at .5.
    """
    s = face_shape(parameters)
    column = lambda *v: torch.tensor(v, dtype=torch.float32).view(1, 1, -1)  # noqa: E731
    parts = [
        _jaw_points(s, column),
        *_brow_points(s, column),
        *_nose_points(s, column),
        *_eye_points(s, column),
    ]
    parts += _mouth_points(s, column)
    x = torch.cat([p[0].expand(len(parameters), 1, -1) for p in parts], 2)
    y = torch.cat([p[1].expand(len(parameters), 1, -1) for p in parts], 2)
    px, py = project(s, x, y)
    return (torch.stack([px, py], -1)[:, 0] + 64) * (size / 128)


def _jaw_points(s: SimpleNamespace, column: Column) -> Points:
    # Denser towards the chin, where the outline turns; the other side mirrors these.
    t = column(0, 0.16, 0.32, 0.47, 0.62, 0.75, 0.86, 0.95, 1.0)
    t = torch.cat([t, t.flip(2)[..., 1:]], 2)
    y = s.mid + (s.chin - s.mid) * t
    return outline(s, y) * column(*[-1] * 8, 0, *[1] * 8), y


def _brow_points(s: SimpleNamespace, column: Column) -> tuple[Points, Points]:
    t = column(1, 0.75, 0.5, 0.25, 0)
    right = s.brow_in + (s.brow_out - s.brow_in) * t.flip(2)
    left = -(s.brow_in + (s.brow_out - s.brow_in) * t)
    return (left, brow(s, left)[0]), (right, brow(s, right)[0])


def _nose_points(s: SimpleNamespace, column: Column) -> tuple[Points, Points]:
    bridge = s.eye_y + 1 + (s.nose_len + 11 - s.eye_y - 1) * column(0, 1 / 3, 2 / 3, 1)
    base = s.wing_x * column(-0.9, -0.45, 0, 0.45, 0.9)
    return (0 * bridge, bridge), (base, s.wing_y + column(3.6, 4.8, 5.6, 4.8, 3.6))


def _eye_points(s: SimpleNamespace, column: Column) -> Iterator[Points]:
    for side in (-1, 1):
        # iBUG begins each eye at the corner that is left in the image.
        order = (1, 0.36, -0.36, -1, -0.36, 0.36) if side < 0 else (-1, -0.36, 0.36, 1, 0.36, -0.36)
        x = side * (s.eye_x + s.eye_w * column(*order))
        up, low = lids(s, x)
        yield x, torch.cat([up[..., :4], low[..., 4:]], 2)


def _mouth_points(s: SimpleNamespace, column: Column) -> list[Points]:
    x = s.mouth_x * column(-1, -0.62, -0.22, 0, 0.22, 0.62, 1, 0.62, 0.25, 0, -0.25, -0.62)
    top, _, _, bottom = lips(s, x)
    inner = s.mouth_x * column(-0.9, -0.4, 0, 0.4, 0.9, 0.4, 0, -0.4)
    _, upper, lower, _ = lips(s, inner)
    return [
        (x, torch.cat([top[..., :7], bottom[..., 7:]], 2)),
        (inner, torch.cat([upper[..., :5], lower[..., 5:]], 2)),
    ]
