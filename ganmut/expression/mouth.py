"""The inside of a mouth: two rows of teeth, the tongue and darkness, drawn where a mouth opens.

Teeth belong to the skull and to the jaw, not to the lips: the upper row stays where it is when the
upper lip rises, the lower row follows the chin. Sizes are the means of adults (Wheeler's dental
anatomy) in pixels of the 128 px crop, where the eyes lie 40 px (62 mm) apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganmut.expression.traced import at_least, search_sorted, to_float

MM = 40 / 62  # px of a crop whose face has the mean size
# Seen widths of half a row from the middle: central and lateral incisor, canine, premolars, molars;
# the farther back, the more the arch turns them away from the viewer.
# The upper row, then the lower one.
WIDTHS = torch.tensor([[8.5, 6.3, 6.0, 4.6, 3.4, 3.6, 2.4], [5.2, 5.6, 5.8, 4.6, 3.4, 3.6, 2.4]])
# How far the biting edge of each lies from that of the central incisors, mm towards the gum.
EDGES = torch.tensor([[0.0, 0.9, 0.3, 1.0, 1.4, 1.8, 2.2], [0.0, 0.0, -0.2, 0.5, 0.9, 1.2, 1.6]])
HEIGHT = 10.0  # of a crown, mm


@dataclass(frozen=True)
class Palette:
    """Colours of one face, each 3 (or 1 of a grey picture) x 1 x 1 in 0..1; level: the brightness
    of its lit skin, a scalar."""

    level: Tensor
    tooth: Tensor
    gum: Tensor
    tongue: Tensor
    dark: Tensor


def palette(skin: Tensor, enamel: float) -> Palette:
    """Colours under the light that the skin shows; skin: C, the mean of the face's lit skin;
    enamel: the chroma of teeth.

    Everything is the skin's colour times a factor, so grey stays grey and the lamp's colour is
    kept; `chroma` 0 is neutral, 1 the skin's own.
    """
    level = skin.mean()

    def tinted(brightness: float, chroma: float, most: float = 1.0) -> Tensor:
        tint = (skin / level.clamp(min=1e-3)).clamp(0.05, 3) ** chroma
        # The tint has mean 1, so that `brightness` alone says how bright the colour is.
        tint = tint / tint.mean()
        return (level * brightness * tint).clamp(0, most).view(-1, 1, 1)

    # Teeth of dark skin are not dark: their brightness follows the lamp, of which the skin tells
    # only a part.
    lamp = to_float(level.clamp(0.05, 1) ** 0.5 * 1.15)
    return Palette(
        level=level,
        tooth=tinted(lamp / to_float(level.clamp(min=1e-3)), enamel, 0.93),
        gum=tinted(0.62, 1.15),
        tongue=tinted(0.55, 1.15),
        dark=tinted(0.085, 0.9),
    )


def ramp(x: Tensor) -> Tensor:
    """0 below -.5, 1 above .5, linear between: the share of a pixel that lies past an edge."""
    return (x + 0.5).clamp(0, 1)


def tooth_rows(x: Tensor, depth: Tensor, pixel: float) -> tuple[Tensor, Tensor]:
    """Coverage (0..1) and shade (factor) of the upper and the lower row of teeth, each
    2 x N x H x W.

    x: N x 1 x W, mm from the middle of the face; depth: 2 x N x H x W, mm from the biting edge of
    either row's central incisors towards the gum; pixel: mm of a pixel, over which edges are soft.
    """
    bounds = WIDTHS.cumsum(1)
    away = x.abs()
    # The index has no gradient; the distance inside a tooth has one.
    values = away.detach().flatten().expand(2, -1).contiguous()
    number = search_sorted(bounds, values).clamp(max=WIDTHS.shape[1] - 1)
    sizes, edges, outer = (
        row.gather(1, number).view(2, *x.shape) for row in (WIDTHS, EDGES, bounds)
    )
    across = ((outer - away) / sizes).clamp(0, 1) * 2 - 1  # -1..1 over the tooth
    # Corners of a crown are round, the outer one more.
    rounded = edges + 0.55 * across.abs() ** 5 + 0.35 * across.clamp(max=0).abs() ** 3
    covered = ramp((depth - rounded) / pixel) * ramp(
        (bounds[:, -1].view(2, 1, 1, 1) - away) / at_least(pixel, 0.3)
    )
    border = (1 - across.abs()) * sizes / 2  # mm to the nearest neighbour
    width = at_least(0.6 * pixel, 0.22)
    # A seam below a pixel's width is drawn wider and fainter, else it flickers with the scale.
    seam = torch.exp(-((border / width) ** 2)) * (0.22 / width) ** 0.5
    # The seam opens towards the biting edge; a crown is rounded, its neck darker.
    open_ = 1 - 0.45 * (depth / HEIGHT).clamp(0, 1)
    dome = 1 - 0.10 * across.square()
    neck = 1 - 0.22 * ((depth - 4.5) / 5).clamp(0, 1)
    glass = 1 - 0.10 * torch.exp(-((depth - rounded).clamp(min=0) / 0.8))
    turned = 1 / (1 + (away / 21) ** 4)  # the arch turns into the shade of the cheek
    return covered, dome * neck * glass * turned * (1 - 0.42 * seam * open_)


def draw_mouth(
    columns: Tensor,
    rows: Tensor,
    upper_lip: Tensor,
    lower_lip: Tensor,
    teeth: Tensor,
    colours: Palette,
    scale: float,
    pixel: float,
) -> Tensor:
    """N x C x H x W inside of mouths at the pixels of columns W and rows H (px of the crop).

    upper_lip, lower_lip: N x W heights of the lips' inner edges; teeth: N x 3, the middle of the
    face, the biting edge of the upper row and that of the lower row (px). scale: size of the face,
    1 is the mean's; pixel: size of an output pixel in px of the crop.
    """
    mm = MM * scale
    fine = pixel / mm
    y = rows.view(1, -1, 1)
    x = ((columns[None] - teeth[:, :1]) / mm)[:, None]
    up, down = upper_lip[:, None], lower_lip[:, None]
    upper = (teeth[:, 1].view(-1, 1, 1) - y) / mm
    lower = (y - teeth[:, 2].view(-1, 1, 1)) / mm
    gap = (down - up).clamp(min=0) / mm
    below = (y - up).clamp(min=0) / mm  # mm under the upper lip
    # Lips keep the light from what lies behind them, the more the narrower they open.
    shade = 0.6 + 0.4 * (1 - torch.exp(-below / 1.2))
    shade = shade * (1 - 0.25 * torch.exp(-(down - y).clamp(min=0) / mm / 1.2))
    covers, shades = tooth_rows(x, torch.stack([upper, lower]), fine)
    (upper_cover, lower_cover), (upper_shade, lower_shade) = covers, shades
    # Necks of the upper teeth rise a little from the middle; gums have no sharp edge.
    gum_upper = ramp((upper - HEIGHT - 0.15 * x.abs()) / at_least(fine, 0.8))
    # Lower crowns are a fifth shorter.
    gum_lower = ramp((lower - 0.8 * HEIGHT) / at_least(fine, 0.8))
    # The tongue lies behind the lower row and shows from a drop of about 10 mm on.
    room = ((gap.amax(2, keepdim=True) - 9) / 12).clamp(0, 1)
    low = teeth[:, 2].view(-1, 1, 1) / mm - y / mm  # mm over the lower row
    # The tongue's back is an arch, 38 mm wide and 9 mm high; the sigmoid makes its rim soft.
    hill = 9.0 * (1 - (x / 19).square()).clamp(min=0).sqrt()
    tongue = room * torch.sigmoid((hill - low) / 1.4)
    # The median groove tells the tongue from a lower lip.
    groove = 1 - 0.18 * torch.exp(-((x / 1.6) ** 2))
    lit = torch.exp(-low.clamp(min=0) / 9) * groove
    out = colours.dark[None] * (1 + 0 * y[:, None])
    # From back to front: in a bite the upper row hides the edges of the lower one.
    for cover, colour, light in (
        (tongue, colours.tongue, lit),
        (lower_cover, colours.tooth, 0.80 * lower_shade),
        (gum_lower, colours.gum, 0.8 + 0 * y),
        (upper_cover, colours.tooth, upper_shade),
        (gum_upper, colours.gum, 1 + 0 * y),
    ):
        cover = cover[:, None]
        out = out * (1 - cover) + cover * colour[None] * light[:, None]
    return out * shade[:, None]
