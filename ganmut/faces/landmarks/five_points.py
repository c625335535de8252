"""The five-point network: where the points lie in a 64 px grey window, and whether it is a face."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganmut.faces.align import BadPoints, crop_face, template
from ganmut.images import LUMA_WEIGHTS
from ganmut.weights import bundled_root
from ganmut.weights.storage import Weights, fill_module, read, write

SIZE = 64
WEIGHT = "faces/points"
FLAT = 0.01  # least spread of a window that can show a face, of 0..1
LUMA = np.array(LUMA_WEIGHTS, np.float32)


class FivePoints(nn.Module):
    """A small residual network; windows are first brought to zero mean and unit spread."""

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
        nn.init.zeros_(self.points.weight)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean", torch.from_numpy(template(SIZE)).float(), persistent=False)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Points N x 5 x 2 (pixels) and face logits N of windows N x 1 x 64 x 64 in 0..1."""
        spread, level = torch.std_mean(windows, (1, 2, 3), keepdim=True)
        seen = self.neck(self.trunk((windows - level) / (spread + 1e-3)))
        points = self.mean + self.points(seen).unflatten(1, (5, 2)) * (SIZE / 4)
        # A window without any contrast is scaled-up rounding noise, and no face.
        return points, self.face(seen)[:, 0] - 30 * (spread[:, 0, 0, 0] < FLAT)


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
def locate_points(
    network: FivePoints, picture: np.ndarray, guesses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One look: points N x 5 x 2 (picture pixels) and scores N (0..1) from guesses N x 5 x 2.

    The picture is aligned by each guess and the network says where the points really are; looking
    again from there is more precise. A guess that defines no alignment keeps its points and scores
    0.
    """
    points, scores = np.array(guesses, np.float64), np.zeros(len(guesses))
    views, rows = [], []
    for row, five in enumerate(points):
        try:
            views.append(crop_face(picture, five, SIZE))
            rows.append(row)
        except BadPoints:
            continue
    if rows:
        windows = torch.from_numpy(np.stack([view @ LUMA for view, _ in views]))[:, None]
        found, logits = network(windows / 255)
        for row, five, (_, transform) in zip(rows, found.double().numpy(), views, strict=True):
            points[row] = transform.inverse(five)
        scores[rows] = logits.sigmoid().double().numpy()
    return points, scores


def save_network(
    network: FivePoints, folder: str | Path, facts: dict, examples: Tensor, card: str
) -> Path:
    """Writes the network as a weight folder, whole or not at all; `facts` go into its config.json.

    examples: uint8 N x 1 x 64 x 64 windows whose answers are kept as golden tensors.
    """

    def answers(written: Weights) -> dict[str, Tensor]:
        points, logits = build(written)(examples.float() / 255)
        return {"windows": examples, "points": points, "logits": logits}

    config = {"network": "five_points", "width": network.width, "size": SIZE, **facts}
    return write(folder, "extractor", network.state_dict(), config, answers, card)


def build(weights: Weights) -> FivePoints:
    """The network of a checked weight, ready to use; raises BadWeights where it does not fit."""
    network = FivePoints(weights.config["width"])
    fill_module(network, weights)
    return network.eval().requires_grad_(False)


@cache
def load_network(folder: str | Path | None = None) -> FivePoints:
    """The network of a weight folder (by default the bundled one); raises BadWeights."""
    return build(read(folder or bundled_root() / WEIGHT, "extractor"))
