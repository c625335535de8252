"""Faces in photographs: find, crop, edit, paste back; whatever a picture file can be."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from skimage import data as samples
from skimage.transform import SimilarityTransform

from ganmut import faces, files
from ganmut.datasets.base import CROP
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError, hub_errors
from ganmut.faces import BadPoints, DetectorMissing, Face, NoFace, pipeline
from ganmut.faces.align import resample, similarity, template
from ganmut.faces.detectors import yunet
from ganmut.faces.detectors.base import FaceNumberError, non_max_suppression
from ganmut.faces.detectors.builtin import eye_distance
from ganmut.faces.image_files import collect_images
from ganmut.faces.landmarks import five_points
from ganmut.faces.landmarks.augmentation import _placement, _points, _sample
from ganmut.faces.landmarks.five_points import WEIGHT, load_network
from ganmut.faces.landmarks.train import train_points
from ganmut.faces.paste_back import FEATHER, feather_mask
from ganmut.images import BadImage, read_image
from ganmut.methods.base import METHODS
from ganmut.registry import UnknownNameError
from ganmut.weights import BadWeights, bundled_root, storage

PORTRAITS = Path(__file__).resolve().parents[2] / "shared" / "data" / "portraits"


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return samples.astronaut()[:300, 60:400]


@pytest.fixture(scope="module")
def editor() -> Editor:
    torch.manual_seed(0)
    kind = METHODS["stargan"]
    config = kind.Config(width=8, blocks=1)
    return Editor(kind(config, EMOTIONS, 32, training=False), {})


@pytest.fixture
def code(editor):
    return editor.space.of("happy")


def blobs(points: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """A black H x W x 3 picture with a soft white spot at each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    spots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points]
    return np.repeat((255 * np.max(spots, 0)).round().astype(np.uint8)[..., None], 3, 2)


def centres(picture: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Centre of gravity of the light round each point."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    found = []
    for px, py in near:
        weight = picture[..., 0] * (np.hypot(x - px, y - py) < reach).astype(float)
        found.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
    return np.array(found)


# The crop


def test_template_matches_the_data():
    assert CROP == "arcface128_up7"
    assert np.allclose(template(128)[0], [38.2946 * 128 / 112, 51.6963 * 128 / 112 - 7])
    # pixel centres: a crop of half the size is the whole crop averaged over 2 x 2
    assert np.allclose((template(64) + 0.5) * 2 - 0.5, template(128))


@pytest.mark.parametrize(
    "turn, scale, shift", [(0, 1, (0, 0)), (0.5, 3.7, (900, -40)), (-2, 0.2, (5, 6))]
)
def test_the_similarity_is_exact_on_known_transforms(turn, scale, shift):
    known = SimilarityTransform(rotation=turn, scale=scale, translation=shift)
    found = similarity(known(template(128)))
    assert np.allclose(found.params @ known.params, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), 7.0),
        np.full((5, 2), np.nan),
        np.zeros((4, 2)),
        np.full((5, 2), 1e9),
        np.eye(5)[:, :2] * 0.5,
    ],
)
def test_degenerate_points_are_refused(points):
    with pytest.raises(BadPoints, match="point"):
        similarity(points)


def test_a_face_beside_the_picture_is_refused():
    with pytest.raises(BadPoints):
        faces.crop_face(np.zeros((50, 50, 3), np.uint8), template(128) + 5000, 64)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.7])
def test_the_crop_puts_the_points_on_the_template(size, scale):
    warp = SimilarityTransform(rotation=0.4, scale=scale, translation=(90 * scale, 20 * scale))
    points = warp(template(128))
    side = int(220 * scale)
    picture = blobs(points, (side, side), 4 * scale)
    view, transform = faces.crop_face(picture, points, size)
    assert view.shape == (size, size, 3) and view.dtype == np.uint8
    assert np.allclose(transform(points), template(size), atol=1e-6)
    off = centres(view, template(size), size / 14) - template(size)
    assert np.abs(off).max() < 0.12


def test_a_shift_by_whole_pixels_copies_them(astronaut):
    view, _ = faces.crop_face(astronaut, template(128) + np.array([100, 50]), 128)
    assert np.array_equal(view, astronaut[50:178, 100:228])


def test_crop_of_large_photograph_has_no_aliasing():
    chess = (np.indices((1400, 1400)).sum(0) % 2 * 255).astype(np.uint8)
    chess = np.repeat(chess[..., None], 3, 2)
    view, _ = faces.crop_face(chess, template(128) * 9.5 + 60, 128)
    assert view.std() < 4 and abs(view.mean() - 127.5) < 2


