"""StarGAN v2: generator, mapping network and style encoder of one checkpoint.

Its code is non-commercial (CC BY-NC 4.0) and was not read. The names of its layers are not
published elsewhere, so networks are known by what they hold and layers matched by kind, shape and
order (pile.py): in the generator the encoder before the decoder. Only the setting without the face
landmark network (w_hpf 0) can be converted: with it the decoder's shortcuts are gone and high
frequencies of the source are let through a mask that is made of landmarks.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ganmut.convert.base import FORMATS, Checkpoint, Format, fit, ordered
from ganmut.convert.layer_matching import Layer, Pile
from ganmut.methods.base import METHODS, Method
from ganmut.weights.storage import BadWeights

DEPTH = 4  # layers of the mapping network that emotions share, and that each has of its own


@FORMATS.register("stargan_v2")
class StarGANv2(Format):
    """A file of networks by name, each a state_dict; a discriminator beside them is passed over."""

    licence = "cc-by-nc-4.0"
    terms = "Converted from a checkpoint of StarGAN v2's authors: for non-commercial use only."

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        piles = networks(checkpoint)
        generator, mapping, encoder = (piles[name] for name in ("generator", "mapping", "encoder"))
        linear = [layer.weight for layer in mapping.of("linear")]
        emotions, order = ordered(labels, len(encoder.of("linear")), checkpoint.path)
        halvings = len(generator.of("conv3")) // 4 - 2
        kind = METHODS["stargan_v2"]
        config = dataclasses.replace(
            kind.PAPER,
            width=_first(generator),
            max_channels=_widest(generator),
            blocks=2,
            d_width=_first(encoder),
            d_layers=len(encoder.of("conv3")) // 2,
            d_max_channels=_widest(encoder),
            hidden=linear[0].shape[0],
            latent=linear[0].shape[1],
            style=linear[-1].shape[0],
        )
        side = 16 << max(halvings, 0)
        if side != 4 << config.d_layers or len(generator.of("linear")) != 2 * (halvings + 2):
            raise BadWeights(
                f"{checkpoint.path}: its generator is not the one without face landmarks (w_hpf 0) "
                f"for {4 << config.d_layers} px; that is the only one that can be converted"
            )
        method = kind(config, emotions, side, training=False)
        tensors = edited(generator, method) | mapped(mapping, order)
        fit(method.G, tensors | encoded(encoder, method, order), checkpoint.path)
        return method


def networks(checkpoint: Checkpoint) -> dict[str, Pile]:
    """The three networks of a file, by what they hold; raises BadWeights where one is missing."""
    found: dict[str, Pile] = {}
    for name in dict.fromkeys(name.partition(".")[0] for name in checkpoint.tensors):
        pile = Pile(checkpoint, f"{name}.")
        kinds = {layer.kind for layer in pile.layers}
        head = any(len(layer.weight) == 3 for layer in pile.of("conv1"))
        if kinds == {"linear"}:
            found["mapping"] = pile
        elif head and "linear" in kinds:
            found["generator"] = pile
        elif {"conv4", "linear"} <= kinds:
            found["encoder"] = pile
    for what in ("generator", "mapping", "encoder"):
        if what not in found:
            raise BadWeights(
                f"{checkpoint.path} holds no {what} of StarGAN v2; give the file with all networks"
            )
    return found


def edited(pile: Pile, method: Method) -> dict[str, Tensor]:
    """The generator: stem, encoder, decoder, and the norm that stands with the last convolution."""
    head = pile.take("conv1", 3)
    beside = [layer for layer in pile.of("norm") if _parent(layer) == _parent(head)]
    if len(beside) != 1:
        raise BadWeights(f"{pile.path}: {head.name!r} should have one norm beside it")
    pile.layers.remove(beside[0])
    stem = pile.take("conv3", -1, 3)
    tensors = {}
    for name, layer in (("stem", stem), ("norm", beside[0]), ("head", head)):
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    tensors |= pile.pour(method.G.down, "down") | pile.pour(method.G.up, "up")
    pile.finish()
    return tensors


def mapped(pile: Pile, order: list[int]) -> dict[str, Tensor]:
    """The mapping network: shared layers, then all layers of one emotion after another."""
    shared = [pile.take("linear") for _ in range(DEPTH)]
    own = [[pile.take("linear") for _ in range(DEPTH)] for _ in order]
    pile.finish()
    tensors = {}
    for i, layer in enumerate(shared):
        tensors |= {
            f"mapping.shared.{i}.weight": layer.weight,
            f"mapping.shared.{i}.bias": layer.bias,
        }
    for i, layers in enumerate(zip(*own, strict=True)):
        tensors |= stacked(f"mapping.own.{i}", layers, order, pile)
    return tensors


def encoded(pile: Pile, method: Method, order: list[int]) -> dict[str, Tensor]:
    """The style encoder: convolutions, then one linear layer for each emotion."""
    heads = tuple(pile.take("linear") for _ in order)
    tensors = pile.pour(method.G.encoder.funnel, "encoder.funnel")
    pile.finish()
    return tensors | stacked("encoder.own", heads, order, pile)


def stacked(
    name: str, layers: tuple[Layer, ...], order: list[int], pile: Pile
) -> dict[str, Tensor]:
    """Linear layers of the emotions as ours: emotions x inputs x outputs, and emotions x
    outputs."""
    if len({layer.weight.shape for layer in layers}) != 1:
        raise BadWeights(f"{pile.path}: the layers of its emotions differ in shape")
    return {
        f"{name}.weight": torch.stack([layers[i].weight.T for i in order]),
        f"{name}.bias": torch.stack([layers[i].bias for i in order]),
    }


def _parent(layer: Layer) -> str:
    return layer.name.rpartition(".")[0]


def _first(pile: Pile) -> int:
    """Channels after the convolution that a picture enters by."""
    return next(len(layer.weight) for layer in pile.of("conv3") if layer.weight.shape[1] == 3)


def _widest(pile: Pile) -> int:
    return max(len(layer.weight) for layer in pile.of("conv3"))
