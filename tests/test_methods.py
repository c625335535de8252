"""The contract of every method, over the registry, at toy size."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from toys import PRESETS, TOY, toy

from ganmut import images
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.networks.warp import warp
from ganmut.training.presets import resolve_settings
from ganmut.training.trainer import Trainer

# Every method under its default preset; one method of labels and one of action units under all
# presets. `make slow` runs the others.
EVERY_PRESET = ("stargan", "defgan")
SETTINGS = [
    pytest.param(
        (m, p),
        id=f"{m}-{p}",
        marks=() if p == "cpu" or m in EVERY_PRESET else pytest.mark.slow,
    )
    for m in METHODS
    for p in PRESETS
    if p != "photographs" or METHODS[m].PHOTOGRAPHS
]


@pytest.fixture(params=SETTINGS)
def method(request):
    return toy(*request.param)


@pytest.fixture
def editor(method):
    return Editor(method, {})


@pytest.fixture
def faces():
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(4, 3, 8, 8, generator=generator)
    return images.to_uint8(images.resize(coarse, TOY["size"]) * 2 - 1)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def test_edits_are_pictures_of_the_same_shape(editor, faces):
    ready = editor.prepare(faces)
    for emotion in EMOTIONS:
        edited = editor.edit(ready, editor.space.of(emotion))
        assert edited.shape == faces.shape and edited.dtype == torch.uint8


def test_initial_edits_depend_on_the_code(method, faces):
    # Instance norm all but erases a constant code plane: this is the trap that makes a method learn
    # nothing.
    x = images.to_float(faces)
    a, b = (method.space().of(e).expand(len(x), -1) for e in ("happy", "angry"))
    with torch.no_grad():
        changed = (
            method.edit(method.encode(x), a).images - method.edit(method.encode(x), b).images
        ).abs()
    # GANmut starts with tiny raw directions, but its codes are unit vectors from the first step.
    assert changed.mean() > 1e-3
    assert changed[..., 12:20, 12:20].mean() > 1e-3


def test_gradients_reach_every_parameter_of_the_right_network(method, batch):
    for parameter in method.G.parameters():  # away from saddles: equal variances have no rotation
        parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=rng()))
    target = method.sample_targets(batch, rng())
    method.D.requires_grad_(False)
    x_fake = method.fake(batch, target)
    sum(method.g_loss(batch, target, x_fake).values()).backward()
    assert [
        n for n, p in method.G.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ] == []
    assert all(p.grad is None for p in method.D.parameters())

    method.zero_grad()
    method.D.requires_grad_(True)
    terms = method.d_loss(batch, target, x_fake.detach()) | method.d_penalty(
        batch, target, x_fake.detach(), rng()
    )
    sum(terms.values()).backward()
    assert [n for n, p in method.D.named_parameters() if p.grad is None] == []
    assert all(p.grad is None for p in method.G.parameters())


def test_lr_scale_of_modes_in_short_schedule():
    rates = {}
    for preset in ("paper", "cpu"):
        recipe, config = resolve_settings("gganmut", **PRESETS[preset], **TOY)
        trainer = Trainer(METHODS["gganmut"](config, EMOTIONS, 32), recipe, torch.device("cpu"))
        trainer.schedule()
        by_id = {
            id(p): group["lr"] for group in trainer.opt_g.param_groups for p in group["params"]
        }
        rates[preset] = {n: by_id[id(p)] for n, p in trainer.method.G.named_parameters()}
    assert set(rates["paper"].values()) == {1e-4}
    learned = {"raw_modes", "rotation", "raw_variances"}
    assert {rates["cpu"].pop(name) for name in learned} == {20 * 3e-4}
    assert set(rates["cpu"].values()) == {3e-4}


def test_terms_are_scalars_and_the_adversarial_signs_oppose(method, batch):
    method.eval()  # in training mode every call would change the spectral norm
    target = method.sample_targets(batch, rng())
    x_fake = method.fake(batch, target)
    g, d = method.g_loss(batch, target, x_fake), method.d_loss(batch, target, x_fake.detach())
    assert all(v.dim() == 0 and v.isfinite() for v in [*g.values(), *d.values()])
    # Edits that please the discriminator more must please the generator and hurt the discriminator.
    (slope,) = torch.autograd.grad(g["adv"], x_fake)
    better = (x_fake - 0.02 * slope / slope.abs().max()).detach()
    assert method.g_loss(batch, target, better)["adv"] < g["adv"]
    assert method.d_loss(batch, target, better)["adv"] > d["adv"]


def test_lambda_pix_penalises_changed_pixels(method, batch):
    x_fake = method.fake(batch, method.sample_targets(batch, rng()))
    method.config = dataclasses.replace(method.config, lambda_pix=0.0)
    assert method.pixel_loss(batch, x_fake) == {} and type(method).PAPER.lambda_pix == 0
    method.config = dataclasses.replace(method.config, lambda_pix=3.0)
    assert method.pixel_loss(batch, batch.x)["pix"] == 0
    assert float(method.pixel_loss(batch, batch.x + 0.1)["pix"]) == pytest.approx(0.3, rel=1e-3)


@pytest.mark.parametrize("name", ["stargan", "ganmut", "gganmut"])
def test_lambda_cls_fake_classifies_edits_as_source(name, batch):
    blind, wary = toy(name, lambda_cls_fake=0.0), toy(name, lambda_cls_fake=0.5)
    target = blind.sample_targets(batch, rng())
    x_fake = blind.fake(batch, target).detach()
    before, after = (m.d_loss(batch, target, x_fake) for m in (blind, wary))
    real, fake = (
        F.cross_entropy(blind.classify(x), batch.emotion).item() for x in (batch.x, x_fake)
    )
    weight = before["cls"].item() / real
    assert after["cls"].item() == pytest.approx(weight * (real + 0.5 * fake), rel=1e-4)
    assert torch.equal(after["adv"], before["adv"])
    # The generator's terms are the same.
    one, other = (m.g_loss(batch, target, x_fake) for m in (blind, wary))
    assert all(torch.equal(one[term], other[term]) for term in one)
    assert type(wary).PAPER.lambda_cls_fake == 0


def test_same_in_train_and_eval_mode_and_twice(editor, faces):
    ready, code = editor.prepare(faces), editor.space.of("sad")
    first = editor.edit(ready, code)
    editor.method.train()
    assert torch.equal(editor.edit(editor.prepare(faces), code), first)
    assert torch.equal(editor.edit(ready, code), first)


def test_a_batch_is_its_singles(editor, faces):
    codes = torch.stack([editor.space.of(e) for e in EMOTIONS[:4]])
    together = editor.edit(editor.prepare(faces), codes)
    singles = torch.cat(
        [editor.edit(editor.prepare(f[None]), c) for f, c in zip(faces, codes, strict=True)]
    )
    # one grey level of rounding: kernels are chosen by batch size (docs/precision.md); more at
    # single pixels where an untrained network paints far outside the range of pictures
    apart = (together.int() - singles.int()).abs().float()
    assert apart.mean() < 0.5 and apart.quantile(0.99) <= 4


def test_pairs_are_edits_without_preparing_again(editor, faces):
    ready = editor.prepare(faces)
    rows = torch.tensor([2, 0, 2])
    codes = torch.stack([editor.space.of(e) for e in EMOTIONS[1:4]])
    paired = editor.edit(editor.select(ready, rows), codes)
    plain = editor.edit(editor.prepare(faces[rows]), codes)
    assert (paired.int() - plain.int()).abs().max() <= 4


def test_editor_refuses_bad_images_and_codes(editor, faces):
    with pytest.raises(ValueError, match="uint8"):
        editor.prepare(images.to_float(faces))
    with pytest.raises(ValueError, match=r"\b4\b.*\b3\b"):
        editor.edit(editor.prepare(faces), torch.zeros(3, editor.space.dim))
    with pytest.raises(ValueError, match="NaN"):
        editor.edit(editor.prepare(faces), torch.full((editor.space.dim,), float("nan")))


def test_grey_editor_keeps_the_chroma(method, faces):
    editor = Editor(method, {"grey": True})
    made = editor.edit_details(editor.prepare(faces), editor.space.of("happy"))
    ground = images.to_float(faces)
    ground = ground if made.flow is None else warp(ground, made.flow)
    change = images.to_float(made.images) - ground
    inside = ((made.images > 0) & (made.images < 255)).all(1, keepdim=True).expand_as(change)
    spread = (change - change[:, :1])[inside]
    assert spread.numel() > 100 and spread.abs().max() <= 1.01 * 2 / 255


def test_other_emotions_than_seven(batch):
    for name in METHODS:
        toy_method = toy(name)
        method = METHODS[name](toy_method.config, ("neutral", "happy", "smug"), TOY["size"])
        assert method.space().of("smug").shape == (method.space().dim,)


def test_the_published_networks_have_the_published_sizes():
    """Parameter counts at 128 px with 7 emotions, worked out from the papers' layer tables."""
    expected = {
        "stargan": (8_436_800, 44_778_432),
        "ganmut": (8_421_132, 44_794_816),
        "gganmut": (8_421_155, 44_794_816),
        "ganimation": (8_471_296 + 1, 44_860_352),  # a bias of the mask more than published
        # four branches (a bias each), refiner, interpolator, reader; discriminators of final, face,
        # three parts and units
        "efgan": (4 * 8_471_297 + 8_424_256 + 7_488 + 312_321, 97_864_896 + 5_377),
        "defgan": (7_860_928 + 8_471_297 + 312_321, 44_860_352),  # flow, texture, reader
        # generator, mapping network and style encoder
        "stargan_v2": (33_632_003 + 6_542_272 + 20_963_904, 20_737_671),
        # its 172,032 frozen values are buffers
        "smit": (8_337_504 - 172_032, 58_831_776),
    }
    sizes = {"smit": 256}
    for name, (g, d) in expected.items():
        entry = METHODS[name]
        with torch.device("meta"):
            method = entry(entry.PAPER, EMOTIONS, sizes.get(name, 128))
        # GANmut's released network has 6 more: the biases, never used, of the layer that holds its
        # directions.
        count = {
            "G": sum(p.numel() for p in method.G.parameters()),
            "D": sum(p.numel() for p in method.D.parameters()),
        }
        assert count == {"G": g, "D": d}, name


