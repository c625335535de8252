"""Covered mouths: what is drawn over photographs, the network that notices it, and the refusal."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from skimage import data as samples

from ganmut import faces, images, load, weights
from ganmut.datasets.base import BadData
from ganmut.expression.landmark_net import find_landmarks, load_landmark_net
from ganmut.expression.point_set import CONTROLS, MESH, SIZE
from ganmut.expression.weight import example_crop
from ganmut.faces.covered_mouth import train
from ganmut.faces.covered_mouth.network import (
    WEIGHT,
    MouthCoverNet,
    covered_mouths,
    has_covered_mouth,
    load_mouth_cover_net,
)
from ganmut.faces.covered_mouth.occluders import COVERED, FREE, OccluderSource, lips_area
from ganmut.rendering.sampler import sample_parameters
from ganmut.rendering.shading import render
from ganmut.weights.storage import read_golden


@pytest.fixture(scope="module")
def portrait():
    """The astronaut's aligned grey crop, uint8 128 x 128, and its landmarks 478 x 2."""
    grey = images.luma(images.resize(example_crop(MESH)[None].float(), SIZE))
    found = find_landmarks(load_landmark_net(), grey / 255)
    return grey[0, 0].round().byte().numpy(), found.points[0].numpy()


def source(image: np.ndarray, seed: int = 0) -> OccluderSource:
    return OccluderSource(image[None], np.random.default_rng(seed))


def bundled() -> MouthCoverNet:
    return load_mouth_cover_net(weights.bundled_root() / WEIGHT)


def changed(image: np.ndarray, view: np.ndarray, landmarks: np.ndarray) -> float:
    """The share of the lips' area that a view changes."""
    return float((image != view)[lips_area(landmarks)].mean())


def test_covered_views_hide_the_lips(portrait):
    image, landmarks = portrait
    views = [source(image, seed).covered(image, landmarks) for seed in range(20)]
    assert (
        min(changed(image, view, landmarks) for view in views if view is not None) > COVERED - 0.1
    )
    assert sum(view is None for view in views) <= 2


def test_views_beside_leave_the_lips(portrait):
    image, landmarks = portrait
    views = [source(image, seed).beside(image, landmarks) for seed in range(20)]
    # A soft border reaches further than the share that counts.
    assert max(changed(image, view, landmarks) for view in views) < FREE + 0.2
    assert sum(bool((view != image).any()) for view in views) >= 15


def test_the_bundled_network_gives_its_golden_logits():
    golden = read_golden(weights.bundled_root() / WEIGHT)
    with torch.no_grad():
        logits = bundled()(golden["crops"].float() / 255)
    torch.testing.assert_close(logits, golden["logits"], atol=1e-3, rtol=1e-3)


def test_crops_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="128"):
        covered_mouths(bundled(), torch.zeros(1, 3, SIZE, SIZE))


# What visitors hold before their mouths, drawn otherwise than what the network learned from.
def cloth(picture: Image.Image) -> None:
    ImageDraw.Draw(picture).polygon(
        [(172, 118), (222, 104), (268, 116), (262, 160), (224, 180), (184, 162)],
        fill=(120, 190, 205),
    )


def phone(picture: Image.Image) -> None:
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle(
        (190, 122, 262, 166), 10, fill=(25, 25, 30), outline=(90, 90, 95), width=3
    )


def cup(picture: Image.Image) -> None:
    pen = ImageDraw.Draw(picture)
    pen.rectangle((200, 136, 246, 180), fill=(235, 230, 220))
    pen.ellipse((200, 130, 246, 142), fill=(250, 248, 240))


@pytest.fixture(scope="module")
def editor():
    return load("photos/expression")


@pytest.mark.parametrize("cover", [cloth, phone, cup])
@pytest.mark.parametrize("spec", ["photos/expression", "photos/ganmut", "procedural/ganmut"])
def test_a_covered_mouth_is_refused(spec, cover):
    picture, editor = Image.fromarray(samples.astronaut()), load(spec)
    cover(picture)
    with pytest.raises(faces.UnusableFace, match="covers the mouth"):
        faces.edit_image(np.asarray(picture), editor, editor.space.of("happy"))


def test_a_hand_beside_the_mouth_is_none(editor):
    picture = Image.fromarray(samples.astronaut())
    ImageDraw.Draw(picture).rectangle((160, 60, 190, 110), fill=(60, 90, 60))  # over a cheek
    edited = faces.edit_image(np.asarray(picture), editor, editor.space.of("sad"))
    assert edited.numbers == [1]


def test_other_files_are_edited_all_the_same(editor, tmp_path):
    picture = Image.fromarray(samples.astronaut())
    picture.save(tmp_path / "a.png")
    cup(picture)
    picture.save(tmp_path / "b.png")
    settings = faces.EditSettings(editor, editor.space.of("sad"))
    records = faces.edit_files([tmp_path], settings, tmp_path / "out", progress=False)
    refused = {record["file"]: "error" in record for record in records}
    assert refused == {str(tmp_path / "a.png"): False, str(tmp_path / "b.png"): True}
    assert not (tmp_path / "out" / "b.png").exists()


# -- training ------------------------------------------------------------------------------------


@pytest.fixture
def photographs(portrait, tmp_path):
    """A folder of photographs with landmarks: the portrait, lighter and darker."""
    image, landmarks = portrait
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(8):
        file = f"images/{i}.png"
        Image.fromarray((image * (0.6 + 0.05 * i)).astype(np.uint8)).save(tmp_path / file)
        row = {"file_name": file, "split": "train" if i < 6 else "test", "person": f"person {i}"}
        rows.append(row | {"blendshapes": [0.0] * len(CONTROLS)})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "blendshape_names.json").write_text(json.dumps(CONTROLS))
    arrays = {"landmarks": np.stack([landmarks] * 8), "pose": np.zeros((8, 3))}
    np.savez(tmp_path / "landmarks.npz", **arrays, score=np.full(8, 9.0))
    return tmp_path


def test_training_writes_a_measured_weight(photographs, tmp_path, capsys):
    out = tmp_path / "weight"
    words = [f"--data={photographs}", f"--out={out}", "--views=80", "--epochs=2"]
    assert train.main(words) == 0
    assert str(out) in capsys.readouterr().out
    test = weights.read_config(out)["test"]
    assert test["faces"] == 2 and 0 <= test["drawn_over"] <= 1
    assert covered_mouths(load_mouth_cover_net(out), torch.rand(3, 1, SIZE, SIZE)).shape == (3,)


def test_training_names_a_missing_folder(tmp_path):
    with pytest.raises(BadData, match=r"landmarks\.npz"):
        train.main([f"--data={tmp_path}", f"--out={tmp_path / 'out'}"])


def test_the_network_learns_to_tell_views(portrait):
    image, landmarks = portrait
    drawn = source(image)
    covered = [drawn.covered(image, landmarks) for _ in range(48)]
    free = [drawn.beside(image, landmarks) for _ in range(48)]
    views = [view for view in covered if view is not None] + free
    labels = torch.arange(len(views)) < len(views) - len(free)
    crops = torch.from_numpy(np.stack(views))[:, None].float() / 255
    network = train.fit(crops, labels, epochs=40, seed=0, progress=False)
    assert isinstance(network, MouthCoverNet)
    right = (covered_mouths(network, crops) == labels).float().mean()
    assert right > 0.85


def test_rendered_faces_show_their_mouths():
    for face in render(sample_parameters(0, "test", range(12)), 64):
        assert not has_covered_mouth(images.to_array(face[None])[0])
