"""A trained editor as ONNX graphs: `encode.onnx` once a face, `decode.onnx` once an edit, and
`editor.json` with what a program around them needs. docs/onnx.md describes the files."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganmut import files, images
from ganmut.device import generator
from ganmut.editor import with_chroma
from ganmut.emotions import emotion_color
from ganmut.errors import ParameterError
from ganmut.faces.covered_mouth import network as covered_mouth
from ganmut.faces.landmarks.five_points import SIZE as WINDOW
from ganmut.faces.landmarks.five_points import load_network
from ganmut.methods.base import Edit, Method
from ganmut.onnx_network import open_session
from ganmut.registry import Registry
from ganmut.weights.editors import build_method
from ganmut.weights.storage import BadWeights, Weights

OPSET = 17  # the lowest with all that the networks need; runtimes keep reading old ones
TOLERANCE = 1e-3  # of images in [-1, 1]: an eighth of a grey level
FILES = ("encode.onnx", "decode.onnx", "editor.json", "faces.onnx", "mouth.onnx")
TRACED, COMPARED = 2, (1, 3)  # numbers of examples
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


@contextmanager
def quiet_tracer() -> Iterator[None]:
    """Without the warnings of the tracer, which needs no further package and announces its
    successor: those of sizes taken as constants name what are constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True)
class Graphs:
    """The graphs of an editor, and how to try them.

    encode: images -> the features' tensors; decode: code, images, tensors -> `outputs`. features:
    the tensors of the example, by name. sides: the names of the sides that are free, by tensor and
    dimension. example: images and codes by a number, which is that of the faces where it is free.
    edit: PyTorch's edit of them. facts: what editor.json says of the images.
    """

    encode: nn.Module
    decode: nn.Module
    features: Mapping[str, Tensor]
    outputs: Sequence[str]
    sides: Mapping[str, Mapping[int, str]]
    example: Callable[[int], tuple[Tensor, Tensor]]
    edit: Callable[[Tensor, Tensor], Tensor]
    facts: Mapping[str, Any]


# The graphs of methods that something else than a network draws: by what does.
GRAPHS = Registry("drawing", "ganmut.expression")


def network_graphs(method: Method, grey: bool) -> Graphs:
    """The graphs of a method with networks, of any number of faces."""

    def example(n: int) -> tuple[Tensor, Tensor]:
        rng = generator(n)
        x = torch.rand(n, 3, method.size, method.size, generator=rng) * 2 - 1
        return x, method.space().sample(n, rng).float()

    x, code = example(TRACED)
    encode, decode = EncodeGraph(method, grey), DecodeGraph(method, grey, method.encode(x))
    tensors = encode(x)
    names = [f"feature_{i}" for i in range(len(tensors))]
    edit = decode.edit(code, x, *tensors)
    outputs = [part for part in EDIT_PARTS if getattr(edit, part) is not None]
    every = ["images", "code", "source", *names, *outputs]
    return Graphs(
        encode,
        decode,
        dict(zip(names, tensors, strict=True)),
        outputs,
        {name: {0: "n"} for name in every},
        example,
        lambda x, code: decode.edit(code, x, *encode(x)).images,
        {"images": "float32 n x 3 x size x size, RGB in [-1, 1], the aligned crop"},
    )


@torch.no_grad()
def export_onnx(
    weights: Weights, folder: str | Path, faces: bool = False
) -> tuple[Path, float | None]:
    """Writes the graphs of a checked editor's weight to a folder, complete or not at all. Returns
    the folder, and the largest difference of an edit between onnxruntime and PyTorch (images in
    [-1, 1]), None where onnxruntime is not installed. faces: also writes the networks that find
    faces and covered mouths.

    Raises BadWeights where the difference is above TOLERANCE, ParameterError for a folder that
    holds other files.
    """
    folder = Path(folder)
    # An older export is replaced, and nothing else: what lies beside it would be lost.
    if folder.is_dir() and any(path.name not in FILES for path in folder.iterdir()):
        raise ParameterError("onnx", f"{folder} is in use and holds other files; choose another")
    method = build_method(weights).eval().float().requires_grad_(False)
    grey, drawing = bool(weights.config.get("grey", False)), getattr(method, "drawing", "")
    with quiet_tracer():
        graphs = GRAPHS[drawing](method) if drawing else network_graphs(method, grey)
    x, code = graphs.example(TRACED)
    with files.replaced_folder(folder) as partial:
        names, sides = list(graphs.features), graphs.sides
        write_graph(partial / "encode.onnx", graphs.encode, {"images": x}, names, sides)
        given = {"code": code, "source": x, **graphs.features}
        write_graph(partial / "decode.onnx", graphs.decode, given, graphs.outputs, sides)
        error = difference(partial, graphs)
        if error is not None and not error <= TOLERANCE:
            raise BadWeights(
                f"the graphs of {weights.folder} differ from PyTorch by {error:.2g}, more than "
                f"{TOLERANCE}: nothing was written"
            )
        facts = describe(weights, method, graphs)
        if faces:
            write_face_graph(partial / "faces.onnx")
            facts |= write_mouth_graph(partial / "mouth.onnx")
        files.write_atomic(partial / "editor.json", files.to_text(facts))
    return folder, error


