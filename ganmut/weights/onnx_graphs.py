"""A trained editor as ONNX graphs: `encode.onnx` once a face, `decode.onnx` once an edit, and
`editor.json` with what a program around them needs. docs/onnx.md describes the files."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganmut import files, images
from ganmut.device import generator
from ganmut.editor import with_chroma
from ganmut.errors import ParameterError
from ganmut.methods.base import METHODS, Edit, Method
from ganmut.weights.editors import build_method
from ganmut.weights.storage import BadWeights, Weights

OPSET = 17  # the lowest with all that the networks need; runtimes keep reading old ones
TOLERANCE = 1e-3  # of images in [-1, 1]: an eighth of a grey level
FILES = ("encode.onnx", "decode.onnx", "editor.json")
EDIT_PARTS = ("images", "mask", "flow")  # of an Edit, in the order of its outputs
FORMAT = 1


def tensors_in(features: Any) -> list[Tensor]:
    """The tensors of encoded faces (nested tuples), in order."""
    if isinstance(features, Tensor):
        return [features]
    return [tensor for part in features for tensor in tensors_in(part)]


def with_tensors(features: Any, tensors: Sequence[Tensor]) -> Any:
    """Encoded faces of the structure of `features` from their tensors in order."""
    left = iter(tensors)

    def rebuild(part: Any) -> Any:
        return next(left) if isinstance(part, Tensor) else type(part)(map(rebuild, part))

    return rebuild(features)


class EncodeGraph(nn.Module):
    """Images n x 3 x S x S in [-1, 1] -> the tensors of the method's features."""

    def __init__(self, method: Method, grey: bool):
        super().__init__()
        self.method, self.grey = method, grey

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        visible = images.luma(x).expand_as(x) if self.grey else x
        return tuple(tensors_in(self.method.encode(visible)))


class DecodeGraph(nn.Module):
    """Code n x dim, images n x 3 x S x S and the features' tensors -> edited images in [-1, 1],
    and mask and flow where the method has them, as `Editor.edit_details` gives them before
    rounding."""

    def __init__(self, method: Method, grey: bool, features: Any):
        super().__init__()
        self.method, self.grey, self.features = method, grey, features

    def edit(self, code: Tensor, x: Tensor, *tensors: Tensor) -> Edit:
        edit = self.method.edit(with_tensors(self.features, tensors), code)
        edited = with_chroma(x, edit.images, edit.flow) if self.grey else edit.images
        return Edit(edited.clamp(-1, 1), edit.mask, edit.flow)

    def forward(self, code: Tensor, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        edit = self.edit(code, x, *tensors)
        return tuple(value for part in EDIT_PARTS if (value := getattr(edit, part)) is not None)


def export_onnx(weights: Weights, folder: str | Path) -> tuple[Path, float | None]:
    """Writes the graphs of a checked editor's weight to a folder, complete or not at all. Returns
    the folder, and the largest difference of an edit between onnxruntime and PyTorch (images in
    [-1, 1]), None where onnxruntime is not installed.

    Raises BadWeights for a weight without a network of its own (the expression model, and methods
    drawn by it) and where the difference is above TOLERANCE, ParameterError for a folder that
    holds other files.
    """
    if weights.config["method"] not in METHODS:
        raise BadWeights(
            f"{weights.folder} is drawn by the expression model, which solves equations for every "
            "face and has no ONNX graph; give a trained editor, such as procedural/ganmut"
        )
    folder = Path(folder)
    # An older export is replaced, and nothing else: what lies beside it would be lost.
    if folder.is_dir() and any(path.name not in FILES for path in folder.iterdir()):
        raise ParameterError("onnx", f"{folder} is in use and holds other files; choose another")
    method = build_method(weights).eval().float().requires_grad_(False)
    grey = bool(weights.config.get("grey", False))
    x, code = example(method, 2)
    with torch.no_grad():
        features = method.encode(x)
        encode, decode = EncodeGraph(method, grey), DecodeGraph(method, grey, features)
        tensors = encode(x)
        names = [f"feature_{i}" for i in range(len(tensors))]
        edit = decode.edit(code, x, *tensors)
        outputs = [part for part in EDIT_PARTS if getattr(edit, part) is not None]
    shapes = {n: list(t.shape[1:]) for n, t in zip(names, tensors, strict=True)}
    with files.replaced_folder(folder) as partial:
        write_graph(partial / "encode.onnx", encode, {"images": x}, names)
        given = {"code": code, "source": x} | dict(zip(names, tensors, strict=True))
        write_graph(partial / "decode.onnx", decode, given, outputs)
        error = difference(partial, encode, decode)
        if error is not None and not error <= TOLERANCE:
            raise BadWeights(
                f"the graphs of {weights.folder} differ from PyTorch by {error:.2g}, more than "
                f"{TOLERANCE}: nothing was written"
            )
        facts = describe(weights, method, outputs, shapes)
        files.write_atomic(partial / "editor.json", files.to_text(facts))
    return folder, error


def example(method: Method, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """n random images and codes, the input of a trace or of a comparison."""
    rng = generator(seed)
    x = torch.rand(n, 3, method.size, method.size, generator=rng) * 2 - 1
    return x, method.space().sample(n, rng).float()


@torch.no_grad()
def write_graph(
    path: Path, graph: nn.Module, inputs: dict[str, Tensor], outputs: Sequence[str]
) -> None:
    """Writes a module as an ONNX file with a free number of faces."""
    with warnings.catch_warnings():
        # The exporter by tracing, which needs no further package, announces its successor; and the
        # tracer warns of sizes taken as constants, which they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in [*inputs, *outputs]},
        )


def difference(folder: Path, encode: EncodeGraph, decode: DecodeGraph) -> float | None:
    """The largest difference of an edited image, by both graphs of a folder in onnxruntime and by
    PyTorch, over one and three faces that the trace did not see; None without onnxruntime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    first, second = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx", options)
        for name in ("encode", "decode")
    )
    worst = 0.0
    for n in (1, 3):
        x, code = example(encode.method, n, seed=n)
        with torch.no_grad():
            here = decode.edit(code, x, *encode(x)).images.numpy()
        tensors = first.run(None, {"images": x.numpy()})
        given = {"code": code.numpy(), "source": x.numpy()}
        given |= {f"feature_{i}": tensor for i, tensor in enumerate(tensors)}
        # A graph keeps no input that it does not use, such as the source of most methods.
        known = {node.name for node in second.get_inputs()}
        there = second.run(None, {name: v for name, v in given.items() if name in known})[0]
        worst = max(worst, float(np.abs(here - there).max()))
    return worst


def describe(
    weights: Weights, method: Method, outputs: Sequence[str], features: dict[str, list[int]]
) -> dict[str, Any]:
    """The content of editor.json."""
    space, config = method.space(), weights.config
    return {
        "format": FORMAT,
        "opset": OPSET,
        "method": method.name,
        "title": method.title,
        "paper": method.paper,
        "weights_sha256": config["sha256"],
        "size": method.size,
        "crop": config.get("crop"),
        "images": "float32 n x 3 x size x size, RGB in [-1, 1], the aligned crop",
        "features": features,
        "outputs": list(outputs),
        "code_dim": space.dim,
        "codes": {emotion: space.of(emotion).tolist() for emotion in method.emotions},
    }
