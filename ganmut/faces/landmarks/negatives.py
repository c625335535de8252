"""Negatives for the five-point network: textures, noise, shuffled faces, false alarms."""

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

# Images of scikit-image without faces. Its coffee, chelsea, rocket and brick are used for testing.
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
    """uint8 H x W grey images: NEGATIVE_IMAGES and a garage, at most 640 px wide and high."""
    colour = [
        *(getattr(samples, name)() for name in NEGATIVE_IMAGES),
        samples.stereo_motorcycle()[0],
    ]
    return [np.array(downscale(to_grey(np.asarray(image))[0].numpy(), 640)[0]) for image in colour]


def sample_negatives(
    faces: Tensor, images: list[np.ndarray], generator: torch.Generator, n: int
) -> Tensor:
    """uint8 n x 1 x 128 x 128: a quarter noise, a quarter shuffled faces, half random crops.

    faces: uint8 N x 1 x 128 x 128. images: uint8 H x W without faces.
    """
    windows = []
    for i in range(n):
        if i % 4 == 0:
            windows.append(_fractal_noise(generator))
        elif i % 4 == 1:
            windows.append(_shuffle(faces[i % len(faces)], generator))
        else:
            image = torch.from_numpy(images[i // 2 % len(images)])
            windows.append(_random_crop(image[None], generator))
    return torch.stack(windows)


def _random_crop(image: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 1 x 128 x 128: a square of 10 to 100 % of the shorter side of 1 x H x W."""
    share = 0.1 + 0.9 * torch.rand(1, generator=generator).item()
    side = int(min(image.shape[1:]) * share)
    top, left = (
        int(torch.randint(limit - side + 1, (1,), generator=generator)) for limit in image.shape[1:]
    )
    crop = image[None, :, top : top + side, left : left + side].float()
    return pictures.resize(crop, SIDE)[0].round().to(torch.uint8)


def _shuffle(face: Tensor, generator: torch.Generator) -> Tensor:
    """A face (1 x 128 x 128) with its 4 x 4 squares permuted: facial features, but no face."""
    # Eyes and mouths in a wrong order: parts alone must not make a face.
    squares = face.unfold(1, 32, 32).unfold(2, 32, 32).reshape(16, 32, 32)
    order = torch.randperm(16, generator=generator)
    shuffled = squares[order].reshape(1, 4, 4, 32, 32)
    return shuffled.permute(0, 1, 3, 2, 4).reshape(1, SIDE, SIDE)


def _fractal_noise(generator: torch.Generator, side: int = SIDE) -> Tensor:
    """uint8 1 x side x side: fractal noise of random decay and contrast, like defocused texture."""
    total = torch.zeros(1, 1, side, side)
    decay = 0.5 + torch.rand(1, generator=generator).item()
    for octave in range(1, 7):
        noise = torch.randn(1, 1, 2**octave, 2**octave, generator=generator)
        smooth = F.interpolate(noise, side, mode="bicubic", align_corners=False)
        # Amplitudes fall by octave, as in photographs out of focus, which cascades take for faces.
        total += smooth * 2 ** (-decay * octave)
    contrast = 60 * torch.rand(1, generator=generator).item()
    return ((total - total.mean()) / total.std() * contrast + 128).clamp(0, 255)[0].to(torch.uint8)


def mine_hard_negatives(
    faces: Tensor,
    images: list[np.ndarray],
    generator: torch.Generator,
    n: int,
    max_faces: int = 200,
) -> Tensor:
    """uint8 m x 1 x 128 x 128, m <= n: false alarms of the cascade.

    Up to half come from `images` (uint8 H x W without faces, upright and upside down), the others
    from at most `max_faces` of `faces` (uint8 N x 1 x 128 x 128): proposals away from the face.
    """
    cascade = open_cascade()
    found: list[Tensor] = []
    for i in torch.randperm(2 * len(images), generator=generator).tolist():
        if len(found) >= n / 2:
            break
        image = downscale(np.ascontiguousarray(np.rot90(images[i // 2], 2 * (i % 2))), 400)[0]
        found += [_crop_box(image, box) for box in cascade_boxes(cascade, image)]
    for row in torch.randperm(len(faces), generator=generator)[:max_faces].tolist():
        if len(found) >= n:
            break
        # Padding makes room for proposals at the border; the face is in the centre.
        image, centre = np.pad(faces[row, 0].numpy(), SIDE // 4, mode="edge"), 0.75 * SIDE
        for box in cascade_boxes(cascade, image):
            distance = np.abs(box[:2] + box[2] / 2 - centre).max()
            if distance > 0.3 * SIDE or box[2] < 0.4 * SIDE:
                found.append(_crop_box(image, box))
    return torch.stack(found[:n]) if found else faces[:0]


def _crop_box(image: np.ndarray, box: np.ndarray) -> Tensor:
    """uint8 1 x 128 x 128: the crop of an image (H x W) that aligns a face in the cascade's box."""
    side = box[2] / BOX_SIDE
    scale = side / SIDE
    corner = box[:2] + box[2] * CROP_CENTRE - side / 2
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]], [0, 0, 1]])
    return to_grey(resample(image[..., None], matrix, SIDE, SIDE)[..., 0])


def to_grey(pixels: np.ndarray) -> Tensor:
    """uint8 1 x H x W luma of an H x W or H x W x C image, bool or 0..255."""
    pixels = pixels.astype(np.float32) * (255 if pixels.dtype == bool else 1)
    grey = pixels[..., :3] @ LUMA if pixels.ndim == 3 else pixels
    return torch.from_numpy(grey.round().clip(0, 255).astype(np.uint8))[None]
