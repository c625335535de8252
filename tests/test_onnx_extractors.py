"""Extractors from ONNX files: recognition networks by path or pack, expression classifiers with a
sidecar; the files are made here, the fetching is insightface's own."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ganmut import extractors
from ganmut.emotions import EMOTIONS
from ganmut.extractors.onnx_file import open_onnx
from ganmut.faces.detectors.base import DetectorMissing
from ganmut.faces.pipeline import open_detector
from ganmut.files import sha256
from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters, with_expression
from ganmut.rendering.shading import render
from ganmut.weights.storage import BadWeights

MOBILEFACENET = Path(__file__).resolve().parents[2] / "shared" / "models" / "mobilefacenet.onnx"


def network(path: Path, nodes: list, shape: list, width: int, **constants: np.ndarray) -> Path:
    """An ONNX file x -> y of the given nodes: (kind, inputs, output, attributes)."""
    from onnx import TensorProto, helper, numpy_helper

    made = [helper.make_node(kind, takes, [gives], **how) for kind, takes, gives, how in nodes]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size)
        for name, size in (("x", shape), ("y", [shape[0], width]))
    ]
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], kept)
    opset = [helper.make_opsetid("", 13)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def tiles(path: Path, side: int = 112) -> Path:
    """An embedder: the means of 4 x 4 tiles of a picture."""
    pool = {"kernel_shape": [side // 4] * 2, "strides": [side // 4] * 2}
    nodes = [("AveragePool", ["x"], "t", pool), ("Flatten", ["t"], "y", {})]
    return network(path, nodes, ["n", 3, side, side], 48)


def tint(path: Path, batch: int | str = "n", classes: int = 3) -> Path:
    """A classifier: which colour is the strongest, by the mean of each channel as it enters."""
    nodes = [
        ("GlobalAveragePool", ["x"], "m", {}),
        ("Flatten", ["m"], "f", {}),
        ("MatMul", ["f", "w"], "y", {}),
    ]
    weight = np.eye(3, classes, dtype=np.float32)
    return network(path, nodes, [batch, 3, 8, 8], classes, w=weight)


def sidecar(path: Path, **said) -> None:
    path.with_suffix(".json").write_text(json.dumps(said))


# Face recognition ---------------------------------------------------------------------------------


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release page with the pack "toy_l": a detector's network and a recogniser; home is empty.
    Gives the list of what was asked for."""
    tiles(tmp_path / "pack" / "a_detector.onnx", 640)
    tiles(tmp_path / "pack" / "w_recogniser.onnx")
    with zipfile.ZipFile(tmp_path / "toy_l.zip", "w") as pack:
        for path in (tmp_path / "pack").iterdir():
            pack.write(path, path.name)
    asked = []

    class Page(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    where = functools.partial(Page, directory=tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), where)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr("insightface.utils.storage.MODEL_ZOO_RELEASE_DOWNLOAD_URL", page)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_pack_is_downloaded_once_after_its_licence(release, tmp_path, capsys):
    faces = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    one = extractors.load("onnx:toy_l")
    assert release == ["/toy_l.zip"]
    printed = capsys.readouterr().err
    assert "model pack 'toy_l' will be downloaded" in printed
    assert "non-commercial research only" in printed
    assert one.sha256 == sha256(tmp_path / "pack" / "w_recogniser.onnx")
    same = extractors.load("onnx:toy_l")
    assert release == ["/toy_l.zip"] and "will be downloaded" not in capsys.readouterr().err
    assert torch.equal(one(faces).features, same(faces).features)
    with pytest.raises(BadWeights, match="bufalo_l"):
        extractors.load("onnx:bufalo_l")


def test_pack_without_recognition_network_is_refused(release, tmp_path):
    tiles(tmp_path / "home" / ".insightface" / "models" / "half" / "det.onnx", 640)
    with pytest.raises(BadWeights, match=r"half.*112"):
        extractors.load("onnx:half")
    with pytest.raises(BadWeights, match=r"gone\.onnx"):
        extractors.load("onnx:gone.onnx")
    assert release == []


@pytest.mark.skipif(not MOBILEFACENET.is_file(), reason="mobilefacenet.onnx is not here")
def test_mobilefacenet_knows_a_person_under_another_expression():
    people = sample_parameters(0, "test", range(0, 6 * SAMPLES_PER_PERSON, SAMPLES_PER_PERSON))
    calm, glad = (
        torch.as_tensor(render(with_expression(people, emotion), 112))
        for emotion in ("neutral", "happy")
    )
    extractor = extractors.load(f"onnx:{MOBILEFACENET}")
    alike = extractor(calm).outputs @ extractor(glad).outputs.T
    assert torch.allclose(extractor(calm).outputs.norm(dim=1), torch.ones(6))
    others = alike[~torch.eye(6, dtype=bool)]
    assert alike.diagonal().min() > others.mean() and alike.diagonal().mean() > others.max()


# Expressions --------------------------------------------------------------------------------------


def flat(*colours: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 16, 16)


LABELS = ["Anger", "Neutral", "Happiness"]


def test_a_sidecar_names_the_outputs_in_their_order(tmp_path):
    path = tint(tmp_path / "tint.onnx")
    sidecar(path, labels=LABELS)
    extractor = extractors.load(f"onnx:{path}:")
    assert extractor.emotions == ("neutral", "happy", "angry")
    extraction = extractor(flat((200, 0, 0), (0, 200, 0), (0, 0, 200)))
    assert extraction.outputs.argmax(1).tolist() == [
        2,
        0,
        1,
    ]  # red: anger, green: neutral, blue: happy
    assert torch.allclose(extraction.features[0], torch.tensor([200.0, 0, 0]))


