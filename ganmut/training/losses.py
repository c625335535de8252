"""Adversarial losses and gradient penalties, as in the papers, reduced by means.

`score` is a discriminator: B x 3 x S x S -> patch scores B x 1 x h x w.
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
    """WGAN-GP's mean_b (|grad|_2 - 1)^2 at mixtures of real and fake images (Gulrajani et al. 2017,
    eq. 3).

    mix: B x 1 x 1 x 1 in [0, 1]. The gradient is that of the score summed over P patches and
    divided by P / 4. At StarGAN's 2 x 2 map this is the authors' sum; at other sizes the penalty
    keeps its weight relative to the other terms.
    """
    # A leaf of its own: the penalty is on D, and no graph of G hangs on it.
    between = (mix * x_real + (1 - mix) * x_fake).detach().requires_grad_(True)
    patches = score(between)
    # Sum over patches against a score that is their mean: the Lipschitz bound would follow the
    # map's size, and with it the weight of all other terms.
    scale = 4 / patches[0].numel()
    # create_graph: the penalty is differentiated again, with respect to the parameters.
    (gradient,) = torch.autograd.grad(patches.sum() * scale, between, create_graph=True)
    # The norm over all pixels of one image: WGAN's constraint holds per input.
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def r1_penalty(score: Score, x_real: Tensor) -> Tensor:
    """R1: half the squared gradient norm on real images, mean over the batch (Mescheder et al.
    2018, eq. 9)."""
    x = x_real.detach().requires_grad_(True)
    # Images are independent, so the gradient of the sum holds the gradients of all images.
    (gradient,) = torch.autograd.grad(score(x).flatten(1).mean(1).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def multi_scale_noise(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise of the shape of x (B x C x S x S), standard deviation sigma per octave, from
    one pixel to a quarter of the side. Its spectrum falls about like that of photographs."""
    total, side = torch.zeros_like(x), x.shape[-1]
    while side >= 4:
        shape = (*x.shape[:2], side, side)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(x)
        # Octaves below the image size are noise of fewer pixels, enlarged.
        if side < x.shape[-1]:
            noise = F.interpolate(noise, x.shape[-2:], mode="bilinear")
        total = total + sigma * noise
        side //= 2
    return total


def cycle_loss(x: Tensor, x_rec: Tensor) -> Tensor:
    """Mean absolute difference of an image and its reconstruction (StarGAN, eq. 4)."""
    return (x - x_rec).abs().mean()


@dataclass(frozen=True)
class Adversarial:
    """An adversarial loss: discriminator(real, fake) and generator(fake, real) of patch scores, and
    penalty(config, score, x_real, x_fake, rng), the weighted gradient penalty by name ({} without
    one). Only the relativistic loss of the generator uses the real scores."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[..., Tensor]
    penalty: Callable[[Any, Score, Tensor, Tensor, torch.Generator], dict[str, Tensor]]


def _wgan_penalty(
    config: Any, score: Score, x_real: Tensor, x_fake: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    # On the generator's device first, so that CPU and GPU runs draw the same mixtures.
    mix = torch.rand(len(x_real), 1, 1, 1, generator=generator, device=generator.device)
    mix = mix.to(x_real.device)
    return {"gp": config.lambda_gp * gradient_penalty(score, x_real, x_fake, mix)}


def _r1_penalty(
    config: Any, score: Score, x_real: Tensor, x_fake: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    # Lazy regularisation (StyleGAN2, section 4): a penalty every k steps counts k times.
    weight = config.lambda_r1 * config.penalty_interval
    return {"r1": weight * r1_penalty(score, x_real)}


def relativistic_hinge(high: Tensor, low: Tensor) -> Tensor:
    """Relativistic average hinge loss (Jolicoeur-Martineau 2018, section 4): `high` should exceed
    the mean of `low` by 1, and `low` should be 1 below the mean of `high`; half the sum of both.

    Scores: B x scales x h x w. The loss is computed per scale and summed over the scales.
    """
    # Means over batch and patches: "average" in the name, against single pairs.
    above = high - low.mean((0, 2, 3), keepdim=True)
    below = low - high.mean((0, 2, 3), keepdim=True)
    # Half of the sum, as the authors of SMIT have it.
    return (F.relu(1 - above) + F.relu(1 + below)).mean((0, 2, 3)).sum() / 2


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
        generator=relativistic_hinge,  # (fake, real): the generator's scores should be higher
        penalty=lambda *_: {},
    ),
}
