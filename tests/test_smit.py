"""SMIT: the meaning and the penalty of the mask, the frozen embedding, noise, the discriminator's
scales."""

from __future__ import annotations

import math

import pytest
import torch
from toys import TOY, toy

from ganmut import weights
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.methods.base import METHODS
from ganmut.methods.smit import mask_perimeter
from ganmut.networks.smit import LayerNorm, StyledBlock
from ganmut.training import losses, presets
from ganmut.training.trainer import Trainer


def rng(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hold_mask(method, sense: float) -> None:
    """Pins the mask: everything is kept (1) or everything is new (-1)."""
    # After layer norm and ReLU no feature is negative, and every window has some that are not 0.
    method.G.head.weight.data[3] = sense * 1e4


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_saturated_masks_return_source_or_colours(batch, preset):
    method = toy("smit", preset)
    code = method.space().of("happy").expand(16, -1)
    hold_mask(method, 1)
    kept = method.edit(method.encode(batch.x), code)
    assert torch.equal(kept.images, batch.x) and not kept.mask.any()
    assert torch.equal(method.fake(batch, method.sample_targets(batch, rng())), batch.x)
    hold_mask(method, -1)
    new = method.edit(method.encode(batch.x), code)
    colours, _ = method.G(batch.x, code)
    assert torch.equal(new.images, colours) and new.mask.eq(1).all()
    assert (new.images - batch.x).abs().mean() > 0.05


def test_mask_loss_penalises_kept_pixels(batch):
    method = toy("smit", "paper")
    terms = {}
    for sense in (1, -1):
        hold_mask(method, sense)
        target = method.sample_targets(batch, rng())
        loss = method.g_loss(batch, target, method.fake(batch, target))
        terms[sense] = float(loss["mask"].detach())
        # who keeps everything comes back, and is himself, at no cost
        assert bool(loss["rec"] == 0) == bool(loss["idt"] == 0) == (sense == 1)
    # lambda_mask times the means of two masks, of the edit and of the way back
    assert terms == {1: pytest.approx(2 * method.config.lambda_mask), -1: pytest.approx(0)}
    assert method.log_metrics()["mean_M"] == pytest.approx(0, abs=1e-6)


def test_mask_perimeter_is_independent_of_size():
    lengths = []
    for size, n in ((32, 1), (64, 5)):
        mask = torch.zeros(n, 1, size, size)
        mask[:, :, size // 4 : size // 2, size // 4 : size // 2] = 1  # a quarter of a side each
        lengths.append(float(mask_perimeter(mask)))
    assert lengths == [1.0, 1.0]
    assert float(mask_perimeter(torch.rand(2, 1, 8, 8).round() * 0 + 0.7)) == 0


def test_embedding_is_frozen_and_saved(batch, tmp_path):
    recipe, config = presets.resolve_settings(
        "smit", "stable", "cpu", **TOY, weight_decay=0.1, lr_g=1e-2
    )
    torch.manual_seed(0)
    method = METHODS["smit"](config, EMOTIONS, 32)
    drawn = {k: v.clone() for k, v in method.G.embedding.state_dict().items()}
    limit = 1 / math.sqrt(7 + 20)  # as PyTorch draws a linear layer
    assert drawn["weight"].abs().max() <= limit and drawn["weight"].std() > 0.9 * limit / 3**0.5
    trainer = Trainer(method, recipe, torch.device("cpu"))
    head = method.G.head.weight.clone()
    for _ in range(2):
        trainer.adversarial_step(batch)
    assert not torch.equal(method.G.head.weight, head)  # the rest has learned
    faces = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=rng())
    weights.save(tmp_path / "smit", trainer.export(), {}, faces, half=False)
    loaded = weights.load(tmp_path / "smit", "cpu").method.G.embedding.state_dict()
    for state in (method.G.embedding.state_dict(), trainer.ema.embedding.state_dict(), loaded):
        assert all(torch.equal(state[k], drawn[k]) for k in ("weight", "bias"))


def test_offsets_come_before_gains():
    block, x = StyledBlock(4), torch.randn(2, 4, 8, 8, generator=rng())
    style = torch.zeros(2, 16)
    assert torch.equal(block(x, style), x)  # no gain, no offset: nothing is added
    style[:, 8:12] = torch.tensor([1.0, 2, 3, 4])  # the second norm's offsets
    torch.testing.assert_close((block(x, style) - x).mean((0, 2, 3)), style[0, 8:12])
    style[:, 8:12], style[:, 12:] = 0, 1
    torch.testing.assert_close((block(x, style) - x).std((2, 3), correction=0), torch.zeros(2, 4))
    style[:, :4] = torch.tensor([2.0, 1, -1, 1])  # the first norm's offsets, now flat planes
    style[:, 4:8] = 1
    spread = (block(x, style) - x).std((2, 3), correction=0)
    torch.testing.assert_close(spread, torch.ones(2, 4), atol=1e-3, rtol=0)


def test_layer_norm_by_hand():
    norm, x = LayerNorm(3, eps=0.5), torch.randn(2, 3, 5, 5, generator=rng()) * 4 + 1
    assert norm.weight.min() >= 0 and norm.weight.max() <= 1
    flat = x.flatten(1)
    by_hand = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 0.5)
    by_hand = by_hand.view_as(x) * norm.weight[:, None, None]
    torch.testing.assert_close(norm(x), by_hand)
    flat = torch.full_like(x, 3.0).requires_grad_()
    norm(flat).sum().backward()
    assert flat.grad.isfinite().all()  # a root's slope at 0


