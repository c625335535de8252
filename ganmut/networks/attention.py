"""GANimation's attention generator: an image of new colours, and a mask that selects where they are
used. It is also the texture generator of DefGAN and every branch of EF-GAN.

The mask of GANimation and SMIT marks the pixels to *keep* (`keep_mask`), that of DefGAN and EF-GAN
those to *change*. `AttentionOutput.changed` marks changed pixels in both cases.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.networks.config import TrunkConfig
from ganmut.networks.stargan import Trunk, smooth_residual


class AttentionOutput(NamedTuple):
    """images, colours: B x 3 x S x S; mask: B x 1 x S x S in 0..1, with the paper's meaning;
    changed: the mask with the meaning of Edit.mask, 1 = new pixels."""

    images: Tensor
    colours: Tensor
    mask: Tensor
    changed: Tensor


def compose(source: Tensor, colours: Tensor, mask: Tensor, keep_mask: bool) -> Tensor:
    """mask * source + (1 - mask) * colours for a mask of kept pixels; with source and colours
    swapped for one of changed pixels."""
    # In this form masks of exactly 0 and 1 return one of the two images bit for bit.
    inside, outside = (source, colours) if keep_mask else (colours, source)
    return mask * inside + (1 - mask) * outside


def total_variation(x: Tensor, power: int = 1) -> Tensor:
    """Sum over all pixels of |difference to the right and lower neighbour|^power, mean over the
    batch; x: B x C x H x W. With power 1, for a binary mask, the length of its outline in
    pixels."""
    right, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return (right.abs().pow(power).sum() + down.abs().pow(power).sum()) / len(x)


class AttentionGenerator(nn.Module):
    """GANimation's generator: a trunk with a colour head and a mask head (sigmoid).

    keep_mask: meaning of the mask, see above. The mask has a bias, which the papers leave out, so
    that it can change as a whole. colours = tanh(head), as published; where config.output is
    "residual", source + 2 tanh(smooth_residual(head) / 2), which starts near the source, and the
    mask is smoothed like the change. The tanh bounds the change by the range of colours, so that
    large changes cannot compensate for an almost closed mask.
    Sides must be multiples of 4. channels: input channels besides the code, the source first.
    """

    def __init__(self, config: TrunkConfig, code_dim: int, keep_mask: bool, channels: int = 3):
        super().__init__()
        self.trunk = Trunk(config, code_dim, heads=(3, 1), channels=channels)
        self.mask_bias = nn.Parameter(torch.zeros(1))
        self.keep_mask, self.residual = keep_mask, config.output == "residual"

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The source (B x 3 x S x S in [-1, 1]) and its features, which do not depend on the
        code."""
        # The first three channels are the source; the rest are hints that must not be composed.
        return x[:, :3], self.trunk.encode(x)

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> AttentionOutput:
        """The edit of encoded faces under B x dim codes."""
        source, encoded = features
        head, mask_logits = self.trunk.decode(encoded, code)
        if self.residual:
            colours = source + 2 * torch.tanh(smooth_residual(head) / 2)
            # The filter of `smooth_residual`: a noisy mask would make every change noisy.
            mask_logits = F.avg_pool2d(F.avg_pool2d(mask_logits, 2, 1, 1), 2, 1)
        else:
            colours = torch.tanh(head)
        # At zero bias the first mask is one half: both images have gradients from the first step.
        mask = torch.sigmoid(mask_logits + self.mask_bias)
        images = compose(source, colours, mask, self.keep_mask)
        return AttentionOutput(images, colours, mask, 1 - mask if self.keep_mask else mask)

    def forward(self, x: Tensor, code: Tensor) -> AttentionOutput:
        """The edit of B x channels x S x S in [-1, 1] under B x dim codes. "residual" may leave the
        range in training."""
        return self.decode(self.encode(x), code)
