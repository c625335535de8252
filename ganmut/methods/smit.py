"""SMIT: an emotion has many styles; a frozen random layer computes them from label and noise.

Romero et al., "SMIT: Stochastic Multi-Label Image-to-Image Translation", ICCV Workshops 2019, arXiv
1812.03704. The code is the emotion's one-hot vector and twenty values of noise, side by side; the
domain embedding, one linear layer that is not trained, computes the gains and offsets of twelve
instance norms from it. The generator outputs colours and a mask M, which is 1 where the source is
kept.

Where paper and the authors' code differ: weights are the code's for RafD, its expression data
(lambda_cls 2, lambda_mask 1, identity loss on), converted from sums over pixels and batch to means;
the code gives discriminator and generator different halves of a double batch, here both get the
same edits; the code seeds all random numbers with a counter at every step, here noise is random.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ganmut.codes import StyleSpace
from ganmut.datasets.base import Batch
from ganmut.methods import base
from ganmut.methods.base import METHODS, Edit, Method
from ganmut.networks.attention import compose
from ganmut.networks.config import NetworkConfig, setting
from ganmut.networks.spectral import SpectralNorm
from ganmut.networks.stargan import MatmulConv2d, Norm, modulate, smooth_residual
from ganmut.training.losses import cycle_loss

DOWNS = 3  # strided convolutions of the generator, and as many upsampling stages


@dataclass(frozen=True)
class Config(NetworkConfig, base.LossConfig, base.HeadConfig):
    """Weights of the authors' code for RafD."""

    width: int = setting(32, "channels of the generator's first layer")
    d_width: int = setting(16, "channels of the discriminator's first layer")
    adversarial: str = setting(
        "relativistic_hinge", "relativistic_hinge (published), nonsaturating or wgan_gp"
    )
    g_interval: int = setting(1, "discriminator steps per generator step")
    latent: int = setting(20, "values of noise in a code")
    scales: int = setting(
        3,
        "input sizes of the discriminator, each half of the one before; d_layers is for "
        "the largest",
    )
    spectral: bool = setting(True, "spectral norm in the discriminator (published)")
    lambda_cls: float = setting(2.0, "weight of the classification loss")
    lambda_rec: float = setting(10.0, "weight of the cycle loss")
    lambda_mask: float = setting(
        1.0, "weight of the mean mask, which marks the pixels that are kept"
    )
    lambda_tv: float = setting(
        0.0256, "weight of the total variation of the mask, in sides of the image"
    )
    lambda_idt: float = setting(10.0, "weight of the identity loss: a face under its own emotion")

    LIMITS: ClassVar = {"latent": (1, 1024), "scales": (1, 8)}
    ALLOWED: ClassVar = {"adversarial": ("relativistic_hinge", "nonsaturating", "wgan_gp")}


@dataclass(frozen=True)
class Target:
    """Target of one step: label B; noise 3 x B x latent, for the edit, its cycle and the identity
    loss.

    masks: M of the edits (B x 1 x S x S), which `fake` stores for the losses of the same step.
    """

    label: Tensor
    noise: Tensor
    masks: list[Tensor] = field(default_factory=list)


class DomainEmbedding(nn.Module):
    """A linear layer with PyTorch's initial values, not trained; buffers, so that weights hold
    it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        # PyTorch's default scale: the gains have a deviation near .5, which is the authors' style
        # strength.
        linear = nn.Linear(inputs, outputs)
        self.register_buffer("weight", linear.weight.detach())
        self.register_buffer("bias", linear.bias.detach())

    def forward(self, code: Tensor) -> Tensor:
        return F.linear(code, self.weight, self.bias)


class LayerNorm(nn.Module):
    """Layer norm over C x H x W with a gain and an offset per channel. As in the authors' code, the
    standard deviation is the unbiased one and eps is added to it, not to the variance."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        # U(0, 1), not ones: as released.
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # float32: sums over C x H x W values lose too much in bfloat16.
        var, mean = torch.var_mean(x.float(), dim=(1, 2, 3), keepdim=True)
        scale = self.weight[:, None, None] / (var.clamp(min=1e-12).sqrt() + self.eps)
        return ((x.float() - mean) * scale + self.bias[:, None, None]).to(x.dtype)


