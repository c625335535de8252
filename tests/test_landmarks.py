"""The landmark network: shapes, folding, views whose points follow, snapshots, weight folders."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from ganmut.datasets.base import BadData
from ganmut.expression.augmentation import Augment
from ganmut.expression.evaluate_landmarks import evaluate
from ganmut.expression.geometry import mirror_pairs
from ganmut.expression.landmark_data import LandmarkSet, read_landmark_set
from ganmut.expression.landmark_net import (
    LandmarkNet,
    build_landmark_net,
    find_landmarks,
    fold,
    normalised,
    save_landmark_net,
)
from ganmut.expression.point_set import CONTROLS, MESH, SIZE
from ganmut.expression.train_landmarks import fit_expression, restore, save_snapshot
from ganmut.files import DamagedFile
from ganmut.weights import BadWeights
from ganmut.weights.storage import read, read_golden


def shape(seed: int = 0) -> torch.Tensor:
    """478 points, symmetric about x = 63.5."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(MESH.count // 2, 2, generator=generator) * torch.tensor([50.0, 100.0])
    left = half + torch.tensor([10.0, 14.0])
    right = left * torch.tensor([-1.0, 1.0]) + torch.tensor([SIZE - 1.0, 0.0])
    return torch.cat([left, right])


def toy(n: int = 12) -> LandmarkSet:
    """Faces whose expression moves points up."""
    generator = torch.Generator().manual_seed(1)
    expression = torch.rand(n, len(CONTROLS), generator=generator)
    points = shape().expand(n, -1, -1).clone()
    for control in range(len(CONTROLS)):
        points[:, control * 20 : control * 20 + 20, 1] -= 6 * expression[:, control, None]
    return LandmarkSet(
        MESH,
        torch.randint(0, 256, (n, SIZE, SIZE), dtype=torch.uint8, generator=generator),
        points,
        torch.zeros(n, 3),
        expression,
        ("happy",) * n,
        tuple(f"person{i // 2}" for i in range(n)),
        torch.zeros(n, dtype=torch.bool),
    )


@pytest.fixture(scope="module")
def network():
    """A network with batch statistics that matter and landmarks that depend on the picture."""
    torch.manual_seed(0)
    network = LandmarkNet(width=8, hidden=32, rank=16)
    network.mean_shape.copy_(shape())
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(0, 0.05)
    return network.eval().requires_grad_(False)


def test_folding_keeps_the_landmarks(network):
    images = torch.rand(3, 1, SIZE, SIZE)
    with torch.no_grad():
        for before, after in zip(network(images), fold(network)(images), strict=True):
            torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
    assert fold(network)(images)[1].std(0).max() > 0.01


def test_expression_ignores_place_size_and_roll(network):
    points = toy(4).landmarks
    angle = torch.tensor(0.3)
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    moved = 1.2 * points @ turn.T + torch.tensor([5.0, -8.0])
    torch.testing.assert_close(
        normalised(moved, network.mean_shape),
        normalised(points, network.mean_shape),
        atol=1e-4,
        rtol=1e-3,
    )


def test_mirrored_points_come_in_pairs():
    right = shape()[:239]
    left = right * torch.tensor([-1.0, 1.0]) + torch.tensor([float(SIZE), 0.0])
    # Closed lips coincide in the first shape; in the second they are open.
    closed = torch.cat([right, left])
    closed[1] = closed[0]
    closed[240] = closed[239]
    opened = closed.clone()
    opened[[1, 240], 1] += 9
    pairs = mirror_pairs(torch.stack([closed, opened]))
    assert (pairs[pairs] == torch.arange(MESH.count)).all()
    assert (pairs == torch.cat([torch.arange(239, MESH.count), torch.arange(239)])).all()


def test_points_follow_their_view():
    n = 8
    images = torch.zeros(n, SIZE, SIZE, dtype=torch.uint8)
    points = torch.full((n, MESH.count, 2), 64.0)
    for i in range(n):
        x, y = 40 + 6 * i, 50 + 4 * i
        images[i, y - 1 : y + 2, x - 1 : x + 2] = 255
        points[i, 0] = torch.tensor([x + 0.5, y + 0.5])  # the middle of a pixel
    plain = Augment(torch.arange(MESH.count), torch.Generator().manual_seed(3))
    plain._light = plain._soften = plain._cover = lambda views: views
    views, moved, pose = plain(images, points, torch.zeros(n, 3))
    assert pose[:, 2].abs().max() > 0.01
    for view, point in zip(views[:, 0], moved[:, 0], strict=True):
        weight = view / view.sum()
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        found = torch.stack([(weight * columns).sum(), (weight * rows).sum()]) + 0.5
        assert (found - point).norm() < 0.15


def test_other_shapes_are_refused(network):
    with pytest.raises(ValueError, match="64"):
        find_landmarks(network, torch.rand(1, 1, 64, 64))


def test_the_reader_learns_expressions(network):
    faces = toy(64)
    augment = Augment(torch.arange(MESH.count), torch.Generator().manual_seed(0))
    before = evaluate(network, faces)["r2_given"]
    fit_expression(network, faces, augment, steps=300)
    assert evaluate(network, faces)["r2_given"] > max(before, 0.5)


