"""EF-GAN and its cascade: boxes, masks, pasting, targets on the way, and a chain of one link."""

from __future__ import annotations

import pytest
import torch
from toys import TOY, toy

from ganmut.face_regions import region_boxes
from ganmut.faces.align import template
from ganmut.methods.efgan import rms
from ganmut.networks import efgan
from ganmut.networks.spectral import SpectralNorm


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def x():
    return torch.rand(2, 3, TOY["size"], TOY["size"], generator=rng()) * 2 - 1


@pytest.fixture
def code():
    return torch.rand(2, 17, generator=rng())


def move_parameters(network: torch.nn.Module) -> torch.nn.Module:
    """Its parameters away from where they begin, so that every layer does something."""
    generator = rng()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_boxes_lie_inside_and_cover_their_points(size):
    boxes = region_boxes(size)
    left_eye, right_eye, nose, *corners = template(size)
    for part, points in {"eyes": (left_eye, right_eye), "nose": (nose,), "mouth": corners}.items():
        box = boxes[part]
        assert box.height % 4 == box.width % 4 == 0 and min(box.height, box.width) >= 8
        assert min(box.top, box.left) >= 0
        assert box.top + box.height <= size and box.left + box.width <= size
        margin = size / 20  # the point is well inside, not on the rim
        for x, y in points:
            assert box.left + margin <= x <= box.left + box.width - 1 - margin
            assert box.top + margin <= y <= box.top + box.height - 1 - margin


def test_boxes_are_the_published_ones_at_128():
    sides = {part: (box.height, box.width) for part, box in region_boxes(128).items()}
    assert sides == {"eyes": (40, 92), "nose": (40, 48), "mouth": (40, 60)}
    with pytest.raises(ValueError, match=r"\b32\b.*\b16\b"):
        region_boxes(16)


def test_pasting_what_has_not_changed_changes_nothing(x):
    for box in region_boxes(TOY["size"]).values():
        rim = efgan.feather(box, TOY["size"])
        assert torch.equal(efgan.paste(x, box.crop(x).clone(), box, rim), x)


