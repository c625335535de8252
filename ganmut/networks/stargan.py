"""StarGAN's generator trunk and patch discriminator, which most methods share.

All convolutions pad with zeros. An instance norm removes constant planes, such as those of a code,
except for their contrast with zeros at the border; with reflect padding they would be lost.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.networks.config import NetworkConfig, TrunkConfig
from ganmut.networks.edit import Edit
from ganmut.networks.warp import residual_flow, warp


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """F.instance_norm of B x C x H x W. For one image it is a batch norm, whose kernel keeps the
    channels_last format."""
    if len(x) == 1:
        return F.batch_norm(x, None, None, weight, bias, training=True)
    return F.instance_norm(x, weight=weight, bias=bias)


def modulate(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance norm of x (per image and channel over H x W, eps 1e-5), times weight, plus bias;
    both B x C x 1 x 1 or C x 1 x 1 (AdaIN, Huang and Belongie 2017, eq. 8)."""
    if not torch.compiler.is_compiling():
        return instance_norm(x) * weight + bias
    # In this form torch.compile fuses the norm with its neighbours. The compiled backward of
    # F.instance_norm is six times slower.
    var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
    scale = weight * (var + 1e-5).rsqrt()
    return (x.float() * scale + (bias - mean * scale)).to(x.dtype)


class Norm(nn.Module):
    """Affine instance norm without running statistics: mean and variance per image and channel over
    H x W, eps 1e-5. With code_dim > 0 a linear layer adds the code's gain and offset (AdaIN).
    """

    def __init__(self, channels: int, code_dim: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.steer = nn.Linear(code_dim, 2 * channels) if code_dim else None
        if self.steer is not None:
            # Large enough that the first edits depend on the code, for any number of values.
            nn.init.normal_(self.steer.weight, std=0.5 * code_dim**-0.5)
            nn.init.zeros_(self.steer.bias)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        if self.steer is None and not torch.compiler.is_compiling():
            return instance_norm(x, self.weight, self.bias)
        weight, bias = self.weight[:, None, None], self.bias[:, None, None]
        if self.steer is not None:
            # One linear layer a norm: a code reaches every block, and not the first alone.
            gain, offset = self.steer(code)[..., None, None].chunk(2, dim=1)
            weight, bias = weight * (1 + gain), bias + offset
        return modulate(x, weight, bias)


class ResidualBlock(nn.Module):
    """x + IN(C3(ReLU(IN(C3(x))))), no activation after the sum; with `code_dim` > 0 the norms are
    adaptive."""

    def __init__(self, channels: int, code_dim: int = 0):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = Norm(channels, code_dim)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = Norm(channels, code_dim)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x), code))
        return x + self.norm2(self.conv2(h), code)


class Trunk(nn.Module):
    """StarGAN's generator: 7 x 7 stem, two strided convolutions, residual blocks, two transposed
    ones, heads.

    encode(x) -> features, which do not depend on the code; decode(features, code) -> list of head
    outputs, float32, B x o x S x S before any activation. heads: output channels of each head.
    channels: input channels besides the code. Raises ValueError for condition "concat" without stem
    "conv7".
    """

    def __init__(
        self, config: TrunkConfig, code_dim: int, heads: tuple[int, ...] = (3,), channels: int = 3
    ):
        super().__init__()
        if config.condition == "concat" and config.stem != "conv7":
            raise ValueError(
                "condition concat adds code planes to the 7 x 7 stem: set stem to conv7"
            )
        w, self.heads_out, self.planes = config.width, heads, config.condition == "concat"
        steer = 0 if self.planes else code_dim
        if config.stem == "conv7":
            inputs = channels + (code_dim if self.planes else 0)
            self.stem = nn.ModuleList([nn.Conv2d(inputs, w, 7, 1, 3, bias=False), Norm(w)])
            self.down1 = nn.ModuleList([nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), Norm(2 * w)])
            self.up2 = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), Norm(w)])
            self.head = nn.Conv2d(w, sum(heads), 7, 1, 3, bias=False)
        else:  # most of a CPU's time goes to full resolution, which space-to-depth avoids
            self.stem = nn.ModuleList()
            self.down1 = nn.ModuleList(
                [nn.Conv2d(4 * channels, 2 * w, 5, 1, 2, bias=False), Norm(2 * w)]
            )
            self.up2 = nn.ModuleList()
            self.head = nn.Conv2d(2 * w, 4 * sum(heads), 5, 1, 2, bias=False)
        self.down2 = nn.ModuleList([nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False), Norm(4 * w)])
        self.blocks = nn.ModuleList(ResidualBlock(4 * w, steer) for _ in range(config.blocks))
        self.up1 = nn.ModuleList(
            [nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False), Norm(2 * w)]
        )

    @staticmethod
    def _stage(stage: nn.ModuleList, x: Tensor) -> Tensor:
        return F.relu(stage[1](stage[0](x))) if len(stage) else x

    def encode(self, x: Tensor) -> Tensor:
        """B x channels x S x S -> features; with code planes the input itself, since the first
        layer already depends on the code."""
        if self.planes:
            return x
        h = self._stage(self.stem, x) if len(self.stem) else F.pixel_unshuffle(x, 2)
        return self._stage(self.down2, self._stage(self.down1, h))

    def body(self, features: Tensor, code: Tensor) -> Tensor:
        """B x 4 width x S/4 x S/4: output of the residual blocks for features and code."""
        h = features
        if self.planes:
            # Every pixel gets the code; after the first instance norm only the zero border tells
            # it.
            planes = code[:, :, None, None].to(h.dtype).expand(-1, -1, *h.shape[2:])
            h = self._stage(self.stem, torch.cat([h, planes], 1))
            h = self._stage(self.down2, self._stage(self.down1, h))
        for block in self.blocks:
            h = block(h, code)
        return h

    def decode(self, features: Tensor, code: Tensor) -> list[Tensor]:
        """Outputs of the heads for features and code, each B x o x S x S, float32."""
        return self.apply_heads(self.body(features, code))

    def apply_heads(self, body: Tensor) -> list[Tensor]:
        """Outputs of the heads for the output of the residual blocks."""
        h = self._stage(self.up2, self._stage(self.up1, body))
        # float32 before any activation: losses and tanh need more digits than bfloat16 has.
        out = self.head(h).float()
        if not len(self.stem):
            out = F.pixel_shuffle(out, 2)
        return list(out.split(self.heads_out, 1))