def test_a_snapshot_restores_the_training(tmp_path):
    def fresh() -> tuple[LandmarkNet, LandmarkNet, torch.optim.Optimizer]:
        made = [LandmarkNet(width=8, hidden=32, rank=16) for _ in range(2)]
        return *made, torch.optim.AdamW(made[0].parameters(), 1e-3)

    network, average, optimizer = fresh()
    network(torch.rand(2, 1, SIZE, SIZE))[1].sum().backward()
    optimizer.step()
    save_snapshot(tmp_path, network, average, optimizer, 7)
    other = fresh()
    path = tmp_path / "snapshot.safetensors"
    whole = path.read_bytes()
    for bad in (whole[:-1], whole[:-5] + b"\0" + whole[-4:], b""):
        path.write_bytes(bad)
        with pytest.raises(DamagedFile, match=re.escape(str(path))):
            restore(tmp_path, *other)
    path.write_bytes(whole)
    with pytest.raises(DamagedFile, match=re.escape(str(path))):
        restore(tmp_path, *[LandmarkNet(width=16, hidden=32, rank=16) for _ in range(2)], other[2])
    assert restore(tmp_path, *other) == 7
    for name, value in network.state_dict().items():
        assert torch.equal(other[0].state_dict()[name], value)
    for ours, theirs in zip(network.parameters(), other[0].parameters(), strict=True):
        if ours in optimizer.state:
            kept = optimizer.state[ours]["exp_avg"]
            assert torch.equal(kept, other[2].state[theirs]["exp_avg"])


def test_a_weight_folder_gives_the_same_landmarks(network, tmp_path):
    crops = torch.randint(0, 256, (2, 1, SIZE, SIZE), dtype=torch.uint8)
    folder = save_landmark_net(fold(network), tmp_path / "w", {}, crops, "card")
    weights = read(folder, "extractor")
    found = find_landmarks(build_landmark_net(weights), crops.float() / 255)
    assert torch.equal(found.points, read_golden(folder)["points"])
    del weights.shapes["sampled"]
    with pytest.raises(BadWeights, match="sampled"):
        build_landmark_net(weights)


# -- folders of photographs with landmarks -------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    names = [f"{control}{side}" for control in CONTROLS for side in ("Left", "Right")]
    rows = []
    (tmp_path / "images").mkdir()
    for i in range(4):
        file = f"images/{i}.png"
        Image.new("L", (SIZE, SIZE), 10 * i).save(tmp_path / file)
        values = [0.0, 1.0] * len(CONTROLS)
        split = "test" if i == 3 else "train"
        rows.append({"file_name": file, "split": split, "blendshapes": values, "person": "a"})
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "blendshape_names.json").write_text(json.dumps(names))
    landmarks = np.zeros((4, MESH.count, 2), np.float16)
    score = np.array([9, 1, 9, 9], np.float32)
    np.savez(tmp_path / "landmarks.npz", landmarks=landmarks, pose=np.zeros((4, 3)), score=score)
    return tmp_path


def test_rows_without_a_face_are_left_out(folder):
    faces = read_landmark_set(folder, "train", progress=False)
    assert len(faces) == 2 and faces.images[1, 0, 0] == 20
    assert (faces.expression == 0.5).all()  # the mean of left and right
    assert faces[torch.tensor([1])].person == ("a",)


def test_rows_without_a_pose_are_left_out(folder):
    with np.load(folder / "landmarks.npz") as old:
        arrays = dict(old)
    arrays["pose"][2] = np.nan
    np.savez(folder / "landmarks.npz", **arrays)
    assert len(read_landmark_set(folder, "train", progress=False)) == 1


@pytest.mark.parametrize("name", ["metadata.jsonl", "blendshape_names.json", "landmarks.npz"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BadData, match=name):
        read_landmark_set(folder, "train", progress=False)


def test_a_split_without_photographs_is_refused(folder):
    with pytest.raises(BadData, match="validation"):
        read_landmark_set(folder, "validation", progress=False)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("landmarks.npz", lambda old: old[: len(old) // 2], "landmarks.npz is damaged"),
        ("landmarks.npz", lambda old: b"", "landmarks.npz"),
        ("metadata.jsonl", lambda old: b"[" * 100_000, "line 1 is not valid JSON"),
        ("metadata.jsonl", lambda old: b"[1]", "line 1 is not a JSON object"),
        ("metadata.jsonl", lambda old: old.replace(b"1.0", b"2.0", 1), "line 1 needs"),
        ("metadata.jsonl", lambda old: old.replace(b"file_name", b"name", 1), "line 1 needs"),
        ("metadata.jsonl", lambda old: old.splitlines()[0], "landmarks is float16"),
        ("blendshape_names.json", lambda old: b"{}", "no list of names"),
    ],
)
def test_a_damaged_file_is_named(folder, name, content, said):
    path = folder / name
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(BadData, match=said):
        read_landmark_set(folder, "train", progress=False)
