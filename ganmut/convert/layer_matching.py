"""Layers without names: matched by their kind and shape, in the order of the file.

torch writes the tensors of a network in the order in which its layers were made. Where the names
in a checkpoint are not published, that order and the shapes are what is known: of each kind (norm,
linear, convolution by kernel) the layers are taken in the order in which a picture meets them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from ganmut.convert.base import Checkpoint
from ganmut.networks.stargan import Norm
from ganmut.weights.storage import BadWeights


@dataclass(frozen=True)
class Layer:
    """weight and bias of one layer; name: what they are called in the file, up to the last dot."""

    name: str
    weight: Tensor
    bias: Tensor | None

    @property
    def kind(self) -> str:
        """ "norm", "linear" or "conv3", by the weight's shape."""
        shape = self.weight.shape
        return {1: "norm", 2: "linear"}.get(len(shape), f"conv{shape[-1]}")


class Pile:
    """Layers of a network, by kind, in the order of the file; taking one removes it."""

    def __init__(self, checkpoint: Checkpoint, network: str = ""):
        self.path, self.network = checkpoint.path, network
        named: dict[str, dict[str, Tensor]] = {}
        for name in [n for n in checkpoint.tensors if n.startswith(network)]:
            stem, _, last = name.rpartition(".")
            named.setdefault(stem, {})[last] = checkpoint.take(name)
        self.layers = []
        for stem, parts in named.items():
            if not parts.keys() <= {"weight", "bias"} or "weight" not in parts:
                raise BadWeights(f"{self.path}: {stem!r} is no layer of weight and bias")
            self.layers.append(Layer(stem, parts["weight"], parts.get("bias")))

    def of(self, kind: str) -> list[Layer]:
        """The layers of a kind that are left."""
        return [layer for layer in self.layers if layer.kind == kind]

    def take(self, kind: str, *shape: int) -> Layer:
        """The first layer of a kind (and a shape, -1 = any); raises BadWeights without one."""
        for layer in self.of(kind):
            pairs = zip(shape, layer.weight.shape, strict=False)
            if all(wanted in (-1, found) for wanted, found in pairs):
                self.layers.remove(layer)
                return layer
        wanted = f" of shape {' x '.join(map(str, shape)).replace('-1', 'N')}" if shape else ""
        where = f"{self.path}: {self.network.rstrip('.')}" if self.network else str(self.path)
        raise BadWeights(f"{where} has no {kind}{wanted} where one is expected")

    def pour(self, network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
        """Tensors for a part of our network, by our names: its norms, linear layers and
        convolutions in their order, each from the next layer of the kind, which must have the
        shape. Raises BadWeights."""
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

    def _next(self, module: nn.Module, at: str) -> Layer:
        layer = self.take(Layer("", module.weight, None).kind)
        if layer.weight.shape != module.weight.shape:
            raise BadWeights(
                f"{self.path}: {layer.name!r} would be {at!r} but has shape "
                f"{tuple(layer.weight.shape)}, not {tuple(module.weight.shape)}"
            )
        if (layer.bias is None) != (module.bias is None):
            has = "no bias" if layer.bias is None else "a bias"
            raise BadWeights(f"{self.path}: {layer.name!r} would be {at!r} but has {has}")
        return layer

    def finish(self) -> None:
        """Raises BadWeights where a layer is left."""
        if self.layers:
            raise BadWeights(
                f"{self.path} holds {len(self.layers)} layers more than the published network, "
                f"such as {self.layers[0].name!r}"
            )


def poured(pile: Pile, network: nn.Module, parts: Iterable[str]) -> dict[str, Tensor]:
    """`pour` for several parts of a network, by their names in it, in the order given."""
    tensors: dict[str, Tensor] = {}
    for part in parts:
        tensors |= pile.pour(network.get_submodule(part), part)
    return tensors
