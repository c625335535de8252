"""The five-point network: five landmarks and a face score from a 64 px grey window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ganmut.faces.align import BadPoints, crop_face, template
from ganmut.images import LUMA_WEIGHTS
from ganmut.networks.config import Settings
from ganmut.weights import bundled_root
from ganmut.weights.storage import Weights, build_module, parse_settings, read, write

SIZE = 64
WEIGHT = "faces/points"
MIN_STD = 0.01  # of the pixels (0..1) of a window that can show a face
LUMA = np.array(LUMA_WEIGHTS, np.float32)
CHUNK = 64  # windows that the network sees at once


@dataclass(frozen=True)
class Shape(Settings):
    """The size of the network, as its config.json holds it."""

    width: int

    LIMITS: ClassVar = {"width": (1, 256)}


class FivePoints(nn.Module):
    """A small residual network on standardised windows: five points and a face logit."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.width = width
        widths = [width, width * 2, width * 4, width * 5]
        stages: list[nn.Module] = [_conv(1, width, 2)]
        for before, after in pairwise(widths):
            stages += [_conv(before, after, 2), _Residual(after)]
        self.trunk = nn.Sequential(*stages)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 16, 128), nn.ReLU())
        self.points, self.face = nn.Linear(128, 10), nn.Linear(128, 1)
        # Training starts at the template, where aligned faces have their points.
        nn.init.zeros_(self.points.weight)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean", torch.from_numpy(template(SIZE)).float(), persistent=False)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Points N x 5 x 2 (pixels) and face logits N of windows N x 1 x 64 x 64 in 0..1."""
        std, mean = torch.std_mean(windows, (1, 2, 3), keepdim=True)
        features = self.neck(self.trunk((windows - mean) / (std + 1e-3)))
        # Outputs of order 1 are a quarter of the window: boxes of the cascade are that far off.
        points = self.mean + self.points(features).unflatten(1, (5, 2)) * (SIZE / 4)
        # Standardising a window without contrast amplifies rounding noise: it is never a face.
        return points, self.face(features)[:, 0] - 30 * (std[:, 0, 0, 0] < MIN_STD)


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


@torch.no_grad()
def read_windows(network: FivePoints, windows: Tensor) -> tuple[Tensor, Tensor]:
    """What the network says of any number of windows; takes memory for CHUNK of them."""
    parts = [network(part) for part in windows.split(CHUNK)]
    points, logits = zip(*parts, strict=True)
    return torch.cat(points), torch.cat(logits)


@torch.no_grad()
def locate_points(
    network: FivePoints, picture: np.ndarray, initial: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One pass: (points N x 5 x 2 in pixels of the picture, scores N in 0..1).

    initial: N x 5 x 2, the points that align the windows; a second pass from the result is more
    precise. Points that define no alignment are returned unchanged with score 0.
    """
    points, scores = np.array(initial, np.float64), np.zeros(len(initial))
    crops, rows = [], []
    for row, five in enumerate(points):
        try:
            crops.append(crop_face(picture, five, SIZE))
            rows.append(row)
        except BadPoints:
            continue
    if rows:
        windows = torch.from_numpy(np.stack([crop @ LUMA for crop, _ in crops]))[:, None]
        found, logits = read_windows(network, windows / 255)
        for row, five, (_, transform) in zip(rows, found.double().numpy(), crops, strict=True):
            points[row] = transform.inverse(five)
        scores[rows] = logits.sigmoid().double().numpy()
    return points, scores


def save_network(
    network: FivePoints, folder: str | Path, facts: dict, examples: Tensor, card: str
) -> Path:
    """Writes the network as a weight folder, atomically; `facts` are added to its config.json.

    examples: uint8 N x 1 x 64 x 64 windows, stored with their outputs as golden tensors.
    """

    def make_golden(written: Weights) -> dict[str, Tensor]:
        points, logits = build(written)(examples.float() / 255)
        return {"windows": examples, "points": points, "logits": logits}

    config = {"network": "five_points", "width": network.width, "size": SIZE, **facts}
    return write(folder, "extractor", network.state_dict(), config, make_golden, card)


def build(weights: Weights) -> FivePoints:
    """The network of checked weights, frozen and in eval mode.

    Raises BadWeights where its tensors do not fit.
    """
    given = {name: v for name, v in weights.config.items() if name in Shape.names()}
    shape = parse_settings(Shape, given, weights.folder / "config.json")
    network = build_module(lambda: FivePoints(shape.width), weights, lambda built: built)
    return network.eval().requires_grad_(False)


@cache
def load_network(folder: str | Path | None = None) -> FivePoints:
    """The network of a weight folder, by default the bundled one. Raises BadWeights."""
    return build(read(folder or bundled_root() / WEIGHT, "extractor"))
