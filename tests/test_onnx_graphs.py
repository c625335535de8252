"""ONNX graphs of editors: the edits of PyTorch, by onnxruntime."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
from toys import TOY, toy

from ganmut import images, weights
from ganmut.cli import main
from ganmut.errors import ParameterError
from ganmut.faces.covered_mouth import network
from ganmut.faces.landmarks.five_points import load_network, read_windows
from ganmut.methods.base import METHODS
from ganmut.weights import BadWeights, onnx_graphs
from ganmut.weights.onnx_graphs import TOLERANCE, export_onnx

FACES = torch.randint(256, (2, 3, TOY["size"], TOY["size"]), dtype=torch.uint8)


def saved(folder, name: str, **meta):
    return weights.read(weights.save(folder, toy(name), meta, FACES))


def sessions(folder):
    return (onnxruntime.InferenceSession(folder / f"{n}.onnx") for n in ("encode", "decode"))


def run_graphs(folder, x: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Edited images, as a program would get them that knows the names alone."""
    encode, decode = sessions(folder)
    features = encode.run(None, {"images": x})
    given = {"source": x, "code": code}
    given |= {node.name: f for node, f in zip(encode.get_outputs(), features, strict=True)}
    wanted = [node.name for node in decode.get_inputs()]
    return decode.run(["images"], {name: given[name] for name in wanted})[0]


@pytest.mark.parametrize("name", METHODS.names())
def test_graphs_edit_as_pytorch_does(name, tmp_path):
    folder, error = export_onnx(saved(tmp_path / name, name), tmp_path / "graphs")
    assert error is not None and error < TOLERANCE
    facts = json.loads((folder / "editor.json").read_text())
    assert facts["size"] == TOY["size"] and set(facts["codes"]) == set(toy(name).emotions)
    assert all(len(code) == facts["code_dim"] for code in facts["codes"].values())


def test_grey_editor_keeps_the_colour(tmp_path):
    checked = saved(tmp_path / "w", "ganmut", grey=True)
    folder, _ = export_onnx(checked, tmp_path / "graphs")
    editor = weights.build_editor(checked, "cpu")
    code = editor.space.of("happy")[None]
    edited = editor.edit(editor.prepare(FACES[:1]), code).float()
    here = run_graphs(folder, images.to_float(FACES[:1]).numpy(), code.float().numpy())
    # The editor computes in bfloat16 where the processor does.
    assert np.abs((here + 1) * 127.5 - edited.numpy()).max() < 12


def test_codes_of_emotions_give_the_edits(tmp_path):
    folder, _ = export_onnx(saved(tmp_path / "w", "gganmut"), tmp_path / "graphs")
    codes = json.loads((folder / "editor.json").read_text())["codes"]
    code = np.array([codes["angry"]], np.float32)
    x = images.to_float(FACES[:1])
    method = weights.build_method(weights.read(tmp_path / "w"))
    with torch.no_grad():
        expected = method.edit(method.encode(x), torch.from_numpy(code)).images.clamp(-1, 1)
    assert np.abs(run_graphs(folder, x.numpy(), code) - expected.numpy()).max() < TOLERANCE


def test_a_difference_is_refused(tmp_path, monkeypatch):
    checked = saved(tmp_path / "w", "stargan")
    monkeypatch.setattr(onnx_graphs, "TOLERANCE", -1.0)
    with pytest.raises(BadWeights, match="differ from PyTorch"):
        export_onnx(checked, tmp_path / "graphs")
    assert not (tmp_path / "graphs").exists()


def test_without_onnxruntime_nothing_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graphs.importlib.util, "find_spec", lambda name: None)
    folder, error = export_onnx(saved(tmp_path / "w", "stargan"), tmp_path / "graphs")
    assert error is None and (folder / "decode.onnx").is_file()


def test_a_folder_in_use_is_kept(tmp_path):
    checked = saved(tmp_path / "w", "stargan")
    export_onnx(checked, tmp_path / "mine")
    export_onnx(checked, tmp_path / "mine")  # an export alone is replaced
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(ParameterError, match="in use"):
        export_onnx(checked, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "mine"


def test_command_refuses_what_is_no_editor(tmp_path, capsys):
    assert main(["export", "photos/emotion", "--onnx", str(tmp_path / "graphs")]) == 2
    said = capsys.readouterr().err
    assert "extractor" in said and said.count("\n") == 1 and not (tmp_path / "graphs").exists()


def test_faces_are_found_by_a_graph(tmp_path):
    checked = saved(tmp_path / "w", "stargan")
    folder, _ = export_onnx(checked, tmp_path / "graphs", faces=True)
    windows = torch.rand(3, 1, 64, 64)
    points, logits = onnxruntime.InferenceSession(folder / "faces.onnx").run(
        ["points", "logits"], {"windows": windows.numpy()}
    )
    expected = read_windows(load_network(), windows)
    assert np.abs(points - expected[0].numpy()).max() < 1e-2
    assert np.abs(logits - expected[1].numpy()).max() < 1e-3


def test_covered_mouths_are_noticed_by_a_graph(tmp_path, monkeypatch):
    checked = saved(tmp_path / "w", "stargan")
    folder, _ = export_onnx(checked, tmp_path / "graphs", faces=True)
    crops = torch.rand(3, 1, network.SIZE, network.SIZE)
    session = onnxruntime.InferenceSession(folder / "mouth.onnx")
    (logits,) = session.run(["logits"], {"crops": crops.numpy()})
    with torch.no_grad():
        expected = network.cover_logits(network.find_network(), crops)
    assert np.abs(logits - expected.numpy()).max() < 1e-3
    facts = json.loads((folder / "editor.json").read_text())["covered_mouth"]
    assert facts == {"size": network.SIZE, "above": network.SURE, "refusal": network.REFUSAL}
    monkeypatch.setenv("GANMUT_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr(onnx_graphs, "write_face_graph", lambda path: None)
    export_onnx(checked, tmp_path / "graphs", faces=True)
    assert not (folder / "mouth.onnx").exists()
