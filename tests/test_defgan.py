"""DefGAN: flows, the order in which they compose, its penalties, and what is shipped."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from toys import TOY, toy

from ganmut import images as pictures
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.methods.defgan import DefGANOutput, integral_flow
from ganmut.networks.warp import compose, folded_share, residual_flow, warp


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def smooth(side: int = 64) -> torch.Tensor:
    """A picture without fine detail, which bilinear sampling hardly blurs."""
    return pictures.resize(torch.rand(1, 3, 8, 8, generator=rng()) * 2 - 1, side)


def swell(side: int = 64, strength: float = 0.1) -> torch.Tensor:
    """A flow that magnifies towards the right edge: x moves by strength * x."""
    flow = torch.zeros(1, 2, side, side)
    flow[:, 0] = strength * torch.arange(side)
    return flow


def shift(right: float, down: float, side: int = 64) -> torch.Tensor:
    return torch.tensor([right, down])[None, :, None, None].expand(1, 2, side, side).clone()


@pytest.fixture
def method():
    return toy("defgan")


def draw_step(method, batch):
    """One step's target, its terms and what was made."""
    target = method.sample_targets(batch, rng())
    terms = method.g_loss(batch, target, method.fake(batch, target))
    return target, terms, method.output


def wake(method) -> None:
    """The initial flow is zero: sets weights that warp."""
    head = method.G.deformer.head.weight
    head.data.copy_(0.1 * torch.randn(head.shape, generator=rng()))


# ---- warping


@pytest.mark.parametrize("sides", [(64, 64), (40, 92)])
def test_zero_flow_is_the_identity(sides):
    x = torch.rand(2, 3, *sides, generator=rng()) * 2 - 1
    assert (warp(x, torch.zeros(2, 2, *sides)) - x).abs().max() < 1e-5


def test_flows_are_pixels_with_repeated_border():
    x = torch.rand(1, 1, 8, 8, generator=rng())
    warped = warp(x, shift(2, -1, 8))
    assert torch.allclose(warped[..., 1:, :6], x[..., :7, 2:], atol=1e-6)
    assert torch.allclose(warped[..., 1:, 6:], x[..., :7, 7:].expand(-1, -1, -1, 2), atol=1e-6)


def test_scaled_flow_fits_the_scaled_image():
    flow = swell(64)
    large = warp(smooth(128), 2 * pictures.resize(flow, 128))
    apart = (pictures.resize(large, 64) - warp(smooth(64), flow)).abs()
    assert apart[..., :-12].mean() < 0.005


def test_composing_with_the_inverse_returns_the_picture():
    there = swell()
    back = torch.zeros_like(there)
    back[:, 0] = torch.arange(64) / 1.1 - torch.arange(64)
    assert compose(there, back)[..., :56].abs().max() < 1e-4
    apart = (warp(warp(smooth(), there), back) - smooth()).abs()
    assert apart[..., :56].mean() < 0.01


def test_compose_follows_the_order_of_warps():
    first, then = swell(), shift(6, 0)
    twice, core = warp(warp(smooth(), first), then), (..., slice(None), slice(0, 50))
    assert (warp(smooth(), compose(first, then)) - twice)[core].abs().max() < 0.05
    assert torch.allclose(compose(first, then)[0, 0, 0, :50], 6.6 + 0.1 * torch.arange(50.0))
    swapped = compose(then, first)[0, 0, 0, :50]
    assert torch.allclose(swapped, 6 + 0.1 * torch.arange(50.0))


def test_folding_is_counted():
    assert folded_share(torch.zeros(1, 2, 8, 8)) == 0 and folded_share(swell()) == 0
    assert folded_share(swell(strength=-2.0)) == 1  # right becomes left
    assert (
        folded_share(-2.0 * torch.stack([swell()[0, 0] * 10, swell()[0, 0].T * 10])[None]) == 0
    )  # turned


# ---- the two kinds of flow


