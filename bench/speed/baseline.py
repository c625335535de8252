"""Baseline: the published network and training loop, which the speed table compares with.

Float32 and eager throughout. Instance norm keeps running statistics. The discriminator step builds
and discards the graph of the edited faces, takes real and edited faces in separate passes, and
computes every output of the discriminator in the penalty. The generator step also computes the
discriminator's gradients. Every loss is read at every step. Widths, losses, codes and initial
weights are those of the library's method. `Optimisations` switches on the library's optimisations
one by one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut import device as hardware
from ganmut.datasets.base import Batch
from ganmut.methods.base import Method

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Optimisations:
    """Optimisations of the loop; with all of them False it is the published one."""

    no_graph: bool = False  # the discriminator step edits its faces without a graph
    one_pass: bool = False  # real and edited faces in one pass of the discriminator
    freeze_d: bool = False  # no gradients of the discriminator in the generator step
    lazy_log: bool = False  # losses are not read at every step
    bf16: bool = False  # bfloat16 where the device is faster with it, except for the penalty
    fused: bool = False  # Adam in one kernel


def norm_relu(convolution: nn.Module, channels: int) -> list[nn.Module]:
    """Convolution, instance norm with running statistics, ReLU."""
    norm = nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
    return [convolution, norm, nn.ReLU(inplace=True)]


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int):
        super().__init__()
        first = norm_relu(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), channels)
        second = norm_relu(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), channels)[:2]
        self.main = nn.Sequential(*first, *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class BaselineGenerator(nn.Module):
    """StarGAN's generator; the code is concatenated as constant planes (Choi et al. 2018,
    appendix)."""

    def __init__(self, dim: int, width: int, blocks: int):
        super().__init__()
        w = width
        self.main = nn.Sequential(
            *norm_relu(nn.Conv2d(3 + dim, w, 7, 1, 3, bias=False), w),
            *norm_relu(nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False), 2 * w),
            *norm_relu(nn.Conv2d(2 * w, 4 * w, 4, 2, 1, bias=False), 4 * w),
            *[Residual(4 * w) for _ in range(blocks)],
            *norm_relu(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False), 2 * w),
            *norm_relu(nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), w),
            nn.Conv2d(w, 3, 7, 1, 3, bias=False),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        planes = code[:, :, None, None].repeat(1, 1, x.size(2), x.size(3))
        return self.main(torch.cat([x, planes], dim=1))


class BaselineDiscriminator(nn.Module):
    """StarGAN's discriminator: strided convolutions, patch scores (src) and an output vector
    (cls)."""

    def __init__(self, size: int, outputs: int, width: int, layers: int, limit: int):
        super().__init__()
        stack, channels = [], 3
        for i in range(layers):
            wider = min(width * 2**i, limit)
            stack += [nn.Conv2d(channels, wider, 4, 2, 1), nn.LeakyReLU(0.01)]
            channels = wider
        self.main = nn.Sequential(*stack)
        self.src = nn.Conv2d(channels, 1, 3, 1, 1, bias=False)
        self.cls = nn.Conv2d(channels, outputs, size // 2**layers, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.main(x)
        return self.src(h), self.cls(h).view(x.size(0), -1)


def _copy_weights(plain: list[nn.Module], own: list[nn.Module]) -> None:
    for to, source in zip(plain, own, strict=True):
        to.weight.data.copy_(source.weight.data)
        if getattr(source, "bias", None) is not None:
            to.bias.data.copy_(source.bias.data)


def generator_like(method: Method) -> BaselineGenerator:
    """A baseline generator with a copy of the method's weights; raises ValueError for a layout that
    is not the published one."""
    c, trunk = method.config, method.G.trunk
    if (c.condition, c.stem, c.output) != ("concat", "conv7", "tanh"):
        raise ValueError(
            "the baseline is the published network (planes, conv7, tanh), "
            f"got {c.condition}, {c.stem}, {c.output}"
        )
    plain = BaselineGenerator(method.space().dim, c.width, c.blocks)
    middle = [m for b in trunk.blocks for m in (b.conv1, b.norm1, b.conv2, b.norm2)]
    own = [*trunk.stem, *trunk.down1, *trunk.down2, *middle, *trunk.up1, *trunk.up2, trunk.head]
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d)
    _copy_weights([m for m in plain.modules() if isinstance(m, kinds)], own)
    return plain


def discriminator_like(method: Method) -> BaselineDiscriminator:
    """A baseline discriminator with a copy of the method's weights."""
    c, D = method.config, method.D
    plain = BaselineDiscriminator(
        method.size, D.cls.out_channels, c.d_width, c.d_layers, c.d_max_channels
    )
    own = [*D.layers, D.src, D.cls]
    _copy_weights([m for m in plain.modules() if isinstance(m, nn.Conv2d)], own)
    return plain