def test_head_input_is_grey_and_augmented():
    x = torch.rand(2, 3, TOY["size"], TOY["size"], generator=torch.manual_seed(1)) * 2 - 1
    plain, moved = toy("ganmut", head_noise=1e-6), toy("ganmut", head_noise=0.0, head_augment=2.0)
    for method in (plain, moved):
        assert torch.equal(method.augment_head_input(x), x)  # outside training
        method.rng = torch.Generator().manual_seed(3)
    grey = x.mean(1, keepdim=True).expand_as(x)
    assert (plain.augment_head_input(x) - grey).abs().max() < 1e-4
    assert (moved.augment_head_input(x) - grey).abs().mean() > 0.02
    assert not torch.equal(
        moved.augment_head_input(x), moved.augment_head_input(x)
    )  # drawn anew each time
    scores, outputs = moved.discriminate(x)
    bare_scores, bare_outputs = moved.D(x)
    assert torch.equal(scores, bare_scores) and not torch.allclose(outputs, bare_outputs)
    x.requires_grad_(True)
    moved.augment_head_input(x).sum().backward()  # the generator learns through it
    assert x.grad.abs().sum() > 0


def test_head_cutout_hides_a_random_square():
    x = torch.rand(64, 3, TOY["size"], TOY["size"], generator=torch.manual_seed(1)) * 2 - 1
    method = toy("ganmut", head_noise=0.0, head_cutout=0.5)
    assert torch.equal(method.augment_head_input(x), x)  # outside training
    method.rng = torch.Generator().manual_seed(3)
    light = x.mean(1)
    gone = method.augment_head_input(x)[:, 0] != light
    share = gone.float().mean((1, 2))
    assert share.min() > 0 and share.max() <= 0.26  # a square of half the side, or a part of it
    assert len(share.unique()) > 1 and gone.any(0).all()  # anywhere
    mean = light.mean((1, 2))[:, None, None].expand_as(light)
    method.rng = torch.Generator().manual_seed(3)
    assert torch.allclose(method.augment_head_input(x)[:, 0][gone], mean[gone])
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="head_cutout"):
            toy("ganmut", head_cutout=bad)
