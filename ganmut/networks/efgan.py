"""The networks of EF-GAN: a generator branch for the whole face and one for each part, a refiner,
discriminators of the branches, and the interpolator of units.

The paper gives layer widths only in a figure. Here every branch is StarGAN's trunk with
GANimation's two heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

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

    stages: int = setting(1, "number of stages")
    local_share: float = setting(1.0, "width of the local branches, as a share of width")
    refiner_share: float = setting(1.0, "width of the refiner, as a share of width")
    spectral: bool = setting(True, "spectral norm on all but the output layers (supplement)")

    LIMITS: ClassVar = {"stages": (1, 16), "local_share": (0, 4), "refiner_share": (0, 4)}


def boxes(size: int) -> dict[str, Box]:
    """The input boxes of the four branches in a crop of `size` px: the whole crop, then its
    parts."""
    return {"face": Box(0, 0, size, size), **region_boxes(size)}


def feather(box: Box, size: int) -> Tensor:
    """1 x height x width in 0..1: 1 inside a box, falling to its border over 4 px of 128."""
    # 4 px at 128 px, at every size.
    depth = max(size // 32, 1)

    def ramp(side: int) -> Tensor:
        position = torch.arange(side) + 0.5
        return (torch.minimum(position, side - position) / depth).clamp(max=1)

    return (ramp(box.height)[:, None] * ramp(box.width))[None]


def paste(whole: Tensor, patch: Tensor, box: Box, feather: Tensor) -> Tensor:
    """B x C x S x S with a patch (B x C x height x width) blended in; an unchanged patch leaves it
    bit for bit."""
    # The change is blended, not the patch: where a branch keeps its source nothing is rounded.
    change = feather * (patch - box.crop(whole))
    right, below = (whole.shape[-1] - box.left - box.width, whole.shape[-2] - box.top - box.height)
    return whole + F.pad(change, (box.left, right, box.top, below))


class StageOutput(NamedTuple):
    """image: the refined image, B x 3 x S x S. parts, colours, masks: outputs of the four branches
    in the order of `boxes`. changed: B x 1 x S x S, the masks pasted together."""

    image: Tensor
    parts: tuple[Tensor, ...]
    colours: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    changed: Tensor


class Stage(nn.Module):
    """One EF-GAN: four attention branches (mask 1 = new pixels), whose patches are pasted into the
    face, and a refiner that removes the seams.

    The branches share no weights. The refiner's input is the image of the face's branch and the
    pasted image, without the code; its output is added to the pasted image.
    """

    def __init__(self, config: CascadeConfig, code_dim: int, size: int):
        super().__init__()
        self.boxes = boxes(size)
        local = config.scale_width(config.local_share)
        branches = {
            part: AttentionGenerator(config if part == "face" else local, code_dim, False)
            for part in self.boxes
        }
        self.branches: Any = nn.ModuleDict(branches)
        # Six input channels: the image of the face's branch and the pasted one. No code.
        self.refiner = Trunk(config.scale_width(config.refiner_share), 0, channels=6)
        for part, box in list(self.boxes.items())[1:]:
            self.register_buffer(f"feather_{part}", feather(box, size), persistent=False)
        self.smooth = config.output == "residual"
        heads = [branch.trunk.head for branch in branches.values()]
        orthogonal_spectral_init(self, (*heads, self.refiner.head), config.spectral)
        nn.init.zeros_(self.refiner.head.weight)  # the refiner initially adds nothing

    def encode(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Source and features of every branch, which do not depend on the code."""
        return tuple(self.branches[part].encode(box.crop(x)) for part, box in self.boxes.items())

    def decode(self, features: tuple[tuple[Tensor, Tensor], ...], code: Tensor) -> StageOutput:
        """The stage's output for encoded faces under B x dim codes."""
        outputs = [
            branch.decode(encoded, code)
            for branch, encoded in zip(self.branches.values(), features, strict=True)
        ]
        face, *local = outputs
        # Parts are pasted in the order of `boxes`: where they overlap, the later one is on top.
        pasted, changed = face.images, face.mask
        for (part, box), patch in zip(list(self.boxes.items())[1:], local, strict=True):
            alpha = getattr(self, f"feather_{part}")
            pasted = paste(pasted, patch.images, box, alpha)
            changed = paste(changed, patch.mask, box, alpha)
        encoded = self.refiner.encode(torch.cat([face.images, pasted], 1))
        (head,) = self.refiner.decode(encoded, code[:, :0])
        # A residual: the supplement's refiner draws the whole image, which a short training blurs.
        refined = pasted + torch.tanh(smooth_residual(head) if self.smooth else head)
        parts, colours, masks, _ = (tuple(field) for field in zip(*outputs, strict=True))
        return StageOutput(refined, parts, colours, masks, changed)

    def forward(self, x: Tensor, code: Tensor) -> StageOutput:
        return self.decode(self.encode(x), code)


