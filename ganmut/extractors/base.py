"""Extractor: a frozen network that computes features and outputs of faces, for the metrics.

Extractors are trained on people that no editor is trained on (the split "extractor") and evaluated
on the test split. The scores are in their config.json and their card.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut import images as pictures
from ganmut.datasets.base import FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.registry import Registry

EXTRACTORS = Registry("extractor", "ganmut.extractors")
BATCH_SIZE = 256  # faces per pass
# More than twice as fast as the contiguous format, also on the CPU (.5 -> .2 s a step of 64 faces).
MEMORY_FORMAT = torch.channels_last


@dataclass(frozen=True)
class Extraction:
    """Features N x d and outputs N x k of N faces, float32 on the CPU."""

    features: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class TrainingTask:
    """The training of an extractor on a FaceSet: int64 rows, their targets, and the loss.

    loss(features, targets, progress in 0..1) -> scalar; extra: parameters that only training needs,
    such as one direction per person.
    """

    rows: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor, float], Tensor]
    extra: tuple[nn.Parameter, ...] = ()


class Extractor(nn.Module, ABC):
    """A frozen network: uint8 N x 3 x H x W -> Extraction, deterministic.

    name, version: of the definition; sha256: of the weights; emotions: of the training data; size:
    input side in pixels; outputs: meaning of `Extraction.outputs`, for the card.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    title: ClassVar[str]
    outputs: ClassVar[str]
    lr: ClassVar[float] = 2e-3

    def __init__(self, emotions: tuple[str, ...] = EMOTIONS, size: int = 64):
        super().__init__()
        self.emotions, self.size = tuple(emotions), size
        self.sha256 = ""
        self.config: dict[str, Any] = {}

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """N x d features of x N x 3 x size x size float in [-1, 1]; differentiable."""

    @abstractmethod
    def predict(self, features: Tensor) -> Tensor:
        """N x k outputs of features."""

    @abstractmethod
    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        """The training on these faces; raises BadData where they lack the labels."""

    @abstractmethod
    def evaluate(self, faces: FaceSet, extraction: Extraction) -> dict[str, Any]:
        """Scores by name, for the card, from the extraction of faces it was not trained on."""

    def preprocess(self, images: Tensor, device: torch.device) -> Tensor:
        """uint8 N x 3 x H x W -> float in [-1, 1] on the device, resized to the input side with
        antialiasing; luma in all channels where the training faces were grey."""
        x = pictures.resize(pictures.to_float(images.to(device)), self.size)
        if self.config.get("grey"):
            x = pictures.luma(x).expand_as(x)
        return x.contiguous(memory_format=MEMORY_FORMAT)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Extraction:
        """The Extraction of uint8 N x 3 x H x W, computed in float32 on every device. Raises
        ValueError for another dtype or shape."""
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            given = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"expected uint8 N x 3 x H x W, got {given}")
        self.eval()
        device = next(self.parameters()).device
        chunks: list[tuple[Tensor, Tensor]] = []
        # With TF32 the features would depend on the kind of GPU.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            for chunk in images.split(BATCH_SIZE):
                features = self.embed(self.preprocess(chunk, device))
                chunks.append((features.cpu(), self.predict(features).cpu()))
        all_features, all_outputs = zip(*chunks, strict=True)
        return Extraction(torch.cat(all_features), torch.cat(all_outputs))


def vgg(widths: tuple[int, ...], size: int, features: int) -> nn.Sequential:
    """VGG with batch norm (Simonyan and Zisserman, arXiv 1409.1556): N x 3 x size x size -> N x
    features. Each width has two 3 x 3 convolutions and a max pooling; a linear layer follows.

    .07 billion multiply-adds per face with the widths used here at 64 px. Raises ValueError for a
    size too small to be halved so often.
    """
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        for inputs in (before, width):
            layers += [
                nn.Conv2d(inputs, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        layers.append(nn.MaxPool2d(2))
        before = width
    side = size >> len(widths)
    if side < 1:
        raise ValueError(f"{len(widths)} halvings need at least {1 << len(widths)} px, got {size}")
    flat = [
        nn.Flatten(),
        # No bias and no ReLU: the batch norm behind it has the bias, and features may be negative.
        nn.Linear(before * side * side, features, bias=False),
        nn.BatchNorm1d(features),
    ]
    return nn.Sequential(*layers, *flat)


class ResidualBlock(nn.Module):
    """Pre-activation residual block (He et al. 2016, arXiv 1603.05027) that halves the side."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        # A mean before the 1 x 1 convolution: a strided one would skip three of four pixels.
        return self.shortcut(F.avg_pool2d(x, 2, ceil_mode=True)) + self.conv2(F.silu(self.norm2(y)))


def resnet(widths: tuple[int, ...], features: int) -> nn.Sequential:
    """Residual network: N x 3 x S x S -> N x features, built unlike `vgg`: strided
    convolutions with shortcuts, SiLU, and global average pooling, which takes any side."""
    first, *others = widths
    blocks = [ResidualBlock(a, b) for a, b in itertools.pairwise((first, *others))]
    return nn.Sequential(
        nn.Conv2d(3, first, 5, stride=2, padding=2, bias=False),
        *blocks,
        nn.BatchNorm2d(others[-1]),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(others[-1], features, bias=False),
        nn.BatchNorm1d(features),
    )
