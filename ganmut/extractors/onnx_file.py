"""Frozen networks from ONNX files: somebody else's face embedder or expression classifier as a
judge. Mind the licence of the file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut import images as pictures
from ganmut.data.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS, canonical
from ganmut.extractors.base import CHUNK, Extraction, Extractor, Lesson
from ganmut.storage import BadWeights, sha256


def open_onnx(spec: str) -> OnnxExtractor:
    """The network of "PATH", a face embedder, or "PATH:EMOTION,EMOTION,...", a classifier with
    these outputs in this order; raises BadWeights."""
    path, _, emotions = spec.partition(":")
    return OnnxEmotion(path, emotions) if emotions else OnnxIdentity(path)


class OnnxExtractor(Extractor):
    """What a file cannot do: give gradients, be trained here."""

    def embed(self, x: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network gives no gradients; use it on uint8 images")

    def read(self, features: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network reads pictures, not features")

    def lesson(self, faces: FaceSet, generator: torch.Generator) -> Lesson:
        raise BadData("an ONNX network is not trained here")

    def examine(self, faces: FaceSet, seen: Extraction) -> dict[str, Any]:
        raise BadData("an ONNX network is not examined here")


class OnnxIdentity(OnnxExtractor):
    """A face recognition network in an ONNX file (ArcFace and its kin), through insightface.

    Mind the licence of the file: insightface's own packs are for non-commercial research only.
    """

    name = "onnx_identity"
    title = "Identity embedder (ONNX)"
    outputs = "the embedding, of length 1"

    def __init__(self, path: str | Path):
        super().__init__(EMOTIONS, 112)
        checked(path)
        from insightface.model_zoo import get_model

        self.network = get_model(str(path), providers=["CPUExecutionProvider"])
        if not hasattr(self.network, "get_feat"):
            raise BadWeights(f"{path} is not a face recognition model of 112 x 112 px")
        width = self.network.output_shape[-1]
        if isinstance(width, int) and width < 32:  # some classifier of the same input size
            raise BadWeights(f"{path} gives {width} values a face, which is no embedding")
        self.sha256 = sha256(path)

    def forward(self, images: Tensor) -> Extraction:
        # The project's crop (data/base.py, CROP) is ArcFace's moved up 7 px of 128: moved back.
        shift = math.floor(images.shape[-2] * 7 / 128 + 0.5)
        lower = F.pad(images.float().cpu(), (0, 0, shift, 0), mode="replicate")
        small = pictures.resize(lower[..., : images.shape[-2], :], self.size)
        small = small.round().clamp(0, 255).to(torch.uint8)
        blue_first = [np.ascontiguousarray(face[..., ::-1]) for face in pictures.array(small)]
        features = np.concatenate(list(self._batches(blue_first)))
        found = F.normalize(torch.from_numpy(features).float(), dim=1)
        return Extraction(found, found)

    def _batches(self, faces: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Features in the batch size that the file fixes (often 1), or 64."""
        fixed = self.network.input_shape[0]
        step = fixed if isinstance(fixed, int) else 64
        for start in range(0, len(faces), step):
            batch = faces[start : start + step]
            missing = step - len(batch) if isinstance(fixed, int) else 0
            yield self.network.get_feat(batch + batch[-1:] * missing)[: len(batch)]


class OnnxEmotion(OnnxExtractor):
    """An expression classifier: N x 3 x S x S RGB in 0..255 in, probabilities (or logits) out.

    Its features are what enters its last linear layer; where it has none, log-probabilities.
    """

    name = "onnx_emotion"
    title = "Emotion classifier (ONNX)"
    outputs = "probabilities of the emotions"

    def __init__(self, path: str | Path, emotions: str):
        names = [canonical(name) for name in emotions.split(",") if name.strip()]
        model = checked(path)
        import onnx
        import onnxruntime

        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        if len(shape) != 4 or shape[1] != 3 or not shape[2] or shape[2] != shape[3]:
            raise BadWeights(f"{path} takes {shape}, expected N x 3 x S x S pictures")
        # The file lists its own classes; the project's order begins with neutral.
        if "neutral" not in names or len(set(names)) != len(names):
            raise BadWeights(f"{path}: name each output once, neutral among them, got {emotions!r}")
        ordered = [e for e in EMOTIONS if e in names] + [e for e in names if e not in EMOTIONS]
        super().__init__(tuple(ordered), shape[2])
        self.columns = [names.index(emotion) for emotion in ordered]
        self.softmax = any(node.op_type == "Softmax" for node in model.graph.node[-3:])
        self.wanted = [model.graph.output[0].name]
        if feature := penultimate(model):
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(feature))
            self.wanted.append(feature)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.entry, self.sha256 = model.graph.input[0].name, sha256(path)
        self.path, self.classes = path, len(names)

    def forward(self, images: Tensor) -> Extraction:
        seen = [self._look(chunk) for chunk in images.split(CHUNK)]
        features, outputs = zip(*seen, strict=True)
        return Extraction(torch.cat(features), torch.cat(outputs))

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = pictures.resize(images.float().cpu(), self.size).round().clamp(0, 255)
        found = self.session.run(self.wanted, {self.entry: x.numpy()})
        outputs, *features = (torch.from_numpy(array).float().flatten(1) for array in found)
        if outputs.shape[1] != self.classes:
            raise BadWeights(
                f"{self.path} has {outputs.shape[1]} outputs, {self.classes} emotions were named"
            )
        outputs = (outputs if self.softmax else outputs.softmax(1))[:, self.columns]
        return features[0] if features else outputs.clamp(min=1e-6).log(), outputs


def penultimate(model: Any) -> str | None:
    """The name of what enters the last linear layer of an ONNX model, or None without one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in reversed(model.graph.node):
        if node.op_type in ("MatMul", "Gemm"):
            return next((name for name in node.input if name not in constants), None)
    return None


def checked(path: str | Path) -> Any:
    """The ONNX model of a file; raises BadWeights where there is none, ONNX refuses it (its errors
    share no class), or the packages are missing."""
    if not Path(path).is_file():
        raise BadWeights(f"{path}: there is no such ONNX file")
    try:
        import insightface  # noqa: F401
        import onnx
        import onnxruntime  # noqa: F401
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise BadWeights(f"an ONNX judge needs {error.name}: pip install 'ganmut[faces]'") from None
    try:
        onnx.checker.check_model(str(path))
        return onnx.load(str(path))
    except (onnx.checker.ValidationError, DecodeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadWeights(f"{path} is not a usable ONNX file: {reason}") from None