def test_residual_offsets_scale_with_the_size():
    for side, reach in ((64, 2.5), (128, 5.0)):
        raw = torch.full((1, 2, side // 4, side // 4), 1e3)
        assert torch.allclose(residual_flow(raw), torch.tensor(reach))
        assert residual_flow(0 * raw).abs().max() == 0


def test_integral_flows_keep_the_order_of_the_pixels():
    assert integral_flow(torch.zeros(1, 2, 16, 16)).abs().max() < 1e-4
    flow = integral_flow(5 * torch.randn(1, 2, 16, 16, generator=rng()))
    right = torch.arange(64) + flow[0, 0]
    down = torch.arange(64)[:, None] + flow[0, 1]
    for steps in (right.diff(dim=1), down.diff(dim=0)):
        assert steps.min() > -1e-4 and steps.max() < 5 + 1e-4
    assert flow[:, 0].mean(-1).abs().max() < 1e-4 and flow[:, 1].mean(-2).abs().max() < 1e-4
    assert flow.abs().max() > 1


@pytest.mark.parametrize("flow", ["residual", "integral"])
def test_initial_flow_is_zero(batch, flow):
    method = toy("defgan", flow=flow)
    edit = method.edit(method.encode(batch.x), method.space().of("happy").expand(16, -1))
    assert edit.flow.shape == (16, 2, 32, 32) and edit.flow.abs().max() < 1e-4
    assert (edit.images - batch.x).abs().mean() > 0.01
    wake(method)
    warped = method.edit(method.encode(batch.x), method.space().of("happy").expand(16, -1))
    assert warped.flow.abs().mean() > 0.01
    with pytest.raises(ValueError, match=r"flow.*residual, integral"):
        toy("defgan", flow="spline")


def test_flow_depends_on_source_and_target(method, batch):
    wake(method)
    shown = method.G(batch.x, batch.units, batch.units).flow
    assert (method.G(batch.x, 1 - batch.units, batch.units).flow - shown).abs().mean() > 1e-3
    assert (method.G(batch.x, batch.units, 1 - batch.units).flow - shown).abs().mean() > 1e-3


# ---- editing


def test_edit_is_texture_over_warped_source(method, batch):
    wake(method)
    features = method.encode(batch.x)
    edit = method.edit(features, batch.units)
    warped = warp(batch.x, edit.flow)
    method.G.texture.mask_bias.data.fill_(-200.0)  # no texture: what is warped alone
    none = method.edit(features, batch.units)
    assert torch.equal(none.images, warped) and none.mask.max() == 0
    method.G.texture.mask_bias.data.fill_(200.0)
    full = method.edit(features, batch.units)
    assert full.mask.min() == 1
    between = edit.mask * full.images + (1 - edit.mask) * warped
    assert torch.allclose(between, edit.images, atol=1e-5)


def test_encode_estimates_the_source_units(method, batch):
    wake(method)
    read = method.encode(batch.x)[2]
    assert torch.equal(read, method.G.reader(batch.x).clamp(0, 1))
    before = method.edit(method.encode(batch.x), batch.units).flow
    method.G.reader.out.bias.data += 0.5
    assert (method.edit(method.encode(batch.x), batch.units).flow - before).abs().mean() > 1e-3


def test_reader_has_gradients_from_its_loss_only(method, batch):
    _, terms, _ = draw_step(method, batch)
    reader = list(method.G.reader.parameters())
    own = torch.autograd.grad(terms["read"], reader, retain_graph=True)
    assert all(g.abs().sum() > 0 for g in own)
    rest = sum(v for k, v in terms.items() if k != "read")
    assert torch.autograd.grad(rest, reader, allow_unused=True) == (None,) * len(reader)
    others = [*method.G.deformer.parameters(), *method.G.texture.parameters()]
    left = torch.autograd.grad(terms["read"], others, allow_unused=True)
    assert left == (None,) * len(others)


# ---- the losses


def test_penalties_have_positive_gradients(method, batch):
    wake(method)
    _, terms, made = draw_step(method, batch)
    for name, field in (("eye_M", made.mask), ("eye_G", made.flow)):
        (slope,) = torch.autograd.grad(terms[name], field, retain_graph=True)
        assert (slope * field).min() >= 0 and slope.abs().sum() > 0, name
    for name, field in (("TV_M", made.mask), ("TV_G", made.flow)):
        (slope,) = torch.autograd.grad(terms[name], field, retain_graph=True)
        rough = field - F.avg_pool2d(field, 3, 1, 1)
        assert (slope * rough).sum() > 0, name


def output_of(x: torch.Tensor, flow: torch.Tensor) -> DefGANOutput:
    """The output of a generator that warps by `flow` and adds no texture."""
    flow = flow.expand(len(x), -1, -1, -1)
    warped = warp(x, flow)
    return DefGANOutput(warped, warped, torch.zeros_like(x[:, :1]), warped, flow)


def test_flows_are_weighed_in_pixels_at_128(method, batch, monkeypatch):
    side, target = TOY["size"], method.sample_targets(batch, rng())
    quarter = side / 128
    monkeypatch.setattr(method.G, "forward", lambda x, *_: output_of(x, shift(quarter, 0, side)))
    terms = method.g_loss(batch, target, method.fake(batch, target))
    assert float(terms["eye_G"]) == pytest.approx(method.config.lambda_eye_G)  # 1 px at 128 px
    assert float(terms["TV_G"]) == 0
    twice = 4 * method.config.lambda_comp  # two pixels, there and not back
    assert float(terms["comp"]) == pytest.approx(twice, rel=1e-5)


def test_backward_flow_is_composed_in_order(method, batch, monkeypatch):
    """comp is the length of flow(p + back(p)) + back(p): the other order gives another number."""
    side, target = TOY["size"], method.sample_targets(batch, rng())
    there, back = swell(side, 0.2), shift(3, 1, side)
    made = iter([output_of(batch.x, there), output_of(batch.x, back)])
    monkeypatch.setattr(method.G, "forward", lambda *_: next(made))
    comp = float(method.g_loss(batch, target, method.fake(batch, target))["comp"])

    def length(first: torch.Tensor, then: torch.Tensor) -> float:
        return method.config.lambda_comp * float(method.length(compose(first, then)))

    assert comp == pytest.approx(length(there, back), rel=1e-5)
    assert abs(comp - length(back, there)) > 1


def test_cycle_swaps_source_and_target(method, batch, monkeypatch):
    calls, forward = [], method.G.forward
    monkeypatch.setattr(method.G, "forward", lambda *a: calls.append(a) or forward(*a))
    target = method.sample_targets(batch, rng())
    x_fake = method.fake(batch, target)
    method.g_loss(batch, target, x_fake)
    (_, shown, target_code), (x, shown_back, target_back) = calls
    assert x is x_fake and torch.equal(shown, batch.units) and torch.equal(target_code, target)
    assert torch.equal(shown_back, target) and torch.equal(target_back, batch.units)


# ---- identity of the warped face


def test_embedder_is_neither_trained_nor_saved(method, batch):
    names = set(method.state_dict())
    _, terms, made = draw_step(method, batch)
    assert (
        set(method.state_dict()) == names and method.load_embedder(torch.device("cpu")) is not None
    )
    assert float(terms["face"].detach()) == pytest.approx(0, abs=1e-4)  # not yet warped
    wake(method)
    _, terms, made = draw_step(method, batch)
    (slope,) = torch.autograd.grad(terms["face"], made.warped)
    assert 1e-4 < float(terms["face"].detach()) < 2 and slope.abs().sum() > 0


def test_without_an_embedder_there_is_no_such_term(batch, monkeypatch):
    absent = toy("defgan", embedder="nowhere/nobody")
    assert "face" not in draw_step(absent, batch)[1]

    def never(*_):
        raise AssertionError("the embedder was loaded in vain")

    monkeypatch.setattr("ganmut.extractors.loading.load", never)
    assert "face" not in draw_step(toy("defgan", lambda_face=0.0), batch)[1]
    config = toy("defgan").config
    editor = METHODS["defgan"](config, EMOTIONS, TOY["size"], training=False)
    editor.edit(editor.encode(batch.x), batch.units)


def test_log_metrics_describe_flow_and_mask(method, batch):
    assert method.log_metrics() == {}
    draw_step(method, batch)
    assert method.log_metrics()["max_offset"] == method.log_metrics()["folded"] == 0
    wake(method)
    _, _, made = draw_step(method, batch)
    metrics = method.log_metrics()
    assert 0 < metrics["mean_offset"] < metrics["max_offset"] <= 5 * math.sqrt(2) / 4 + 1e-6
    assert metrics["mean_M"] == pytest.approx(float(made.mask.detach().mean()))


def test_labels_instead_of_units(batch):
    method = toy("defgan", code_type="labels")
    _, terms, _ = draw_step(method, type(batch)(batch.x, batch.emotion))
    assert all(term.isfinite() for term in terms.values())
    edit = method.edit(method.encode(batch.x), method.space().of("sad", 0.5).expand(16, -1))
    assert edit.images.shape == batch.x.shape
