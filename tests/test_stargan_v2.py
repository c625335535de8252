"""StarGAN v2: whose style it is, who learns from it, and when variety stops to count."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from toys import TOY, toy

from ganmut import images
from ganmut.datasets.base import Batch
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.methods.stargan_v2 import Target
from ganmut.networks.stargan_v2 import pick
from ganmut.training import presets
from ganmut.training.trainer import Trainer


def rng(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def method():
    return toy("stargan_v2")


@pytest.fixture
def people() -> torch.Tensor:
    """12 x 3 x 32 x 32 smooth pictures that differ as people do: in their coarse shapes."""
    coarse = torch.rand(12, 3, 6, 6, generator=rng(3)) * 2 - 1
    return images.resize(coarse, 32).clamp(-1, 1)


def grads(network: torch.nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)


def only(target: Target, batch: Batch, part: str) -> tuple[Target, Batch]:
    """The rows of one half of a step: "latent" or "reference"."""
    n = target.latent.shape[1]
    rows = slice(0, n) if part == "latent" else slice(n, None)
    label, none = target.label[rows], slice(0, 0)
    picked = (
        Target(label, target.latent, target.reference[:, none])
        if part == "latent"
        else Target(label, target.latent[:, none], target.reference)
    )
    return picked, Batch(batch.x[rows], batch.emotion[rows])


@pytest.mark.parametrize("part", ["latent", "reference"])
def test_mapping_and_encoder_learn_from_random_styles_alone(method, batch, part):
    target, batch = only(method.sample_targets(batch, rng()), batch, part)
    method.D.requires_grad_(False)
    x_fake = method.fake(batch, target)
    sum(method.g_loss(batch, target, x_fake).values()).backward()
    learned = [grads(method.G.mapping) > 0, grads(method.G.encoder) > 0]
    assert learned == [part == "latent"] * 2
    assert grads(method.G.down) > 0 and grads(method.G.up) > 0


def test_reference_styles_have_gradients_to_the_generator(method, batch):
    target, batch = only(method.sample_targets(batch, rng()), batch, "reference")
    x_fake = method.fake(batch, target)
    (slope,) = torch.autograd.grad(method.g_loss(batch, target, x_fake)["sty"], x_fake)
    assert slope.abs().sum(dim=(1, 2, 3)).min() > 0
    assert all(p.requires_grad for p in method.G.encoder.parameters())


def test_targets_are_half_random_half_references(method, batch):
    target = method.sample_targets(batch, rng())
    assert target.latent.shape == (2, 8, 16) and target.reference.shape == (2, 8, 3, 32, 32)
    assert sorted(target.label.tolist()) == sorted(batch.emotion.tolist())
    which = (target.reference[:, :, None] == batch.x).flatten(3).all(3).float()
    assert which.sum(2).eq(1).all()
    first, second = which.argmax(2)
    assert torch.equal(batch.emotion[first], target.label[8:])
    assert torch.equal(batch.emotion[second], target.label[8:])
    assert (first != second).all()  # 16 faces of 7 emotions: everybody has a companion
    alone = Batch(batch.x[:7], batch.emotion[:7])  # nobody has
    target = method.sample_targets(alone, rng())
    assert torch.equal(target.reference[0], target.reference[1])


def test_a_batch_of_one(method, batch):
    one = Batch(batch.x[:1], batch.emotion[:1])
    target = method.sample_targets(one, rng())
    x_fake = method.fake(one, target)
    assert all(t.isfinite() for t in method.g_loss(one, target, x_fake).values())


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_diversity_weight_falls_to_zero(batch, preset):
    method = toy("stargan_v2", preset)
    target = method.sample_targets(batch, rng())
    x_fake = method.fake(batch, target)
    rewards = []
    for method.progress in (0.0, 0.25, 1.0, 1.1):
        rewards.append(float(method.g_loss(batch, target, x_fake)["ds"].detach()))
    assert rewards[0] < 0  # variety is a gain
    assert rewards[1] == pytest.approx(0.75 * rewards[0], rel=1e-4)
    assert rewards[2:] == [0, 0]
    method.progress = 1.0
    assert method.log_metrics() == {"lambda_ds": 0}


def test_diversity_follows_the_progress_of_the_trainer(batch):
    recipe, config = presets.resolve_settings("stargan_v2", "stable", "cpu", **TOY, kimg=1.6)
    trainer = Trainer(METHODS["stargan_v2"](config, EMOTIONS, 32), recipe, torch.device("cpu"))
    values = []
    for trainer.step in (0, 50, 100):
        trainer.schedule()
        values.append(trainer.method.diversity)
    assert values == pytest.approx([1, 0.5, 0])


def test_the_mapping_network_learns_a_hundred_times_slower():
    recipe, config = presets.resolve_settings("stargan_v2", "paper", **TOY)
    method = METHODS["stargan_v2"](config, EMOTIONS, 32)
    trainer = Trainer(method, recipe, torch.device("cpu"))
    trainer.schedule()
    slow = {id(p) for p in method.G.mapping.parameters()}
    rates = {id(p): group["lr"] for group in trainer.opt_g.param_groups for p in group["params"]}
    assert {round(rates[i], 12) for i in slow} == {1e-6}
    assert {rates[i] for i in rates.keys() - slow} == {1e-4}
    assert (trainer.opt_g.defaults["betas"], trainer.opt_g.defaults["weight_decay"]) == (
        (0, 0.99),
        1e-4,
    )


def test_losses_use_the_selected_score_only(method, batch):
    target = method.sample_targets(batch, rng())
    x_fake = method.fake(batch, target).detach()
    shown = Batch(batch.x, torch.full((16,), 2))
    target = dataclasses.replace(target, label=torch.full((16,), 3))
    before = method.d_penalty(shown, target, x_fake, rng()) | method.d_loss(shown, target, x_fake)
    others = [k for k in range(7) if k not in (2, 3)]
    method.D.own.weight.data[others] *= 5
    method.D.own.bias.data[others] += 5
    after = method.d_penalty(shown, target, x_fake, rng()) | method.d_loss(shown, target, x_fake)
    assert before.keys() == after.keys() == {"r1", "adv"}
    for name in before:
        torch.testing.assert_close(after[name], before[name])
    method.D.own.weight.data[2] *= 2  # half the squared slope of the score: four times as much
    doubled = method.d_penalty(shown, target, x_fake, rng())["r1"]
    torch.testing.assert_close(doubled, 4 * before["r1"])


def test_scores_are_picked_by_label():
    each = torch.arange(6.0).view(2, 3)
    assert pick(each, torch.tensor([2, 0])).tolist() == [2, 3]


def test_warm_up_trains_one_score_per_emotion(method, batch):
    scores = torch.nn.Parameter(torch.zeros(16, 7))
    method.D.forward = lambda x: scores
    method.d_warmup_loss(batch)["cls"].backward()
    own = torch.nn.functional.one_hot(batch.emotion, 7).bool()
    assert (scores.grad[own] < 0).all() and (scores.grad[~own] > 0).all()


def strengthen_styles(method) -> None:
    """Makes styles matter: an untrained decoder under styles of thrice their strength."""
    for block in method.G.up:
        for norm in (block.norm1, block.norm2):
            norm.steer.weight.data *= 3


def test_edits_keep_the_identity_of_the_source(method, people):
    """The person must come from the source. Everybody is edited under the style of everybody, and
    the nearest of the original people is looked up for every edit. Were source and reference
    swapped, or were the reference's picture to pass through the style, it would be the reference.
    """
    strengthen_styles(method)
    n = len(people)
    source, reference = (i.flatten() for i in torch.meshgrid(*[torch.arange(n)] * 2, indexing="ij"))
    apart = source != reference
    style = method.style_of(people, "happy")
    with torch.no_grad():
        edited = method.edit(method.encode(people[source]), style[reference]).images
    changes = edited.unflatten(0, (n, n)).std(1).mean()
    assert changes > 0.01  # the reference does change the edit ...
    # Contrast and mean colour are the style's to change, shapes are the person's.
    shapes = [(x - x.mean((2, 3), keepdim=True)).flatten(1) for x in (edited, people)]
    shapes = [torch.nn.functional.normalize(s, dim=1) for s in shapes]
    nearest = (shapes[0] @ shapes[1].T).argmax(1)
    assert (nearest == reference)[apart].float().mean() <= 1 / n  # ... but not the person
    assert (nearest == source)[apart].float().mean() > 0.9


def test_a_style_is_of_the_emotion_asked_for(method, people):
    happy, sad = (method.style_of(people, e) for e in ("happy", "sad"))
    assert happy.shape == (12, method.space().dim) == (12, 64)
    assert (happy - sad).abs().mean() > 0.01
    labels = torch.tensor([1] * 6 + [2] * 6)
    mixed = method.style_of(people, labels)
    torch.testing.assert_close(mixed, torch.cat([happy[:6], sad[6:]]))
    with pytest.raises(ValueError, match="'happy'"):
        method.style_of(people, "hapy")


def test_an_editor_edits_under_a_reference(method, people):
    editor = Editor(method, {})
    faces = editor.prepare(images.to_uint8(people[:2]))
    codes = editor.method.style_of(people[5:7], "surprised")
    edited = editor.edit(faces, codes)
    assert edited.dtype == torch.uint8 and edited.shape == (2, 3, 32, 32)
    assert not torch.equal(edited, editor.edit(faces, editor.space.of("surprised")))


def test_named_emotions_are_mean_styles(method):
    space = method.space()
    named = torch.stack([space.of(e) for e in EMOTIONS])
    assert torch.pdist(named).min() > 0.1
    # At the origin a new mapping network has no biases to tell the emotions apart.
    assert not method.map_latent(torch.arange(7), torch.zeros(7, 16)).any()
    drawn = space.sample_emotion("sad", 2000, rng())
    assert (drawn.mean(0) - space.of("sad")).norm() < 0.2 * space.of("sad").norm()
    assert (drawn.std(0) > 0).float().mean() > 0.9


@pytest.mark.parametrize("size, width", [(32, 16), (64, 32), (96, 32), (128, 64)])
def test_sizes_are_halved_to_about_sixteen(size, width):
    _, config = presets.resolve_settings(
        "stargan_v2", "stable", "cpu", **(TOY | {"d_layers": 5, "size": size})
    )
    method = METHODS["stargan_v2"](config, ("neutral", "happy"), size)
    x = torch.rand(1, 3, size, size) * 2 - 1
    features = method.encode(x)
    assert features[1].shape[1] == width and 16 <= features[1].shape[2] < 32
    with torch.no_grad():
        assert method.edit(features, method.space().of("happy")[None]).images.shape == x.shape