def test_noise_and_label_each_change_the_edit(batch):
    method = toy("smit")
    space = method.space()
    assert space.dim == 7 + 20
    many = space.sample_emotion("happy", 16, rng())
    assert torch.equal(many[:, :7], space.of("happy")[:7].expand(16, -1))
    assert not space.of("happy")[7:].any()
    x = batch.x[:1].expand(16, -1, -1, -1)
    assert (method.edit(method.encode(x), many).images.std(0)).mean() > 1e-3


def test_cycle_and_identity_have_own_noise(batch):
    method = toy("smit").eval()  # the discriminator's spectral norm is constant
    target = method.sample_targets(batch, rng())
    assert target.noise.shape == (3, 16, 20)
    assert sorted(target.label.tolist()) == sorted(batch.emotion.tolist())
    x_fake = method.fake(batch, target)
    before = method.g_loss(batch, target, x_fake)
    for row, changed in ((1, {"rec"}), (2, {"idt"})):
        target.noise[row] += 1
        after = method.g_loss(batch, target, x_fake)
        moved = {k for k in before if not torch.equal(before[k], after[k])}
        assert moved - {"mask", "tv"} == changed  # the mask of the way back is priced too
        before = after


@pytest.mark.parametrize("size, layers", [(32, 4), (64, 5), (64, 4)])
def test_discriminator_has_three_scales(size, layers):
    method = METHODS["smit"](toy("smit", d_layers=layers).config, EMOTIONS, size)
    method.eval()
    x = torch.rand(2, 3, size, size, generator=rng()) * 2 - 1
    with torch.no_grad():
        scores, logits = method.D(x)
        side = size >> layers
        assert scores.shape == (2, 3, side, side) and logits.shape == (2, 3, 7)
        assert method.classify(x).shape == (2, 7)
        # Noise of single pixels all but vanishes at the coarsest scale.
        fine = torch.randn(x.shape, generator=rng(1))
        moved = (method.D(x + fine)[1] - logits).abs().mean((0, 2)) / logits.abs().mean((0, 2))
        assert moved[2] < moved[0]
    with pytest.raises(ValueError, match=f"{size + 8}"):
        METHODS["smit"](toy("smit", d_layers=layers).config, EMOTIONS, size + 8)


def test_discriminator_has_spectral_norm_except_heads(batch):
    method = toy("smit", spectral=True)
    for _ in range(30):
        method.D(batch.x)  # a pass that could train moves the power iteration
    for discriminator in method.D.scales:
        for layer in discriminator.layers:
            largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
            assert float(largest) == pytest.approx(1, abs=0.03)
        assert not hasattr(discriminator.src, "parametrizations")
        assert not hasattr(discriminator.cls, "parametrizations")


def test_relativistic_average_hinge_by_hand():
    adversarial = losses.ADVERSARIAL["relativistic_hinge"]
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([0.0, 1.5])
    relu = lambda v: max(v, 0.0)  # noqa: E731
    # The means are 2 and .75.
    d = (relu(1 - 2.25) + relu(1 - 0.25)) / 2 + (relu(1 - 2.0) + relu(1 - 0.5)) / 2
    g = (relu(1 + 2.0) + relu(1 + 0.5)) / 2 + (relu(1 + 2.25) + relu(1 + 0.25)) / 2
    one = [v.view(2, 1, 1, 1) for v in (real, fake)]
    assert float(adversarial.discriminator(*one)) == pytest.approx(d / 2)
    assert float(adversarial.generator(one[1], one[0])) == pytest.approx(g / 2)
    # A scale is compared with itself alone, and scales add up.
    both = [torch.cat([v, v + 100], 1) for v in one]
    assert float(adversarial.discriminator(*both)) == pytest.approx(d, rel=1e-4)
    assert adversarial.penalty(None, None, real, fake, rng()) == {}


def test_relativistic_hinge_is_only_in_smit():
    assert presets.resolve_settings("smit")[1].adversarial == "relativistic_hinge"
    with pytest.raises(ValueError, match=r"adversarial.*wgan_gp, nonsaturating"):
        presets.resolve_settings("stargan", "stable", "cpu", adversarial="relativistic_hinge")


def test_a_generator_without_blocks_is_refused():
    with pytest.raises(ParameterError, match="blocks"):
        toy("smit", blocks=0)


def test_without_spectral_norm_weights_are_free():
    discriminator = toy("smit", spectral=False).D.scales[0]
    assert not any(hasattr(layer, "parametrizations") for layer in discriminator.layers)


def test_warm_up_without_mask_and_penalty(batch):
    own = {"spectral": True, "adversarial": "relativistic_hinge"}
    recipe, config = presets.resolve_settings(
        "smit", "stable", "cpu", **TOY, **own, d_warmup_kimg=0.0, g_warmup_kimg=0.016
    )
    torch.manual_seed(0)
    trainer = Trainer(METHODS["smit"](config, EMOTIONS, 32), recipe, torch.device("cpu"))
    mask = trainer.method.G.head.weight[3].clone()
    trainer.train_step(batch)
    assert torch.equal(trainer.method.G.head.weight[3], mask)  # colours warm up, the mask does not
    trainer.train_step(batch)
    assert not torch.equal(trainer.method.G.head.weight[3], mask)
    terms = trainer.meter.read()
    assert {"g_warmup/rec", "d/adv", "g/mask", "g/idt"} <= set(terms)
    assert not [t for t in terms if t.startswith("d_penalty")]
