"""The attention generator that GANimation introduced: a picture of new colours, and a mask that
says where they are used. DefGAN paints its texture with it, and every branch of EF-GAN is one.

The mask of GANimation and SMIT marks the pixels they *keep*, that of DefGAN and EF-GAN those they
*change*. `keep_mask` says which it is, and `AttentionOutput.changed` is the same in both.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.networks.config import TrunkConfig
from ganmut.networks.stargan import Trunk, smooth_residual


class AttentionOutput(NamedTuple):
    """images, colours B x 3 x S x S; mask B x 1 x S x S in 0..1, in the paper's own sense; changed,
    the same in the sense of Edit.mask: 1 = new pixels."""

    images: Tensor
    colours: Tensor
    mask: Tensor
    changed: Tensor


def compose(source: Tensor, colours: Tensor, mask: Tensor, keep_mask: bool) -> Tensor:
    """mask * source + (1 - mask) * colours where the mask keeps, the other way round where it
    changes; at masks of 0 and 1 exactly one of the two."""
    kept, new = (source, colours) if keep_mask else (colours, source)
    return mask * kept + (1 - mask) * new


def total_variation(x: Tensor, power: int = 1) -> Tensor:
    """Mean over the batch of the sum over all pixels of |step|^power, to the right and downwards;
    x B x C x H x W. Of a mask with hard edges it is their length in pixels (power 1)."""
    right, down = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    return (right.abs().pow(power).sum() + down.abs().pow(power).sum()) / len(x)


class AttentionGenerator(nn.Module):
    """A trunk with a colour head and a mask head (sigmoid): GANimation's generator.

    keep_mask: the mask's sense, see above. The mask has a bias, which the papers leave out, so that
    it can open or close as a whole.
    colours = tanh(head), as published; where config.output is "residual" they are source +
    2 tanh(smooth_residual(head) / 2), which begins at the person, and the mask is as smooth as the
    change. The composition stays, and as no change is larger than the range of colours, huge
    changes cannot make up for a mask that hardly opens.
    Any sides that 4 divides; `channels`: input channels besides the code, the source first.
    """

    def __init__(self, config: TrunkConfig, code_dim: int, keep_mask: bool, channels: int = 3):
        super().__init__()
        self.trunk = Trunk(config, code_dim, heads=(3, 1), channels=channels)
        self.mask_bias = nn.Parameter(torch.zeros(1))
        self.keep_mask, self.residual = keep_mask, config.output == "residual"

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What does not depend on the code: the source, B x 3 x S x S in [-1, 1], and features."""
        return x[:, :3], self.trunk.encode(x)

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> AttentionOutput:
        source, encoded = features
        head, opening = self.trunk.decode(encoded, code)
        colours = (
            source + 2 * torch.tanh(smooth_residual(head) / 2)
            if self.residual
            else torch.tanh(head)
        )
        if (
            self.residual
        ):  # the filter of `smooth_residual`: a mask of grain would make grain of any change
            opening = F.avg_pool2d(F.avg_pool2d(opening, 2, 1, 1), 2, 1)
        mask = torch.sigmoid(opening + self.mask_bias)
        images = compose(source, colours, mask, self.keep_mask)
        return AttentionOutput(images, colours, mask, 1 - mask if self.keep_mask else mask)

    def forward(self, x: Tensor, code: Tensor) -> AttentionOutput:
        """The edit of B x channels x S x S in [-1, 1] under B x dim codes; "residual" may leave the
        range in training, as the plain generator does."""
        return self.decode(self.encode(x), code)
