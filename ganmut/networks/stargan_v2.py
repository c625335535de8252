"""The networks of StarGAN v2 (Choi et al., CVPR 2020, appendix): a residual generator whose decoder
has adaptive norms, the mapping network and the style encoder, which compute styles, and the
discriminator.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.networks.config import NetworkConfig, setting
from ganmut.networks.edit import Edit
from ganmut.networks.expression import (
    STEERED,
    ExpressionConfig,
    ExpressionGenerator,
    Perceptron,
    StyledPerceptron,
)
from ganmut.networks.stargan import MatmulConv2d, Norm, modulate, smooth_residual

SLOPE = 0.2  # of all leaky ReLUs


@dataclass(frozen=True)
class StyleConfig(NetworkConfig, ExpressionConfig):
    """Settings of the networks of StarGAN v2."""

    width: int = setting(
        128, "channels of the generator's first layer; 0: 2^14 / size, as published"
    )
    max_channels: int = setting(512, "channels of the generator's widest layer")
    blocks: int = setting(
        2, "residual blocks at the smallest size, in the encoder and in the decoder"
    )
    d_width: int = setting(
        128,
        "channels of the first layer of discriminator and style encoder; 0: 2^14 / size, as "
        "published",
    )
    d_layers: int = setting(
        5, "halvings in discriminator and style encoder; 0: down to 4 x 4, as published"
    )
    d_max_channels: int = setting(
        512, "channels of the widest layer of discriminator and style encoder"
    )
    output: str = setting("linear", "linear (published, no tanh) or residual: source plus change")
    latent: int = setting(16, "values of a random latent")
    style: int = setting(64, "values of a style")
    hidden: int = setting(512, "width of the mapping network")
    pool: str = setting(
        "average", "how discriminator and style encoder halve a map: average (published) or max"
    )

    ALLOWED: ClassVar = {"output": ("linear", "residual"), "pool": ("average", "max")}
    LIMITS: ClassVar = {
        "width": (0, 1024),
        "d_width": (0, 1024),
        "d_layers": (0, 12),
        "max_channels": (1, 4096),
        "latent": (1, 1024),
        "style": (1, 1024),
        "hidden": (1, 4096),
    }

    def at_size(self, size: int) -> Self:
        """These settings with the sizes that follow the image size (0) filled in."""
        # The same memory at every size: channels times sides is constant. 4 x 4 is two halvings
        # short of one pixel.
        width, layers = 2**14 // size, size.bit_length() - 3
        return dataclasses.replace(
            self,
            width=self.width or width,
            d_width=self.d_width or width,
            d_layers=self.d_layers or layers,
        )


class Block(nn.Module):
    """Pre-activation residual block, (shortcut + residual) / sqrt 2; pool ("average" or "max")
    halves the sides.

    The shortcut is pooled before its 1 x 1 convolution. Average pooling commutes with it, and the
    convolution costs a quarter.
    """

    def __init__(self, inputs: int, outputs: int, norm: bool = False, pool: str = ""):
        super().__init__()
        self.norm1 = Norm(inputs) if norm else nn.Identity()
        self.norm2 = Norm(inputs) if norm else nn.Identity()
        self.conv1 = MatmulConv2d(inputs, inputs, 3, 1, 1)
        self.conv2 = MatmulConv2d(inputs, outputs, 3, 1, 1)
        # No 1 x 1 convolution where the widths agree: the shortcut is the identity.
        self.skip = (
            MatmulConv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()
        )
        self.pool = {"average": nn.AvgPool2d, "max": nn.MaxPool2d, "": nn.Identity}[pool](2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(self.conv1(F.leaky_relu(self.norm1(x), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h), SLOPE))
        # Two terms of unit variance: the division keeps the variance at 1.
        return (self.skip(self.pool(x)) + h) / math.sqrt(2)


class StyledNorm(nn.Module):
    """AdaIN: (1 + gain(s)) * IN(x) + offset(s)."""

    def __init__(self, channels: int, style: int):
        super().__init__()
        self.steer = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gain, offset = self.steer(style)[..., None, None].chunk(2, dim=1)
        # 1 + gain, so that a gain near zero leaves the normalised features as they are.
        return modulate(x, 1 + gain, offset)


class StyledBlock(nn.Module):
    """The decoder's residual block; `up` doubles the sides, on the shortcut after its 1 x 1
    convolution, with which upsampling commutes."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False):
        super().__init__()
        self.norm1, self.norm2 = StyledNorm(inputs, style), StyledNorm(outputs, style)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        same = inputs == outputs
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.up = nn.Upsample(scale_factor=2, mode="nearest") if up else nn.Identity()

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv1(self.up(F.leaky_relu(self.norm1(x, style), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h, style), SLOPE))
        # The shortcut is convolved at the small size: a quarter of the work for the same values.
        return (self.up(self.skip(x)) + h) / math.sqrt(2)


