"""EF-GAN and Cascade EF-GAN: one generator branch for the face and one each for eyes, nose and
mouth, combined by a refiner; the cascade edits in several such stages.

Wu et al., "Cascade EF-GAN: Progressive Facial Expression Editing with Local Focuses", CVPR 2020,
arXiv 2003.05905, and its supplement. The targets of the intermediate stages come from an
interpolator of action units, since straight lines between units pass through units that faces
cannot show.

Choices where the paper is silent, and changes: the boxes of the parts are fixed
(ganmut.face_regions); all stages share the discriminators; the last stage's target is the requested
code itself; every stage has a cycle loss of its own; L_cond is a mean square and L_attn the root
mean square of a mask, so that neither depends on sizes, with their weights converted for the
published objective; the losses of the stages are averaged instead of summed, a factor to which Adam
is invariant. The units of the source, which an editor is not given, come from a small regressor
trained beside the generator.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.datasets.base import Batch
from ganmut.face_regions import region_boxes
from ganmut.methods import base_action_units
from ganmut.methods.base import METHODS, Edit, Method
from ganmut.networks import efgan
from ganmut.networks.config import setting
from ganmut.networks.efgan import CascadeGenerator, EFGANDiscriminator, StageOutput
from ganmut.training.losses import cycle_loss


@dataclass(frozen=True)
class Config(base_action_units.Config, efgan.CascadeConfig):
    """Weights of the supplement, lambda_1 to lambda_4. The paper's lambda_cond is 3000, for a
    squared norm whose reduction it does not state."""

    lambda_cond: float = setting(160.0, "weight of the unit regression")
    lambda_cont: float = setting(10.0, "weight of the cycle of every stage")
    lambda_attn: float = setting(0.1, "weight of the size of the masks (eq. 4)")
    lambda_interp: float = setting(1.0, "weight of the losses of the interpolator")
    lambda_int: float = setting(
        0.1, "weight of the interpolator's discriminator, relative to lambda_interp"
    )


@dataclass
class Target:
    """Target of one step. code: B x n; share: B x 1 in 0..1, the share of the way to the code for
    which the interpolator is trained. `fake` stores its codes (B x stages x n) and the outputs of
    the stages for the losses of the same step."""

    code: Tensor
    share: Tensor
    codes: Any = None
    outputs: tuple[StageOutput, ...] = ()


def as_image(units: Tensor) -> Tensor:
    """B x n -> B x n x 1 x 1: units as images of one pixel, the input of their discriminator."""
    return units[..., None, None]


@METHODS.register("efgan")
class EFGAN(base_action_units.ActionUnitMethod):
    """EF-GAN, one stage; also the implementation of longer cascades (supplement, eqs. 1-5)."""

    title = "EF-GAN"
    lambda_head = "lambda_cond"
    paper = "Wu et al., CVPR 2020, arXiv 2003.05905"
    Config = Config
    PAPER = Config()
    # 20 epochs of CFEED, the larger of the paper's two sets.
    PAPER_RECIPE: ClassVar[dict[str, Any]] = {
        "batch": 2,
        "kimg": 20 * 5.06,
        "lr_decay_fraction": 0.5,
    }
    # 3000 over the batch of 2, the rule by which GANimation's 4000 is 160. 0.1 times the root of
    # the pixels of a face at 128 px: the paper's norm is not divided by it. Parts have fewer
    # pixels and the same weight here, so their masks are held a little more.
    PAPER_OBJECTIVE: ClassVar[dict[str, Any]] = {"lambda_cond": 1500.0, "lambda_attn": 12.8}
    # A tenth of the cycle's weight needs a twentieth of the masks' penalty: with 0.1 the masks
    # close within 4 kimg and nothing is edited. Spectral norm fits the published objective; with
    # the stable one the discriminators become too weak.
    SHORT_SCHEDULE: ClassVar[dict[str, Any]] = base_action_units.SHORT_SCHEDULE | {
        "lambda_cond": 40.0,
        "lambda_cont": 1.0,
        "lambda_attn": 0.005,
        "spectral": False,
        "local_share": 0.5,
        "refiner_share": 0.25,
    }

    def build(self, training: bool) -> None:
        self.G = CascadeGenerator(self.config, self.dim, self.size)
        self.register_code_buffers()
        self.D = EFGANDiscriminator(self.config, self.size, self.dim) if training else None
        self.boxes = region_boxes(self.size)  # of the parts, for display
        self.branch_boxes = efgan.boxes(self.size)  # inputs of the branches and discriminators
        self.masks: list[list[Tensor]] = []  # of the stages in the last step, for log_metrics

    def init_from(self, donor: Method) -> None:
        """Loads every stage from a trained EF-GAN of one stage, or a cascade of as many stages."""
        given = donor
        if isinstance(donor, EFGAN) and len(donor.G.stages) == 1:
            # A copy, since the stages are added in place and the donor is the caller's.
            donor = copy.deepcopy(donor)
            (stage,) = donor.G.stages
            donor.G.stages.extend(copy.deepcopy(stage) for _ in range(self.config.stages - 1))
        try:
            super().init_from(donor)
        except ValueError:
            raise ValueError(
                f"{self.name} cannot start from this {given.name}: give an efgan, or a cascade of "
                f"{self.config.stages} stages, with the same size, condition, widths and blocks"
            ) from None

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        code = super().sample_targets(batch, generator)
        share = torch.rand(len(batch), 1, generator=generator, device=generator.device)
        return Target(code, share.to(code.device))

    def code(self, target: Target) -> Tensor:
        return target.code

    def fake(self, batch: Batch, target: Target) -> Tensor:
        target.codes = self.G.targets(self.source(batch), target.code)
        target.outputs = tuple(self.G(batch.x, target.codes))
        self.masks = [[mask.detach() for mask in stage.masks] for stage in target.outputs]
        return target.outputs[-1].image

    def g_warmup_loss(self, batch: Batch, target: Target) -> dict[str, Tensor]:
        """Reconstruction by the colours of every branch, without the masks, which would learn to
        keep everything; and the regression of the source's units."""
        self.fake(batch, target)
        # Each stage reconstructs its own input; the image of the last one is nobody's input, so zip
        # stops before it.
        sources = [batch.x, *(stage.image.detach() for stage in target.outputs)]
        rec = [
            cycle_loss(box.crop(x), colours)
            for x, stage in zip(sources, target.outputs, strict=False)
            for box, colours in zip(self.branch_boxes.values(), stage.colours, strict=True)
        ]
        return {"rec": torch.stack(rec).mean(), "read": self.regressor_loss(batch)}

    def regressor_loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the units that the regressor estimates for the source."""
        return F.mse_loss(self.G.reader(batch.x), self.source(batch))

    def stages(self, target: Target, x_fake: Tensor) -> list[StageOutput]:
        """Outputs of the stages, with x_fake as the last image. Raises ValueError before `fake`."""
        if not target.outputs:
            raise ValueError("the losses need the outputs of fake() for this target: call it first")
        *before, last = target.outputs
        return [*before, last._replace(image=x_fake)]

    def interpolate(self, batch: Batch, target: Target) -> tuple[Tensor, Tensor]:
        """B x n units at the target's share of the way, and their pseudo target on the straight
        line (section 3.3)."""
        source = self.source(batch)
        residual = target.share * (target.code - source)
        return self.G.interp(source, residual), (source + residual).clamp(0, 1)

    def d_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, adversarial, n = self.config, self.adversarial, len(batch)
        stages = self.stages(target, x_fake)
        images = torch.cat([batch.x, *(stage.image.detach() for stage in stages)])
        scores, outputs = self.discriminate(images)
        # Discriminators of the branches: whole face and parts, before refinement.
        regions = []
        for i, (name, box) in enumerate(self.branch_boxes.items()):
            x = torch.cat([box.crop(batch.x), *(stage.parts[i].detach() for stage in stages)])
            score = self.D.regions[name](x)
            regions.append(adversarial.discriminator(score[:n], score[n:]))
        source = self.source(batch)
        with torch.no_grad():
            between = self.interpolate(batch, target)[0]
        units = self.D.units(as_image(torch.cat([source, between])))
        return {
            "adv": c.lambda_adv * adversarial.discriminator(scores[:n], scores[n:]),
            "adv_init": c.lambda_adv * torch.stack(regions).sum(),
            "adv_interp": adversarial.discriminator(units[:n], units[n:]),
            "cond": self.real_regression_loss(outputs[:n], batch),
        }

    def d_penalty(
        self, batch: Batch, target: Target, x_fake: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The penalties of all six discriminators."""
        stages, n = self.stages(target, x_fake), len(batch)
        # Each face is the output of a random stage: one penalty for all stages instead of one each.
        stage = torch.randint(len(stages), (n,), generator=generator, device=generator.device)
        stage, row = stage.to(x_fake.device), torch.arange(n, device=x_fake.device)

        def penalty(score: Any, real: Tensor, fakes: list[Tensor]) -> dict[str, Tensor]:
            fake = torch.stack(fakes)[stage, row].detach().float()
            return self.adversarial.penalty(self.config, score, real, fake, generator)

        terms = penalty(self.D.score, batch.x, [output.image for output in stages])
        for i, (name, box) in enumerate(self.branch_boxes.items()):
            fakes = [output.parts[i] for output in stages]
            region = penalty(self.D.regions[name], box.crop(batch.x), fakes)
            terms |= {f"{k}_init": terms.get(f"{k}_init", 0) + v for k, v in region.items()}
        with torch.no_grad():
            between = as_image(self.interpolate(batch, target)[0])
        units = penalty(self.D.units, as_image(self.source(batch)), [between] * len(stages))
        return terms | {f"{k}_interp": v for k, v in units.items()}

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, adversarial, m = self.config, self.adversarial, self.config.stages
        stages = self.stages(target, x_fake)
        images = [stage.image for stage in stages]
        score, outputs = self.discriminate(torch.cat(images))
        regions = [
            adversarial.generator(
                self.D.regions[name](torch.cat([stage.parts[i] for stage in stages]))
            )
            for i, name in enumerate(self.branch_boxes)
        ]
        # The masks' norm, not its square: it pulls small masks to zero, as L1 does.
        masks = torch.stack([rms(mask) for stage in stages for mask in stage.masks])
        # The interpolator: near the straight line, and real to the discriminator of units.
        between, straight = self.interpolate(batch, target)
        distance = (between - straight).norm(dim=1).mean()
        realism = adversarial.generator(self.D.units(as_image(between)))
        return {
            "adv": c.lambda_adv * adversarial.generator(score),
            "adv_init": c.lambda_adv * torch.stack(regions).sum(),
            "cond": self.regression_loss(outputs, torch.cat(target.codes.unbind(1))),
            "cont": c.lambda_cont * self.stage_cycle_loss(batch, target, images),
            "attn": c.lambda_attn * masks.sum() / m,
            "interp": c.lambda_interp * (distance + c.lambda_int * realism),
            "read": self.regressor_loss(batch),
        }

    def stage_cycle_loss(self, batch: Batch, target: Target, images: list[Tensor]) -> Tensor:
        """L_cont: the cycle loss of every stage, from its image back to its own source under the
        source's units; mean over the stages."""
        units = [self.source(batch), *target.codes.unbind(1)]
        # A cycle per stage: back through all of them would cost as many passes as there are stages.
        sources = [batch.x, *(image.detach() for image in images[:-1])]
        rounds = [
            cycle_loss(x, self.G(image, code[:, None], k)[0].image)
            for k, (x, image, code) in enumerate(zip(sources, images, units, strict=False))
        ]
        return torch.stack(rounds).mean()

    def encode(self, x: Tensor) -> Any:
        """The estimated units of the faces (N x dim) and the features of the first stage."""
        return self.G.reader(x).clamp(0, 1), self.G.stages[0].encode(x)

    def edit(self, features: Any, code: Tensor) -> Edit:
        source, encoded = features
        codes = self.G.targets(source, code)
        first = self.G.stages[0].decode(encoded, codes[:, 0])
        stages = [first, *(self.G(first.image, codes[:, 1:], 1) if codes.shape[1] > 1 else ())]
        # A pixel is the source's own where no stage has changed it.
        unchanged = torch.stack([1 - stage.changed for stage in stages]).prod(0)
        return Edit(stages[-1].image, 1 - unchanged)

    def log_metrics(self) -> dict[str, float]:
        """Mean masks of the last step, of the face and of its parts: 0 = source, 1 = new pixels."""
        if not self.masks:
            return {}
        face = torch.stack([masks[0].mean() for masks in self.masks])
        parts = torch.stack([mask.mean() for masks in self.masks for mask in masks[1:]])
        return {"mean_M": float(face.mean()), "mean_M_parts": float(parts.mean())}


def rms(mask: Tensor) -> Tensor:
    """Root mean square of each mask (B x 1 x h x w in 0..1), mean over the batch (eq. 4)."""
    return mask.flatten(1).norm(dim=1).mean() / mask[0].numel() ** 0.5


@METHODS.register("efgan_cascade")
class CascadeEFGAN(EFGAN):
    """A cascade of EF-GANs, each initialised from a trained EF-GAN (`init_from`), trained end to
    end."""

    title = "Cascade EF-GAN"
    PAPER = Config(stages=3)
    # 10 epochs at a tenth of the learning rate, which falls from the first step on.
    PAPER_RECIPE: ClassVar[dict[str, Any]] = EFGAN.PAPER_RECIPE | {
        "kimg": 10 * 5.06,
        "lr_g": 1e-5,
        "lr_d": 1e-5,
        "lr_decay_fraction": 1.0,
    }
    SHORT_SCHEDULE: ClassVar[dict[str, Any]] = EFGAN.SHORT_SCHEDULE | {
        "lr_g": 5e-5,
        "lr_decay_fraction": 1.0,
        "g_warmup_kimg": 0.0,
    }