def test_a_sidecar_says_how_pictures_enter(tmp_path):
    path = tint(tmp_path / "tint.onnx")
    scale = {"mean": [0.5, 0.25, 0.0], "std": [0.5, 0.5, 0.25]}
    sidecar(path, labels=LABELS, **scale, licence="somebody's", note="as in their paper")
    extraction = extractors.load(f"onnx:{path}:")(flat((255, 51, 0)))
    assert torch.allclose(extraction.features[0], torch.tensor([1.0, -0.1, 0.0]), atol=1e-6)
    probabilities = torch.softmax(extraction.features[0], 0)[[1, 2, 0]]  # logits leave this file
    assert torch.allclose(extraction.outputs[0], probabilities)
    sidecar(path, labels=LABELS, **scale, channels="bgr")
    blue = extractors.load(f"onnx:{path}:")(flat((255, 51, 0)))
    assert torch.allclose(blue.features[0], torch.tensor([0.0, -0.1, 1.0]), atol=1e-6)


def test_sidecar_is_part_of_the_hash(tmp_path):
    path = tint(tmp_path / "tint.onnx")
    sums = set()
    for labels in (LABELS, LABELS[::-1]):
        sidecar(path, labels=labels)
        sums.add(extractors.load(f"onnx:{path}:").sha256)
    assert len(sums | {sha256(path)}) == 3


def test_fixed_batch_size_is_padded(tmp_path):
    colours = flat(*((i * 40, 200 - i * 40, 9) for i in range(5)))
    extractions = []
    for batch in ("n", 2):
        path = tint(tmp_path / f"{batch}.onnx", batch)
        sidecar(path, labels=LABELS)
        extractions.append(extractors.load(f"onnx:{path}:")(colours))
    assert (
        torch.equal(extractions[0].outputs, extractions[1].outputs)
        and len(extractions[1].features) == 5
    )


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, r"tint\.json"),
        ("[", r"tint\.json"),
        ('["anger"]', r"it holds a list\)$"),
        ('{"lables": ["anger"]}', "labels"),
        ('{"labels": ["anger"], "mean": [0, 0, 0]}', "mean"),
        ('{"labels": ["anger"], "mean": [0, 0, 0], "std": [1, 0, 1]}', "std 0"),
        ('{"labels": ["anger"], "channels": "YUV"}', "BGR"),
        ('{"labels": ["anger", "happy", "sad"]}', "neutral"),
    ],
)
def test_bad_sidecar_is_refused(tmp_path, said, why):
    path = tint(tmp_path / "tint.onnx")
    if said is not None:
        path.with_suffix(".json").write_text(said)
    with pytest.raises(BadWeights, match=why):
        extractors.load(f"onnx:{path}:")


def test_a_missing_classifier_is_named(tmp_path):
    with pytest.raises(BadWeights, match=r"gone\.onnx: no such ONNX file"):
        extractors.load(f"onnx:{tmp_path / 'gone.onnx'}:")


# The command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["IR", "opset", "cut"])
def test_networks_of_later_versions_are_named(tmp_path, kind):
    path = tint(tmp_path / "network.onnx")
    model = onnx.load(path)
    if kind == "IR":
        model.ir_version = 999
    elif kind == "opset":
        model.opset_import[0].version = 999
    data = model.SerializeToString()
    path.write_bytes(data[: len(data) // 2] if kind == "cut" else data)
    words = "readable ONNX network" if kind == "cut" else f"{kind} version 999.*upgrade onnxruntime"
    with pytest.raises(DetectorMissing, match=words) as refused:
        open_detector(f"yunet:{path}")
    assert "onnxruntime_src" not in str(refused.value) and "\n" not in str(refused.value)
    for spec in (f"{path}:neutral,happy,sad", str(path)):  # a classifier, and an embedder
        with pytest.raises(BadWeights, match=r"network\.onnx.*(export it|older version)"):
            open_onnx(spec)


def test_the_bench_takes_both(bench_run, tmp_path):
    face, emotion = tiles(tmp_path / "face.onnx"), tint(tmp_path / "mood.onnx", classes=7)
    sidecar(emotion, labels=list(EMOTIONS))
    code, records = bench_run(
        "--methods",
        "ganmut",
        "--metrics",
        "identity_distance,accuracy",
        "--no-figures",
        "--identity-model",
        str(face),
        "--emotion-model",
        str(emotion),
    )
    assert code == 0
    made = {r["metric"]: r for r in records if r["kind"] == "score" and r["row"] == "ganmut"}
    assert made["identity_distance"]["extractors"] == {"identity": sha256(face)}
    assert 0 < made["identity_distance"]["value"] <= 2 and made["accuracy"]["status"] == "ok"
    extractor = extractors.load(f"onnx:{emotion}:")
    assert made["accuracy"]["extractors"] == {"emotion": extractor.sha256}


def test_two_extractors_for_one_role_are_refused(bench_run, tmp_path, capsys):
    both = ("--identity", "procedural/identity", "--identity-model", "buffalo_l")
    assert bench_run(*both)[0] == 2
    assert "--identity-model" in capsys.readouterr().err
    assert bench_run("--emotion-model", str(tmp_path / "none.onnx"))[0] == 2
    assert "none.onnx: no such ONNX file" in capsys.readouterr().err