class PerEmotionLinear(nn.Module):
    """A linear layer for each of K emotions: n x inputs, or n x K x inputs -> n x K x outputs."""

    def __init__(self, kinds: int, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(kinds, inputs, outputs) * math.sqrt(2 / inputs))
        self.bias = nn.Parameter(torch.zeros(kinds, outputs))

    def forward(self, x: Tensor) -> Tensor:
        # All emotions at once: a batch has several labels, and a loop over them would be slower.
        each = x if x.dim() == 3 else x[:, None].expand(-1, len(self.weight), -1)
        return torch.einsum("nki,kio->nko", each, self.weight) + self.bias


class MappingNetwork(nn.Module):
    """forward(latent n x latent) -> n x emotions x style: four shared layers, then four per
    emotion."""

    def __init__(self, config: StyleConfig, kinds: int):
        super().__init__()
        wide = config.hidden
        self.shared = nn.ModuleList(
            nn.Linear(config.latent if i == 0 else wide, wide) for i in range(4)
        )
        self.own = nn.ModuleList(
            PerEmotionLinear(kinds, wide, wide if i < 3 else config.style) for i in range(4)
        )

    def forward(self, latent: Tensor) -> Tensor:
        h = latent
        for layer in (*self.shared, *self.own[:-1]):
            h = F.relu(layer(h))
        return self.own[-1](h)


class DownsamplingTrunk(nn.Module):
    """The trunk of discriminator and style encoder: residual blocks down to a small map, and one
    convolution over the whole map. forward(x B x 3 x S x S) -> B x `outputs`. Raises ValueError for
    a size that 2^d_layers does not divide."""

    def __init__(self, config: StyleConfig, size: int):
        super().__init__()
        layers, side = config.d_layers, size >> config.d_layers
        if side << layers != size or side == 0:
            raise ValueError(f"{layers} halvings need a size that {2**layers} divides, got {size}")
        widths = [min(config.d_width << i, config.d_max_channels) for i in range(layers + 1)]
        self.outputs = widths[-1]
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.blocks = nn.Sequential(*(Block(a, b, pool=config.pool) for a, b in pairwise(widths)))
        # A convolution over the whole map (4 x 4 in the paper): a linear layer on every position.
        self.last = MatmulConv2d(widths[-1], widths[-1], side)

    def forward(self, x: Tensor) -> Tensor:
        # No norm in discriminator and style encoder: a norm would remove what a style is.
        h = self.last(F.leaky_relu(self.blocks(self.stem(x)), SLOPE))
        return F.leaky_relu(h, SLOPE).flatten(1)


class StyleEncoder(nn.Module):
    """forward(x B x 3 x S x S, label int64 B) -> B x style: the style of an image for an
    emotion."""

    def __init__(self, config: StyleConfig, size: int, kinds: int):
        super().__init__()
        self.funnel = DownsamplingTrunk(config, size)
        self.own = PerEmotionLinear(kinds, self.funnel.outputs, config.style)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return pick(self.own(self.funnel(x)), label).float()