def write_graph(
    path: Path,
    graph: nn.Module,
    inputs: dict[str, Tensor],
    outputs: Sequence[str],
    sides: Mapping[str, Mapping[int, str]],
) -> None:
    """Writes a module as an ONNX file; sides: the names of the free ones, by tensor and
    dimension."""
    graph.eval()  # the exporter leaves modules in the mode in which it found the outermost one
    with quiet_tracer():
        torch.onnx.export(
            graph,
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={n: s for n in [*inputs, *outputs] if (s := sides.get(n))},
        )


def write_face_graph(path: Path) -> None:
    """Writes the five-point network of the builtin detector as an ONNX file: windows n x 1 x 64 x
    64, luminance in 0..1 -> points n x 5 x 2 in pixels of the window, logits n of a face."""
    windows = torch.rand(2, 1, WINDOW, WINDOW, generator=generator(0))
    names = ["points", "logits"]
    sides = {name: {0: "n"} for name in ["windows", *names]}
    write_graph(path, load_network(), {"windows": windows}, names, sides)


class MouthGraph(nn.Module):
    """Aligned crops n x 1 x 128 x 128, luminance in 0..1 -> logits n of a covered mouth."""

    def __init__(self, network: covered_mouth.MouthCoverNet):
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        return covered_mouth.cover_logits(self.network, crops)


def write_mouth_graph(path: Path) -> dict[str, Any]:
    """Writes the network that notices covered mouths as an ONNX file, where the bundled weights
    have it: crops n x 1 x 128 x 128, luminance in 0..1 -> logits n. Returns what editor.json says
    of it."""
    network = covered_mouth.find_network()
    if network is None:
        return {}

    crops = torch.rand(2, 1, covered_mouth.SIZE, covered_mouth.SIZE, generator=generator(0))
    sides = {name: {0: "n"} for name in ("crops", "logits")}
    write_graph(path, MouthGraph(network), {"crops": crops}, ["logits"], sides)
    size, sure, refusal = covered_mouth.SIZE, covered_mouth.SURE, covered_mouth.REFUSAL
    return {"covered_mouth": {"size": size, "above": sure, "refusal": refusal}}


def difference(folder: Path, graphs: Graphs) -> float | None:
    """The largest difference of an edited image, by both graphs of a folder in onnxruntime and by
    PyTorch, over examples that the trace did not see; None without onnxruntime."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    first, second = (open_session(folder / f"{name}.onnx") for name in ("encode", "decode"))
    # A graph keeps no input that it does not use, such as the source of most methods.
    known = {node.name for node in second.get_inputs()}
    worst = 0.0
    for number in COMPARED:
        x, code = graphs.example(number)
        here = graphs.edit(x, code).numpy()
        tensors = first.run(None, {"images": x.numpy()})
        given = {"code": code.numpy(), "source": x.numpy()}
        given |= dict(zip(graphs.features, tensors, strict=True))
        there = second.run(None, {name: v for name, v in given.items() if name in known})[0]
        worst = max(worst, float(np.abs(here - there).max()))
    return worst


def describe(weights: Weights, method: Method, graphs: Graphs) -> dict[str, Any]:
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
        "features": {
            name: [
                s
                for i, n in enumerate(t.shape)
                if (s := graphs.sides.get(name, {}).get(i, n)) != "n"
            ]
            for name, t in graphs.features.items()
        },
        "outputs": list(graphs.outputs),
        "code_dim": space.dim,
        "codes": {emotion: space.of(emotion).tolist() for emotion in method.emotions},
        "colors": {emotion: emotion_color(emotion) for emotion in method.emotions},
        **graphs.facts,
    }
