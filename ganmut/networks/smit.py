"""The networks of SMIT (Romero et al., ICCV Workshops 2019): a generator whose residual blocks are
modulated by a frozen random layer, and discriminators of several scales. The same on expressions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganmut.networks.config import NetworkConfig, setting
from ganmut.networks.expression import (
    STEERED,
    ExpressionChange,
    ExpressionConfig,
    ExpressionDiscriminator,
    StyledPerceptron,
)
from ganmut.networks.spectral import SpectralNorm
from ganmut.networks.stargan import MatmulConv2d, Norm, modulate, smooth_residual

DOWNS = 3  # strided convolutions of the generator, and as many upsampling stages


@dataclass(frozen=True)
class SMITConfig(NetworkConfig, ExpressionConfig):
    """Settings of the networks."""

    width: int = setting(32, "channels of the generator's first layer")
    d_width: int = setting(16, "channels of the discriminator's first layer")
    latent: int = setting(20, "values of noise in a code")
    scales: int = setting(
        3,
        "input sizes of the discriminator, each half of the one before; d_layers is for "
        "the largest",
    )
    spectral: bool = setting(True, "spectral norm in the discriminator (published)")

    # Styles reach the image through the blocks alone.
    LIMITS: ClassVar = {"blocks": (1, 32), "latent": (1, 1024), "scales": (1, 8)}


class DomainEmbedding(nn.Module):
    """A linear layer with PyTorch's initial values, not trained; buffers, so that weights hold
    it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        # PyTorch's default scale: the gains have a deviation near .5, which is the authors' style
        # strength.
        linear = nn.Linear(inputs, outputs)
        self.register_buffer("weight", linear.weight.detach())
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, code: Tensor) -> Tensor:
        return F.linear(code, self.weight, self.bias)


class LayerNorm(nn.Module):
    """Layer norm over C x H x W with a gain and an offset per channel. As in the authors' code, the
    standard deviation is the unbiased one and eps is added to it, not to the variance."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        # U(0, 1), not ones: as released.
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # float32: sums over C x H x W values lose too much in bfloat16.
        var, mean = torch.var_mean(x.float(), dim=(1, 2, 3), keepdim=True)
        scale = self.weight[:, None, None] / (var.clamp(min=1e-12).sqrt() + self.eps)
        return ((x.float() - mean) * scale + self.bias[:, None, None]).to(x.dtype)


class StyledBlock(nn.Module):
    """x + AdaIN(C3(ReLU(AdaIN(C3(x))))); style: B x 4 channels: offsets, gains, offsets, gains."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        offset1, gain1, offset2, gain2 = style[..., None, None].chunk(4, dim=1)
        h = F.relu(modulate(self.conv1(x), gain1, offset1))
        return x + modulate(self.conv2(h), gain2, offset2)