def test_beyond_the_picture_the_border_is_repeated(astronaut):
    view, _ = faces.crop_face(astronaut, template(128) - [40, 30], 128)
    assert np.array_equal(view[30:98, 40:128], astronaut[:68, :88])
    assert (view[40:, :40] == view[40:, 40:41]).all() and (view[:30, 50:] == view[30:31, 50:]).all()


# Pasting back


def test_unchanged_crop_returns_the_same_bytes(astronaut):
    for scale in (0.5, 1.7):
        view, transform = faces.crop_face(astronaut, template(128) * scale + 40.3, 64)
        assert np.array_equal(faces.paste_face(astronaut, view, view, transform), astronaut)


def test_change_is_feathered_inside_the_crop():
    picture = np.full((700, 800, 3), 90, np.uint8)
    points = SimilarityTransform(rotation=0.3, scale=3, translation=(250, 60))(template(128))
    view, transform = faces.crop_face(picture, points, 64)
    result = faces.paste_face(picture, view, view + np.uint8(80), transform)
    change = result.astype(int) - picture
    rows, columns = np.mgrid[:700, :800]
    at = transform(np.stack([columns.ravel(), rows.ravel()], 1)).reshape(700, 800, 2)
    outside = (at < -0.5).any(-1) | (at > 63.5).any(-1)
    assert result.shape == picture.shape and not change[outside].any()
    middle = tuple(points.mean(0).round().astype(int)[::-1])
    assert change[middle].tolist() == [80, 80, 80]
    steps = [np.abs(np.diff(change, axis=axis)).max() for axis in (0, 1)]
    # 80 grey levels over the fade, whose steepest slope is 1.5; half a side is 192 px. No edge.
    assert max(steps) <= 80 * 1.5 / (FEATHER * 192) + 1


def test_the_photograph_keeps_its_own_detail(astronaut):
    rng = np.random.default_rng(0)
    picture = rng.integers(60, 180, (600, 600, 3)).astype(np.uint8)  # nothing but detail
    view, transform = faces.crop_face(picture, template(128) * 4 + 40, 64)
    edited = view.copy()
    edited[20:40, 20:40] += 40
    change = faces.paste_face(picture, view, edited, transform).astype(int) - picture
    assert change.max() >= 38
    assert max(np.abs(np.diff(change, axis=axis)).max() for axis in (0, 1)) <= 9


def test_a_small_face_gets_the_change_too():
    picture = np.full((60, 60, 3), 100, np.uint8)
    view, transform = faces.crop_face(picture, template(128) * 0.3 + 10, 128)
    result = faces.paste_face(picture, view, view + np.uint8(50), transform)
    assert 100 < result.mean() < 150 and result.max() == 150 and result[0, 0, 0] == 100


@pytest.mark.parametrize("scale", [0.2, 0.9])
def test_repeated_pastes_follow_the_formula(astronaut, scale):
    transform = SimilarityTransform(scale=scale, rotation=0.1, translation=(-30 * scale, 9))
    view, edited = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    change = resample(view * -1.0 + edited, transform.params, *astronaut.shape[:2])
    mask = feather_mask(transform.params, 64, *astronaut.shape[:2])[..., None]
    expected = (astronaut + change * mask).round().clip(0, 255)
    pasting = faces.PasteBack(astronaut, view, transform)
    first, second = pasting.paste(edited), pasting.paste(edited)
    assert pasting.nbytes > 0 and (first == second).all()
    # The footprint's own origin moves coordinates by a float's rounding.
    assert np.abs(first - expected).max() <= 1 and (first != expected).mean() < 1e-3


def test_feather_mask_is_one_inside_zero_at_border():
    whole = feather_mask(np.eye(3), 64, 64, 64)
    points = template(64).round().astype(int)
    assert whole[points[:, 1], points[:, 0]].min() > 0.95
    # Eight pixels of the result a pixel of the crop: the outermost ones lie at the border itself.
    fine = feather_mask(
        np.array([[1 / 8, 0, -7 / 16], [0, 1 / 8, -7 / 16], [0, 0, 1]]), 64, 512, 512
    )
    assert max(fine[0].max(), fine[:, 0].max(), fine[-1].max(), fine[:, -1].max()) < 0.01


