"""Extractor: a frozen network that tells what it sees in a face; the bench measures with them.

Extractors learn from people whom no editor ever sees (the split "extractor") and are examined on
the test split; what they scored there stands in their config.json and their card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganmut import images as pictures
from ganmut.datasets.base import FaceSet
from ganmut.emotions import EMOTIONS
from ganmut.registry import Registry

EXTRACTORS = Registry("extractor", "ganmut.extractors")
BATCH_SIZE = 256  # faces that go through a network at once
# Twice as fast here as the default layout, on the CPU too (.5 -> .2 s a step of 64 faces).
MEMORY_FORMAT = torch.channels_last


@dataclass(frozen=True)
class Extraction:
    """What a network saw in N faces, float32 on the CPU: features N x d, outputs N x k."""

    features: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class TrainingTask:
    """What an extractor learns from a FaceSet: which rows, their targets, and the loss.

    loss(features, targets, progress 0..1); extra: parameters that only training needs, such as one
    direction a person.
    """

    rows: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor, float], Tensor]
    extra: tuple[nn.Parameter, ...] = ()


class Extractor(nn.Module, ABC):
    """A frozen network: uint8 N x 3 x H x W in, Extraction out; the same input, the same output.

    name, version: of the definition; sha256: of the weights; emotions: of the data it learned from;
    size: input side in pixels; outputs: what `Extraction.outputs` holds, in words.
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
        """What to learn from these faces; raises BadData where they lack what it needs."""

    @abstractmethod
    def evaluate(self, faces: FaceSet, seen: Extraction) -> dict[str, Any]:
        """How well it did on faces that it was not trained on: named numbers for the card."""

    def preprocess(self, images: Tensor, device: torch.device) -> Tensor:
        """uint8 N x 3 x H x W -> float in [-1, 1], antialiased to the input side, on the device;
        without colour for one that has learned from grey faces."""
        x = pictures.resize(pictures.to_float(images.to(device)), self.size)
        if self.config.get("grey"):
            x = pictures.luma(x).expand_as(x)
        return x.contiguous(memory_format=MEMORY_FORMAT)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Extraction:
        """The Extraction of uint8 N x 3 x H x W; float32 throughout, whatever the device."""
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            found = f"{images.dtype} {tuple(images.shape)}"
            raise ValueError(f"expected uint8 N x 3 x H x W, got {found}")
        self.eval()
        device = next(self.parameters()).device
        seen: list[tuple[Tensor, Tensor]] = []
        # TF32 would make the features depend on the kind of GPU.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            for chunk in images.split(BATCH_SIZE):
                features = self.embed(self.preprocess(chunk, device))
                seen.append((features.cpu(), self.predict(features).cpu()))
        features, outputs = zip(*seen, strict=True)
        return Extraction(torch.cat(features), torch.cat(outputs))


def vgg(widths: tuple[int, ...], size: int, features: int) -> nn.Sequential:
    """N x 3 x size x size -> N x features: per width two 3 x 3 convolutions, halved; then linear.

    VGG (Simonyan and Zisserman, arXiv 1409.1556) with batch norm; with the widths used here
    .07 billion multiply-adds a face at 64 px.
    """
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        for inward in (before, width):
            layers += [
                nn.Conv2d(inward, width, 3, padding=1, bias=False),
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
        nn.Linear(before * side * side, features, bias=False),
        nn.BatchNorm1d(features),
    ]
    return nn.Sequential(*layers, *flat)
