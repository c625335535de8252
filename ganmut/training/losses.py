"""Adversarial losses and penalties shared by the methods, each as the papers state it; reductions
are means.

A critic's `score` maps B x 3 x S x S to B x 1 x h x w patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Score = Callable[[Tensor], Tensor]


def gradient_penalty(score: Score, x_real: Tensor, x_fake: Tensor, mix: Tensor) -> Tensor:
    """WGAN-GP's mean_b (|grad|_2 - 1)^2 at mixtures of real and fake (Gulrajani et al. 2017, eq.
    3).

    mix: B x 1 x 1 x 1 in [0, 1]. The gradient is that of the score summed over P patches divided by
    P / 4: at StarGAN's 2 x 2 map this is the authors' sum, and other map sizes keep its balance
    against the other terms.
    """
    between = (mix * x_real + (1 - mix) * x_fake).detach().requires_grad_(True)
    patches = score(between)
    scale = 4 / patches[0].numel()
    (gradient,) = torch.autograd.grad(patches.sum() * scale, between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(score: Score, x_real: Tensor) -> Tensor:
    """R1: half the squared gradient norm on real images, mean over the batch (Mescheder et al.
    2018, eq. 9)."""
    x = x_real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(x).flatten(1).mean(1).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def multi_scale_noise(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Noise of the shape of x (B x C x S x S), sigma at every scale from one pixel to a quarter of
    the picture: about as strong at every frequency as photographs themselves are."""
    total, side = torch.zeros_like(x), x.shape[-1]
    while side >= 4:
        shape = (*x.shape[:2], side, side)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(x)
        if side < x.shape[-1]:
            noise = F.interpolate(noise, x.shape[-2:], mode="bilinear")
        total = total + sigma * noise
        side //= 2
    return total


def cycle_loss(x: Tensor, x_rec: Tensor) -> Tensor:
    """Mean absolute difference of a picture and its reconstruction (StarGAN, eq. 4)."""
    return (x - x_rec).abs().mean()


@dataclass(frozen=True)
class Adversarial:
    """One adversarial loss: discriminator(real, fake) and generator(fake) from patch scores, and
    its penalty, weighted (no terms where it has none). The generator's loss takes the real scores
    as well, (fake, real), which only a relativistic game needs."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    penalty: Callable[[Any, Score, Tensor, Tensor, torch.Generator], dict[str, Tensor]]


def _wgan_penalty(
    config: Any, score: Score, x_real: Tensor, x_fake: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    mix = torch.rand(len(x_real), 1, 1, 1, generator=generator, device=generator.device)
    mix = mix.to(x_real.device)
    return {"gp": config.lambda_gp * gradient_penalty(score, x_real, x_fake, mix)}


def _r1_penalty(
    config: Any, score: Score, x_real: Tensor, x_fake: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    # Lazy regularisation (StyleGAN2, section 4): a penalty every k steps counts k times.
    weight = config.lambda_r1 * config.penalty_interval
    return {"r1": weight * r1_penalty(score, x_real)}


def relativistic_hinge(better: Tensor, worse: Tensor) -> Tensor:
    """The relativistic average hinge loss of scores that should be better than the others' mean by
    1, and worse ones by 1 below (Jolicoeur-Martineau 2018, section 4): half the sum of both sides.

    Scores B x scales x h x w: every scale is compared with itself; summed over the scales.
    """
    over = better - worse.mean((0, 2, 3), keepdim=True)
    under = worse - better.mean((0, 2, 3), keepdim=True)
    return (F.relu(1 - over) + F.relu(1 + under)).mean((0, 2, 3)).sum() / 2


ADVERSARIAL = {
    "wgan_gp": Adversarial(
        discriminator=lambda real, fake: fake.mean() - real.mean(),
        generator=lambda fake, real=None: -fake.mean(),
        penalty=_wgan_penalty,
    ),
    "nonsaturating": Adversarial(
        discriminator=lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        generator=lambda fake, real=None: F.softplus(-fake).mean(),
        penalty=_r1_penalty,
    ),
    "relativistic_hinge": Adversarial(
        discriminator=relativistic_hinge,
        generator=relativistic_hinge,  # the roles are swapped: (fake, real)
        penalty=lambda *_: {},
    ),
}