def test_crops_of_two_sizes_are_refused(astronaut):
    view, transform = faces.crop_face(astronaut, template(128), 64)
    with pytest.raises(ValueError, match="64"):
        faces.paste_face(astronaut, view, view[:32, :32], transform)


# Finding


class Upright:
    """A detector that finds one face in the middle of a picture that is higher than wide."""

    def __init__(self):
        self.sides: list[int] = []

    def detect(self, picture: np.ndarray) -> list[Face]:
        height, width = picture.shape[:2]
        self.sides.append(max(height, width))
        if height < width:
            return []
        x, y, side = (width - 1) / 2, (height - 1) / 2, height / 4
        return [Face(template(side) - side / 2 + [x, y], (x, y, side, side), 1.0)]


def test_a_large_image_is_turned_small():
    engine = Upright()
    (face,) = faces.detect_faces(np.zeros((1500, 4096, 3), np.uint8), engine)
    assert engine.sides == [4096, 2048] and face.turn == 90
    assert np.abs(face.points.mean(0) - [2047.5, 749.5]).max() < 200
    assert face.box[2] == pytest.approx(1024, abs=4)


def test_a_scan_sees_few_windows_at_once():
    network, seen = load_network(), []
    watch = network.register_forward_hook(lambda _, given, found: seen.append(len(given[0])))
    try:
        faces.detect_faces(np.full((300, 300, 3), 200, np.uint8))
    finally:
        watch.remove()
    assert sum(seen) > 500 and max(seen) <= five_points.CHUNK


def test_the_builtin_detector_finds_the_astronaut(astronaut):
    (face,) = faces.detect_faces(astronaut)
    known = np.array(ASTRONAUT) - [60, 0]
    assert np.linalg.norm(face.points - known, axis=1).max() < 0.25 * eye_distance(known)
    moved = similarity(face.points).inverse(template(128)) - similarity(known).inverse(
        template(128)
    )
    assert np.linalg.norm(moved, axis=1).max() < 0.15 * eye_distance(
        known
    )  # and the crop lies where theirs lie
    x, _, width, height = face.box
    assert (
        x < known[:, 0].min() and x + width > known[:, 0].max() and height > 60 and face.score > 0.9
    )


# Both eyes, nose and mouth corners as YuNet sees them.
ASTRONAUT = [[204.0, 103.8], [247.7, 106.5], [223.1, 129.3], [201.7, 143.6], [239.9, 146.1]]


OTHERS = ("rocket", "brick")  # each costs four searches of a whole picture


def test_mirrored_and_enlarged_pictures_keep_their_face(astronaut):
    (face,) = faces.detect_faces(astronaut)
    (mirrored,) = faces.detect_faces(np.ascontiguousarray(astronaut[:, ::-1]))
    back = (mirrored.points * [-1, 1] + [astronaut.shape[1] - 1, 0])[[1, 0, 2, 4, 3]]
    assert np.abs(back - face.points).max() < 0.1 * eye_distance(face.points)
    large = np.asarray(Image.fromarray(astronaut).resize((1700, 1500), Image.Resampling.BICUBIC))
    (grown,) = faces.detect_faces(large)
    assert np.abs(grown.points - face.rescale(5).points).max() < 0.1 * eye_distance(grown.points)


@pytest.mark.parametrize(
    "name", ["coffee", "chelsea", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)]
)
def test_there_is_no_face_where_there_is_none(name):
    picture = getattr(samples, name)()
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    assert faces.detect_faces(np.ascontiguousarray(picture)) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (700, 3), (23, 23), (200, 200)])
def test_odd_pictures_have_no_face_and_break_nothing(shape):
    assert faces.detect_faces(np.full((*shape, 3), 128, np.uint8)) == []