class Interpolator(nn.Module):
    """The units on the way from y by a residual r, both B x n, corrected to units that faces show.

    (y, r) -> y + r + f(y, r) - f(y, 0), in 0..1. The paper's network maps (y, r) to units directly.
    In this form r = 0 changes nothing, and the initial network is the straight line, which is also
    its pseudo target.
    """

    def __init__(self, units: int, width: int = 64):
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(2 * units, width), nn.Linear(width, width)])
        self.outer = nn.Linear(width, units, bias=False)  # a bias would cancel
        nn.init.zeros_(self.outer.weight)

    def correction(self, y: Tensor, r: Tensor) -> Tensor:
        """f(y, r), B x n."""
        h = torch.cat([y, r], 1)
        for layer in self.inner:
            h = F.leaky_relu(layer(h), 0.01)
        return self.outer(h).float()

    def forward(self, y: Tensor, r: Tensor) -> Tensor:
        curve = self.correction(y, r) - self.correction(y, torch.zeros_like(r))
        return (y + r + curve).clamp(0, 1)


class CascadeGenerator(nn.Module):
    """The content of a weight: the stages; the interpolator, which computes the targets of all but
    the last stage; and `reader`, the regressor of the source's units, the interpolator's input."""

    def __init__(self, config: CascadeConfig, code_dim: int, size: int):
        super().__init__()
        stages = (Stage(config, code_dim, size) for _ in range(config.stages))
        self.stages = nn.ModuleList(stages)
        self.interp = Interpolator(code_dim)
        self.reader = ActionUnitRegressor(size, code_dim)

    @torch.no_grad()
    def targets(self, source: Tensor, target: Tensor) -> Tensor:
        """B x stages x n: target units of the stages on the way from source to target, both B x n;
        the last is the target itself.

        Without gradients: the losses of the images would teach the interpolator easy targets.
        """
        m = len(self.stages)
        # Stage k of m is to show k / m of the way.
        steps = [self.interp(source, (target - source) * (k / m)) for k in range(1, m)]
        return torch.stack([*steps, target], 1)

    def forward(self, x: Tensor, codes: Tensor, first: int = 0) -> list[StageOutput]:
        """Outputs of the stages from `first` on under B x stages x n codes; every stage edits the
        image of the one before."""
        outputs: list[StageOutput] = []
        for k, code in enumerate(codes.unbind(1), first):
            outputs.append(self.stages[k](outputs[-1].image if outputs else x, code))
        return outputs


class RegionDiscriminator(nn.Module):
    """Strided 4 x 4 convolutions, B x 3 x H x W -> B x 1 x h x w patch scores, without a head."""

    def __init__(self, config: CascadeConfig, box: Box, layers: int):
        super().__init__()
        # MatmulConv2d needs square maps.
        conv = MatmulConv2d if box.width == box.height else nn.Conv2d
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
    """Scores of unit vectors, B x n x 1 x 1 -> B x 1 x 1 x 1: images of one pixel, so that the
    penalties of training/losses.py apply."""

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
    """The six discriminators: a PatchDiscriminator of the final images with a head for units,
    `regions` for the outputs of the four branches, and `units` for those of the interpolator.

    The supplement's five and three bottleneck layers follow a first one: d_layers (6) for the
    face, two fewer for the parts.
    """

    def __init__(self, config: CascadeConfig, size: int, units: int):
        super().__init__(config, size, units)
        # Boxes of parts are smaller and become a single pixel with all layers.
        layers = {part: max(config.d_layers - 2, 1) for part in boxes(size)}
        layers["face"] = config.d_layers
        regions = {
            part: RegionDiscriminator(config, box, layers[part])
            for part, box in boxes(size).items()
        }
        self.regions: Any = nn.ModuleDict(regions)
        self.units = ActionUnitDiscriminator(units)
        outputs = (self.src, self.cls, *(region.src for region in regions.values()))
        orthogonal_spectral_init(self, outputs, config.spectral)
