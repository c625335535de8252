"""DefGAN: the source is warped towards the expression, then texture adds what a warp cannot.

Athar et al., "Self-supervised Deformation Modeling for Facial Expression Editing", arXiv
1911.00735. I* = warp(flow, I), edited = M * T + (1 - M) * I*: a mask of 1 uses the texture.

No code was published. Choices where the paper is silent:
- The deformation generator ends at a quarter of the size (3 x 3 kernel) and its output is enlarged.
  The flow is an offset of at most 5 px at 128 px ("residual"), or the cumulative sum of steps of
  0..5 px between neighbours, which keeps their order ("integral", as in deforming autoencoders),
  with rows and columns centred.
- Weights do not depend on batch and image size; lengths are pixels at 128 px. lambda_exp is divided
  by a batch of 25 as in GANimation's code (4000 -> 160, 1000 -> 40); penalties of the flow are
  means over the pixels; lambda_comp is 1, since at 10 one pixel of disagreement costs more than the
  expression loss; total variations are sums over the pixels at 128 px, times 25.
- The deformation needs the units of the source, which are known in training only. A small regressor
  (`reader`) is trained beside the generator and is part of the weights; `encode` runs it once per
  face.
- Identity loss: the project's own embedder replaces OpenFace's, frozen, in training only.
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
from ganmut.networks.warp import REACH, compose, folded_share, residual_flow, warp
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
    lambda_exp_real: float = setting(
        0.0,
        "weight of the unit regression on real faces, in the discriminator (published: 1); 0: "
        "lambda_exp_comp",
    )
    lambda_cyc: float = setting(100.0, "weight of the cycle loss")
    lambda_face: float = setting(
        1.0, "weight of the identity loss of the warped face; not used without the embedder"
    )
    lambda_comp: float = setting(
        1.0, "weight of the length of the forward flow composed with the backward flow"
    )
    lambda_eye_G: float = setting(0.1, "weight of the squared length of the flow")
    lambda_TV_G: float = setting(2.5e-4, "weight of the total variation of the flow")
    lambda_eye_M: float = setting(0.1, "weight of the squared mask")
    lambda_TV_M: float = setting(2.5e-4, "weight of the total variation of the mask")
    embedder: str = setting(
        "procedural/identity", "weight folder of the identity extractor of lambda_face"
    )

    LIMITS: ClassVar = {"deformer_share": (0, 4)}
    ALLOWED: ClassVar = {"flow": ("residual", "integral")}


class DeformationGenerator(Trunk):
    """Image, source code and target code -> flow: a trunk whose upsampling half is replaced by one
    convolution at a quarter of the size, enlarged bilinearly. Its initial flow is zero."""

    def __init__(self, config: Config, dim: int):
        super().__init__(config, 2 * dim)
        self.up1, self.up2 = nn.ModuleList(), nn.ModuleList()
        self.head = nn.Conv2d(4 * config.width, 2, 3, 1, 1, bias=False)
        # A zero flow first: the texture would learn to undo a random one.
        nn.init.zeros_(self.head.weight)
        self.integral = config.flow == "integral"

    def decode(  # type: ignore[override] # one flow instead of the outputs of heads
        self, features: Tensor, code: Tensor
    ) -> Tensor:
        """B x 2 x S x S flow in pixels, for codes B x 2 dim (source and target, concatenated)."""
        raw = self.head(self.body(features, code)).float()
        flow = integral_flow(raw) if self.integral else residual_flow(raw)
        return flow.contiguous()


def integral_flow(raw: Tensor) -> Tensor:
    """B x 2 x S/4 x S/4 -> B x 2 x S x S flow in pixels: the cumulative sum, along rows and down
    columns, of steps of REACH * sigmoid pixels between neighbours (one pixel at raw 0). The mean
    offset of each row and column is zero."""
    large = F.interpolate(raw, scale_factor=4, mode="bilinear", align_corners=False)
    # The shift by log(REACH - 1) makes a raw 0 a step of exactly one pixel, the identity.
    excess = REACH * torch.sigmoid(large - math.log(REACH - 1)) - 1
    # Sums of positive steps keep the order of pixels, so this flow cannot fold.
    right, down = excess[:, 0].cumsum(-1), excess[:, 1].cumsum(-2)
    return torch.stack([right - right.mean(-1, True), down - down.mean(-2, True)], 1)


class DefGANOutput(NamedTuple):
    """images, colours, warped (I*): B x 3 x S x S; mask B x 1 x S x S, 1 = texture; flow B x 2 x S
    x S in pixels."""

    images: Tensor
    colours: Tensor
    mask: Tensor
    warped: Tensor
    flow: Tensor


class DefGANGenerator(nn.Module):
    """The deformation generator, the texture generator, and the regressor of the source's units."""

    def __init__(self, config: Config, dim: int, size: int):
        super().__init__()
        self.deformer = DeformationGenerator(config.scale_width(config.deformer_share), dim)
        self.texture = AttentionGenerator(config, dim, keep_mask=False)
        self.reader = ActionUnitRegressor(size, dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The source, its features in the deformation generator, and its estimated units in
        0..1."""
        return x, self.deformer.encode(x), self.reader(x).clamp(0, 1)

    def decode(self, features: tuple[Tensor, Tensor, Tensor], code: Tensor) -> DefGANOutput:
        """The edit of encoded faces under B x dim target codes."""
        x, encoded, shown = features
        # Source and target units: a warp depends on the way between them, not on its end.
        flow = self.deformer.decode(encoded, torch.cat([shown, code], 1))
        warped = warp(x, flow)
        texture = self.texture(warped, code)
        return DefGANOutput(texture.images, texture.colours, texture.mask, warped, flow)

    def forward(self, x: Tensor, shown: Tensor, code: Tensor) -> DefGANOutput:
        """The edit of images B x 3 x S x S that show the codes `shown`, under target codes; both B
        x dim."""
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
    # The discriminator's loss has no weight on the units, the generator's has.
    PAPER_OBJECTIVE: ClassVar = {"lambda_exp_real": 1.0}
    # A quarter of the weight of the units needs a quarter of the flow's penalty, or the flow stays
    # zero. The mask's penalty is unchanged, so that texture costs more than warping.
    SHORT_SCHEDULE: ClassVar = base_action_units.SHORT_SCHEDULE | {
        "lambda_exp_comp": 40.0,
        "lambda_exp_def": 10.0,
        "lambda_cyc": 10.0,
        "lambda_comp": 0.25,
        "lambda_eye_G": 0.025,
        "deformer_share": 0.5,
    }
    # On photographs a few painted marks satisfy the discriminator's head. A high weight of the
    # warped face and higher penalties of the mask make the warp do most of the edit.
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
        # Output of the last `fake`: flow and mask have loss terms of their own.
        self.output: DefGANOutput | None = None
        # In a tuple, so that the frozen embedder is no submodule; None: not loaded yet.
        self._embedder: tuple[Extractor, ...] | None = None

    @property
    def lambda_head_real(self) -> float:
        return self.config.lambda_exp_real or super().lambda_head_real

    def fake(self, batch: Batch, target: Tensor) -> Tensor:
        self.output = self.G(batch.x, self.source(batch), self.code(target))
        return self.output.images

    def g_loss(self, batch: Batch, target: Tensor, x_fake: Tensor) -> dict[str, Tensor]:
        c, output, shown = self.config, self.output, self.source(batch)
        if output is None:
            raise ValueError("g_loss needs the flow and mask of the last fake(): call fake() first")
        score, outputs = self.discriminate(x_fake)
        # The head also sees the warped face alone; otherwise texture would do the whole edit.
        warped_outputs = self.D(self.augment_head_input(output.warped))[1]
        back = self.G(x_fake, target, shown)
        terms = {
            "adv": c.lambda_adv * self.adversarial.generator(score),
            "units": self.regression_loss(outputs, target),  # eq. 8
            "units_warped": c.lambda_exp_def * F.mse_loss(warped_outputs, target),  # eq. 9
            "rec": c.lambda_cyc * cycle_loss(batch.x, back.images),
            # Back after forth must be the identity: forward flow at the places of the backward one.
            "comp": c.lambda_comp * self.length(compose(output.flow, back.flow)),
            "eye_G": c.lambda_eye_G * self.length(output.flow),
            "TV_G": c.lambda_TV_G * (128 / self.size) ** 2 * total_variation(output.flow, 2),
            "eye_M": c.lambda_eye_M * output.mask.square().mean(),
            "TV_M": c.lambda_TV_M * total_variation(output.mask, 2),
            # No weight: the reader shares no parameter with the rest.
            "read": F.mse_loss(self.G.reader(batch.x), shown),
        }
        if c.lambda_face and (embedder := self.load_embedder(batch.x.device)):
            terms["face"] = c.lambda_face * identity_loss(embedder, batch.x, output.warped)
        return terms

    def length(self, flow: Tensor) -> Tensor:
        """Mean squared length of a flow, in pixels at 128 px."""
        return (flow * (128 / self.size)).square().sum(1).mean()

    def load_embedder(self, device: torch.device) -> Extractor | None:
        """The frozen identity embedder, loaded on the first call; None where it does not exist. It
        is no submodule, so that it is neither saved nor trained."""
        if self._embedder is None:
            from ganmut.extractors.loading import load

            try:
                self._embedder = (load(self.config.embedder, device),)
            except UnknownNameError:
                self._embedder = ()
        return self._embedder[0] if self._embedder else None

    def g_warmup_loss(self, batch: Batch, target: Tensor) -> dict[str, Tensor]:
        """Reconstruction by the colours alone (with the mask, "change nothing" would be the
        solution), and the regression of the source's units."""
        shown = self.source(batch)
        output = self.G(batch.x, shown, self.code(target))
        read = F.mse_loss(self.G.reader(batch.x), shown)
        return {"rec": cycle_loss(batch.x, output.colours), "read": read}

    def edit(self, features: Any, code: Tensor) -> Edit:
        output = self.G.decode(features, code)
        return Edit(output.images, output.mask, output.flow)

    def log_metrics(self) -> dict[str, float]:
        """Mean and largest offset in pixels, share of the pixels where the flow folds the image,
        and the mean mask (1 = texture everywhere)."""
        if self.output is None:
            return {}
        flow = self.output.flow.detach()
        offset = flow.norm(dim=1)
        return {
            "mean_offset": float(offset.mean()),
            "max_offset": float(offset.max()),
            "folded": float(folded_share(flow)),
            "mean_M": float(self.output.mask.detach().mean()),
        }


def identity_loss(embedder: Extractor, x: Tensor, edited: Tensor) -> Tensor:
    """Mean of 1 - cosine similarity of the identity embeddings of two batches, B x 3 x S x S; no
    gradient to x."""
    with torch.no_grad():
        # The source is a constant: its gradient would cost a second pass and change nothing.
        source = embedder.embed(pictures.resize(x, embedder.size))
    target = embedder.embed(pictures.resize(edited, embedder.size))
    return 1 - F.cosine_similarity(source.float(), target.float()).mean()