class Discriminator(nn.Module):
    """forward(x B x 3 x S x S) -> B x emotions: one real-or-fake score per emotion."""

    def __init__(self, config: StyleConfig, size: int, kinds: int):
        super().__init__()
        self.funnel = DownsamplingTrunk(config, size)
        self.own = nn.Linear(self.funnel.outputs, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.own(self.funnel(x)).float()


class ExpressionStyleEncoder(nn.Module):
    """The same of expressions: forward(x B x K, label int64 B) -> B x style."""

    def __init__(self, config: StyleConfig, kinds: int):
        super().__init__()
        self.trunk = Perceptron(config.controls, config.hidden, config.hidden)
        self.own = PerEmotionLinear(kinds, config.hidden, config.style)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return pick(self.own(F.leaky_relu(self.trunk(x), SLOPE)), label)


class ExpressionStarGANv2Generator(ExpressionGenerator):
    """The generator of expressions, with the mapping network and the style encoder that compute its
    styles."""

    def __init__(self, config: StyleConfig, kinds: int):
        change = StyledPerceptron(
            config.controls, config.controls, nn.Linear(config.style, STEERED)
        )
        super().__init__(config.controls, config.style, change)
        self.mapping = MappingNetwork(config, kinds)
        self.encoder = ExpressionStyleEncoder(config, kinds)
        self.mapping.apply(he_normal)  # else eight layers leave little of a latent


class StarGANv2Generator(nn.Module):
    """The generator, with the mapping network and the style encoder that compute its styles.

    A block halves the sides until they are between 16 and 31. Raises ValueError for a size that
    cannot be halved so often.
    """

    def __init__(self, config: StyleConfig, size: int, kinds: int):
        super().__init__()
        # log2(size) - 4, so that the smallest map is 16 x 16 as at 256 px.
        halvings = max(size.bit_length() - 5, 0)
        if size % 2**halvings:
            raise ValueError(f"the generator needs a size that {2**halvings} divides, got {size}")
        widths = [min(config.width << i, config.max_channels) for i in range(halvings + 1)]
        low, style = widths[-1], config.style
        self.residual = config.output == "residual"
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1)
        # The encoder has plain instance norms: style belongs to the decoder alone.
        down = [Block(a, b, norm=True, pool="average") for a, b in pairwise(widths)]
        same = [Block(low, low, norm=True) for _ in range(config.blocks)]
        self.down = nn.Sequential(*down, *same)
        up = [StyledBlock(a, b, style, up=True) for a, b in pairwise(reversed(widths))]
        self.up = nn.ModuleList([StyledBlock(low, low, style) for _ in range(config.blocks)] + up)
        self.norm = Norm(widths[0])
        self.head = nn.Conv2d(widths[0], 3, 1)
        self.mapping = MappingNetwork(config, kinds)
        self.encoder = StyleEncoder(config, size, kinds)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The source and its features, which do not depend on the style."""
        return x, self.down(self.stem(x))

    def decode(self, features: tuple[Tensor, Tensor], style: Tensor) -> Edit:
        return Edit(self.edit_features(features, style))

    def edit_features(self, features: tuple[Tensor, Tensor], style: Tensor) -> Tensor:
        """B x 3 x S x S: the edit of encoded faces under B x style styles."""
        x, h = features
        for block in self.up:
            h = block(h, style)
        out = self.head(F.leaky_relu(self.norm(h), SLOPE)).float()
        return x + smooth_residual(out) if self.residual else out

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """B x 3 x S x S under B x style styles; not bounded, as published."""
        return self.edit_features(self.encode(x), style)


def pick(each: Tensor, label: Tensor) -> Tensor:
    """Selects by label: n x emotions (x values), int64 n -> n (x values)."""
    return each[torch.arange(len(label), device=label.device), label]


def he_normal(layer: nn.Module) -> None:
    """Initialises a convolution or linear layer: He's normal by fan-in, biases zero."""
    if isinstance(layer, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
