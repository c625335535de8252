"""Figures: differences, flows, boxes, action units, t-SNE."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.figures import canvas, changes, gamut, lines, tsne
from ganmut.codes import ActionUnitSpace, DiscSpace, LabelSpace, StyleSpace
from ganmut.emotions import EMOTIONS, UNITS, prototype_units
from ganmut.methods.base import Edit

SIDE = 32
PROTOTYPES = torch.tensor([prototype_units(emotion) for emotion in EMOTIONS])


class ToyEditor:
    """Brightens a face by 100 times the sum of its code; returns the given flow and boxes."""

    emotions, size = EMOTIONS, SIDE

    def __init__(self, space=None, flow=None, boxes=None):
        self.space = space or LabelSpace(EMOTIONS)
        self.flow, self.method, self.name = flow, SimpleNamespace(boxes=boxes), "toy"
        self.asked: list[torch.Tensor] = []

    def prepare(self, images):
        return images

    def select(self, faces, rows):
        return faces[rows]

    def edit(self, faces, code):
        return self.edit_details(faces, code).images

    def warp_source(self, faces, flow):
        return faces + flow[:, :1].to(torch.uint8)

    def edit_details(self, faces, code):
        self.asked.append(code)
        brighter = faces.float() + 100 * code.sum(1)[:, None, None, None]
        flow = None if self.flow is None else self.flow.expand(len(faces), -1, -1, -1)
        return Edit(brighter.clamp(0, 255).to(torch.uint8), None, flow)


@dataclass
class Box:
    top: int
    left: int
    height: int
    width: int


@pytest.fixture
def person() -> canvas.Person:
    picture = torch.full((1, 3, SIDE, SIDE), 50, dtype=torch.uint8)
    return canvas.Person(
        picture, lambda emotion: picture + 10, picture.repeat(3, 1, 1, 1), torch.rand(3, 17)
    )


def test_difference_is_white_without_change(person):
    edited = person.picture.repeat(2, 1, 1, 1)
    edited[1, :, :16] += 20
    difference = changes.difference(edited, person)
    assert (difference[0] == 255).all()
    assert (difference[1, :, :16] == 255 - 20 * changes.GAIN).all()
    assert (difference[1, :, 16:] == 255).all()


def test_flow_is_drawn_where_it_exists(person):
    flow = torch.zeros(1, 2, SIDE, SIDE)
    flow[:, 0] = 3.0
    editors = {"still": ToyEditor(), "defgan": ToyEditor(flow=flow)}
    made = changes.figures(editors, person, EMOTIONS[1:])
    assert set(made) == {"change", "flow_defgan"}
    assert "up to 3.0 px" in made["flow_defgan"].get_suptitle()
    arrows = made["flow_defgan"].axes[0].collections[0]
    assert np.allclose(arrows.U, 3) and np.allclose(arrows.V, 0)


def test_ganimation_and_defgan_are_compared(person):
    editors = {"ganimation": ToyEditor(), "defgan": ToyEditor(), "stargan": ToyEditor()}
    made = changes.figures(editors, person, EMOTIONS[1:])
    assert set(made) == {"change", "change_ganimation_defgan"}
    names = [axes.get_ylabel() for axes in made["change_ganimation_defgan"].axes]
    assert names == ["ganimation", "ganimation, change", "defgan", "defgan, change"]


def test_local_boxes_are_drawn_where_they_exist(person):
    boxes = {"eyes": Box(top=4, left=6, height=8, width=20)}
    editors = {"plain": ToyEditor(), "efgan": ToyEditor(boxes=boxes)}
    made = changes.figures(editors, person, EMOTIONS)
    (axes,) = made["boxes"].axes
    (drawn,) = axes.patches
    assert (drawn.get_x(), drawn.get_y()) == (5.5, 3.5)
    assert (drawn.get_width(), drawn.get_height()) == (20, 8)
    assert axes.texts[0].get_text() == "eyes"


def test_sweep_moves_one_unit(person):
    editor = ToyEditor(ActionUnitSpace(EMOTIONS, PROTOTYPES, PROTOTYPES))
    figure = lines.unit_sweep(editor, person, 11)
    assert len(figure.axes) == len(editor.asked) == len(lines.SWEEP_UNITS) == 6
    for unit, codes in zip(lines.SWEEP_UNITS, editor.asked, strict=True):
        column = UNITS.index(unit)
        assert torch.allclose(codes[:, column], torch.linspace(0, 1, 11))
        codes[:, column] = 0
        assert (codes == editor.space.of("neutral")).all()


def test_warped_sweep_needs_a_flow(person):
    space = ActionUnitSpace(EMOTIONS, PROTOTYPES, PROTOTYPES)
    assert lines.warped_sweep(ToyEditor(space), person, 3) is None
    moved = lines.warped_sweep(
        ToyEditor(space, flow=torch.full((1, 2, SIDE, SIDE), 7.0)), person, 3
    )
    shown = moved.axes[0].images[0].get_array()
    assert len(moved.axes) == len(lines.SWEEP_UNITS) and 57 in shown and 50 not in shown


def test_method_grid_has_every_method_and_emotion(person):
    editors = {f"method {i}": ToyEditor() for i in range(9)}
    figure = lines.method_grid(editors, person, EMOTIONS[1:])
    assert [axes.get_ylabel() for axes in figure.axes] == ["ground truth", *editors]
    assert all(editor.asked[0].shape == (6, 7) for editor in editors.values())
    head = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert head == ["source", *EMOTIONS[1:]]


def test_unknown_emotion_stays_white(person):
    shown = person.ground_truth(("happy", "contempt"))
    assert (shown[0] == 60).all() and (shown[1] == 255).all()


def test_figures_stay_small(person, tmp_path):
    noise = torch.randint(0, 256, (11, 3, 128, 128), generator=torch.Generator().manual_seed(0))
    rows = {f"line {i}": noise.to(torch.uint8) for i in range(4)}
    path = canvas.write(tmp_path / "noise.png", canvas.image_rows("noise", rows))
    assert path.stat().st_size <= canvas.MAX_BYTES
    with Image.open(path) as picture:
        assert picture.width > 300


def test_embedding_separates_clusters_and_repeats():
    g = np.random.default_rng(0)
    real, edited = g.normal(size=(30, 8)), g.normal(size=(30, 8)) + 20
    points = tsne.embed(real, edited)
    assert points.shape == (60, 2)
    middle = points.reshape(2, 30, 2).mean(1)
    spread = points.reshape(2, 30, 2).std(1).max()
    assert np.linalg.norm(middle[0] - middle[1]) > 2 * spread
    assert (tsne.embed(real, edited) == points).all()


def test_tsne_has_one_panel_per_method(person):
    g = np.random.default_rng(0)

    class ToyFeatures(dict):
        emotions = EMOTIONS
        system = SimpleNamespace(name="toy")

    softmax = np.eye(7)[np.arange(20) % 7]
    values = {
        "source:emotion_features": g.normal(size=(30, 4)),
        "prior:emotion_features": g.normal(size=(20, 4)),
        "prior:softmax": softmax,
    }
    figure = tsne.panels([ToyFeatures(values), ToyFeatures(values)])
    assert [axes.get_title() for axes in figure.axes] == ["toy", "toy"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["real", *EMOTIONS]


def test_style_rows_share_their_latents(person):
    space = StyleSpace(EMOTIONS, 2, lambda which, z: torch.cat([torch.eye(7)[which], z], 1))
    editor = ToyEditor(space)
    figure = lines.style_rows(editor, person, EMOTIONS, styles=3)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == ["own code", "style 1", "style 2", "style 3"]
    first, second = editor.asked[1][:, 7:], editor.asked[2][:, 7:]
    assert (first == first[0]).all() and (first[0] != second[0]).any()


def test_units_of_other_faces_are_the_codes(person):
    editor = ToyEditor(ActionUnitSpace(EMOTIONS, PROTOTYPES, PROTOTYPES))
    lines.unit_transfer({"toy": editor}, person, columns=2)
    (asked,) = editor.asked
    assert torch.equal(asked, person.units[:2])


def test_random_codes_differ_between_faces(person):
    editor = ToyEditor(DiscSpace(EMOTIONS, torch.randn(6, 2)))
    figure = gamut.random_edits(editor, person, rows=3, columns=4)
    assert len(figure.axes) == len(editor.asked) == 3
    assert (editor.asked[0] != editor.asked[1]).any()


def test_mixtures_show_the_codes_that_mix(person):
    space = DiscSpace(EMOTIONS, torch.randn(6, 2))
    codes = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    softmax = np.array(
        [[0.5, 0.5, 0, 0, 0, 0, 0], [0.4, 0.3, 0.3, 0, 0, 0, 0], [0.25] * 4 + [0] * 3]
    )

    class ToyFeatures(dict):
        emotions = EMOTIONS

        def edit_set(self, name):
            return SimpleNamespace(codes=codes)

    editor = ToyEditor(space)
    gamut.mixtures(ToyFeatures({"chart:softmax": softmax[None]}), editor, person)
    (asked,) = editor.asked
    assert asked.tolist()[:3] == codes.tolist()  # two, three and four emotions
    assert len(asked) == 5  # and the nearest two that lie apart


def test_mixtures_of_few_emotions_are_drawn(person):
    codes = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    softmax = np.array([[[0.5, 0.5, 0.0], [0.4, 0.3, 0.3]]])

    class ToyFeatures(dict):
        emotions = EMOTIONS[:3]

        def edit_set(self, name):
            return SimpleNamespace(codes=codes)

    editor = ToyEditor(DiscSpace(EMOTIONS, torch.randn(6, 2)))
    gamut.mixtures(ToyFeatures({"chart:softmax": softmax}), editor, person)
    (asked,) = editor.asked
    assert asked.tolist()[:2] == codes.tolist()  # two and three emotions
