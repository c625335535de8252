"""Bending pictures by a flow: B x 2 x H x W in pixels, (right, down). The pixel at p shows what was
at p + flow(p). Zero is the identity; enlarged with its picture, a flow grows in numbers too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 5.0  # px: the largest offset at 128 px (DefGAN), or step between neighbours


def residual_flow(raw: Tensor) -> Tensor:
    """B x 2 x S/4 x S/4 -> flow at S: REACH * tanh, in pixels at 128 px, enlarged bilinearly."""
    reach = REACH * 4 * raw.shape[-1] / 128
    return F.interpolate(reach * raw.tanh(), scale_factor=4, mode="bilinear", align_corners=False)


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """B x C x H x W float32: x bent by a flow, bilinear; beyond the frame its border goes on."""
    height, width = x.shape[-2:]
    flow = flow.float()
    # Pixel centres lie at odd multiples of 1 / width (align_corners=False): exact in float32 for
    # sides that are powers of two, so that the identity returns the very picture.
    across = torch.arange(width, device=x.device) * 2 + 1 - width
    down = torch.arange(height, device=x.device) * 2 + 1 - height
    grid = torch.stack(
        [(across + 2 * flow[:, 0]) / width, (down[:, None] + 2 * flow[:, 1]) / height], -1
    )
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)


def compose(first: Tensor, then: Tensor) -> Tensor:
    """The one flow that bends as `first` and then `then` do: warp(warp(x, first), then).

    A pixel of the result looks at p + then(p), where the first flow has to be read: it is sampled
    like a picture. The order matters, and the other one is wrong by little.
    """
    return then + warp(first, then)


def folded(flow: Tensor) -> Tensor:
    """Share of the pixels at which a flow turns the picture over: negative Jacobian determinant."""
    flow = flow.float()
    along = flow[..., :-1, 1:] - flow[..., :-1, :-1]
    down = flow[..., 1:, :-1] - flow[..., :-1, :-1]
    area = (1 + along[:, 0]) * (1 + down[:, 1]) - along[:, 1] * down[:, 0]
    return (area < 0).float().mean()
