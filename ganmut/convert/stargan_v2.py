"""StarGAN v2: generator, mapping network and style encoder of one checkpoint.

Its code is non-commercial (CC BY-NC 4.0) and was not read. The names of its layers are not
published elsewhere, so networks are recognised by the kinds of their layers, and layers are matched
by kind, shape and order (layer_matching.py), in the generator the encoder before the decoder. Only
the setting without the face landmark network (w_hpf 0) can be converted: with it the decoder has no
shortcuts, and high frequencies of the source pass through a mask from landmarks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganmut.convert.base import FORMATS, Checkpoint, Format, load_tensors, order_emotions
from ganmut.convert.layer_matching import Layer, LayerMatcher
from ganmut.methods.base import METHODS, Method
from ganmut.text import quote
from ganmut.weights.storage import BadWeights

DEPTH = 4  # layers of the mapping network: as many shared ones as per emotion


@FORMATS.register("stargan_v2")
class StarGANv2(Format):
    """A file of networks by name, each a state_dict; a discriminator in it is ignored."""

    licence = "cc-by-nc-4.0"
    terms = "Converted from a checkpoint of StarGAN v2's authors: for non-commercial use only."

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        """A network of linear layers beside one that ends in a 1 x 1 convolution to colours."""
        shapes: dict[str, list[torch.Size]] = {}
        for name, tensor in tensors.items():
            shapes.setdefault(name.partition(".")[0], []).append(tensor.shape)
        mapping = any(max(map(len, own)) == 2 for own in shapes.values())
        colours = any(
            len(shape) == 4 and shape[0] == 3 and shape[-1] == 1
            for own in shapes.values()
            for shape in own
        )
        return mapping and colours and len(shapes) > 2

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        generator, mapping, encoder = split_networks(checkpoint)
        linear = [layer.weight for layer in mapping.remaining("linear")]
        emotions, order = order_emotions(labels, len(encoder.remaining("linear")), checkpoint.path)
        halvings = len(generator.remaining("conv3")) // 4 - 2
        kind = METHODS["stargan_v2"]
        config = dataclasses.replace(
            kind.PAPER,
            width=_first_width(generator),
            max_channels=_max_width(generator),
            blocks=2,
            d_width=_first_width(encoder),
            d_layers=len(encoder.remaining("conv3")) // 2,
            d_max_channels=_max_width(encoder),
            hidden=linear[0].shape[0],
            latent=linear[0].shape[1],
            style=linear[-1].shape[0],
        )
        side = 16 << max(halvings, 0)
        if side != 4 << config.d_layers or len(generator.remaining("linear")) != 2 * (halvings + 2):
            raise BadWeights(
                f"{checkpoint.path}: its generator is not the one without face landmarks (w_hpf 0) "
                f"for {4 << config.d_layers} px; that is the only one that can be converted"
            )
        method = kind(config, emotions, side, training=False)
        tensors = generator_tensors(generator, method) | mapping_tensors(mapping, order)
        tensors |= encoder_tensors(encoder, method, order)
        load_tensors(method.G, tensors, checkpoint.path)
        return method


def split_networks(checkpoint: Checkpoint) -> list[LayerMatcher]:
    """Generator, mapping network and style encoder of a file, recognised by their layers. Raises
    BadWeights where one is missing."""
    found: dict[str, LayerMatcher] = {}
    for name in dict.fromkeys(name.partition(".")[0] for name in checkpoint.tensors):
        network = LayerMatcher(checkpoint, f"{name}.")
        kinds = {layer.kind for layer in network.layers}
        # Only the generator ends in a 1 x 1 convolution to three colours.
        head = any(len(layer.weight) == 3 for layer in network.remaining("conv1"))
        if kinds == {"linear"}:
            found["mapping"] = network
        elif head and "linear" in kinds:
            found["generator"] = network
        elif {"conv4", "linear"} <= kinds:
            found["encoder"] = network
    names = ("generator", "mapping", "encoder")
    for name in names:
        if name not in found:
            raise BadWeights(
                f"{checkpoint.path} holds no {name} of StarGAN v2; give the file with all networks"
            )
    return [found[name] for name in names]


def generator_tensors(layers: LayerMatcher, method: Method) -> dict[str, Tensor]:
    """The generator: stem, encoder, decoder, and the norm before the last convolution."""
    head = layers.pop("conv1", 3)
    # The last norm is in the same nn.Sequential as the head, and must not match an earlier one.
    norms = [layer for layer in layers.remaining("norm") if _parent(layer) == _parent(head)]
    if len(norms) != 1:
        raise BadWeights(f"{layers.path}: {quote(head.name)} should have one norm beside it")
    layers.layers.remove(norms[0])
    stem = layers.pop("conv3", -1, 3)
    tensors: dict[str, Any] = {}
    for name, layer in (("stem", stem), ("norm", norms[0]), ("head", head)):
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    tensors |= layers.match(method.G.down, "down") | layers.match(method.G.up, "up")
    layers.finish()
    return tensors


def mapping_tensors(layers: LayerMatcher, order: list[int]) -> dict[str, Tensor]:
    """The mapping network: in the file the shared layers come first, then the layers of each
    emotion."""
    shared = [layers.pop("linear") for _ in range(DEPTH)]
    own = [[layers.pop("linear") for _ in range(DEPTH)] for _ in order]
    layers.finish()
    tensors: dict[str, Any] = {}
    for i, layer in enumerate(shared):
        tensors |= {
            f"mapping.shared.{i}.weight": layer.weight,
            f"mapping.shared.{i}.bias": layer.bias,
        }
    for i, depth in enumerate(zip(*own, strict=True)):
        tensors |= stack_layers(f"mapping.own.{i}", depth, order, layers.path)
    return tensors


def encoder_tensors(layers: LayerMatcher, method: Method, order: list[int]) -> dict[str, Tensor]:
    """The style encoder: convolutions, then one linear layer for each emotion."""
    heads = tuple(layers.pop("linear") for _ in order)
    tensors = layers.match(method.G.encoder.funnel, "encoder.funnel")
    layers.finish()
    return tensors | stack_layers("encoder.own", heads, order, layers.path)


def stack_layers(
    name: str, layers: tuple[Layer, ...], order: list[int], path: Path
) -> dict[str, Tensor]:
    """The linear layers of the emotions as one PerEmotionLinear: weight emotions x inputs x
    outputs, bias emotions x outputs."""
    if len({layer.weight.shape for layer in layers}) != 1:
        raise BadWeights(f"{path}: the layers of its emotions differ in shape")
    return {
        f"{name}.weight": torch.stack([layers[i].weight.T for i in order]),
        f"{name}.bias": torch.stack([bias for i in order if (bias := layers[i].bias) is not None]),
    }


def _parent(layer: Layer) -> str:
    return layer.name.rpartition(".")[0]


def _first_width(layers: LayerMatcher) -> int:
    """Output channels of the first convolution, the one with three inputs."""
    return next(
        len(layer.weight) for layer in layers.remaining("conv3") if layer.weight.shape[1] == 3
    )


def _max_width(layers: LayerMatcher) -> int:
    return max(len(layer.weight) for layer in layers.remaining("conv3"))
