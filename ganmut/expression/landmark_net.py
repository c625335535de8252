"""The landmark network: 478 points, the head's pose and the expression of a 128 px crop."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.expression.landmark_data import CONTROLS, POINTS, SIZE

# Points whose neighbourhood the second stage looks at. They are drawn evenly from the parts that
# move (lips, lids, brows) and from the rest of the mesh.
SAMPLED = 96


class LandmarkNet(nn.Module):
    """Landmarks in two stages: a guess from the whole crop, then a correction from what lies under
    the guessed points (shape-indexed features, Cao et al. 2012, on a feature map).

    mean_shape: 478 x 2, where the guess starts, in pixels of the crop; sampled: int64 indices of
    the points whose features the correction sees. Both travel with the weights.
    """

    def __init__(self, width: int = 24, hidden: int = 256, rank: int = 96):
        super().__init__()
        self.width, self.hidden, self.rank = width, hidden, rank
        widths = [width, 2 * width, 4 * width]
        self.stem = nn.Sequential(_conv(1, 16, 5, 2), _conv(16, width, 3, 2), _Residual(width))
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(_conv(before, after, 3, 2), _Residual(after), _Residual(after))
                for before, after in pairwise(widths)
            )
        )
        self.neck = nn.Sequential(
            _conv(4 * width, 24, 1), nn.Flatten(), nn.Linear(24 * 64, hidden), nn.ReLU()
        )
        self.guess = nn.Sequential(nn.Linear(hidden, rank), nn.Linear(rank, POINTS * 2))
        self.local = nn.Sequential(nn.Linear(SAMPLED * width + hidden, hidden), nn.ReLU())
        self.correct = nn.Sequential(nn.Linear(hidden, rank), nn.Linear(rank, POINTS * 2))
        self.pose = nn.Linear(hidden, 3)
        self.expression = nn.Sequential(
            nn.Linear(POINTS * 2, 128), nn.ReLU(), nn.Linear(128, len(CONTROLS))
        )
        for last in (self.guess[-1], self.correct[-1], self.pose):
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)
        self.register_buffer("mean_shape", torch.zeros(POINTS, 2))
        self.register_buffer("sampled", torch.arange(SAMPLED))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First guess and landmarks, both N x 478 x 2 in pixels, and pose N x 3 (radians), of
        crops N x 1 x 128 x 128 in 0..1."""
        spread, level = torch.std_mean(images, (1, 2, 3), keepdim=True)
        near = self.stem((images - level) / (spread + 0.02))
        whole = self.neck(self.trunk(near))
        first = self.mean_shape + 8 * self.guess(whole).unflatten(1, (POINTS, 2))
        # Where a sampled point lies is not learned through the sampling: its gradient is noise.
        at = first.detach()[:, self.sampled, None] * (2 / SIZE) + (1 / SIZE - 1)
        under = F.grid_sample(near, at, padding_mode="border", align_corners=False)
        seen = self.local(torch.cat([under.flatten(1), whole], 1))
        points = first + 4 * self.correct(seen).unflatten(1, (POINTS, 2))
        return first, points, self.pose(seen)

    def read_expression(self, points: Tensor) -> Tensor:
        """N x 22 values (order of CONTROLS, not clamped) of landmarks N x 478 x 2 in pixels; place,
        size and roll of the face in the crop do not matter."""
        return self.expression(normalised(points, self.mean_shape).flatten(1))


def normalised(points: Tensor, shape: Tensor) -> Tensor:
    """N x 478 x 2 landmarks under the similarity that brings each face nearest to `shape`
    (Umeyama 1991), minus it, in tenths of its spread."""
    middle = points.mean(1, keepdim=True)
    centred, wanted = points - middle, shape - shape.mean(0)
    x, y = centred.unbind(-1)
    u, v = wanted.unbind(-1)
    # The similarity a, b of complex multiplication: (a + ib) z = w in the least-squares sense.
    power = (x * x + y * y).sum(1)
    a = ((x * u + y * v).sum(1) / power)[:, None]
    b = ((x * v - y * u).sum(1) / power)[:, None]
    turned = torch.stack([a * x - b * y, b * x + a * y], -1)
    return (turned - wanted) * (10 / wanted.norm(dim=1).mean())


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width, 3),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())
