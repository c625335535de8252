"""The landmark network: the points, the head's pose and the expression of a 128 px crop."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganmut.expression.point_set import MESH, POINT_SETS, SIZE, PointSet
from ganmut.networks.config import Settings
from ganmut.weights import bundled_root
from ganmut.weights.storage import (
    BadWeights,
    Weights,
    build_module,
    parse_settings,
    read,
    write,
)

WEIGHT = "photos/landmarks"

# Points whose neighbourhood the second stage looks at. They are drawn evenly from the parts that
# move (lips, lids, brows) and from the rest of the mesh.
SAMPLED = 96
COMPONENTS = 96  # principal components of the landmarks that the expression is read from


@dataclass(frozen=True)
class Shape(Settings):
    """The sizes of the network, as its config.json holds them."""

    width: int
    hidden: int
    rank: int
    points: str = MESH.name

    ALLOWED: ClassVar = {"points": tuple(POINT_SETS)}
    LIMITS: ClassVar = {"width": (1, 256), "hidden": (1, 4096), "rank": (1, 1024)}

    def build(self, folded: bool = False) -> LandmarkNet:
        """The network, with random weights."""
        points = POINT_SETS[self.points]
        return LandmarkNet(self.width, self.hidden, self.rank, points, folded)


class LandmarkNet(nn.Module):
    """Landmarks in two stages: a guess from the whole crop, then a correction from what lies under
    the guessed points (shape-indexed features, Cao et al. 2012, on a feature map).

    points: the P points that it finds and the K controls that it reads from them.
    mean_shape: P x 2, where the guess starts, in pixels of the crop; sampled: int64 indices of
    the points whose features the correction sees. Both travel with the weights. folded: without
    batch normalisation, as `fold` makes it for inference.
    """

    mean_shape: Tensor
    sampled: Tensor

    def __init__(
        self,
        width: int = 24,
        hidden: int = 256,
        rank: int = 96,
        points: PointSet = MESH,
        folded: bool = False,
    ):
        super().__init__()
        self.points = points
        self.sha256 = ""  # of the weight that it was read from
        self.shape = Shape(width, hidden, rank, points.name)
        places, sampled = 2 * points.count, min(SAMPLED, points.count)

        def conv(*sizes: int) -> nn.Sequential:
            return _conv(*sizes, folded=folded)

        def residual(width: int) -> _Residual:
            return _Residual(width, folded)

        widths = [width, 2 * width, 4 * width]
        self.stem = nn.Sequential(conv(1, 16, 5, 2), conv(16, width, 3, 2), residual(width))
        self.trunk = nn.Sequential(
            *(
                nn.Sequential(conv(before, after, 3, 2), residual(after), residual(after))
                for before, after in pairwise(widths)
            )
        )
        self.neck = nn.Sequential(
            # The map is 8 x 8 here. Flattened, not averaged: where a feature lies is the answer.
            conv(4 * width, 24, 1),
            nn.Flatten(),
            nn.Linear(24 * 64, hidden),
            nn.ReLU(),
        )
        self.guess = nn.Sequential(nn.Linear(hidden, rank), nn.Linear(rank, places))
        self.local = nn.Sequential(nn.Linear(sampled * width + hidden, hidden), nn.ReLU())
        self.correct = nn.Sequential(nn.Linear(hidden, rank), nn.Linear(rank, places))
        self.pose = nn.Linear(hidden, 3)
        # Through few components: errors of single points average out.
        self.expression = nn.Sequential(
            nn.Linear(places, COMPONENTS),
            nn.Linear(COMPONENTS, 192),
            nn.ReLU(),
            nn.Linear(192, 192),
            nn.ReLU(),
            nn.Linear(192, len(points.controls)),
        )
        # Training starts at the mean shape: a random first guess would sample features off the
        # face.
        ends: Any = (self.guess[-1], self.correct[-1], self.pose)
        for last in ends:
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)
        self.register_buffer("mean_shape", torch.zeros(points.count, 2))
        self.register_buffer("sampled", torch.arange(sampled))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First guess and landmarks, both N x P x 2 in pixels, and pose N x 3 (radians), of
        crops N x 1 x 128 x 128 in 0..1. Points span 0..128: the centre of pixel i is i + .5."""
        # Exposure is removed before the first convolution; .02 keeps a blank crop finite.
        spread, level = torch.std_mean(images, (1, 2, 3), keepdim=True)
        near = self.stem((images - level) / (spread + 0.02))
        whole = self.neck(self.trunk(near))
        # Outputs of order 1 are 8 px of a first guess and 4 px of its correction.
        first = self.mean_shape + 8 * self.guess(whole).unflatten(1, (-1, 2))
        # Where a sampled point lies is not learned through the sampling: its gradient is noise.
        at = first.detach()[:, self.sampled, None] * (2 / SIZE) - 1
        under = F.grid_sample(near, at, padding_mode="border", align_corners=False)
        seen = self.local(torch.cat([under.flatten(1), whole], 1))
        points = first + 4 * self.correct(seen).unflatten(1, (-1, 2))
        return first, points, self.pose(seen)

    def read_expression(self, points: Tensor) -> Tensor:
        """N x K values (not clamped) of landmarks N x P x 2 in pixels; place,
        size and roll of the face in the crop do not matter."""
        return self.expression(normalised(points, self.mean_shape).flatten(1))


