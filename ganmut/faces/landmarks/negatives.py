"""Faceless windows for the five-point network: textures, noise, faces in disorder, false alarms."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data as samples
from torch import Tensor

from ganmut import images as pictures
from ganmut.faces.align import SIDE, resample
from ganmut.faces.detectors.builtin import (
    BOX_SIDE,
    CROP_CENTRE,
    cascade_boxes,
    downscale,
    open_cascade,
)
from ganmut.faces.landmarks.five_points import LUMA

# Pictures without faces that come with scikit-image. Others that come with it (coffee, chelsea,
# rocket, brick) are left for testing.
NEGATIVE_IMAGES = (
    "gravel",
    "grass",
    "page",
    "text",
    "coins",
    "moon",
    "clock",
    "hubble_deep_field",
    "retina",
    "immunohistochemistry",
    "cell",
    "colorwheel",
    "checkerboard",
    "horse",
)


def load_negative_images() -> list[np.ndarray]:
    """uint8 H x W grey pictures of NEGATIVE_IMAGES and of a garage, at most 640 px wide or high."""
    colour = [
        *(getattr(samples, name)() for name in NEGATIVE_IMAGES),
        samples.stereo_motorcycle()[0],
    ]
    return [
        np.array(downscale(to_grey(np.asarray(picture))[0].numpy(), 640)[0]) for picture in colour
    ]


def sample_negatives(
    faces: Tensor, views: list[np.ndarray], generator: torch.Generator, n: int
) -> Tensor:
    """uint8 n x 1 x 128 x 128: pieces of the faceless `views`, noise, faces in disorder."""
    found = []
    for i in range(n):
        if i % 4 == 0:
            found.append(_clouds(generator))
        elif i % 4 == 1:
            found.append(_disorder(faces[i % len(faces)], generator))
        else:
            view = torch.from_numpy(views[i // 2 % len(views)])
            found.append(_part(view[None], generator))
    return torch.stack(found)


def _part(picture: Tensor, generator: torch.Generator) -> Tensor:
    share = 0.1 + 0.9 * torch.rand(1, generator=generator).item()
    side = int(min(picture.shape[1:]) * share)
    top, left = (
        int(torch.randint(limit - side + 1, (1,), generator=generator))
        for limit in picture.shape[1:]
    )
    piece = picture[None, :, top : top + side, left : left + side].float()
    return pictures.resize(piece, SIDE)[0].round().to(torch.uint8)


def _disorder(face: Tensor, generator: torch.Generator) -> Tensor:
    """A face in 16 squares that lie in another order: skin, hair and features, but no face."""
    squares = face.unfold(1, 32, 32).unfold(2, 32, 32).reshape(16, 32, 32)
    mixed = squares[torch.randperm(16, generator=generator)].reshape(1, 4, 4, 32, 32)
    return mixed.permute(0, 1, 3, 2, 4).reshape(1, SIDE, SIDE)


def _clouds(generator: torch.Generator, side: int = SIDE) -> Tensor:
    """Noise of all scales, like walls, hair and foliage out of focus; sometimes all but flat."""
    total = torch.zeros(1, 1, side, side)
    fall = 0.5 + torch.rand(1, generator=generator).item()
    for octave in range(1, 7):
        noise = torch.randn(1, 1, 2**octave, 2**octave, generator=generator)
        smooth = F.interpolate(noise, side, mode="bicubic", align_corners=False)
        total += smooth * 2 ** (-fall * octave)
    strength = 60 * torch.rand(1, generator=generator).item()
    return ((total - total.mean()) / total.std() * strength + 128).clamp(0, 255)[0].to(torch.uint8)


def mine_hard_negatives(
    faces: Tensor, views: list[np.ndarray], generator: torch.Generator, n: int, looks: int = 200
) -> Tensor:
    """uint8 at most n x 1 x 128 x 128: what the cascade takes for a face and is none.

    Half come from the faceless `views`, upright and upside down; half from `looks` photographs at
    most, where a box far from the known face is a mistake.
    """
    cascade = open_cascade()
    found: list[Tensor] = []
    for i in torch.randperm(2 * len(views), generator=generator).tolist():
        if len(found) >= n / 2:
            break
        view = downscale(np.ascontiguousarray(np.rot90(views[i // 2], 2 * (i % 2))), 400)[0]
        found += [_piece(view, box) for box in cascade_boxes(cascade, view)]
    for row in torch.randperm(len(faces), generator=generator)[:looks].tolist():
        if len(found) >= n:
            break
        view, centre = np.pad(faces[row, 0].numpy(), SIDE // 4, mode="edge"), 0.75 * SIDE
        for box in cascade_boxes(cascade, view):
            off = np.abs(box[:2] + box[2] / 2 - centre).max()
            if off > 0.3 * SIDE or box[2] < 0.4 * SIDE:
                found.append(_piece(view, box))
    return torch.stack(found[:n]) if found else faces[:0]


def _piece(view: np.ndarray, box: np.ndarray) -> Tensor:
    """uint8 1 x 128 x 128: a cascade's box cropped as a face there would be."""
    side = box[2] / BOX_SIDE
    scale = side / SIDE
    corner = box[:2] + box[2] * CROP_CENTRE - side / 2
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]], [0, 0, 1]])
    return to_grey(resample(view[..., None], matrix, SIDE, SIDE)[..., 0])


def to_grey(pixels: np.ndarray) -> Tensor:
    """uint8 1 x H x W of any H x W (x C) picture, bool or 0..255."""
    pixels = pixels.astype(np.float32) * (255 if pixels.dtype == bool else 1)
    grey = pixels[..., :3] @ LUMA if pixels.ndim == 3 else pixels
    return torch.from_numpy(grey.round().clip(0, 255).astype(np.uint8))[None]
