"""The expression model: zero change, what lies outside, folds, closed lips and lids, gradients,
weight folders."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage import data as samples

from ganmut import weights
from ganmut.emotions import EMOTIONS
from ganmut.expression.face_basis import SHARP
from ganmut.expression.fit import fit_expressions
from ganmut.expression.geometry import gradient, similarity, spline_flow, unfolded_share
from ganmut.expression.landmark_data import LandmarkSet
from ganmut.expression.model import ExpressionModel
from ganmut.expression.openings import middle_gap
from ganmut.expression.point_set import CONTROLS, IBUG, MESH, SIZE
from ganmut.expression.render import (
    backward_flow,
    clamp_change,
    eyeball_heights,
    hidden_nodes,
)
from ganmut.expression.weight import build_expression_model, save_expression_model
from ganmut.faces import edit_image
from ganmut.weights import BadWeights
from ganmut.weights.storage import read

# Points that are annotated as roughly as those of photographs.
ROUGH = dataclasses.replace(IBUG, contact=MESH.contact, products=False, inside=MESH.inside)
MOUTH = ROUGH.mouth


def face_shape() -> torch.Tensor:
    """68 points of a face at rest in a 128 px crop, symmetric, lips closed, eyes open."""
    points = torch.zeros(68, 2)
    angles = torch.linspace(torch.pi, 0, 17)
    points[:17] = torch.stack([64 + 46 * angles.cos(), 62 + 58 * angles.sin()], 1)
    for side, start in ((-1, 17), (1, 22)):
        offset = torch.linspace(-10, 10, 5)
        points[start : start + 5] = torch.stack([64 + side * 20 + offset, 42 + 0 * offset], 1)
    points[27:31] = torch.tensor([[64.0, y] for y in (50, 57, 64, 71)])
    points[31:36] = torch.tensor([[x, 76.0] for x in (58, 61, 64, 67, 70)])
    for centre, start in ((44.0, 36), (84.0, 42)):
        eye = [(-8, 0), (-3, -3), (3, -3), (8, 0), (3, 2.5), (-3, 2.5)]
        points[start : start + 6] = torch.tensor([[centre + x, 52 + y] for x, y in eye])
    x = torch.tensor([-16.0, -10, -4, 0, 4, 10, 16])
    points[48:55] = torch.stack([64 + x, 96 - 3 * (1 - (x / 16) ** 2)], 1)
    x = torch.tensor([10.0, 4, 0, -4, -10])
    points[55:60] = torch.stack([64 + x, 96 + 5 * (1 - (x / 16) ** 2)], 1)
    x = torch.tensor([-14.0, -6, 0, 6, 14])
    points[60:65] = torch.stack([64 + x, 0 * x + 96], 1)
    points[65:68] = torch.tensor([[70.0, 96], [64, 96], [58, 96]])
    return points


@pytest.fixture(scope="module")
def model() -> ExpressionModel:
    """Four controls: the jaw, the blink, the smile, wide eyes; each with some light."""
    model = ExpressionModel(("happy",), ("jawOpen", "eyeBlink", "mouthSmile", "eyeWide"), ROUGH)
    model.mean_shape.copy_(face_shape())
    lower = [*MOUTH.lower[1:-1], *MOUTH.outer_lower[1:-1], 7, 8, 9]
    model.shape[0, lower, 1] = 16.0
    model.shape[0, [60, 64], 1] = 5.0
    upper_lids = [p for eye in ROUGH.eyes for p in eye.upper[1:-1]]
    model.shape[1, upper_lids, 1] = 5.0
    model.shape[2, [48, 60]] = torch.tensor([-5.0, -4.0])
    model.shape[2, [54, 64]] = torch.tensor([5.0, -4.0])
    model.shape[3, upper_lids, 1] = -2.0
    model.light[:, 60:90, 30:100] = 0.4
    model.ellipse.copy_(torch.tensor([[64.0, 62.0], [47.0, 58.0]]))
    model.mouth_gap.copy_(torch.tensor([16.0, 0, 1.0, 0, -0.5]))
    model.eye_gap.copy_(torch.tensor([0, -5.0, 0, 2.0, 4.0]))
    model.precision.copy_(torch.eye(4))
    model.recipes[0, 2] = 0.8
    return model


def crop(size: int = SIZE, channels: int = 3) -> torch.Tensor:
    """Smooth random colours, darker than white."""
    generator = torch.Generator().manual_seed(3)
    coarse = 0.2 + 0.6 * torch.rand(1, channels, 12, 12, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]


@pytest.fixture(scope="module")
def basis(model):
    return model.basis(crop(192), 64 + (face_shape() - 64) * 0.66, torch.zeros(4))


def open_mouth(model) -> torch.Tensor:
    """The landmarks of a face whose mouth stands open by 12 px."""
    points = face_shape()
    points[[*MOUTH.lower[1:-1], *MOUTH.outer_lower[1:-1]], 1] += 12
    return points


def test_zero_change_returns_the_source(model, basis):
    assert torch.equal(model.render(basis, torch.zeros(4))[0], basis.crop)


def test_nothing_outside_the_face_changes(model, basis):
    out = model.render(basis, torch.tensor([[1.0, 0, 0.5, 1], [0, 1.0, 1, 0]]))
    changed = (out != basis.crop).any(1).any(0)
    top, left, height, width = basis.box
    assert changed.any()
    assert not changed[:top].any()
    assert not changed[:, :left].any()
    assert not changed[top + height :].any()
    assert not changed[:, left + width :].any()
    assert not changed[top : top + height, left : left + width][~basis.inside].any()
    assert changed.float().mean() < 0.7


def test_no_change_folds_what_is_seen(model, basis):
    generator = torch.Generator().manual_seed(0)
    ends = torch.rand(24, 4, generator=generator) < 0.5
    change = clamp_change(model, basis, torch.where(ends, 1.0, 0.0))
    flow = backward_flow(model, basis, model.displacement(basis, change))
    step = basis.grid[:, 1, 1] - basis.grid[:, 0, 0]
    slope = gradient(flow.sheets.flatten(0, 1), step)
    a, b, c, d = slope.unbind(1)
    determinant = ((1 + a) * (1 + d) - b * c).unflatten(0, (2, -1))
    curves = flow.curves
    columns = torch.searchsorted(basis.columns, basis.grid[0, 0].contiguous())
    columns = columns.clamp(max=len(basis.columns) - 1)
    nodes = type(curves)(curves.upper[..., columns], curves.lower[..., columns])
    hidden = hidden_nodes(nodes, basis.grid[1, :, 0])
    rows = basis.grid[1, :, 0].view(1, -1, 1)
    under_mouth = rows > nodes.middle[0][:, None] + float(step[1])
    over_eyes = rows < nodes.middle[1:].amin(0)[:, None] - float(step[1])
    assert (determinant[1][under_mouth & ~hidden] > 0).all()
    assert (determinant[0][over_eyes & ~hidden] > 0).all()


def test_share_keeps_determinants_positive():
    grid = torch.stack(torch.meshgrid(torch.arange(20.0), torch.arange(20.0), indexing="xy"))
    flow = torch.stack([3 * torch.sin(grid[0]), 2 * torch.sin(grid[1] + grid[0])])[None]
    slope = gradient(flow, torch.ones(2))
    share = unfolded_share(slope, torch.ones(1, 20, 20, dtype=torch.bool))
    a, b, c, d = (slope * share.view(-1, 1, 1, 1)).unbind(1)
    assert float(share) < 1
    assert ((1 + a) * (1 + d) - b * c).min() > 0


def test_a_mouth_asked_away_closes_exactly(model):
    open_face = model.basis(crop(), open_mouth(model), torch.tensor([0.75, 0, 0, 0]))
    moved = model.displacement(open_face, torch.tensor([[-0.75, 0, 0, 0]]))
    gap = moved.points[:, list(MOUTH.lower), 1] - moved.points[:, list(MOUTH.upper), 1]
    assert gap.abs().max() < 1e-4


def test_a_mouth_opens_as_far_as_asked(model, basis):
    moved = model.displacement(basis, torch.tensor([[1.0, 0, 0, 0], [0.5, 0, 0, 0]]))
    gaps = middle_gap(moved.points, MOUTH) / basis.scale
    assert gaps[0] == pytest.approx(15.5, abs=1.5)
    assert gaps[1] == pytest.approx(7.5, abs=1.5)


def test_blinking_closes_the_lids(model, basis):
    moved = model.displacement(basis, torch.tensor([[0, 1.0, 0, 0]]))
    for eye in ROUGH.eyes:
        assert middle_gap(moved.points, eye).abs().max() < 1e-4


def test_a_face_edited_in_inference_mode_keeps_gradients(model):
    face = model.basis(torch.rand(3, SIZE, SIZE), face_shape(), torch.zeros(4))
    change = torch.full((1, 4), 0.5)
    for contours in (ROUGH, *ROUGH.openings):  # what other tests have computed
        for made in ("both", "outer_inner", "sheets", "edges"):
            vars(contours).pop(made, None)
    with torch.inference_mode():
        model.render(face, change)
    model.render(face, change.requires_grad_()).sum().backward()
    assert change.grad.abs().sum() > 0


def test_half_closed_lids_follow_the_shape(model, basis):
    # The gap's regression is biased towards closed; it decides only where lids meet.
    moved = model.displacement(basis, torch.tensor([[0, 0.3, 0, 0]]))
    for eye in ROUGH.eyes:
        lowered = middle_gap(basis.landmarks[None], eye) - middle_gap(moved.points, eye)
        assert lowered == pytest.approx(0.3 * 5 * basis.scale, abs=0.1)


def test_lashes_go_with_a_closing_lid():
    up, down = torch.tensor([[50.0]]), torch.tensor([[60.0]])
    rows = torch.tensor([52.0, 56, 59])
    heights = eyeball_heights(rows, up + 2, down, up, down, lashes=2.5)[0, :, 0]
    assert heights.tolist() == [50.0, 56.0, 59.0]  # the edge brings its own pixels, the rest stays


def test_drawing_is_as_soft_as_the_picture(model):
    face = samples.astronaut()[:256, 100:356] / 255

    def softness(sigma: float) -> float:
        picture = torch.from_numpy(gaussian_filter(face, (sigma, sigma, 0))).permute(2, 0, 1)
        return float(model.basis(picture, face_shape(), torch.zeros(4)).softness)

    sharp = softness(0)
    assert sharp == pytest.approx(SIZE / 256, rel=0.3)
    # Blurs add in squares, nearly: no edge of a photograph is a step.
    assert softness(3) == pytest.approx((sharp**2 + (3 * SIZE / 256 / SHARP) ** 2) ** 0.5, rel=0.2)


def test_wide_eyes_open(model, basis):
    moved = model.displacement(basis, torch.tensor([[0, 0, 0, 1.0]]))
    for eye in ROUGH.eyes:
        assert middle_gap(moved.points, eye) > middle_gap(basis.landmarks[None], eye) + 0.5


def test_grey_stays_grey_and_mouths_are_not_red(model):
    grey = crop(SIZE, 1).expand(3, -1, -1)
    basis = model.basis(grey, face_shape(), torch.zeros(4))
    out = model.render(basis, torch.tensor([1.0, 0, 1.0, 0.5]))[0]
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])
    skin = torch.tensor([0.8, 0.55, 0.45]).view(3, 1, 1).expand(3, SIZE, SIZE)
    out = model.render(
        model.basis(skin, face_shape(), torch.zeros(4)), torch.tensor([1.0, 0, 0, 0])
    )
    most, least = out[0].max(0).values, out[0].min(0).values
    assert (((most - least) / most.clamp(min=1e-3)) < 0.8).all()


def test_light_keeps_the_hue(model):
    model = build_copy(model)
    model.shape.zero_()
    skin = torch.tensor([0.6, 0.4, 0.3]).view(3, 1, 1).expand(3, SIZE, SIZE)
    out = model.render(
        model.basis(skin, face_shape(), torch.zeros(4)), torch.tensor([0, 0, 1.0, 0])
    )
    cheek = out[0, :, 76, 40]
    assert cheek[0] > 0.7
    assert torch.allclose(cheek / cheek[0], torch.tensor([1, 0.4 / 0.6, 0.5]), atol=1e-3)


def build_copy(model: ExpressionModel) -> ExpressionModel:
    other = ExpressionModel(model.emotions, model.controls, model.points)
    other.load_state_dict(model.state_dict())
    return other


def test_render_is_differentiable_in_the_change(model):
    basis = model.basis(crop(96), face_shape(), torch.full((4,), 0.1))
    change = torch.tensor([[0.4, 0.2, 0.5, 0.1]], requires_grad=True)
    target = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(1))
    loss = ((model.render(basis, change)[0] - target) ** 2).mean()
    loss.backward()
    assert torch.isfinite(change.grad).all()
    step = torch.tensor([[1e-2, 0, 0, 0]])
    with torch.no_grad():
        ends = [
            ((model.render(basis, change + way * step)[0] - target) ** 2).mean() for way in (1, -1)
        ]
    assert float(change.grad[0, 0]) == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=0.25)


def test_changes_are_held_to_the_allowed_range(model, basis):
    far = model.render(basis, torch.tensor([0, 0, 9.0, 0]))
    most = model.render(basis, torch.tensor([0, 0, 1.0, 0]))
    assert torch.equal(far, most)


def test_batch_equals_single_edits(model, basis):
    changes = torch.tensor([[0.3, 0, 0.2, 0], [0, 0.4, 0, 0], [0.9, 0, 0, 1]])
    together = model.render(basis, changes)
    for change, edit in zip(changes, together, strict=True):
        assert torch.allclose(model.render(basis, change)[0], edit, atol=2e-3)


def test_bad_shapes_are_refused(model):
    for bad_crop, points in (
        (torch.zeros(3, 40, 50), face_shape()),
        (crop(), face_shape()[:60]),
        (crop(), face_shape() + 500),
        (crop(), face_shape() * float("nan")),
    ):
        with pytest.raises(ValueError):
            model.basis(bad_crop, points, torch.zeros(4))
    with pytest.raises(ValueError):
        model.basis(crop(), face_shape(), torch.zeros(3))


def test_splines_pass_through_their_points():
    points = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(0)) * 100
    moves = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(1))
    at = spline_flow(points, moves, torch.tensor([[-50.0, -50], [150, 150]]), points[0])
    assert torch.allclose(at[0].T, moves[0], atol=0.02)


def test_similarity_recovers_a_turn():
    turn = torch.tensor([[0.8, -0.5], [0.5, 0.8]])
    matrix, shift = similarity(face_shape(), face_shape() @ turn.T + 7)
    assert torch.allclose(matrix, turn, atol=1e-4)
    assert torch.allclose(shift, torch.tensor([7.0, 7.0]), atol=1e-3)


@pytest.fixture(scope="module")
def editor():
    """The bundled editor of photographs."""
    return weights.load("photos/expression", "cpu")


def test_weight_folder_gives_the_same_edits(editor, tmp_path):
    folder = save_expression_model(editor.method.model, tmp_path / "w", {"faces": 3})
    assert weights.verify(folder) <= 1
    assert weights.load(folder, "cpu").emotions == editor.emotions == EMOTIONS
    with pytest.raises(BadWeights):
        build_expression_model(read(weights.bundled_root() / "photos" / "emotion"))


def test_editor_works_at_the_size_of_the_photograph(editor):
    assert editor.crop_size(300.0) == (600, 2.0)
    assert editor.crop_size(20.0) == (256, 2.0)
    assert editor.crop_size(5000.0) == (1024, 2.0)


def test_smaller_copies_keep_what_was_read(editor):
    portrait = Image.fromarray(samples.astronaut()[10:230, 110:330]).resize((512, 512))
    faces = editor.prepare([np.asarray(portrait)], margin=2.0)
    small = portrait.resize((300, 300), Image.Resampling.BOX)
    reduced = editor.reduce(faces, [np.asarray(small)])
    found, kept = faces.features[0], reduced.features[0]
    assert torch.equal(found.expression, kept.expression)
    assert (found.landmarks - kept.landmarks).abs().max() < 1e-4
    same = editor.edit(reduced, reduced.source_codes[0])
    assert np.array_equal(same[0].permute(1, 2, 0).numpy(), np.asarray(small))
    with pytest.raises(ValueError):
        editor.reduce(faces, [np.asarray(small)] * 2)
    of_one_size = weights.load("procedural/stargan", "cpu")
    with pytest.raises(ValueError):
        of_one_size.reduce(faces, [np.asarray(small)])


def test_editing_a_photograph_leaves_its_surroundings(editor):
    picture = samples.astronaut()
    edited = edit_image(picture, editor, editor.space.of("surprised"))
    change = np.abs(edited.pixels.astype(int) - picture).max(-1)
    assert change[70:170, 170:270].max() > 60
    assert change[:, 330:].max() == 0 and change[260:].max() == 0
    grey = np.repeat(picture.mean(-1, keepdims=True).round().astype(np.uint8), 3, -1)
    pixels = edit_image(grey, editor, editor.space.of("happy")).pixels.astype(int)
    assert np.ptp(pixels, axis=-1).max() == 0  # grey stays grey


def test_fit_recovers_shape_and_reader():
    faces, shape = made_up_faces()
    model, facts = fit_expressions(faces, {"happy": [0.5] * len(CONTROLS)}, progress=False)
    control = CONTROLS.index("jawOpen")
    assert torch.allclose(model.shape[control], shape[control], atol=1.2)
    assert facts["shape_r2"] > 0.45  # x is noise alone
    read = model.read(faces.landmarks[:20])
    assert (read - faces.expression[:20]).abs().mean() < 0.1
    assert model.distance(faces.expression).mean() < 2 * len(CONTROLS) ** 0.5


def made_up_faces(n: int = 240) -> tuple[LandmarkSet, torch.Tensor]:
    """Symmetric faces of 478 points whose expression moves 20 points each, and the moves."""
    generator = torch.Generator().manual_seed(1)
    half = torch.cartesian_prod(torch.arange(13.0), torch.arange(19.0))[:239]
    half = half * torch.tensor([3.8, 5.2]) + 12
    mean = torch.cat([half, half * torch.tensor([-1.0, 1]) + torch.tensor([SIZE - 1.0, 0])])
    shape = torch.zeros(len(CONTROLS), 478, 2)
    for number in range(len(CONTROLS)):
        for start in (0, 239):
            shape[number, start + number * 10 : start + number * 10 + 10, 1] = 6.0
    expression = torch.rand(n, len(CONTROLS), generator=generator)
    own = 0.3 * torch.randn(n // 4, 478, 2, generator=generator).repeat_interleave(4, 0)
    own = (own + own[:, torch.arange(478).roll(239)] * torch.tensor([-1.0, 1])) / 2
    points = mean + own + torch.einsum("nk,kpc->npc", expression, shape)
    points = points + 0.1 * torch.randn(points.shape, generator=generator)
    images = torch.randint(0, 256, (n, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    faces = LandmarkSet(
        MESH,
        images,
        points,
        torch.randn(n, 3, generator=generator) * 0.05,
        expression,
        ("neutral",) * n,
        tuple(f"person{i // 4}" for i in range(n)),
        torch.zeros(n, dtype=torch.bool),
    )
    return faces, shape