def normalised(points: Tensor, shape: Tensor) -> Tensor:
    """N x P x 2 landmarks under the similarity that brings each face nearest to `shape`
    (Umeyama 1991), minus it, in tenths of its spread."""
    # Centred, so that the translation drops out of the fit.
    middle = points.mean(1, keepdim=True)
    centred, target = points - middle, shape - shape.mean(0)
    x, y = centred.unbind(-1)
    u, v = target.unbind(-1)
    # The similarity a, b of complex multiplication: (a + ib) z = w in the least-squares sense.
    power = (x * x + y * y).sum(1)
    a = ((x * u + y * v).sum(1) / power)[:, None]
    b = ((x * v - y * u).sum(1) / power)[:, None]
    turned = torch.stack([a * x - b * y, b * x + a * y], -1)
    return (turned - target) * (10 / target.norm(dim=1).mean())


class _Residual(nn.Module):
    def __init__(self, width: int, folded: bool):
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width, 3, folded=folded),
            *list(_conv(width, width, 3, folded=folded))[:-1],
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _conv(before: int, after: int, kernel: int, stride: int = 1, *, folded: bool) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=folded)
    return nn.Sequential(conv, *([] if folded else [nn.BatchNorm2d(after)]), nn.ReLU())


def fold(network: LandmarkNet) -> LandmarkNet:
    """The same network in evaluation mode with every batch normalisation folded into the
    convolution before it: a third faster, and what a weight folder holds."""
    folded = network.shape.build(folded=True)
    state = dict(network.state_dict())
    modules = dict(network.eval().named_modules())
    for name, module in modules.items():
        if not isinstance(module, nn.BatchNorm2d):
            continue
        place, _, index = name.rpartition(".")
        before = f"{place}.{int(index) - 1}"
        conv = fuse_conv_bn_eval(modules[before], module)
        state |= {f"{before}.weight": conv.weight, f"{before}.bias": conv.bias}
    expected = folded.state_dict()
    names = dict(zip(expected, _without_norms(network), strict=True))
    folded.load_state_dict({name: state[names[name]].detach() for name in expected})
    return folded.eval().requires_grad_(False)


def _without_norms(network: LandmarkNet) -> list[str]:
    """Names of the tensors that a folded network has, in its order, as `network` names them."""
    # Folded convolutions carry a bias where the unfolded ones have a normalisation behind them.
    norms = [n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)]
    names = [n for n in network.state_dict() if n.rpartition(".")[0] not in norms]
    convs = {n.rpartition(".")[0] + "." + str(int(n.rpartition(".")[2]) - 1) for n in norms}
    return [part for n in names for part in _with_bias(n, convs)]


def _with_bias(name: str, convs: set[str]) -> list[str]:
    place = name.rpartition(".")[0]
    return [name, f"{place}.bias"] if place in convs else [name]


@dataclass(frozen=True)
class Landmarks:
    """What the network says of N crops: points N x P x 2, (x, y) in pixels of a 128 px crop;
    pose N x 3, yaw, pitch, roll in radians; expression N x K in 0..1."""

    points: Tensor
    pose: Tensor
    expression: Tensor


@torch.no_grad()
def find_landmarks(network: LandmarkNet, crops: Tensor) -> Landmarks:
    """Landmarks of aligned crops: N x 1 x 128 x 128 luminance in 0..1. Raises ValueError for
    another shape."""
    if crops.shape[1:] != (1, SIZE, SIZE):
        raise ValueError(f"landmarks need N x 1 x {SIZE} x {SIZE}, got {tuple(crops.shape)}")
    _, points, pose = network(crops)
    return Landmarks(points, pose, network.read_expression(points).clamp(0, 1))


def save_landmark_net(
    network: LandmarkNet, folder: str | Path, facts: dict[str, Any], examples: Tensor, card: str
) -> Path:
    """Writes a folded network as a weight folder, whole or not at all; `facts` go into its
    config.json.

    examples: uint8 N x 1 x 128 x 128 crops whose landmarks are kept as golden tensors.
    """

    def landmarks(written: Weights) -> dict[str, Tensor]:
        found = find_landmarks(build_landmark_net(written), examples.float() / 255)
        return {"crops": examples, "points": found.points, "expression": found.expression}

    config = {"network": "landmarks", **dataclasses.asdict(network.shape), "size": SIZE, **facts}
    return write(folder, "extractor", network.state_dict(), config, landmarks, card)


def build_landmark_net(weights: Weights) -> LandmarkNet:
    """The network of a checked weight, ready to use; raises BadWeights where it does not fit."""
    given = {name: v for name, v in weights.config.items() if name in Shape.names()}
    shape = parse_settings(Shape, given, weights.folder / "config.json")
    network = build_module(lambda: shape.build(folded=True), weights, lambda built: built)
    count = network.points.count
    if not 0 <= int(network.sampled.min()) <= int(network.sampled.max()) < count:
        raise BadWeights(f"{weights.path}: the tensor 'sampled' names points beyond {count}")
    network.sha256 = weights.config["sha256"]
    return network.eval().requires_grad_(False)


def load_landmark_net(folder: str | Path | None = None) -> LandmarkNet:
    """The network of a weight folder (by default the bundled one), shared by all that use it; read
    again where its config.json is another. Raises BadWeights."""
    path = Path(folder or bundled_root() / WEIGHT)
    # The time is part of the key: a retrained weight in the same folder is read again.
    return _load_net(path, written_at(path))


@lru_cache(maxsize=4)
def _load_net(folder: Path, written: int) -> LandmarkNet:
    return build_landmark_net(read(folder, "extractor"))


def written_at(folder: Path) -> int:
    """When config.json of a weight folder was written (ns); 0 without one. A new weight is a new
    file."""
    try:
        return (folder / "config.json").stat().st_mtime_ns
    except OSError:
        return 0
