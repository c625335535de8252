"""Frozen networks from ONNX files: somebody else's face embedder or expression classifier as a
judge. Mind the licence of the file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut import images as pictures
from ganmut.datasets.base import BadData, FaceSet
from ganmut.emotions import EMOTIONS, canonical_emotion
from ganmut.extractors.base import BATCH_SIZE, Extraction, Extractor, TrainingTask
from ganmut.weights.storage import BadWeights, sha256

SIDECAR = {"labels", "mean", "std", "channels", "licence", "note"}


def open_onnx(spec: str) -> OnnxExtractor:
    """The network of a spec; raises BadWeights.

    "PATH", or the name of one of insightface's packs: a face embedder; "PATH:EMOTION,EMOTION,...":
    a classifier with these outputs in this order; "PATH:": one whose sidecar names them.
    """
    path, colon, emotions = spec.partition(":")
    if not colon:
        return OnnxIdentity(path if is_file(path) else recogniser(path))
    return OnnxEmotion(path, emotions) if emotions else OnnxEmotion(path, **sidecar(path))


def is_file(name: str) -> bool:
    """Whether a name means a file, which may be missing, and not a pack of insightface."""
    return name.endswith(".onnx") or "/" in name or Path(name).is_file()


def recogniser(pack: str) -> Path:
    """The face recognition network of one of insightface's packs, fetched where it is not here,
    its licence printed before; raises BadWeights."""
    needed()
    from insightface.utils import ensure_available

    from ganmut.faces.detectors.insightface import announce

    announce(pack)
    try:
        folder = Path(ensure_available("models", pack))
    except Exception as error:  # noqa: BLE001 (its errors share no base class)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadWeights(
            f"insightface has no pack {pack!r} for you ({reason}): give buffalo_l, buffalo_s, "
            "antelopev2 or an ONNX file"
        ) from None
    for path in sorted(folder.rglob("*.onnx")):
        shape = entry(checked(path))
        if shape[1:] == [3, 112, 112]:
            return path
    raise BadWeights(f"{folder} holds no face recognition network of 112 x 112 px")


def sidecar(path: str | Path) -> dict[str, Any]:
    """What NAME.json beside NAME.onnx says: its labels in order, and how pictures enter.

    {"labels": [...], "mean": [r, g, b], "std": [r, g, b], "channels": "RGB" or "BGR"}: mean and std
    are those of pixels in 0..1 (without them pixels enter as 0..255). Raises BadWeights.
    """
    side = Path(path).with_suffix(".json")
    example = '{"labels": ["anger", ...], "mean": [...], "std": [...]}'
    try:
        said = json.loads(side.read_text(encoding="utf-8"))
        known = isinstance(said, dict) and said.keys() <= SIDECAR
        labels = [str(label) for label in said["labels"]] if known else []
        scale = {key: [float(v) for v in said[key]] for key in ("mean", "std") if key in said}
        order = str(said.get("channels", "RGB")).upper()
    except FileNotFoundError:
        raise BadWeights(
            f"{path} does not say what its outputs mean: write {side.name} beside it, {example}"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadWeights(f"{side} should be like {example} ({error!r})") from None
    fine = all(len(v) == 3 for v in scale.values()) and all(scale.get("std", [1.0]))
    if not (labels and fine and len(scale) in (0, 2) and order in ("RGB", "BGR")):
        raise BadWeights(
            f"{side} should be like {example}, of {', '.join(sorted(SIDECAR))}: mean and std both "
            "with three numbers, no std 0, channels RGB or BGR"
        )
    how = {**scale, "blue_first": order == "BGR", "about": side.read_bytes()}
    return {"emotions": ",".join(labels), **how}


class OnnxExtractor(Extractor):
    """What a file cannot do: give gradients, be trained here."""

    def embed(self, x: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network gives no gradients; use it on uint8 images")

    def predict(self, features: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network reads pictures, not features")

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        raise BadData("an ONNX network is not trained here")

    def evaluate(self, faces: FaceSet, seen: Extraction) -> dict[str, Any]:
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
        blue_first = [np.ascontiguousarray(face[..., ::-1]) for face in pictures.to_array(small)]
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
    """An expression classifier: N x 3 x S x S pictures in, probabilities (or logits) out.

    Pixels enter as RGB in 0..255, or as `mean` and `std` (of pixels in 0..1) and `blue_first` say;
    about: bytes that said so, which join the sha256. Its features are what enters its last linear
    layer; where it has none, log-probabilities.
    """

    name = "onnx_emotion"
    title = "Emotion classifier (ONNX)"
    outputs = "probabilities of the emotions"

    def __init__(
        self,
        path: str | Path,
        emotions: str,
        mean: Sequence[float] = (0, 0, 0),
        std: Sequence[float] = (1 / 255,) * 3,
        blue_first: bool = False,
        about: bytes = b"",
    ):
        names = [canonical_emotion(name) for name in emotions.split(",") if name.strip()]
        model = checked(path)
        import onnx
        import onnxruntime

        shape = entry(model)
        if len(shape) != 4 or shape[1] != 3 or not shape[2] or shape[2] != shape[3]:
            raise BadWeights(f"{path} takes {shape}, expected N x 3 x S x S pictures")
        # The file lists its own classes; the project's order begins with neutral.
        if "neutral" not in names or len(set(names)) != len(names):
            raise BadWeights(f"{path}: name each output once, neutral among them, got {emotions!r}")
        ordered = [e for e in EMOTIONS if e in names] + [e for e in names if e not in EMOTIONS]
        super().__init__(tuple(ordered), shape[2])
        self.mean, self.std = (255 * torch.tensor(v)[:, None, None] for v in (mean, std))
        self.blue_first, self.fixed = blue_first, shape[0]  # of a batch: 0 where it may be any
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
        if about:
            self.sha256 = hashlib.sha256(self.sha256.encode() + about).hexdigest()
        self.path, self.classes = path, len(names)

    def forward(self, images: Tensor) -> Extraction:
        seen = [self._look(chunk) for chunk in images.split(self.fixed or BATCH_SIZE)]
        features, outputs = zip(*seen, strict=True)
        return Extraction(torch.cat(features), torch.cat(outputs))

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = pictures.resize(images.float().cpu(), self.size).round().clamp(0, 255)
        x = (x - self.mean) / self.std
        x = x.flip(1) if self.blue_first else x
        short = self.fixed - len(x) if self.fixed else 0  # a last batch is filled up
        x = torch.cat([x, x[-1:].expand(short, -1, -1, -1)])
        found = self.session.run(self.wanted, {self.entry: x.contiguous().numpy()})
        found = [array[: len(images)] for array in found]
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


def entry(model: Any) -> list[int]:
    """The shape of an ONNX model's input, 0 where it is free."""
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


def needed() -> None:
    """Raises BadWeights where the packages are missing."""
    try:
        import insightface  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise BadWeights(f"an ONNX judge needs {error.name}: pip install 'ganmut[faces]'") from None


def checked(path: str | Path) -> Any:
    """The ONNX model of a file; raises BadWeights where there is none, ONNX refuses it (its errors
    share no class), or the packages are missing."""
    if not Path(path).is_file():
        raise BadWeights(f"{path}: there is no such ONNX file")
    needed()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(str(path))
        return onnx.load(str(path))
    except (onnx.checker.ValidationError, DecodeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadWeights(f"{path} is not a usable ONNX file: {reason}") from None
