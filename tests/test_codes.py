"""The laws of code spaces, for every space there is."""

from __future__ import annotations

import math

import pytest
import torch

from ganmut.action_units.blendshapes import TABLE
from ganmut.codes import ActionUnitSpace, DiscSpace, LabelSpace, PlaneSpace, StyleSpace
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.expression.model import ExpressionModel
from ganmut.expression.space import ExpressionSpace
from ganmut.expression.transport import Transport, TransportSpace


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def curved_style(which: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """StyleSpace of 12 values of 5 latent ones, curved as a mapping network's are."""
    into = torch.randn(5, 12, generator=seeded(4))
    of = torch.randn(9, 12, generator=seeded(5))
    return torch.tanh((latent @ into + of[which]) / 4)


def expression_model() -> ExpressionModel:
    """An expression model with made-up recipes and real expressions, no shape and no light."""
    model = ExpressionModel(EMOTIONS[1:])
    for proxy in TABLE.values():
        if proxy.control in model.controls:
            model.rest[model.controls.index(proxy.control)] = proxy.rest
    model.highest.copy_(0.5 + 0.7 * torch.rand(model.rest.shape, generator=seeded(8)))
    model.centre.fill_(0.4)
    factor = torch.randn(model.precision.shape, generator=seeded(9)) / 60
    model.precision.copy_(torch.linalg.inv(factor @ factor.T + 1e-4 * torch.eye(len(factor))))
    model.recipes.copy_(0.5 * torch.randn(model.recipes.shape, generator=seeded(10)))
    return model


def drawn_transport() -> Transport:
    """A transport of made-up values."""
    fitted = Transport(17, len(EMOTIONS))
    for number, name in enumerate(("points", "faces", "logits")):
        own = getattr(fitted, name)
        own.copy_(torch.randn(own.shape, generator=seeded(20 + number)))
    return fitted


SPACES = {
    "labels": LabelSpace(EMOTIONS),
    "disc": DiscSpace(EMOTIONS, torch.randn(6, 2, generator=seeded(1))),
    "plane": PlaneSpace(
        EMOTIONS,
        torch.rand(7, 2, generator=seeded(2)) * 2 - 1,
        torch.eye(2).repeat(7, 1, 1) * 0.3,
    ),
    "units": ActionUnitSpace(
        EMOTIONS,
        torch.rand(7, 17, generator=seeded(3)),
        torch.rand(500, 17, generator=seeded(6)),
    ),
    "expressions": ExpressionSpace(EMOTIONS, expression_model()),
    "styles": StyleSpace(EMOTIONS, 5, curved_style),
    "transport": TransportSpace(EMOTIONS, drawn_transport()),
    "two emotions": LabelSpace(("neutral", "happy")),
    "two styles": StyleSpace(("neutral", "happy"), 5, curved_style),
}


@pytest.fixture(params=SPACES, ids=list(SPACES))
def space(request):
    return SPACES[request.param]


def test_no_intensity_is_neutral(space):
    for emotion in space.emotions:
        for intensity in (0.0, 0.3, 1.0):
            torch.testing.assert_close(space.of(emotion, 0), space.of("neutral", intensity))


def test_named_codes_are_valid_and_differ(space):
    codes = torch.stack([space.of(e) for e in space.emotions])
    torch.testing.assert_close(space.clamp(codes), codes, atol=1e-6, rtol=0)
    assert torch.pdist(codes).min() > 1e-3


def test_clamp_keeps_the_direction_of_large_codes(space):
    wild = torch.randn(64, space.dim, generator=torch.Generator().manual_seed(3))
    if space.kind != "styles":  # every style is valid
        torch.testing.assert_close(space.clamp(1e30 * wild), space.clamp(1e5 * wild))


def test_clamp_is_idempotent_and_moves_the_invalid(space):
    wild = 3 * torch.randn(64, space.dim, generator=torch.Generator().manual_seed(3))
    once = space.clamp(wild)
    torch.testing.assert_close(space.clamp(once), once, atol=1e-6, rtol=0)
    if space.kind != "styles":  # every style is valid
        assert (once - wild).abs().max() > 0.5


@pytest.mark.parametrize("size", [1e8, 1e30])
def test_large_labels_become_the_nearest_one(size):
    code = torch.zeros(len(EMOTIONS))
    code[2] = size
    assert LabelSpace(EMOTIONS).clamp(code).tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_samples_and_grid_are_valid(space):
    for codes in (
        space.sample(200, torch.Generator().manual_seed(0)),
        space.grid(),
        space.grid(441),
    ):
        torch.testing.assert_close(space.clamp(codes), codes, atol=1e-5, rtol=0)
    assert 1 < len(space.grid(441)) <= 441


def test_path_hits_both_ends(space):
    a, b = space.of("neutral"), space.of(space.emotions[-1])
    path = space.path(a, b, 11)
    assert path.shape == (11, space.dim)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    with pytest.raises(ValueError, match=r"\b2\b.*\b1\b"):
        space.path(a, b, 1)


def test_of_is_continuous(space):
    for emotion in space.emotions:
        codes = torch.stack([space.of(emotion, i / 100) for i in range(101)])
        whole = float((codes[-1] - codes[0]).norm())
        assert codes.diff(dim=0).norm(dim=1).max() < 0.05 * max(whole, 1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_codes_are_refused(space, bad):
    with pytest.raises(ValueError, match="NaN"):
        space.clamp(torch.full((space.dim,), bad))
    with pytest.raises(ValueError, match=rf"\b{space.dim}\b"):
        space.clamp(torch.zeros(space.dim + 1))


@pytest.mark.parametrize("intensity", [-0.1, 1.1, float("nan")])
def test_intensity_out_of_range(space, intensity):
    with pytest.raises(ValueError, match=rf"{intensity:g}"):
        space.of(space.emotions[1], intensity)


def test_unknown_emotion_says_what_is_near(space):
    with pytest.raises(ValueError, match="'happy'"):
        space.of("hapy")


def test_paper_grids():
    assert len(SPACES["labels"].grid()) == 7
    assert len(SPACES["disc"].grid()) == 441
    assert len(SPACES["plane"].grid()) == 441
    assert torch.isclose(SPACES["plane"].grid()[:, 0].unique().diff(), torch.tensor(0.1)).all()


def test_sample_emotion_gives_valid_reproducible_codes(space):
    for emotion in space.emotions:
        several = space.sample_emotion(emotion, 40, seeded(0))
        assert several.shape == (40, space.dim)
        torch.testing.assert_close(space.clamp(several), several)
        assert torch.equal(several, space.sample_emotion(emotion, 40, seeded(0)))
        assert (several.std(0, correction=0).max() > 0.1) == (space.kind == "styles")
        if space.kind != "styles":
            assert torch.equal(several[0], space.of(emotion))


def test_styles_depend_on_emotion_and_latent():
    space = SPACES["styles"]
    assert space.dim == 12
    torch.testing.assert_close(
        space.of("sad"), curved_style(torch.tensor([2]), torch.zeros(1, 5))[0]
    )
    same = torch.randn(6, 5, generator=seeded(0))
    drawn = space.sample_emotion("happy", 6, seeded(0))
    torch.testing.assert_close(drawn, curved_style(torch.full((6,), 1), same))
    grid = space.grid().unflatten(0, (7, 63))  # every emotion under the same 63 latents
    assert torch.equal(grid, space.grid(441).unflatten(0, (7, 63)))
    apart = torch.atanh(grid.double()) - torch.atanh(grid[:1].double())
    assert apart.std(1).max() < 1e-4 < apart[1:].abs().mean()


def test_units_are_drawn_from_real_faces():
    space = SPACES["units"]
    assert len(space.grid()) == 441 and len(space.grid(20)) == 20
    drawn = space.sample(300, seeded(0))
    assert (drawn[:, None] == space.bank).all(2).any(1).all()
    assert len(drawn.unique(dim=0)) > 150


def test_disc_samples_are_uniform_in_radius():
    radius = SPACES["disc"].sample(20000, torch.Generator().manual_seed(0)).norm(dim=1)
    assert abs(float((radius < 0.5).float().mean()) - 0.5) < 0.02


APART = torch.tensor([[x, y] for x in (-0.9, 0.0, 0.9) for y in (-0.9, 0.0, 0.9)][:7])
DECODABLE = (
    LabelSpace(EMOTIONS),
    PlaneSpace(EMOTIONS, APART, torch.eye(2).repeat(7, 1, 1)),
    StyleSpace(EMOTIONS, 5, lambda which, latent: torch.eye(7)[which]),
)


@pytest.mark.parametrize("space", DECODABLE, ids=lambda space: type(space).__name__)
def test_samples_follow_the_histogram(space):
    drawn = space.sample(4000, seeded(0), torch.tensor([0, 300, 0, 0, 0, 0, 100]))
    centres = torch.stack([space.of(emotion) for emotion in EMOTIONS])
    shares = torch.bincount(torch.cdist(drawn, centres).argmin(1), minlength=7) / 4000
    assert shares[[0, 2, 3, 4, 5]].sum() == 0
    assert float(shares[1]) == pytest.approx(0.75, abs=0.03)


def test_histogram_of_other_emotions_is_refused():
    with pytest.raises(ValueError, match=r"7.*3"):
        SPACES["labels"].sample(5, seeded(0), torch.ones(3))


def test_chart_covers_the_space():
    disc = SPACES["disc"].chart(41)
    assert abs(float(disc.valid.float().mean()) - math.pi / 4) < 0.05
    assert disc.codes[0, 0].tolist() == [-1, 1]  # the top left corner
    assert SPACES["plane"].chart(5).valid.all()
    assert SPACES["labels"].chart(5) is None


def test_modes_are_where_their_density_peaks():
    modes = [[x, y] for x in (-0.9, 0, 0.9) for y in (-0.8, 0.8)]
    narrow = torch.eye(2).repeat(7, 1, 1) * 0.05
    apart = PlaneSpace(EMOTIONS, torch.tensor([*modes, [0, 0]]), narrow)
    assert apart.density(apart.modes).argmax(1).tolist() == list(range(7))
    torch.testing.assert_close(apart.density(apart.modes).sum(1), torch.ones(7))


def test_expressions_are_drawn_as_real_ones():
    model = expression_model()
    model.highest.fill_(9.0)
    drawn = ExpressionSpace(EMOTIONS, model).sample(20000, seeded(0))
    assert (drawn.mean(0) - model.centre).abs().max() < 0.01
    torch.testing.assert_close(torch.cov(drawn.T), model.precision.inverse(), atol=5e-4, rtol=0)


def test_no_named_unit_leaves_every_control():
    space = SPACES["expressions"]
    for own in space.sample(20, seeded(0)):
        assert torch.equal(space.units({}, own.tolist()), own)
        shown = dict(zip(UNITS, space.units_of(own).tolist(), strict=True))
        assert torch.equal(space.units(shown, own.tolist()), own)  # what it shows already


@pytest.mark.parametrize(
    "unit, controls",
    [
        (1, {"browInnerUp"}),
        (4, {"browDown"}),
        (5, {"eyeWide", "eyeBlink"}),
        (6, {"eyeSquint"}),
        (9, {"mouthUpperUp", "browDown"}),
        (23, {"mouthPress"}),
        (25, {"mouthLowerDown"}),
    ],
)
def test_a_unit_moves_its_controls_alone(unit, controls):
    space = SPACES["expressions"]
    for own in space.sample(20, seeded(0)):
        moved = space.units({unit: 1.0}, own.tolist()) != own
        assert {space.controls[i] for i in moved.nonzero().flatten().tolist()} <= controls
    changed = space.units({unit: 1.0}) != space.rest
    assert {space.controls[i] for i in changed.nonzero().flatten().tolist()} == controls


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in (6, 9)])
def test_units_of_a_neutral_face_come_back(unit):
    space = SPACES["expressions"]
    back = space.units_of(space.units({unit: 0.5}))
    assert abs(float(back[UNITS.index(unit)]) - 0.5) < 0.01


@pytest.mark.parametrize("values, words", [({13: 1.0}, "13"), ({12: 1.5}, "1.5")])
def test_bad_units_are_refused(values, words):
    for name in ("units", "expressions"):
        with pytest.raises(ValueError, match=words):
            SPACES[name].units(values)
    with pytest.raises(ValueError, match="labels"):
        SPACES["labels"].units({12: 1.0})


def test_one_emotion_alone_is_no_mix(space):
    for emotion in space.emotions:
        for share in (0.0, 0.7, 1.0):
            torch.testing.assert_close(space.mix({emotion: share}), space.of(emotion, share))
    torch.testing.assert_close(space.mix({}), space.of("neutral"))
