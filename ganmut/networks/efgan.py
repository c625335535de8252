"""The networks of EF-GAN: a branch for the whole face and one for each part, a refiner, critics of
rectangles, and the interpolator of units.

Layer widths stand only in a figure of the paper; every branch is StarGAN's trunk with GANimation's
two heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.face_regions import Box, region_boxes
from ganmut.networks.action_units import ActionUnitRegressor
from ganmut.networks.attention import AttentionGenerator
from ganmut.networks.config import TrunkConfig, setting
from ganmut.networks.spectral import orthogonal_spectral_init
from ganmut.networks.stargan import MatmulConv2d, PatchDiscriminator, Trunk, smooth_residual


@dataclass(frozen=True)
class CascadeConfig(TrunkConfig):
    """Settings of the networks of EF-GAN."""

    stages: int = setting(1, "EF-GANs in a row")
    local_share: float = setting(1.0, "width of the local branches, as a share of width")
    refiner_share: float = setting(1.0, "width of the refiner, as a share of width")
    spectral: bool = setting(True, "spectral norm on all but the output layers (supplement)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages < 1:
            raise ValueError(f"stages must be at least 1, got {self.stages}")


def boxes(size: int) -> dict[str, Box]:
    """What the four branches see: the whole crop, then its parts."""
    return {"face": Box(0, 0, size, size), **region_boxes(size)}


def feather(box: Box, size: int) -> Tensor:
    """1 x height x width in 0..1: 1 inside a box, falling towards its rim over 4 px of 128."""
    depth = max(size // 32, 1)

    def ramp(side: int) -> Tensor:
        place = torch.arange(side) + 0.5
        return (torch.minimum(place, side - place) / depth).clamp(max=1)

    return (ramp(box.height)[:, None] * ramp(box.width))[None]


def paste(whole: Tensor, patch: Tensor, box: Box, feather: Tensor) -> Tensor:
    """B x C x S x S with a patch, B x C x height x width, blended in; one that is not changed
    leaves every bit as it was."""
    change = feather * (patch - box.crop(whole))
    right, below = (whole.shape[-1] - box.left - box.width, whole.shape[-2] - box.top - box.height)
    return whole + F.pad(change, (box.left, right, box.top, below))


class StageOutput(NamedTuple):
    """What one stage made: image, the final picture, B x 3 x S x S; pictures, colours and masks of
    the four branches, in the order of `boxes`; changed B x 1 x S x S, the masks pasted."""

    image: Tensor
    parts: tuple[Tensor, ...]
    colours: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    changed: Tensor


class Stage(nn.Module):
    """One EF-GAN: four branches that paint and mask (1 = new pixels), their patches pasted back
    into the face, and a refiner that removes the seams.

    The branches share no weights. The refiner sees the face's branch and the pasted picture, and
    adds to the latter, without knowing the code.
    """

    def __init__(self, config: CascadeConfig, code_dim: int, size: int):
        super().__init__()
        self.boxes = boxes(size)
        local = config.scaled(config.local_share)
        self.branches = nn.ModuleDict(
            {
                part: AttentionGenerator(config if part == "face" else local, code_dim, False)
                for part in self.boxes
            }
        )
        self.refiner = Trunk(config.scaled(config.refiner_share), 0, channels=6)
        for part, box in list(self.boxes.items())[1:]:
            self.register_buffer(f"feather_{part}", feather(box, size), persistent=False)
        self.smooth = config.output == "residual"
        heads = [branch.trunk.head for branch in self.branches.values()]
        orthogonal_spectral_init(self, (*heads, self.refiner.head), config.spectral)
        nn.init.zeros_(self.refiner.head.weight)  # it begins by adding nothing

    def encode(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """What does not depend on the code, a pair a branch."""
        return tuple(self.branches[part].encode(box.crop(x)) for part, box in self.boxes.items())

    def decode(self, features: tuple[tuple[Tensor, Tensor], ...], code: Tensor) -> StageOutput:
        painted = [
            branch.decode(seen, code)
            for branch, seen in zip(self.branches.values(), features, strict=True)
        ]
        face, *local = painted
        pasted, changed = face.images, face.mask
        for (part, box), patch in zip(list(self.boxes.items())[1:], local, strict=True):
            rim = getattr(self, f"feather_{part}")
            pasted = paste(pasted, patch.images, box, rim)
            changed = paste(changed, patch.mask, box, rim)
        seams = self.refiner.encode(torch.cat([face.images, pasted], 1))
        (head,) = self.refiner.decode(seams, code[:, :0])
        refined = pasted + torch.tanh(smooth_residual(head) if self.smooth else head)
        parts, colours, masks, _ = (tuple(field) for field in zip(*painted, strict=True))
        return StageOutput(refined, parts, colours, masks, changed)

    def forward(self, x: Tensor, code: Tensor) -> StageOutput:
        return self.decode(self.encode(x), code)


class Interpolator(nn.Module):
    """The units reached from y by a residual r, both B x n: y + r, bent onto what faces can show.

    (y, r) -> y + r + f(y, r) - f(y, 0), in 0..1. The paper's network maps (y, r) to units; written
    so, no residual is no change, and it starts as the straight line that it is taught.
    """

    def __init__(self, units: int, width: int = 64):
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(2 * units, width), nn.Linear(width, width)])
        self.outer = nn.Linear(width, units, bias=False)  # a bias would cancel
        nn.init.zeros_(self.outer.weight)

    def bend(self, y: Tensor, r: Tensor) -> Tensor:
        h = torch.cat([y, r], 1)
        for layer in self.inner:
            h = F.leaky_relu(layer(h), 0.01)
        return self.outer(h).float()

    def forward(self, y: Tensor, r: Tensor) -> Tensor:
        bend = self.bend(y, r) - self.bend(y, torch.zeros_like(r))
        return (y + r + bend).clamp(0, 1)


class CascadeGenerator(nn.Module):
    """All that is shipped: the stages; the interpolator, which tells the targets of the stages
    before the last; the reader, which tells the interpolator what a face shows."""

    def __init__(self, config: CascadeConfig, code_dim: int, size: int):
        super().__init__()
        stages = (Stage(config, code_dim, size) for _ in range(config.stages))
        self.stages = nn.ModuleList(stages)
        self.interp = Interpolator(code_dim)
        self.reader = ActionUnitRegressor(size, code_dim)

    @torch.no_grad()
    def targets(self, source: Tensor, target: Tensor) -> Tensor:
        """B x stages x n: what every stage is to show, on the way from source to target, B x n. The
        last is the target itself. No loss of the pictures steers the interpolator: it would learn
        to ask for what is easy."""
        m = len(self.stages)
        steps = [self.interp(source, (target - source) * (k / m)) for k in range(1, m)]
        return torch.stack([*steps, target], 1)

    def forward(self, x: Tensor, codes: Tensor, first: int = 0) -> list[StageOutput]:
        """What each stage made, from stage `first` on, for B x stages x n codes; every stage edits
        the picture of the one before."""
        made: list[StageOutput] = []
        for k, code in enumerate(codes.unbind(1), first):
            made.append(self.stages[k](made[-1].image if made else x, code))
        return made


class RegionDiscriminator(nn.Module):
    """Strided 4 x 4 convolutions: B x 3 x any sides -> B x 1 x h x w patch scores; no head."""

    def __init__(self, config: CascadeConfig, box: Box, layers: int):
        super().__init__()
        conv = (
            MatmulConv2d if box.width == box.height else nn.Conv2d
        )  # MatmulConv2d needs square maps
        widths = [min(config.d_width << i, config.d_max_channels) for i in range(layers)]
        self.layers = nn.ModuleList(
            conv(a, b, 4, 2, 1) for a, b in zip([3, *widths], widths, strict=False)
        )
        self.src = conv(widths[-1], 1, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.01)
        return self.src(x).float()


class ActionUnitDiscriminator(nn.Module):
    """How real a vector of units is: B x n x 1 x 1 -> B x 1 x 1 x 1 (a picture of one pixel, so
    that the penalties of losses.py apply)."""

    def __init__(self, units: int, width: int = 64):
        super().__init__()
        sides = pairwise((units, width, width, 1))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in sides)

    def forward(self, y: Tensor) -> Tensor:
        h = y.flatten(1)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), 0.01)
        return self.layers[-1](h).float()[..., None, None]


class EFGANDiscriminator(PatchDiscriminator):
    """Five critics and that of the interpolator: itself judges final pictures and tells their
    units, `regions` judge what the branches made, without a head.

    The supplement's five and three bottleneck layers follow a first one: d_layers (6) for the
    face, two fewer for the parts.
    """

    def __init__(self, config: CascadeConfig, size: int, units: int):
        super().__init__(config, size, units)
        layers = {part: max(config.d_layers - 2, 1) for part in boxes(size)}
        layers["face"] = config.d_layers
        self.regions = nn.ModuleDict(
            {
                part: RegionDiscriminator(config, box, layers[part])
                for part, box in boxes(size).items()
            }
        )
        self.units = ActionUnitDiscriminator(units)
        outputs = (self.src, self.cls, *(critic.src for critic in self.regions.values()))
        orthogonal_spectral_init(self, outputs, config.spectral)
