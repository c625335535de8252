"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from ganmut.methods.ganmut import intensity_loss
from ganmut.methods.gganmut import symmetric_kl
from ganmut.training import losses

W = torch.randn(3 * 8 * 8, generator=torch.Generator().manual_seed(0))


def linear(x: torch.Tensor, patches: int = 4) -> torch.Tensor:
    """A discriminator whose summed patches are w . x, split over a square map."""
    side = math.isqrt(patches)
    return (x.flatten(1) @ W / patches)[:, None, None, None].expand(-1, 1, side, side)


@pytest.mark.parametrize("patches", [1, 4, 16])
def test_gradient_penalty_of_a_linear_critic(patches):
    x, mix = torch.randn(5, 3, 8, 8), torch.rand(5, 1, 1, 1)
    found = losses.gradient_penalty(lambda z: linear(z, patches), x, x + 1, mix)
    # At the published 2 x 2 map the gradient is that of the sum; other maps are scaled to its
    # balance.
    expected = (W.norm() * 4 / patches - 1) ** 2
    torch.testing.assert_close(found, expected)


def test_r1_of_a_linear_critic():
    found = losses.r1_penalty(linear, torch.randn(5, 3, 8, 8))
    torch.testing.assert_close(found, (W / 4).square().sum() / 2)


def test_adversarial_losses_by_hand():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 1.0])
    wgan, soft = losses.ADVERSARIAL["wgan_gp"], losses.ADVERSARIAL["nonsaturating"]
    assert float(wgan.discriminator(real, fake)) == -2
    assert float(wgan.generator(fake)) == 0
    log = lambda v: math.log1p(math.exp(v))  # noqa: E731
    assert float(soft.discriminator(real, fake)) == pytest.approx(
        (log(-1) + log(-3)) / 2 + (log(-1) + log(1)) / 2
    )
    assert float(soft.generator(fake)) == pytest.approx((log(1) + log(-1)) / 2)


def test_intensity_loss_counts_only_what_is_shown():
    logits = torch.log(torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.5, 0.5]]))
    radius = torch.tensor([0.8, 0.1, 0.5])  # the second is nearer than tau: neutral, not counted
    assert float(intensity_loss(logits, radius)) == pytest.approx((0.2**2 + 0) / 2, abs=1e-6)
    assert float(intensity_loss(logits, torch.zeros(3))) == 0


def test_symmetric_kl():
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    by_hand = (p * (p / q).log()).sum() + (q * (q / p).log()).sum()
    torch.testing.assert_close(symmetric_kl(p.log(), q.log()), by_hand)
    assert float(symmetric_kl(p.log(), p.log())) == 0
