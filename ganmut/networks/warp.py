"""Warps of images by a flow: B x 2 x H x W in pixels, (right, down).

The output at p is the input at p + flow(p), so a zero flow is the identity. The flow of an enlarged
image is enlarged by the same factor and multiplied by it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 5.0  # px at 128 px: the largest offset, or step between neighbours (DefGAN)


def residual_flow(raw: Tensor) -> Tensor:
    """B x 2 x S/4 x S/4 -> B x 2 x S x S flow in pixels: REACH * tanh, enlarged bilinearly."""
    # 5 px at 128 px are the same share of a face at every size.
    reach = REACH * 4 * raw.shape[-1] / 128
    return F.interpolate(reach * raw.tanh(), scale_factor=4, mode="bilinear", align_corners=False)


def warp(x: Tensor, flow: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
    """B x C x h x w: x (B x C x H x W) warped by a flow (B x 2 x h x w, pixels), bilinear.

    corner: top and left of the flow's region in x; the result shows that region. The border of x is
    repeated outside it. float64 for float64 x, else float32.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    (height, width), (rows, columns) = x.shape[-2:], flow.shape[-2:]
    flow = flow.to(dtype)
    # Pixel centres are odd multiples of 1 / width (align_corners=False). For sides that are powers
    # of two they are exact in float32, so that a zero flow returns x bit for bit.
    across = (torch.arange(columns, device=x.device) + corner[1]) * 2 + 1 - width
    down = (torch.arange(rows, device=x.device) + corner[0]) * 2 + 1 - height
    grid = torch.stack(
        [(across + 2 * flow[:, 0]) / width, (down[:, None] + 2 * flow[:, 1]) / height], -1
    )
    # The border is repeated: zeros would pull a dark rim into the face.
    return F.grid_sample(x.to(dtype), grid, padding_mode="border", align_corners=False)


def compose(first: Tensor, then: Tensor) -> Tensor:
    """The flow that is equivalent to two warps: warp(warp(x, first), then).

    A pixel p of the result samples at p + then(p), so `first` is evaluated there, by a warp. The
    order matters: warps do not commute.
    """
    return then + warp(first, then)


def folded_share(flow: Tensor) -> Tensor:
    """Share of the pixels where a flow folds the image: the Jacobian determinant is negative."""
    flow = flow.float()
    along = flow[..., :-1, 1:] - flow[..., :-1, :-1]
    down = flow[..., 1:, :-1] - flow[..., :-1, :-1]
    # The determinant of the identity plus the flow's derivatives, by forward differences.
    area = (1 + along[:, 0]) * (1 + down[:, 1]) - along[:, 1] * down[:, 0]
    return (area < 0).float().mean()