CHROMA = 0.25  # share of the chroma of a change: expressions hardly change colour
PAINT = 0.25  # factor on a change after a warp, so that the warp does most of the edit


def smooth_residual(head: Tensor) -> Tensor:
    """B x 3 x S x S: the change that a head's output adds to an image, with reduced chroma and
    smoothed by a binomial filter, which removes the checkerboard of transposed convolutions."""
    light = head.mean(1, keepdim=True)
    kernel = head.new_tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(3, 1, 3, 3) / 16
    return F.conv2d(torch.lerp(light, head, CHROMA), kernel, padding=1, groups=3)


class Generator(nn.Module):
    """A trunk with one colour head: x_fake = tanh(head), as published; source plus change
    ("residual"); or the source warped by a flow of at most 5 px at 128 px, plus change
    ("warp_residual").

    A warped face keeps its skin and features, which a short training on photographs cannot draw,
    and the flow applies to the photograph at full resolution. The flow is computed from the
    residual blocks, at a quarter of the size.
    """

    OUTPUTS: ClassVar[dict[str, tuple[str, ...]]] = {
        "output": ("tanh", "residual", "warp_residual")
    }

    def __init__(self, config: TrunkConfig, code_dim: int):
        super().__init__()
        self.trunk = Trunk(config, code_dim)
        self.output = config.output
        if self.output == "warp_residual":
            # At a quarter of the size: a warp is smooth, and fine flows draw swirls for the
            # discriminator.
            self.offsets = nn.Conv2d(4 * config.width, 2, 3, 1, 1, bias=False)
            # The first edits are not distorted: their flow is zero.
            nn.init.zeros_(self.offsets.weight)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The source and its features, which do not depend on the code."""
        return x, self.trunk.encode(x)

    def edit_and_flow(
        self, features: tuple[Tensor, Tensor], code: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Edited images B x 3 x S x S, and the flow B x 2 x S x S in pixels or None."""
        x, encoded = features
        body = self.trunk.body(encoded, code)
        (head,) = self.trunk.apply_heads(body)
        if self.output == "tanh":
            return torch.tanh(head), None
        if self.output == "residual":
            return x + smooth_residual(head), None
        flow = residual_flow(self.offsets(body).float())
        return warp(x, flow) + PAINT * smooth_residual(head), flow

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> Edit:
        images, flow = self.edit_and_flow(features, code)
        return Edit(images, flow=flow)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """B x 3 x S x S in [-1, 1] under B x dim codes; "residual" and "warp_residual" may leave
        the range by a little in training."""
        return self.edit_and_flow(self.encode(x), code)[0]


class MatmulConv2d(nn.Conv2d):
    """nn.Conv2d for square kernels, computed as one matrix product on maps of at most 4 x 4.

    On such maps a convolution uses its millions of weights at few positions, and on a CPU it spends
    four fifths of the time on reordering them.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > 4:
            return super().forward(x)
        k, s, weight = self.kernel_size[0], self.stride[0], self.weight
        p = int(self.padding[0])  # a name such as "same" is never given
        side = (x.shape[-1] + 2 * p - k) // s + 1
        patches = F.unfold(x, k, padding=p, stride=s)  # B x (channels, k, k) x side^2
        if weight.is_contiguous():
            patches = patches.transpose(1, 2)
        else:  # channels_last: the same product with its terms in the memory order of the weights
            patches = patches.unflatten(1, (-1, k * k)).permute(0, 3, 2, 1).flatten(2)
            weight = weight.permute(0, 2, 3, 1)
        # Flattened to two dimensions: a batched product without gradients copies the weights for
        # every image.
        out = F.linear(patches.flatten(0, 1), weight.flatten(1), self.bias)
        return out.unflatten(0, (-1, side, side)).permute(0, 3, 1, 2)


class PatchDiscriminator(nn.Module):
    """StarGAN's discriminator: L strided 4 x 4 convolutions, a patch score and linear heads over
    the last map.

    forward(x) -> (B x 1 x h x w scores, B x outputs). Needs a size that 2^L divides.
    """

    def __init__(self, config: NetworkConfig, size: int, outputs: int):
        super().__init__()
        layers, side = config.d_layers, size >> config.d_layers
        if side << layers != size or side == 0:
            raise ValueError(
                f"a discriminator of {layers} layers needs a size that "
                f"{2**layers} divides, got {size}"
            )
        widths = [min(config.d_width << i, config.d_max_channels) for i in range(layers)]
        self.layers = nn.ModuleList(
            MatmulConv2d(a, b, 4, 2, 1) for a, b in zip([3, *widths], widths, strict=False)
        )
        # No bias: a WGAN score is known up to a constant anyway.
        self.src = MatmulConv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.cls = MatmulConv2d(widths[-1], outputs, side, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.01)
        return self.src(x).float(), self.cls(x).flatten(1).float()

    def score(self, x: Tensor) -> Tensor:
        """The patch scores alone, the input of a gradient penalty."""
        return self.forward(x)[0]  # not `self(x)`: a compiled call has no second derivatives