def test_patches_are_pasted_in_place_and_feathered():
    box = region_boxes(128)["mouth"]
    rim = efgan.feather(box, 128)
    whole = efgan.paste(torch.zeros(1, 3, 128, 128), torch.ones(1, 3, *box[2:]), box, rim)
    assert (box.crop(whole)[..., 4:-4, 4:-4] == 1).all()
    assert float(whole.sum()) == pytest.approx(float(box.crop(whole).sum()))
    row = box.crop(whole)[0, 0, box.height // 2]
    assert torch.equal(row, row.flip(0)) and (row[:5].diff() > 0)[:3].all() and row[0] < 0.2


def test_masks_at_their_extremes_keep_or_replace(x, code):
    stage = efgan.Stage(toy("efgan").config, 17, TOY["size"])
    for opening, kept in ((-200.0, True), (200.0, False)):
        for branch in stage.branches.values():
            branch.mask_bias.data.fill_(opening)
        made = stage(x, code)
        for box, picture, colours in zip(
            stage.boxes.values(), made.parts, made.colours, strict=True
        ):
            assert torch.equal(picture, box.crop(x) if kept else colours)
        assert torch.all(made.changed == (0 if kept else 1))
        if kept:  # the refiner has not learned anything yet: the whole network is the identity
            assert torch.equal(made.image, x)


def test_rms_of_constant_masks():
    open_, shut = torch.full((3, 1, 8, 12), 0.9), torch.full((3, 1, 8, 12), 0.1)
    assert float(rms(open_)) == pytest.approx(0.9) and float(rms(shut)) == pytest.approx(0.1)


def test_the_sparsity_loss_counts_every_branch(batch):
    method = toy("efgan")
    weight = method.config.lambda_attn
    for opened in range(5):
        for i, branch in enumerate(method.G.stages[0].branches.values()):
            branch.mask_bias.data.fill_(200.0 if i < opened else -200.0)
        target = method.sample_targets(batch, rng())
        attn = method.g_loss(batch, target, method.fake(batch, target))["attn"]
        assert float(attn.detach()) == pytest.approx(opened * weight, abs=1e-6)


def test_cascade_of_one_stage_equals_efgan(x, code):
    single, cascade = toy("efgan"), toy("efgan_cascade", stages=1)
    move_parameters(single.G)
    cascade.init_from(single)
    cascade.eval()
    ours, theirs = (m.edit(m.encode(x), code) for m in (single, cascade))
    assert torch.equal(ours.images, theirs.images) and torch.equal(ours.mask, theirs.mask)
    assert not torch.equal(ours.images, x)


def test_cascade_loads_the_single_network_per_stage(x, code):
    single, cascade = toy("efgan"), toy("efgan_cascade")
    move_parameters(single.G)
    bank = cascade.G.bank.clone()
    cascade.init_from(single)
    expected = single.G.stages[0].state_dict()
    assert len(cascade.G.stages) == 3 and len(single.G.stages) == 1
    for stage in cascade.G.stages:
        found = stage.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    pointers = {p.data_ptr() for p in cascade.G.parameters()}
    assert len(pointers) == len(list(cascade.G.parameters()))  # copies, each with its own future
    assert torch.equal(cascade.G.bank, bank)
    assert torch.equal(cascade.G.reader(x), single.G.reader(x))
    longer = toy("efgan_cascade")
    longer.init_from(cascade)  # one that goes on
    longer.eval(), cascade.eval()
    assert torch.equal(
        longer.edit(longer.encode(x), code).images, cascade.edit(cascade.encode(x), code).images
    )


@pytest.mark.parametrize(
    "donor", [("ganmut", {}), ("efgan", {"width": 12}), ("efgan_cascade", {"stages": 2})]
)
def test_init_from_refuses_other_networks(donor):
    name, settings = donor
    with pytest.raises(ValueError, match=rf"\b{name}\b.*\befgan\b"):
        toy("efgan_cascade").init_from(toy(name, **settings))


def test_targets_on_the_way(code):
    method = toy("efgan_cascade")
    source = code.flip(1)
    codes = method.G.targets(source, code)
    assert torch.equal(codes[:, -1], code)  # exactly what was asked for
    for k in (1, 2):  # an untrained interpolator walks the straight line
        torch.testing.assert_close(codes[:, k - 1], source + (code - source) * k / 3)
    move_parameters(method.G.interp)
    reached = method.G.targets(source, code)
    assert torch.equal(reached[:, -1], code) and (reached - codes)[:, :2].abs().max() > 0.01
    assert reached.min() >= 0 and reached.max() <= 1
    beyond = code * 1.2 - 0.1  # training asks for units with noise
    assert torch.equal(method.G.targets(source, beyond)[:, -1], beyond)


def test_no_residual_is_no_change(code):
    interp = move_parameters(efgan.Interpolator(17))
    torch.testing.assert_close(interp(code, torch.zeros_like(code)), code, rtol=0, atol=0)
    assert (interp(code, code.flip(1) - code) - code.flip(1)).abs().max() > 0.01


def test_stages_are_sequential_and_share_discriminators(batch):
    method = toy("efgan_cascade")
    move_parameters(method.G)
    target = method.sample_targets(batch, rng())
    x_fake = method.fake(batch, target)
    x = batch.x
    for k, made in enumerate(target.outputs):
        torch.testing.assert_close(made.image, method.G.stages[k](x, target.codes[:, k]).image)
        x = made.image
    assert torch.equal(x_fake, x)
    assert len(method.D.regions) == 4
    method.g_loss(batch, target, x_fake)["cond"].backward()  # end to end: into the first stage
    assert float(method.G.stages[0].branches["mouth"].mask_bias.grad.abs()) > 0
    assert set(method.log_metrics()) == {"mean_M", "mean_M_parts"}


@pytest.mark.parametrize("preset", ["paper", "cpu"])
def test_every_discriminator_has_a_penalty(preset, batch):
    method = toy("efgan_cascade", preset)
    target = method.sample_targets(batch, rng())
    terms = method.d_penalty(batch, target, method.fake(batch, target).detach(), rng())
    kind = "gp" if preset == "paper" else "r1"
    assert set(terms) == {kind, f"{kind}_init", f"{kind}_interp"}
    sum(terms.values()).backward()
    scores = [method.D.src, *(c.src for c in method.D.regions.values()), method.D.units.layers[0]]
    assert all(float(layer.weight.grad.abs().sum()) > 0 for layer in scores)


def test_losses_need_a_fake_of_the_step(batch):
    method = toy("efgan")
    with pytest.raises(ValueError, match="fake"):
        method.g_loss(batch, method.sample_targets(batch, rng()), batch.x)


def test_labels_instead_of_units(batch, x):
    method = toy("efgan_cascade", code_type="labels")
    target = method.sample_targets(batch, rng())
    assert target.codes is None and target.code.shape == (16, 7)
    x_fake = method.fake(batch, target)
    assert all(v.isfinite() for v in method.g_loss(batch, target, x_fake).values())
    edit = method.edit(method.encode(x), method.space().of("happy").expand(2, -1))
    assert edit.images.shape == x.shape and edit.mask.shape == (2, 1, 32, 32)


def test_every_convolution_but_the_outputs_is_constrained():
    method = toy("efgan", "paper")
    outputs = {"head", "src", "cls"}
    for network in (method.G.stages, method.D):
        for name, layer in network.named_modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
                free = name.rsplit(".", 1)[-1] in outputs
                assert torch.nn.utils.parametrize.is_parametrized(layer) != free, name


def test_spectral_norm_follows_the_weight():
    layer = torch.nn.ConvTranspose2d(6, 4, 3)
    norm = SpectralNorm(layer.weight, rows=1)
    stretched = torch.nn.Parameter(7 * torch.randn(6, 4, 3, 3, generator=rng()))
    before = norm.u.clone()
    with torch.no_grad():
        norm(stretched)
    norm(stretched.detach())
    assert torch.equal(norm.u, before)  # an edit moves nothing
    for _ in range(50):
        norm(stretched)
    largest = torch.linalg.matrix_norm(norm.matrix(norm(stretched)), 2)
    assert float(largest.detach()) == pytest.approx(1, abs=1e-3)


def test_an_orthogonal_start():
    layer = toy("efgan", spectral=True).G.stages[0].branches["face"].trunk.blocks[0].conv1
    rows = layer.parametrizations.weight.original.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)))