class StyledBlock(nn.Module):
    """x + AdaIN(C3(ReLU(AdaIN(C3(x))))); style: B x 4 channels: offsets, gains, offsets, gains."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        offset1, gain1, offset2, gain2 = style[..., None, None].chunk(4, dim=1)
        h = F.relu(modulate(self.conv1(x), gain1, offset1))
        return x + modulate(self.conv2(h), gain2, offset2)


class SMITGenerator(nn.Module):
    """SMIT's generator: a 7 x 7 stem and three strided convolutions with instance norm, residual
    blocks with styles, three stages of nearest upsampling and convolution with layer norm, two
    heads.

    forward(x, code) -> colours B x 3 x S x S and M B x 1 x S x S in 0..1. colours = tanh(head), as
    published; where config.output is "residual", source + 2 tanh(smooth_residual(head) / 2), and M
    is as smooth as the change. Sides must be a multiple of 8.
    """

    def __init__(self, config: Config, code_dim: int):
        super().__init__()
        widths = [config.width << i for i in range(DOWNS + 1)]
        self.residual = config.output == "residual"
        self.embedding = DomainEmbedding(code_dim, config.blocks * 4 * widths[-1])
        stem = nn.Conv2d(3, widths[0], 7, 1, 3, bias=False)
        narrow = [nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths)]
        self.down = nn.ModuleList([stem, *narrow])
        self.down_norm = nn.ModuleList(Norm(w) for w in widths)
        self.blocks = nn.ModuleList(StyledBlock(widths[-1]) for _ in range(config.blocks))
        widen = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, 1, 1, bias=False) for a, b in widen)
        self.up_norm = nn.ModuleList(LayerNorm(b) for _, b in widen)
        self.head = nn.Conv2d(widths[0], 4, 7, 1, 3, bias=False)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The source and its features, which do not depend on the code."""
        h = x
        for conv, norm in zip(self.down, self.down_norm, strict=True):
            h = F.relu(norm(conv(h)))
        return x, h

    def decode(self, features: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        """Colours and M of encoded faces under codes B x (emotions + latent)."""
        x, h = features
        styles = self.embedding(code).chunk(len(self.blocks), dim=1)
        for block, style in zip(self.blocks, styles, strict=True):
            h = block(h, style)
        for conv, norm in zip(self.up, self.up_norm, strict=True):
            h = F.relu(norm(conv(F.interpolate(h, scale_factor=2.0, mode="nearest"))))
        # float32: sigmoid and tanh saturate earlier in bfloat16, and their gradients vanish.
        head, mask = self.head(h).float().split((3, 1), 1)
        if not self.residual:
            return torch.tanh(head), torch.sigmoid(mask)
        mask = F.avg_pool2d(F.avg_pool2d(mask, 2, 1, 1), 2, 1)  # the filter of `smooth_residual`
        return x + 2 * torch.tanh(smooth_residual(head) / 2), torch.sigmoid(mask)

    def forward(self, x: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.encode(x), code)


class ScaleDiscriminator(nn.Module):
    """Strided 4 x 4 convolutions, with spectral norm if `config.spectral`; the heads for patch
    scores and logits have none."""

    def __init__(self, config: Config, layers: int, side: int, emotions: int):
        super().__init__()
        widths = [min(config.d_width << i, config.d_max_channels) for i in range(layers)]
        self.layers = nn.ModuleList(MatmulConv2d(a, b, 4, 2, 1) for a, b in pairwise([3, *widths]))
        for layer in self.layers if config.spectral else ():
            norm = SpectralNorm(layer.weight, 0)  # type: ignore[arg-type] # a Tensor
            # unsafe: the shape check would need a forward pass, here without an input.
            parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
        self.src = MatmulConv2d(widths[-1], 1, 3, 1, 1, bias=False)
        self.cls = MatmulConv2d(widths[-1], emotions, side, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.01)
        return self.src(x).float(), self.cls(x).flatten(1).float()


class MultiScaleDiscriminator(nn.Module):
    """One discriminator per scale. Each has half the input size of the one before and one layer
    less, so that all end in maps of the same side.

    forward(x) -> scores B x scales x h x w, logits B x scales x emotions.
    """

    def __init__(self, config: Config, size: int, emotions: int):
        super().__init__()
        layers, side = config.d_layers, size >> config.d_layers
        if side << layers != size or side == 0 or layers < config.scales:
            raise ValueError(
                f"a discriminator of {layers} layers and {config.scales} scales needs a size that "
                f"{2**layers} divides and at least one layer per scale, got size {size}"
            )
        self.scales = nn.ModuleList(
            ScaleDiscriminator(config, layers - i, side, emotions) for i in range(config.scales)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores, logits = [], []
        for i, discriminator in enumerate(self.scales):
            # Without the padding in the mean: a dark frame would be a cue of the scale.
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if i else x
            score, logit = discriminator(x)
            scores.append(score)
            logits.append(logit)
        return torch.cat(scores, 1), torch.stack(logits, 1)

    def score(self, x: Tensor) -> Tensor:
        """The patch scores alone, the input of a gradient penalty."""
        return self.forward(x)[0]


@METHODS.register("smit")
class SMIT(Method):
    """SMIT with one emotion per face; the target labels of a step are those of the batch,
    permuted."""

    title = "SMIT"
    paper = "Romero et al., ICCV Workshops 2019, arXiv 1812.03704"
    Config = Config
    # At 256 px: a wider discriminator than the 16 channels of smaller sizes, and a layer more, so
    # that its last map is 2 x 2.
    PAPER = Config(d_width=32, d_layers=7)
    # 800 epochs over the 4320 training images of RafD's three middle cameras (60 people, 72
    # each). The authors split every batch between D and G, so that D sees half of them.
    PAPER_RECIPE: ClassVar = {
        "size": 256,
        "batch": 20,
        "kimg": 800 * 4.32 / 2,
        "lr_g": 2e-4,
        "lr_d": 2e-4,
    }
    # RafD's faces are not mirrored: its gaze and its cameras have a side.
    PAPER_OBJECTIVE: ClassVar = {
        "flip": False,
        "crop_share": 1.0,
        "crop_area": 0.7,
        "crop_stretch": 0.2,
    }
    # Smaller networks, since a step takes three generator passes instead of two. With the published
    # objective (relativistic hinge, spectral norm) edits were still faint after 44 kimg. The weight
    # of the labels, summed over the scales, falls with that of the cycle, and so does that of the
    # mask, as in GANimation.
    SHORT_SCHEDULE: ClassVar = {
        "width": 24,
        "blocks": 3,
        "lambda_rec": 1.0,
        "lambda_idt": 1.0,
        "lambda_cls": 0.5,
        "lambda_mask": 0.01,
        "spectral": False,
    }

    def build(self, training: bool) -> None:
        kinds = len(self.emotions)
        self.G = SMITGenerator(self.config, kinds + self.config.latent)
        self.D = MultiScaleDiscriminator(self.config, self.size, kinds) if training else None
        self.mean_mask: Tensor | None = None  # mean of M in the last edits, for log_metrics

    def style_code(self, label: Tensor, noise: Tensor) -> Tensor:
        """n x (emotions + latent) codes of labels (int64 n) and noise (n x latent)."""
        return torch.cat([F.one_hot(label, len(self.emotions)).float(), noise], 1)

    def space(self) -> StyleSpace:
        return StyleSpace(self.emotions, self.config.latent, self.style_code)

    def sample_targets(self, batch: Batch, generator: torch.Generator) -> Target:
        n, device = len(batch), batch.emotion.device
        order = torch.randperm(n, generator=generator, device=generator.device).to(device)
        shape = (3, n, self.config.latent)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return Target(batch.emotion[order], noise.to(device))

    def code(self, target: Target) -> Tensor:
        return self.style_code(target.label, target.noise[0])

    def fake(self, batch: Batch, target: Target) -> Tensor:
        colours, mask = self.G(batch.x, self.code(target))
        # The mask has losses of its own, which must not cost a second pass.
        target.masks[:] = [mask]
        return compose(batch.x, colours, mask, keep_mask=True)

    def classify(self, x: Tensor) -> Tensor:
        return self.discriminate(x)[1].mean(1)

    @staticmethod
    def labels(logits: Tensor, emotion: Tensor) -> Tensor:
        """Cross-entropy of B x scales x emotions logits, summed over the scales."""
        # cross_entropy averages over scales and faces; the paper sums over the scales.
        scales = logits.shape[1]
        each = emotion.repeat_interleave(scales)
        return scales * F.cross_entropy(logits.flatten(0, 1), each)

    def d_warmup_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"cls": self.labels(self.discriminate(batch.x)[1], batch.emotion)}

    def g_warmup_loss(self, batch: Batch, target: Target) -> dict[str, Tensor]:
        # The colours alone; the mask would learn to keep everything.
        return {"rec": cycle_loss(batch.x, self.G(batch.x, self.code(target))[0])}

    def d_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        scores, logits = self.discriminate(torch.cat([batch.x, x_fake]))
        real, fake = scores.chunk(2)
        c = self.config
        return {
            "adv": c.lambda_adv * self.adversarial.discriminator(real, fake),
            "cls": c.lambda_cls * self.labels(logits[: len(batch)], batch.emotion),
        }

    def g_loss(self, batch: Batch, target: Target, x_fake: Tensor) -> dict[str, Tensor]:
        c, x = self.config, batch.x
        fake, logits = self.discriminate(x_fake)
        # The relativistic loss compares with real scores, which are constants of this step.
        with torch.no_grad():
            real = self.D(x)[0]
        (mask,) = target.masks
        # Cycle and identity have noise of their own: undoing an edit must not depend on its noise.
        colours, mask_rec = self.G(x_fake, self.style_code(batch.emotion, target.noise[1]))
        x_rec = compose(x_fake, colours, mask_rec, keep_mask=True)
        colours, mask_idt = self.G(x, self.style_code(batch.emotion, target.noise[2]))
        x_idt = compose(x, colours, mask_idt, keep_mask=True)
        # Kept as a tensor: it is read once a tick.
        self.mean_mask = mask.detach().mean()
        return {
            "adv": c.lambda_adv * self.adversarial.generator(fake, real),
            "cls": c.lambda_cls * self.labels(logits, target.label),
            "rec": c.lambda_rec * cycle_loss(x, x_rec),
            "idt": c.lambda_idt * cycle_loss(x, x_idt),
            "mask": c.lambda_mask * (mask.mean() + mask_rec.mean()),
            "tv": c.lambda_tv * (mask_perimeter(mask) + mask_perimeter(mask_rec)),
        }

    def edit(self, features: Any, code: Tensor) -> Edit:
        colours, mask = self.G.decode(features, code)
        return Edit(compose(features[0], colours, mask, keep_mask=True), 1 - mask)

    def log_metrics(self) -> dict[str, float]:
        """Mean of M: near 1 nothing is edited."""
        return {} if self.mean_mask is None else {"mean_M": float(self.mean_mask)}


def mask_perimeter(mask: Tensor) -> Tensor:
    """Total variation of masks B x 1 x S x S in units of the image side, mean over the batch. For a
    binary mask this is the length of its outline."""
    # The released weight is a sum over pixels and batch; lengths in sides are free of both.
    across, down = mask.diff(dim=3).abs().sum(), mask.diff(dim=2).abs().sum()
    return (across + down) / (len(mask) * mask.shape[-1])
