"""GANimation, and what it shares with the other methods that are steered by units."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from toys import TOY, toy

from ganmut.codes import ActionUnitSpace, LabelSpace
from ganmut.datasets.base import BadData, Batch, FaceSet, open_source
from ganmut.emotions import EMOTIONS, UNITS, VARIANTS, nearest_prototype, prototype_units
from ganmut.methods.base import METHODS, Config
from ganmut.methods.base_action_units import BANK
from ganmut.methods.ganimation import MAX_LAMBDA_A
from ganmut.networks.attention import AttentionGenerator, compose, total_variation
from ganmut.training.presets import resolve_settings
from ganmut.training.run_dir import Snapshot
from ganmut.training.trainer import Trainer

SMALL = Config(width=8, blocks=1, condition="adain", output="residual")


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def mask(value: float) -> torch.Tensor:
    return torch.full((2, 1, 8, 8), value)


@pytest.fixture
def method():
    return toy("ganimation", lambda_A=0.1)


@pytest.fixture
def faces(batch):
    """40 faces of three emotions, one of which no textbook knows."""
    g = rng()
    units, pictures = torch.rand(40, 17, generator=g), torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    emotions = ("neutral", "happy", "smug")
    return FaceSet("toy", "train", emotions, pictures, torch.arange(40) % 3, "toy", units=units)


def of_toy_faces(**overrides):
    """A method for the emotions of `faces`."""
    entry = METHODS["ganimation"]
    return entry(toy("ganimation", **overrides).config, ("neutral", "happy", "smug"), TOY["size"])


# ---- the attention generator


def test_compose_at_zero_and_one(batch):
    source, colours = batch.x, batch.x.flip(0)
    for value, keep, expected in (
        (1, True, source),
        (0, True, colours),
        (1, False, colours),
        (0, False, source),
    ):
        ends = torch.full((16, 1, 32, 32), float(value))
        assert torch.equal(compose(source, colours, ends, keep), expected)


@pytest.mark.parametrize("keep", [True, False])
def test_saturated_masks_return_source_or_colours(batch, keep):
    generator = AttentionGenerator(SMALL, 17, keep_mask=keep)
    generator.mask_bias.data.fill_(200.0 if keep else -200.0)
    painted = generator(batch.x, batch.units)
    assert torch.equal(painted.images, batch.x) and painted.changed.max() == 0
    generator.mask_bias.data.neg_()
    painted = generator(batch.x, batch.units)
    assert torch.equal(painted.images, painted.colours) and painted.changed.min() == 1


def test_residual_colours_start_at_source_and_are_bounded(batch):
    generator = AttentionGenerator(SMALL, 17, keep_mask=True)
    generator.trunk.head.weight.data *= 1e6
    change = generator(batch.x, batch.units).colours - batch.x
    assert 1.99 < change.abs().max() <= 2
    generator.trunk.head.weight.data.zero_()
    assert torch.equal(generator(batch.x, batch.units).colours, batch.x)
    published = AttentionGenerator(dataclasses.replace(SMALL, output="tanh"), 17, keep_mask=True)
    published.trunk.head.weight.data *= 1e6
    assert published(batch.x, batch.units).colours.abs().max() <= 1


def test_sides_that_four_divides_need_not_be_equal():
    generator = AttentionGenerator(SMALL, 5, keep_mask=False, channels=6)
    painted = generator(torch.rand(1, 6, 20, 36), torch.rand(1, 5))
    assert painted.images.shape == (1, 3, 20, 36) and painted.mask.shape == (1, 1, 20, 36)


def test_total_variation_is_the_length_of_an_outline():
    square = torch.zeros(3, 1, 16, 16)
    square[..., 4:10, 4:12] = 1  # 6 x 8
    assert float(total_variation(square)) == 2 * (6 + 8)
    assert float(total_variation(square / 2, 2)) == 2 * (6 + 8) / 4
    assert float(total_variation(torch.ones(2, 1, 8, 8))) == 0


# ---- GANimation's own terms


def test_the_editor_shows_what_is_new(method, batch):
    painted = method.G(batch.x, batch.units)
    edit = method.edit(method.encode(batch.x), batch.units)
    assert torch.allclose(edit.mask, 1 - painted.mask) and torch.equal(edit.images, painted.images)


def test_attention_penalties_open_and_smooth_the_mask(method, batch):
    method.progress = 0.5
    method.began.fill_(0.0)  # lambda_A has risen
    target = method.sample_targets(batch, rng())
    terms = method.g_loss(batch, target, method.fake(batch, target))
    kept = float(method.output.mask.detach().mean())
    assert float(terms["attention"].detach()) == pytest.approx(0.1 * 2 * kept, rel=0.1)
    bias = method.G.mask_bias
    (slope,) = torch.autograd.grad(terms["attention"], bias, retain_graph=True)
    assert slope > 0  # descending closes the mask that keeps
    assert terms["TV"] > 0
    method.G.trunk.head.weight.data[3:] = 0  # a mask of one value has no outline
    assert method.g_loss(batch, target, method.fake(batch, target))["TV"] == 0


def test_lambda_A_rises_from_nothing(method):
    assert method.config.attention_rise == pytest.approx(0.1)
    values = []
    for method.progress in (0.2, 0.25, 0.3, 0.9):  # the adversarial phase began after the warm-ups
        values.append(float(method.update_lambda_A(mask(0.5))))
    assert values == pytest.approx([0, 0.05, 0.1, 0.1])


def test_saturated_attention_raises_lambda_A(batch):
    method = toy("ganimation", lambda_A=0.1, attention_patience=3, attention_rise=0.0)
    steps = [float(method.update_lambda_A(mask(0.97))) for _ in range(7)]
    assert steps == pytest.approx([0.1, 0.1, 0.15, 0.15, 0.15, 0.225, 0.225])
    method.update_lambda_A(mask(0.5))  # a step that is not saturated starts the count anew
    assert [float(method.update_lambda_A(mask(0.97))) for _ in range(2)] == pytest.approx(
        [0.225] * 2
    )
    for _ in range(100):
        highest = float(method.update_lambda_A(mask(1.0)))
    assert highest == pytest.approx(MAX_LAMBDA_A) and method.growth < 2 * MAX_LAMBDA_A / 0.1


def test_lambda_A_follows_all_processes(method):
    """A process whose own faces are kept or not counts what the mean over all of them is."""

    class Pair:
        elsewhere = 0.0

        def all_reduce_mean(self, tensors):
            for tensor in tensors:
                tensor.copy_(0.5 * (tensor + self.elsewhere))

    method.processes, counts = Pair(), []
    for own, method.processes.elsewhere in ((1.0, 0.94), (0.94, 1.0), (1.0, 0.5)):
        method.update_lambda_A(mask(own))
        counts.append(float(method.saturated))
    assert counts == [1, 2, 0]


def test_published_lambda_A_is_constant():
    method = toy("ganimation", "paper")
    assert [float(method.update_lambda_A(mask(1.0))) for _ in range(50)] == pytest.approx(
        [0.1] * 50
    )


def test_lambda_A_survives_a_resume(batch):
    recipe, config = resolve_settings(
        "ganimation", "stable", "cpu", **TOY, attention_patience=2, d_warmup_kimg=0, g_warmup_kimg=0
    )

    def make_trainer() -> Trainer:
        torch.manual_seed(0)
        method = METHODS["ganimation"](config, EMOTIONS, TOY["size"])
        method.G.mask_bias.data.fill_(9.0)
        return Trainer(method, recipe, torch.device("cpu"))

    whole = make_trainer()
    for _ in range(3):
        whole.train_step(batch)
    tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    snapshot = Snapshot(Path("toy.safetensors"), tensors, whole.meta())
    again = make_trainer()
    again.restore(snapshot)
    assert again.method.growth == whole.method.growth > 1
    assert again.method.saturated == whole.method.saturated == 1
    for player in (whole, again):
        player.train_step(batch)
    mine, theirs = whole.tensors(), again.tensors()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert again.method.growth == pytest.approx(1.5**2)


def test_log_metrics_describe_the_attention(method, batch):
    assert method.log_metrics() == {}
    method.G.trunk.head.weight.data[3:] = 0
    method.G.mask_bias.data.fill_(2.0)
    method.fake(batch, method.sample_targets(batch, rng()))
    kept = float(torch.sigmoid(torch.tensor(2.0)))
    expected = {"mean_A": kept, "new_p95": 1 - kept, "lambda_A": 0.1}
    assert method.log_metrics() == pytest.approx(expected, abs=1e-6)


def test_the_autoencoder_leaves_the_mask_alone(method, batch):
    sum(method.g_warmup_loss(batch, method.sample_targets(batch, rng())).values()).backward()
    head = method.G.trunk.head.weight.grad
    assert head[:3].abs().sum() > 0 and head[3:].abs().sum() == 0
    assert method.G.mask_bias.grad is None


# ---- units and labels


def test_setup_data_sets_prototypes_and_bank(faces):
    method, other = of_toy_faces(), of_toy_faces()
    assert isinstance(method.space(), ActionUnitSpace)  # before, too: the textbook's
    assert torch.equal(method.space().of("happy"), torch.tensor(prototype_units("happy")))
    method.setup_data(faces)
    space = method.space()
    assert torch.equal(space.of("happy"), torch.tensor(prototype_units("happy")))
    assert torch.allclose(space.of("smug"), faces.units[2::3].mean(0))
    assert space.grid().shape == (BANK, 17)
    real = {tuple(row.tolist()) for row in faces.units}
    assert {tuple(row.tolist()) for row in space.grid()} == real  # all of few, none invented
    other.setup_data(faces)
    assert torch.equal(other.G.bank, method.G.bank)


def test_faces_choose_the_prototype_variant():
    closed, lowered = prototype_units("angry"), VARIANTS["sad"][0]
    assert nearest_prototype("angry", closed) == closed
    assert nearest_prototype("sad", prototype_units("sad")) == prototype_units("sad")
    still = [0.0] * len(UNITS)
    assert nearest_prototype("angry", still) == closed and nearest_prototype("happy", still) == (
        prototype_units("happy")
    )
    shout = list(still)
    shout[UNITS.index(25)] = 0.5
    opened = nearest_prototype("angry", shout)
    assert opened[UNITS.index(25)] == VARIANTS["angry"][0][25] and opened[UNITS.index(4)] == 1
    lids = list(still)
    lids[UNITS.index(45)] = 0.3
    assert nearest_prototype("sad", lids)[UNITS.index(45)] == lowered[45]
    jaw = list(still)
    jaw[UNITS.index(26)] = 0.4
    assert nearest_prototype("surprised", jaw)[UNITS.index(5)] == VARIANTS["surprised"][0][5]
    surprised = prototype_units("surprised")
    assert nearest_prototype("surprised", surprised) == surprised


def test_rendered_faces_keep_the_textbook_s_prototypes():
    faces = open_source("procedural").load("train", 32, 84, progress=False)
    method = METHODS["ganimation"](METHODS["ganimation"].PAPER, faces.emotions, 32, training=False)
    method.setup_data(faces)
    for emotion in EMOTIONS:
        assert torch.equal(method.space().of(emotion), torch.tensor(prototype_units(emotion)))


def test_faces_without_units_need_labels(faces):
    bare = dataclasses.replace(faces, units=None)
    with pytest.raises(BadData, match="code_type"):
        of_toy_faces().setup_data(bare)
    of_toy_faces(code_type="labels").setup_data(bare)
    nobody = dataclasses.replace(faces, emotion=torch.zeros(40, dtype=torch.int64))
    with pytest.raises(BadData, match="smug"):
        of_toy_faces().setup_data(nobody)
    with pytest.raises(ValueError, match=r"code_type.*units, labels"):
        toy("ganimation", code_type="words")


def test_labels_are_one_hot_and_need_no_units(batch):
    method = toy("ganimation", code_type="labels")
    bare = Batch(batch.x, batch.emotion)
    assert isinstance(method.space(), LabelSpace)
    target = method.sample_targets(bare, rng())
    assert sorted(target.argmax(1).tolist()) == sorted(batch.emotion.tolist())
    assert torch.equal(target.sum(1), torch.ones(16)) and target.max() == 1
    x_fake = method.fake(bare, target)
    assert method.g_loss(bare, target, x_fake)["units"].isfinite()
    assert method.d_loss(bare, target, x_fake.detach())["units"].isfinite()
    assert method.classify(batch.x).shape == (16, 7)
    edit = method.edit(method.encode(batch.x), method.space().of("sad", 0.5).expand(16, -1))
    assert edit.images.shape == batch.x.shape


def test_targets_are_units_of_others_plus_noise(batch):
    method = toy("ganimation", "paper")
    target = method.sample_targets(batch, rng())
    order = torch.cdist(target, batch.units).argmin(1)
    assert sorted(order.tolist()) == list(range(16)) and order.tolist() != list(range(16))
    assert 0.08 < (target - batch.units[order]).abs().max() <= 0.1
    assert target.min() < 0  # not clipped, as the authors' code has it
    assert torch.equal(target, method.sample_targets(batch, rng()))


def test_a_share_of_the_targets_are_named_emotions(batch):
    method = toy("ganimation", named_share=0.5, unit_noise=0.0)
    target = method.sample_targets(batch, rng())
    prototypes = method.G.prototypes
    along = [
        any(abs(float(torch.cosine_similarity(t, p, 0)) - 1) < 1e-5 for p in prototypes[1:])
        or not t.any()
        for t in target
    ]
    assert along == [True] * 8 + [False] * 8
    assert target[:8].amax(1).max() > target[:8].amax(1).median() > 0.05  # intensities differ


def test_classify_names_the_emotion_whose_units_are_nearest(method, monkeypatch):
    values = method.G.prototypes + 0.02
    monkeypatch.setattr(method, "discriminate", lambda x: (None, values))
    assert method.classify(torch.zeros(7, 3, 32, 32)).argmax(1).tolist() == list(range(7))


def test_init_from_keeps_the_units_of_own_faces(faces):
    donor, method = of_toy_faces(), of_toy_faces()
    method.setup_data(faces)
    donor.G.mask_bias.data.fill_(3.0)
    own = method.G.bank.clone()
    method.init_from(donor)
    assert method.G.mask_bias == 3 and torch.equal(method.G.bank, own)
    assert not torch.equal(own, donor.G.bank)