def stargan_real(it: Baseline, batch: Batch, outputs: Tensor) -> Terms:
    return {"cls": F.cross_entropy(outputs, batch.emotion)}


def stargan_fake(it: Baseline, target: Any, outputs: Tensor) -> Terms:
    return {}


def stargan_g(it: Baseline, target: Any, code: Tensor, outputs: Tensor) -> Terms:
    return {"cls": F.cross_entropy(outputs, target)}


def stargan_source(it: Baseline, batch: Batch) -> Tensor:
    return F.one_hot(batch.emotion, len(it.method.emotions)).float()


def polar_real(it: Baseline, batch: Batch, outputs: Tensor) -> Terms:
    return {"cls": F.cross_entropy(outputs[:, :-2], batch.emotion)}


def ganmut_fake(it: Baseline, target: Any, outputs: Tensor) -> Terms:
    code = it.method.code(target).detach()
    return {"info": it.c.lambda_info * F.mse_loss(outputs[:, -2:], code)}


def ganmut_g(it: Baseline, target: Any, code: Tensor, outputs: Tensor) -> Terms:
    free, logits = len(target.angle), outputs[:, :-2]
    visible = target.radius > 0.2
    apart = (logits.softmax(1).max(1).values - target.radius).square()
    rho = apart[visible].mean() if visible.any() else apart.sum() * 0
    return {
        "cls": F.cross_entropy(logits[free:], target.label[free:]),
        "info": it.c.lambda_info * F.mse_loss(outputs[:, -2:], code),
        "rho": it.c.lambda_rho * rho,
    }


def ganmut_source(it: Baseline, batch: Batch) -> Tensor:
    with torch.no_grad():
        code = it.D(batch.x)[1][:, -2:]
    return code / code.norm(dim=1, keepdim=True).clamp(min=1)


def gganmut_fake(it: Baseline, target: Any, outputs: Tensor) -> Terms:
    code = it.method.code(target).detach()
    return {"coor": it.c.lambda_coor * F.mse_loss(outputs[:, -2:], code)}


def gganmut_g(it: Baseline, target: Any, code: Tensor, outputs: Tensor) -> Terms:
    logits = outputs[:, :-2]
    log_p, log_q = it.method.log_density(code), F.log_softmax(logits, 1)
    both = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    both = both + F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    labels = torch.arange(target.modes, device=logits.device) % len(it.method.emotions)
    return {
        "div": it.c.lambda_div * both,
        "cls": it.c.lambda_cls * F.cross_entropy(logits[: target.modes], labels),
    }


def gganmut_source(it: Baseline, batch: Batch) -> Tensor:
    with torch.no_grad():
        return it.D(batch.x)[1][:, -2:].clamp(-1, 1)


# Method -> its terms on real and on edited faces (discriminator), on edited faces (generator), and
# the code of the source, for the reconstruction.
METHOD_TERMS: dict[str, tuple[Callable, Callable, Callable, Callable]] = {
    "stargan": (stargan_real, stargan_fake, stargan_g, stargan_source),
    "ganmut": (polar_real, ganmut_fake, ganmut_g, ganmut_source),
    "gganmut": (polar_real, gganmut_fake, gganmut_g, gganmut_source),
}