class SMITGenerator(nn.Module):
    """SMIT's generator: a 7 x 7 stem and three strided convolutions with instance norm, residual
    blocks with styles, three stages of nearest upsampling and convolution with layer norm, two
    heads.

    forward(x, code) -> colours B x 3 x S x S and M B x 1 x S x S in 0..1. colours = tanh(head), as
    published; where config.output is "residual", source + 2 tanh(smooth_residual(head) / 2), and M
    is as smooth as the change. Sides must be a multiple of 8.
    """

    def __init__(self, config: SMITConfig, code_dim: int):
        super().__init__()
        widths = [config.width << i for i in range(DOWNS + 1)]
        self.residual = config.output == "residual"
        self.embedding = DomainEmbedding(code_dim, config.blocks * 4 * widths[-1])
        stem = nn.Conv2d(3, widths[0], 7, 1, 3, bias=False)
        narrow = [nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths)]
        self.down = nn.ModuleList([stem, *narrow])
        self.down_norm = nn.ModuleList(Norm(w) for w in widths)
        self.blocks = nn.ModuleList(StyledBlock(widths[-1]) for _ in range(config.blocks))
        widen = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in widen)
        self.up_norm = nn.ModuleList(LayerNorm(b) for _, b in widen)
        self.head = nn.Conv2d(widths[0], 4, 7, 1, 3, bias=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The source and its features, which do not depend on the code."""
        h = x
        for conv, norm in zip(self.down, self.down_norm, strict=True):
            h = F.relu(norm(conv(h)))
        return x, h

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        """Colours and M of encoded faces under codes B x (emotions + latent)."""
        x, h = features
        # One embedding for all blocks: each takes its own part of it.
        styles = self.embedding(code).chunk(len(self.blocks), dim=1)
        for block, style in zip(self.blocks, styles, strict=True):
            h = block(h, style)
        for conv, norm in zip(self.up, self.up_norm, strict=True):
            h = F.relu(norm(conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))))
        # float32: sigmoid and tanh saturate earlier in bfloat16, and their gradients vanish.
        head, mask = self.head(h).float().split((3, 1), 1)
        if not self.residual:
            return torch.tanh(head), torch.sigmoid(mask)
        mask = F.avg_pool2d(F.avg_pool2d(mask, 2, 1, 1), 2, 1)  # the filter of `smooth_residual`
        return x + 2 * torch.tanh(smooth_residual(head) / 2), torch.sigmoid(mask)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.encode(x), code)


class ScaleDiscriminator(nn.Module):
    """Strided 4 x 4 convolutions, with spectral norm if `config.spectral`; the heads for patch
    scores and logits have none."""

    def __init__(self, config: SMITConfig, layers: int, side: int, emotions: int):
        super().__init__()
        widths = [min(config.d_width << i, config.d_max_channels) for i in range(layers)]
        self.layers = nn.ModuleList(MatmulConv2d(a, b, 4, 2, 1) for a, b in pairwise([3, *widths]))
        for layer in self.layers if config.spectral else ():
            norm = SpectralNorm(layer.weight, 0)  # type: ignore[arg-type] # a Tensor
            # unsafe: the shape check would need a forward pass, here without an input.
            parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
        self.src = MatmulConv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.cls = MatmulConv2d(widths[-1], emotions, side, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.01)
        # float32: losses and penalties of bfloat16 scores are too coarse.
        return self.src(x).float(), self.cls(x).flatten(1).float()


class MultiScaleDiscriminator(nn.Module):
    """One discriminator per scale. Each has half the input size of the one before and one layer
    less, so that all end in maps of the same side.

    forward(x) -> scores B x scales x h x w, logits B x scales x emotions.
    """

    def __init__(self, config: SMITConfig, size: int, emotions: int):
        super().__init__()
        layers, side = config.d_layers, size >> config.d_layers
        if side << layers != size or side == 0 or layers < config.scales:
            raise ValueError(
                f"a discriminator of {layers} layers and {config.scales} scales needs a size that "
                f"{2**layers} divides and at least one layer per scale, got size {size}"
            )
        self.scales = nn.ModuleList(
            ScaleDiscriminator(config, layers - i, side, emotions) for i in range(config.scales)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, logits = [], []
        for i, discriminator in enumerate(self.scales):
            # Without the padding in the mean: a dark frame would be a cue of the scale.
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            score, logit = discriminator(x)
            scores.append(score)
            logits.append(logit)
        return torch.cat(scores, 1), torch.stack(logits, 1)

    def score(self, x: Tensor) -> Tensor:
        """The patch scores alone, the input of a gradient penalty."""
        return self.forward(x)[0]


class ExpressionSMITGenerator(ExpressionChange):
    """The same on expressions: forward(x, code) -> what a code shows, and the mask M of the
    controls that are kept, both B x K."""

    def __init__(self, controls: int, code_dim: int):
        embedding = DomainEmbedding(code_dim, STEERED)
        change = StyledPerceptron(controls, 2 * controls, embedding)
        super().__init__(controls, code_dim, change)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        change, mask = self.change(features[0], code).chunk(2, 1)
        return self.inputs(self.rest) + change, torch.sigmoid(mask)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.encode(x), code)


class ExpressionSMITDiscriminator(ExpressionDiscriminator):
    """One scale, since an expression has no coarser one: scores B x 1, logits B x 1 x emotions."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        score, logits = super().forward(x)
        return score, logits[:, None]