@pytest.mark.parametrize(
    "picture", [np.zeros((9, 9)), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match="uint8"):
        faces.detect_faces(picture)


def test_overlapping_faces_are_suppressed_and_sorted():
    def face(x, side, score):
        return Face(template(side) + np.array([x, 0]), (x, 0, side, side), score)

    kept = non_max_suppression([face(0, 100, 0.8), face(5, 100, 0.9), face(300, 200, 0.7)])
    assert [one.score for one in kept] == [0.7, 0.9]


def test_detectors_are_files_and_unknown_ones_are_named():
    assert {"builtin", "insightface", "yunet"} <= set(faces.DETECTORS)
    with pytest.raises(UnknownNameError, match="'yunet'"):
        faces.open_detector("yunnet")
    with pytest.raises(ValueError, match="'x'"):
        faces.open_detector("builtin:x")


# Other detectors, on networks with constant answers


def constant_network(path: Path, outputs: dict[str, np.ndarray], side: int | str) -> Path:
    """An ONNX file whose outputs do not depend on its 1 x 3 x side x side input."""
    nodes = [
        helper.make_node(
            "Constant", [], [name], value=numpy_helper.from_array(value.astype(np.float32))
        )
        for name, value in outputs.items()
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
        for name, value in outputs.items()
    ]
    taken = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, side, side])
    graph = helper.make_graph(nodes, "constant", [taken], ports)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def yunet_outputs(side: int) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in yunet.STRIDES:
        cells = (side // stride) ** 2
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.zeros((1, cells, width))
    return outputs


def test_yunet_decodes_its_outputs(tmp_path):
    outputs = yunet_outputs(160)
    cell = 3 * 10 + 4  # row 3, column 4 of stride 16
    outputs["cls_16"][0, cell], outputs["obj_16"][0, cell] = 0.81, 1.0
    outputs["bbox_16"][0, cell] = [0.5, 0.25, np.log(2), np.log(3)]
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    outputs["cls_16"][0, cell + 1], outputs["obj_16"][0, cell + 1] = (
        0.7,
        1.0,
    )  # the same face, less sure
    outputs["bbox_16"][0, cell + 1] = [-0.4, 0.25, np.log(2), np.log(3)]
    outputs["kps_16"][0, cell + 1] = np.arange(10) / 10
    outputs["cls_8"][0, 0], outputs["obj_8"][0, 0] = 0.3, 1.0  # under the threshold
    path = constant_network(tmp_path / "yunet.onnx", outputs, 160)
    (face,) = faces.detect_faces(np.zeros((160, 160, 3), np.uint8), f"yunet:{path}")
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((72 - 16, 52 - 24, 32, 48))
    assert np.allclose(face.points, (np.arange(10).reshape(5, 2) / 10 + [4, 3]) * 16, atol=1e-5)
    (half,) = faces.detect_faces(np.zeros((320, 320, 3), np.uint8), f"yunet:{path}")
    assert np.allclose(half.points, (face.points + 0.5) * 2 - 0.5, atol=1e-4)
    options = faces.open_detector(f"yunet:{path}").session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()


def test_yunet_says_what_it_needs(tmp_path):
    with pytest.raises(DetectorMissing, match="yunet:PATH"):
        faces.open_detector("yunet")
    with pytest.raises(DetectorMissing, match=r"gone\.onnx"):
        faces.open_detector("yunet:gone.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(DetectorMissing, match=r"text\.onnx"):
        faces.open_detector(f"yunet:{tmp_path / 'text.onnx'}")
    other = constant_network(tmp_path / "other.onnx", {"cls_8": np.zeros((1, 1, 1))}, 160)
    with pytest.raises(DetectorMissing, match=r"other\.onnx"):
        faces.open_detector(f"yunet:{other}")


def test_yunet_from_the_hub_wants_a_pinned_revision(monkeypatch):
    asked = {}

    def fetched(name, file, revision):
        asked.update(name=name, file=file, revision=revision)
        return "somewhere.onnx"

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    assert yunet.locate("opencv/face_detection_yunet@" + "a" * 40) == Path("somewhere.onnx")
    assert asked["file"].endswith(".onnx") and asked["revision"] == "a" * 40
    yunet.locate("owner/name/sub/net.onnx@" + "b" * 40)
    assert (asked["name"], asked["file"]) == ("owner/name", "sub/net.onnx")
    with pytest.raises(DetectorMissing, match="REVISION"):
        yunet.locate("opencv/face_detection_yunet@main")
    for kind in hub_errors():

        def broken(*_, kind=kind, **__):
            raise kind("peer closed connection")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
        with pytest.raises(DetectorMissing, match="could not be fetched"):
            yunet.locate("opencv/face_detection_yunet@" + "a" * 40)


def test_insightface_runs_on_a_folder_of_networks(tmp_path):
    side, outputs = 128, {}
    for part, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in (8, 16, 32):
            outputs[f"{part}_{stride}"] = np.zeros(((side // stride) ** 2 * 2, width))
    anchor = (3 * 8 + 4) * 2  # row 3, column 4 of stride 16, the first of two
    outputs["score_16"][anchor] = 0.9
    outputs["box_16"][anchor] = [1, 2, 1.5, 1]
    outputs["points_16"][anchor] = np.arange(10) / 10
    constant_network(tmp_path / "det.onnx", outputs, side)
    (face,) = faces.detect_faces(np.zeros((128, 128, 3), np.uint8), f"insightface:{tmp_path}")
    assert face.box == pytest.approx((48, 16, 40, 48)) and face.score == pytest.approx(0.9)
    assert np.allclose(face.points, np.arange(10).reshape(5, 2) * 1.6 + [64, 48], atol=1e-4)


def test_insightface_without_a_detector_is_refused(tmp_path):
    with pytest.raises(DetectorMissing, match=re.escape(str(tmp_path))):
        faces.open_detector(f"insightface:{tmp_path}")
    with pytest.raises(DetectorMissing, match="gone"):
        faces.open_detector(f"insightface:{tmp_path}/gone")


# The five-point network


def test_bundled_network_gives_its_golden_output():
    folder = bundled_root() / WEIGHT
    golden, network = storage.read_golden(folder), load_network()
    with torch.no_grad():
        points, logits = network(golden["windows"].float() / 255)
    assert (points - golden["points"]).abs().max() < 0.01 and (
        logits - golden["logits"]
    ).abs().max() < 0.05
    assert logits[0] > 2 and logits[1] < -2  # the astronaut, a cup of coffee
    assert (folder / "network.safetensors").stat().st_size <= 1_000_000
    config = storage.read_config(folder)
    assert (
        "for research use" in config["note"]
        and config["note"] in (folder / "README.md").read_text()
    )


def test_a_damaged_network_is_refused(tmp_path):
    for number, (name, damage, message) in enumerate(
        [
            ("network.safetensors", lambda file: file.unlink(), "missing"),
            (
                "network.safetensors",
                lambda file: file.write_bytes(file.read_bytes()[:-9]),
                "truncated",
            ),
            (
                "network.safetensors",
                lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"),
                "sha256",
            ),
            ("config.json", lambda file: file.write_text("{"), "JSON"),
        ]
    ):
        folder = tmp_path / str(number)
        shutil.copytree(bundled_root() / WEIGHT, folder)
        damage(folder / name)
        with pytest.raises(BadWeights, match=message):
            load_network(folder)


def test_training_windows_know_where_the_points_are():
    picture = torch.from_numpy(blobs(template(128), (128, 128), 3.0)[..., 0])[None, None].float()
    matrix = _placement(40, torch.Generator().manual_seed(3))
    flip = torch.arange(40) % 2 == 0
    shown = torch.where(flip[:, None, None, None], picture.flip(-1), picture)
    views, points = _sample(shown, matrix)[:, 0].numpy(), _points(matrix, flip).numpy()
    for view, five in zip(views, points, strict=True):
        inside = ((five > 5) & (five < 58)).all(1)
        off = centres(np.repeat(view[..., None], 3, 2), five[inside], 4) - five[inside]
        assert np.abs(off).max(initial=0) < 0.35


def test_training_runs_and_writes_a_weight_that_loads(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for i in range(12):
        name = f"images/{i}.png"
        noise = rng.integers(0, 60, (128, 128, 1), np.uint8)
        Image.fromarray(blobs(template(128), (128, 128), 5) // 2 + noise).save(tmp_path / name)
        rows.append(
            {"file_name": name, "split": "test" if i % 3 == 0 else "train", "fill": 1.0 - 0.05 * i}
        )
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    facts = train_points(
        tmp_path,
        tmp_path / "out",
        steps=3,
        batch=4,
        width=4,
        random_negatives=8,
        hard_negatives=4,
        progress=False,
    )
    assert facts["faces"] == 3 and np.isfinite(facts["test"]["error_far"])
    assert load_network(tmp_path / "out").width == 4
    with pytest.raises(ValueError, match=r"metadata\.jsonl"):
        train_points(tmp_path / "images", tmp_path / "out")


# Editing pictures and files


def two_faces(astronaut) -> np.ndarray:
    small = np.asarray(Image.fromarray(astronaut).resize((238, 210), Image.Resampling.BICUBIC))
    picture = np.full((300, 340 + 238, 3), 128, np.uint8)
    picture[:, :340], picture[:210, 340:] = astronaut, small
    return picture


def test_faces_are_numbered_from_one_largest_first(astronaut, editor, code):
    picture = two_faces(astronaut)
    first = faces.edit_image(picture, editor, code)
    assert len(first.faces) == 2 and first.numbers == [1]
    assert first.faces[0].area > first.faces[1].area
    second = faces.edit_image(picture, editor, code, face=2)
    both = faces.edit_image(picture, editor, code, face="all")
    assert np.array_equal(first.pixels[:, 340:], picture[:, 340:])
    assert np.array_equal(second.pixels[:, :340], picture[:, :340])
    assert (first.pixels != picture).any() and (second.pixels != picture).any()
    # one batch of two faces and two batches of one round differently, by a grey level at most
    whole = np.concatenate([first.pixels[:, :340], second.pixels[:, 340:]], 1)
    assert np.abs(both.pixels.astype(int) - whole).max() <= 2
    assert [len(both.sources), len(both.edits)] == [2, 2] and both.edits[0].shape == (32, 32, 3)
    for wrong in (0, 3, "second"):
        with pytest.raises(FaceNumberError) as error:
            faces.edit_image(picture, editor, code, face=wrong)
        assert (error.value.face, error.value.count) == (wrong, 2)


def test_a_picture_without_a_face_says_so(editor, code):
    with pytest.raises(NoFace):
        faces.edit_image(samples.coffee(), editor, code)


def save_variants(folder: Path, astronaut: np.ndarray) -> list[Path]:
    """The astronaut as people's files have her: turned by EXIF, with alpha, grey, 16-bit, CMYK."""
    picture = Image.fromarray(astronaut)
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to view"
    turned.save(folder / "exif.jpg", exif=exif, quality=95)
    alpha = picture.convert("RGBA")
    alpha.putalpha(Image.fromarray(np.full(astronaut.shape[:2], 250, np.uint8)))
    alpha.save(folder / "alpha.png")
    grey = picture.convert("L")
    grey.save(folder / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "deep.png")
    picture.convert("CMYK").save(folder / "cmyk.tif")
    return sorted(file for file in folder.iterdir() if file.is_file())


def test_all_file_types_are_edited_bad_ones_skipped(tmp_path, astronaut, editor, code):
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    good = save_variants(source, astronaut)
    Image.fromarray(astronaut).save(source / "sub" / "alpha.webp", quality=95)
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 40)
    Image.fromarray(samples.coffee()).save(source / "coffee.jpg")
    records = faces.edit_files([source], faces.EditSettings(editor, code), out, progress=False)
    errors = {Path(row["file"]).name: row["error"] for row in records if "error" in row}
    assert set(errors) == {"broken.png", "coffee.jpg"}
    assert "no face" in errors["coffee.jpg"] and "broken.png" in errors["broken.png"]
    done = [row for row in records if "error" not in row]
    assert len(done) == len(good) + 1 and (out / "sub" / "alpha.png").is_file()
    for row in done:
        edited = read_image(row["out"])
        assert edited.shape == astronaut.shape, row  # upright, at its own size
        assert np.abs(np.array(row["points"]) - done[0]["points"]).max() < 4, row
    assert files.read_lines(out / "faces.jsonl") == (records, [])
    again = collect_images([source, out / "sub"], out)
    assert len(again) == len(records)  # the results of the first run are not edited again


class Killed(BaseException):
    """As a kill: nothing after it runs."""


def test_an_edit_goes_on_where_it_stopped(tmp_path, astronaut, editor, code, monkeypatch):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    astronaut = astronaut[:260, 110:370]
    for name in "abcd":
        Image.fromarray(astronaut).save(source / f"{name}.png")
    Image.fromarray(samples.coffee()[:200, :200]).save(source / "b.png")  # nobody to edit
    saved = Editor(editor.method, editor.config | {"sha256": "1" * 64})
    edited, real = [], pipeline.edit_image

    def edit_image(*arguments, **options):
        edited.append(arguments)
        if len(edited) == 4:
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(pipeline, "edit_image", edit_image)
    with pytest.raises(Killed):
        faces.edit_files([source], faces.EditSettings(saved, code), out, progress=False)
    log = out / "faces.jsonl"
    found, invalid = files.read_lines(log)
    assert [Path(r["file"]).name for r in found] == ["a.png", "b.png", "c.png"] and not invalid
    with open(log, "a") as file:
        file.write('{"file": "d.png", "points": [{"x": 1}')
    (out / ".d.png.0123abcd.tmp").write_text("half a picture")
    records = faces.edit_files([source], faces.EditSettings(saved, code), out, progress=False)
    assert len(edited) == 5 and records[:3] == found and not list(out.glob(".*"))
    assert files.read_lines(log) == (records, [])
    # An output that was lost, a picture that changed, other settings, an editor without a name.
    (out / "a.png").unlink()
    Image.fromarray(astronaut).save(source / "b.png")
    records = faces.edit_files([source], faces.EditSettings(saved, code), out, progress=False)
    assert len(edited) == 7 and files.read_lines(log) == (records, [])
    faces.edit_files([source], faces.EditSettings(saved, code, face="all"), out, progress=False)
    assert len(edited) == 11
    for _ in range(2):
        faces.edit_files([source], faces.EditSettings(editor, code), out, progress=False)
    assert len(edited) == 19
    with files.folder_lock(out), pytest.raises(files.InUse):
        faces.edit_files([source], faces.EditSettings(saved, code), out, progress=False)


def test_a_reader_of_source_codes_is_a_setting(editor, code):
    saved = Editor(editor.method, editor.config | {"sha256": "1" * 64})
    reader = SimpleNamespace(sha256="2" * 64)
    digests = [
        faces.EditSettings(saved, target, "builtin", face, source).digest()
        for target in (code, {12: 1.0}, {12: 0.9})
        for face in ("1", "all")
        for source in (None, code, type("Reader", (), {"__call__": None, **vars(reader)})())
    ]
    assert len(set(digests)) == len(digests)
    assert faces.EditSettings(saved, code, face=1).digest() == digests[0]
    unnamed = faces.EditSettings(saved, code, source_code=lambda face: [0.0])
    assert unnamed.digest() != unnamed.digest()


def test_one_picture_may_go_to_one_file(tmp_path, astronaut, editor, code):
    photo = tmp_path / "photo.png"
    Image.fromarray(astronaut).save(photo)
    (row,) = faces.edit_files([photo], faces.EditSettings(editor, code), tmp_path / "edited.jpg")
    assert (
        row["face"] == 1
        and row["of"] == 1
        and read_image(tmp_path / "edited.jpg").shape == astronaut.shape
    )
    assert json.loads((tmp_path / "edited.jsonl").read_text()) == row
    faces.edit_files([photo], faces.EditSettings(editor, code), tmp_path / "folder")
    assert (tmp_path / "folder" / "photo.png").is_file()


def test_bad_arguments_fail_before_the_work(tmp_path, astronaut, editor, code):
    photo, twin = tmp_path / "photo.png", tmp_path / "photo.bmp"
    Image.fromarray(astronaut).save(photo)
    Image.fromarray(astronaut).save(twin)
    (tmp_path / "empty").mkdir()
    cases = [
        ([photo], photo, ParameterError, "photo"),
        ([photo, twin], tmp_path / "both.png", ParameterError, "2 images"),
        ([photo, photo], tmp_path / "out", ValueError, "photo.png"),
        ([photo], tmp_path / "edited.gif", ParameterError, "edited.gif"),
        ([photo], tmp_path, ParameterError, "photo"),
        ([twin], tmp_path, ParameterError, "photo"),  # photo.bmp would become photo.png
        ([tmp_path], tmp_path, ParameterError, tmp_path.name),
        ([tmp_path / "empty"], tmp_path / "out", BadImage, "empty"),
        ([tmp_path / "gone.png"], tmp_path / "out", BadImage, "gone.png"),
    ]
    for paths, out, kind, message in cases:
        with pytest.raises(kind, match=message):
            faces.edit_files(paths, faces.EditSettings(editor, code), out)
    Image.fromarray(samples.coffee()).save(tmp_path / "coffee.png")
    with pytest.raises(NoFace):
        faces.edit_files(
            [tmp_path / "coffee.png"], faces.EditSettings(editor, code), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
    faces.edit_files(
        [photo, twin], faces.EditSettings(editor, code), tmp_path / "out", progress=False
    )
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == [
        "photo.bmp.png",
        "photo.png.png",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not PORTRAITS.is_dir(), reason=f"no portraits at {PORTRAITS}")
def test_nearly_every_studio_portrait_has_one_face():
    found = [len(faces.detect_faces(read_image(file))) for file in PORTRAITS.glob("*.jpg")]
    assert np.mean(np.array(found) >= 1) >= 0.95 and np.mean(np.array(found) > 1) <= 0.03
