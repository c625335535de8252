"""DefGAN: first a face is bent into the expression, then a texture adds what bending cannot.

Athar et al., "Self-supervised Deformation Modeling for Facial Expression Editing", arXiv
1911.00735. I* = warp(flow, I), edited = M * T + (1 - M) * I*: here a mask of 1 uses the texture.

No code was published. What the paper leaves open is decided so:
- The deformation generator ends at a quarter of the size (3 x 3) and is enlarged. Its flow is an
  offset of at most 5 px at 128 px ("residual"), or the sum of steps of 0..5 px between neighbours,
  which hold their order ("integral", the deforming autoencoder's way), rows and columns centred.
- All weights are free of batch and picture size, lengths in pixels at 128 px. lambda_exp is over a
  batch of 25, as GANimation's code has it (4000 -> 160, 1000 -> 40); penalties of the flow are
  means over the pixels; lambda_comp is 1, for at 10 one pixel of disagreement costs more than any
  expression is worth; total variations are sums over the pixels at 128 px, times 25.
- The units of the source, which the deformation needs, are known in training only. A small reader
  learns them on the side and is shipped: `encode` asks it, once a face.
- Face identity: the project's own embedder stands for OpenFace, frozen, in training only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut import images as pictures
from ganmut.datasets.base import Batch
from ganmut.methods import base_action_units
from ganmut.methods.base import METHODS, Edit
from ganmut.networks.action_units import ActionUnitRegressor
from ganmut.networks.attention import AttentionGenerator, total_variation
from ganmut.networks.config import setting
from ganmut.networks.stargan import PatchDiscriminator, Trunk
from ganmut.networks.warp import REACH, compose, folded, residual_flow, warp
from ganmut.registry import UnknownNameError
from ganmut.training.losses import cycle_loss

if TYPE_CHECKING:
    from ganmut.extractors.base import Extractor


@dataclass(frozen=True)
class Config(base_action_units.Config):
    """Weights of eqs. 7-15."""

    flow: str = setting("residual", "how the flow is parametrised: residual or integral")
    deformer_share: float = setting(1.0, "width of the deformation generator, as a share of width")
    lambda_exp_comp: float = setting(160.0, "weight of the unit regression on the edited face")
    lambda_exp_def: float = setting(40.0, "weight of the unit regression on the warped face")
    lambda_cyc: float = setting(100.0, "weight of the cycle loss")
    lambda_face: float = setting(
        1.0, "weight of the identity loss of the warped face; none without the embedder"
    )
    lambda_comp: float = setting(1.0, "weight of the composition of the flows there and back")
    lambda_eye_G: float = setting(0.1, "weight of the squared length of the flow")
    lambda_TV_G: float = setting(2.5e-4, "weight of the total variation of the flow")
    lambda_eye_M: float = setting(0.1, "weight of the squared mask")
    lambda_TV_M: float = setting(2.5e-4, "weight of the total variation of the mask")
    embedder: str = setting(
        "procedural/identity", "weight folder of the identity extractor of lambda_face"
    )

    ALLOWED: ClassVar = {"flow": ("residual", "integral")}


class DeformationGenerator(Trunk):
    """Picture and two codes -> flow: a trunk whose upsampling half is one convolution at a quarter
    of the size, enlarged bilinearly. It starts as the identity."""

    def __init__(self, config: Config, dim: int):
        super().__init__(config, 2 * dim)
        self.up1, self.up2 = nn.ModuleList(), nn.ModuleList()
        self.head = nn.Conv2d(4 * config.width, 2, 3, 1, 1, bias=False)
        nn.init.zeros_(self.head.weight)
        self.integral = config.flow == "integral"

    def decode(self, features: Tensor, code: Tensor) -> Tensor:
        """B x 2 x S x S flow in pixels of this size, under B x (source's, target's) codes."""
        raw = self.head(self.body(features, code)).float()
        flow = integral_flow(raw) if self.integral else residual_flow(raw)
        return flow.contiguous()


def integral_flow(raw: Tensor) -> Tensor:
    """B x 2 x S/4 x S/4 -> flow at S: steps of REACH * sigmoid pixels between neighbours (one pixel
    at raw 0), summed along the row and down the column; each row and column keeps its middle."""
    large = F.interpolate(raw, scale_factor=4, mode="bilinear", align_corners=False)
    surplus = REACH * torch.sigmoid(large - math.log(REACH - 1)) - 1
    right, down = surplus[:, 0].cumsum(-1), surplus[:, 1].cumsum(-2)
    return torch.stack([right - right.mean(-1, True), down - down.mean(-2, True)], 1)


class DefGANOutput(NamedTuple):
    """images, colours, bent (I*) B x 3 x S x S; mask B x 1 x S x S, 1 = texture; flow B x 2 x S x S
    in pixels."""

    images: Tensor
    colours: Tensor
    mask: Tensor
    bent: Tensor
    flow: Tensor


class DefGANGenerator(nn.Module):
    """Deformation, texture, and the reader of the source's units."""

    def __init__(self, config: Config, dim: int, size: int):
        super().__init__()
        self.deformer = DeformationGenerator(config.scaled(config.deformer_share), dim)
        self.texture = AttentionGenerator(config, dim, keep_mask=False)
        self.reader = ActionUnitRegressor(size, dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The source, what the deformer makes of it, and the units that the reader sees in it."""
        return x, self.deformer.encode(x), self.reader(x).clamp(0, 1)

    def decode(self, features: tuple[Tensor, Tensor, Tensor], code: Tensor) -> DefGANOutput:
        """The edit of encoded faces under B x dim target codes."""
        x, encoded, shown = features
        flow = self.deformer.decode(encoded, torch.cat([shown, code], 1))
        bent = warp(x, flow)
        painted = self.texture(bent, code)
        return DefGANOutput(painted.images, painted.colours, painted.mask, bent, flow)

    def forward(self, x: Tensor, shown: Tensor, code: Tensor) -> DefGANOutput:
        """The edit of B x 3 x S x S that show B x dim codes under B x dim target codes."""
        return self.decode((x, self.deformer.encode(x), shown), code)


@METHODS.register("defgan")
class DefGAN(base_action_units.ActionUnitMethod):
    """DefGAN (eqs. 1-16)."""

    title = "DefGAN"
    lambda_head = "lambda_exp_comp"
    paper = "Athar et al., 2019, arXiv 1911.00735"
    Config = Config
    PAPER = Config(g_interval=10)
    PAPER_RECIPE: ClassVar = {"batch": 25, "kimg": 40 * 190.0, "lr_decay_fraction": 0.5}
    # A quarter of the weight of units takes a quarter of the flow's with it, or nothing ever bends;
    # the mask's stays, so that texture is the dearer way.
    SHORT_SCHEDULE: ClassVar = base_action_units.SHORT_SCHEDULE | {
        "lambda_exp_comp": 40.0,
        "lambda_exp_def": 10.0,
        "lambda_cyc": 10.0,
        "lambda_comp": 0.25,
        "lambda_eye_G": 0.025,
        "deformer_share": 0.5,
    }
    # On photographs the critic's head is soon pleased with a few painted marks. So bending has to
    # please it nearly alone, and texture is dearer still.
    PHOTOGRAPHS: ClassVar = {
        "init_from": "procedural/defgan",
        "lambda_exp_def": 30.0,
        "lambda_eye_G": 0.01,
        "lambda_eye_M": 12.0,
        "lambda_TV_M": 0.012,
        "lambda_pix": 3.0,
    }

    def build(self, training: bool) -> None:
        self.G = DefGANGenerator(self.config, self.dim, self.size)
        self.register_code_buffers()
        self.D = PatchDiscriminator(self.config, self.size, self.dim) if training else None
        self.made: DefGANOutput | None = (
            None  # by the last `fake`: flow and mask have their own terms
        )
        self._judges: tuple[Extractor, ...] | None = None  # not yet looked for

    def fake(self, batch: Batch, target: Tensor) -> Tensor:
        self.made = self.G(batch.x, self.source(batch), self.code(target))
        return self.made.images

    def d_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        lost, real, _ = self.adversarial_loss(batch.x, x_fake)
        return {
            "adv": lost,
            "units": self.regression_loss(real, self.source(batch)),
        }

    def g_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        c, made, shown = self.config, self.made, self.source(batch)
        if made is None:
            raise ValueError("g_loss weighs the mask of what fake() made last: call it first")
        score, outputs = self.discriminate(x_fake)
        bent_outputs = self.D(self.augment_head_input(made.bent))[1]
        back = self.G(x_fake, target, shown)
        terms = {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "units": self.regression_loss(outputs, target),  # eq. 8
            "units_bent": c.lambda_exp_def * F.mse_loss(bent_outputs, target),  # eq. 9
            "rec": c.lambda_cyc * cycle_loss(batch.x, back.images),
            "comp": c.lambda_comp * self.length(compose(made.flow, back.flow)),
            "eye_G": c.lambda_eye_G * self.length(made.flow),
            "TV_G": c.lambda_TV_G * (128 / self.size) ** 2 * total_variation(made.flow, 2),
            "eye_M": c.lambda_eye_M * made.mask.square().mean(),
            "TV_M": c.lambda_TV_M * total_variation(made.mask, 2),
            "read": F.mse_loss(self.G.reader(batch.x), shown),
        }
        if c.lambda_face and (judge := self.judge(batch.x.device)):
            terms["face"] = c.lambda_face * identity_loss(judge, batch.x, made.bent)
        return terms

    def length(self, flow: Tensor) -> Tensor:
        """Mean squared length of a flow, in pixels at 128 px."""
        return (flow * (128 / self.size)).square().sum(1).mean()

    def judge(self, device: torch.device) -> Extractor | None:
        """The frozen face embedder, loaded when it is first wanted; None where there is none. It is
        no part of this module: nothing saves it, nothing trains it."""
        if self._judges is None:
            from ganmut.extractors.loading import load

            try:
                self._judges = (load(self.config.embedder, device),)
            except UnknownNameError:
                self._judges = ()
        return self._judges[0] if self._judges else None

    def g_warmup_loss(self, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        """The colours alone learn to be the picture, and the reader to read."""
        shown = self.source(batch)
        made = self.G(batch.x, shown, self.code(target))
        read = F.mse_loss(self.G.reader(batch.x), shown)
        return {"rec": cycle_loss(batch.x, made.colours), "read": read}

    def edit(self, features: Any, code: Tensor) -> Edit:
        made = self.G.decode(features, code)
        return Edit(made.images, made.mask, made.flow)

    def log_metrics(self) -> dict[str, float]:
        """Mean and longest offset in pixels, share of the pixels that the flow turns over, and the
        mean mask (1 = all is texture)."""
        if self.made is None:
            return {}
        flow = self.made.flow.detach()
        offset = flow.norm(dim=1)
        return {
            "mean_offset": float(offset.mean()),
            "max_offset": float(offset.max()),
            "folded": float(folded(flow)),
            "mean_M": float(self.made.mask.detach().mean()),
        }


def identity_loss(judge: Extractor, x: Tensor, bent: Tensor) -> Tensor:
    """Mean 1 - cosine of two faces in the embedder's eyes; no gradient to the first."""
    with torch.no_grad():
        person = judge.embed(pictures.resize(x, judge.size))
    seen = judge.embed(pictures.resize(bent, judge.size))
    return 1 - F.cosine_similarity(person.float(), seen.float()).mean()