class Baseline:
    """The baseline of a method, with its training loop; raises ValueError for a method without
    one."""

    def __init__(
        self, method: Method, lr: float = 1e-4, optimisations: Optimisations = Optimisations()
    ):
        if method.name not in METHOD_TERMS:
            raise ValueError(f"no baseline for {method.name}; there are {', '.join(METHOD_TERMS)}")
        self.method, self.c, self.on = method, method.config, optimisations
        self.real_terms, self.fake_terms, self.generator_terms, self.source_code = METHOD_TERMS[
            method.name
        ]
        self.G, self.D = generator_like(method), discriminator_like(method)
        # the parameters of the code space stay the method's, because codes are sampled from it
        learned = [p for n, p in method.G.named_parameters() if not n.startswith("trunk.")]
        how = {"lr": lr, "betas": (0.5, 0.999), **({"fused": True} if optimisations.fused else {})}
        self.opt_g = torch.optim.Adam([*self.G.parameters(), *learned], **how)
        self.opt_d = torch.optim.Adam(self.D.parameters(), **how)
        self.rng, self.step, self.log = hardware.generator(0), 0, {}

    def autocast(self) -> contextlib.AbstractContextManager:
        return hardware.autocast(torch.device("cpu"), "auto" if self.on.bf16 else "fp32")

    def penalty(self, x: Tensor, x_fake: Tensor) -> Tensor:
        mix = torch.rand(x.size(0), 1, 1, 1, generator=self.rng)
        between = (mix * x + (1 - mix) * x_fake.detach()).requires_grad_(True)
        score, _ = self.D(between)
        score = score * (4 / score[0].numel())  # the same scale at every map size as at 2 x 2
        gradient = torch.autograd.grad(
            score, between, torch.ones_like(score), create_graph=True, retain_graph=True
        )[0]
        return ((gradient.view(x.size(0), -1).norm(dim=1) - 1) ** 2).mean()

    def d_terms(self, batch: Batch, target: Any) -> Terms:
        """The weighted terms of the discriminator's loss, the penalty included."""
        with self.autocast():
            no_graph = torch.no_grad() if self.on.no_graph else contextlib.nullcontext()
            if self.on.one_pass:
                with no_graph:
                    x_fake = self.G(batch.x, self.method.code(target))
                scores, outputs = self.D(torch.cat([batch.x, x_fake.detach()]))
                (score, fake), (known, made) = scores.chunk(2), outputs.chunk(2)
            else:
                score, known = self.D(batch.x)
                with no_graph:
                    x_fake = self.G(batch.x, self.method.code(target))
                fake, made = self.D(x_fake.detach())
            known, made = known.float(), made.float()
            terms = {
                "real": -self.c.lambda_adv * score.float().mean(),
                "fake": self.c.lambda_adv * fake.float().mean(),
                **self.real_terms(self, batch, known),
                **self.fake_terms(self, target, made),
            }
        return terms | {"gp": self.c.lambda_gp * self.penalty(batch.x, x_fake.float())}

    def g_terms(self, batch: Batch, target: Any) -> Terms:
        """The weighted terms of the generator's loss."""
        with self.autocast():
            code = self.method.code(target)
            x_fake = self.G(batch.x, code)
            score, outputs = self.D(x_fake)
            x_rec = self.G(x_fake, self.source_code(self, batch).float())
            return {
                "adv": -self.c.lambda_adv * score.float().mean(),
                "rec": self.c.lambda_rec * (batch.x - x_rec.float()).abs().mean(),
                **self.generator_terms(self, target, code, outputs.float()),
            }

    def optimizer_step(self, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        self.opt_g.zero_grad()
        self.opt_d.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        if not self.on.lazy_log:
            self.log = {name: term.item() for name, term in terms.items()}

    def train_step(self, batch: Batch) -> None:
        """One discriminator step and, every `g_interval` steps, one generator step."""
        target = self.method.sample_targets(batch, self.rng)
        self.optimizer_step(self.opt_d, self.d_terms(batch, target))
        if self.step % self.c.g_interval == 0:
            self.D.requires_grad_(not self.on.freeze_d)
            self.optimizer_step(self.opt_g, self.g_terms(batch, target))
            self.D.requires_grad_(True)
        self.step += 1

    @torch.no_grad()
    def edit(self, x: Tensor, code: Tensor) -> Tensor:
        """uint8 edits of x (N x 3 x S x S in [-1, 1]) under one code [dim], in training mode as
        published, because running statistics would break the pictures."""
        edited = self.G(x, code.expand(len(x), -1))
        return ((edited + 1) / 2).clamp(0, 1).mul(255).round().to(torch.uint8)
