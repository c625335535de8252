"""Whether something covers the mouth of a face: a hand, a mask, an object.

A mouth that is covered has landmarks all the same, by which an edit would draw lips and teeth on
what covers it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut import images
from ganmut.weights import bundled_root
from ganmut.weights.storage import Weights, build_module, read, write

SIZE = 128  # px of the aligned crops that it looks at
WEIGHT = "faces/mouth_cover"
# The logit above which a mouth counts as covered, a probability of .95: to refuse a face that shows
# its mouth is worse than to draw on what covers one.
SURE = 3.0
REFUSAL = (
    "something covers the mouth of this face (a hand, a mask or an object), and an edit would draw "
    "a mouth on it; choose a picture that shows the mouth"
)


class MouthCoverNet(nn.Module):
    """A small classifier of aligned grey crops."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_conv(1, 16, 5, 2),
            *_conv(16, 24, 3, 2),
            *_conv(24, 32, 3, 1),
            *_conv(32, 48, 3, 2),
            *_conv(48, 48, 3, 1),
            nn.Conv2d(48, 16, 1),
            nn.ReLU(),
            nn.Flatten(),  # not averaged: only what lies over the mouth counts
            nn.Dropout(0.3),
            nn.Linear(16 * 8 * 8, 1),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """N logits of crops N x 1 x 128 x 128 in 0..1."""
        x = F.avg_pool2d(crops, 2)
        # As in the landmark network: exposure is removed first.
        spread, level = torch.std_mean(x, (1, 2, 3), keepdim=True)
        return self.layers((x - level) / (spread + 0.02))[:, 0]


def _conv(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


def cover_logits(network: MouthCoverNet, crops: Tensor) -> Tensor:
    """N logits, above SURE for covered mouths, of crops N x 1 x 128 x 128 in 0..1."""
    # A face and its mirror image are one face: their mean is surer than either.
    return (network(crops) + network(crops.flip(3))) / 2


@torch.no_grad()
def covered_mouths(network: MouthCoverNet, crops: Tensor) -> Tensor:
    """N bool: whether the mouths of aligned crops are covered; crops: N x 1 x 128 x 128 luminance
    in 0..1. Raises ValueError for another shape."""
    if crops.shape[1:] != (1, SIZE, SIZE):
        raise ValueError(f"expected N x 1 x {SIZE} x {SIZE}, got {tuple(crops.shape)}")
    return cover_logits(network, crops) > SURE


def has_covered_mouth(crop: np.ndarray) -> bool:
    """Whether something covers the mouth of an aligned face, by the bundled network; crop: S x S x
    3 uint8 RGB. False with weights (GANMUT_WEIGHTS) that lack this network."""
    network = find_network()
    if network is None:
        return False
    grey = images.luma(images.to_tensor(crop[None]).float() / 255)[:, :1]
    small = images.resize(grey, SIZE).clamp(0, 1)
    return bool(covered_mouths(network, small))


def find_network() -> MouthCoverNet | None:
    """The bundled network; None with weights (GANMUT_WEIGHTS) that lack it. Raises BadWeights."""
    folder = bundled_root() / WEIGHT
    return load_mouth_cover_net(folder) if (folder / "config.json").is_file() else None


def save_mouth_cover_net(
    network: MouthCoverNet, folder: str | Path, facts: dict[str, Any], examples: Tensor, card: str
) -> Path:
    """Writes the network as a weight folder, whole or not at all; `facts` go into its config.json.

    examples: uint8 N x 1 x 128 x 128 crops whose logits are kept as golden tensors.
    """

    def logits(written: Weights) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"crops": examples, "logits": build_net(written)(examples.float() / 255)}

    config = {"network": "mouth_cover", "size": SIZE, **facts}
    return write(folder, "extractor", network.state_dict(), config, logits, card)


def build_net(weights: Weights) -> MouthCoverNet:
    """The network of a checked weight, ready to use; raises BadWeights where it does not fit."""
    network = build_module(MouthCoverNet, weights, lambda built: built)
    return network.eval().requires_grad_(False)


@cache
def load_mouth_cover_net(folder: Path) -> MouthCoverNet:
    """The network of a weight folder, shared by all that use it. Raises BadWeights."""
    return build_net(read(folder, "extractor"))
