"""Matching of layers by kind and shape, for checkpoints whose layer names are not published.

PyTorch writes the tensors of a network in the order in which its layers were created. So the layers
of each kind (norm, linear, convolution by kernel size) are matched in the order of the file with
those of a network here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ganmut.convert.base import Checkpoint
from ganmut.networks.stargan import Norm
from ganmut.text import quote
from ganmut.weights.storage import BadWeights


@dataclass(frozen=True)
class Layer:
    """Weight and bias of one layer; name: their common prefix in the file."""

    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def kind(self) -> str:
        """ "norm", "linear" or "conv3", by the weight's shape."""
        shape = self.weight.shape
        # Names are the authors' own and differ between repositories; ranks of weights do not.
        return {1: "norm", 2: "linear"}.get(len(shape), f"conv{shape[-1]}")


class LayerMatcher:
    """The layers of a network in a checkpoint, in the order of the file. A layer that is popped or
    matched is removed.

    network: prefix of the names of the network, "" for the whole file. Raises BadWeights for a
    tensor that is neither weight nor bias.
    """

    def __init__(self, checkpoint: Checkpoint, network: str = ""):
        self.path, self.network = checkpoint.path, network
        # A dictionary keeps the order of the file, which is what layers are matched by.
        named: dict[str, dict[str, Tensor]] = {}
        for name in [n for n in checkpoint.tensors if n.startswith(network)]:
            stem, _, last = name.rpartition(".")
            named.setdefault(stem, {})[last] = checkpoint.pop(name)
        self.layers = []
        for stem, parts in named.items():
            if not parts.keys() <= {"weight", "bias"} or "weight" not in parts:
                raise BadWeights(
                    f"{self.path}: layer {quote(stem)} has tensors other than weight and bias"
                )
            self.layers.append(Layer(stem, parts["weight"], parts.get("bias")))

    def remaining(self, kind: str) -> list[Layer]:
        """The remaining layers of a kind."""
        return [layer for layer in self.layers if layer.kind == kind]

    def pop(self, kind: str, *shape: int) -> Layer:
        """Removes and returns the first layer of a kind, and of a shape (-1: any size). Raises
        BadWeights without one."""
        for layer in self.remaining(kind):
            pairs = zip(shape, layer.weight.shape, strict=False)
            if all(expected in (-1, size) for expected, size in pairs):
                self.layers.remove(layer)
                return layer
        size = f" of shape {' x '.join(map(str, shape)).replace('-1', 'N')}" if shape else ""
        where = f"{self.path}: {self.network.rstrip('.')}" if self.network else str(self.path)
        raise BadWeights(f"{where} has no {kind}{size} where one is expected")

    def match(self, network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
        """The tensors of a network here, by its names: each norm, linear layer and convolution, in
        order, gets the next layer of its kind. Raises BadWeights where the shapes differ."""
        tensors: dict[str, Tensor] = {}
        for name, module in network.named_modules():
            if not isinstance(module, (Norm, nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                continue
            at = f"{prefix}.{name}" if name else prefix
            layer = self._next(module, at)
            tensors[f"{at}.weight"] = layer.weight
            if layer.bias is not None:
                tensors[f"{at}.bias"] = layer.bias
        return tensors

    def _next(self, module: Any, at: str) -> Layer:
        layer = self.pop(Layer("", module.weight, None).kind)
        if layer.weight.shape != module.weight.shape:
            raise BadWeights(
                f"{self.path}: {quote(layer.name)} matches {quote(at)} but has shape "
                f"{tuple(layer.weight.shape)}, not {tuple(module.weight.shape)}"
            )
        if (layer.bias is None) != (module.bias is None):
            has = "no bias" if layer.bias is None else "a bias"
            raise BadWeights(f"{self.path}: {quote(layer.name)} matches {quote(at)} but has {has}")
        return layer

    def finish(self) -> None:
        """Raises BadWeights where layers are left."""
        if self.layers:
            raise BadWeights(
                f"{self.path} holds {len(self.layers)} layers more than the published network, "
                f"such as {quote(self.layers[0].name)}"
            )
