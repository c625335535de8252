"""Extractors from ONNX files: face embedders and expression classifiers of other projects. The
licence of the file applies."""

from __future__ import annotations

import hashlib
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
from ganmut.errors import first_line
from ganmut.extractors.base import BATCH_SIZE, Extraction, Extractor, TrainingTask
from ganmut.files import sha256
from ganmut.json_files import read_json
from ganmut.onnx_network import BadNetwork, loading, open_session
from ganmut.text import quote
from ganmut.weights.storage import BadWeights

SIDECAR_KEYS = {"labels", "mean", "std", "channels", "licence", "note"}


def open_onnx(spec: str) -> OnnxExtractor:
    """The extractor of a spec; raises BadWeights.

    "PATH" or the name of one of insightface's packs: a face embedder; "PATH:EMOTION,EMOTION,...": a
    classifier with its outputs in this order; "PATH:": a classifier whose sidecar lists them.
    """
    path, colon, emotions = spec.partition(":")
    if not colon:
        return OnnxIdentity(path if is_file(path) else fetch_pack(path))
    return OnnxEmotion(path, emotions) if emotions else OnnxEmotion(path, **read_sidecar(path))


def is_file(name: str) -> bool:
    """Whether a name is the path of a file, even a missing one, rather than a pack of
    insightface."""
    return name.endswith(".onnx") or "/" in name or Path(name).is_file()


def fetch_pack(pack: str) -> Path:
    """The face recognition network of one of insightface's packs, downloaded if necessary after its
    licence is printed; raises BadWeights."""
    require_packages()
    from insightface.utils import ensure_available

    from ganmut.faces.detectors.insightface import announce

    announce(pack)
    try:
        folder = Path(ensure_available("models", pack))
    except Exception as error:  # noqa: BLE001 (its errors share no base class)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadWeights(
            f"insightface provides no pack {quote(pack)} ({reason}): give buffalo_l, buffalo_s, "
            "antelopev2 or an ONNX file"
        ) from None
    for path in sorted(folder.rglob("*.onnx")):
        shape = input_shape(load_model(path))
        if shape[1:] == [3, 112, 112]:
            return path
    raise BadWeights(f"{folder} holds no face recognition network of 112 x 112 px")


def read_sidecar(path: str | Path) -> dict[str, Any]:
    """The arguments of OnnxEmotion in NAME.json beside NAME.onnx: labels and input normalisation.

    {"labels": [...], "mean": [r, g, b], "std": [r, g, b], "channels": "RGB" or "BGR"}: mean and std
    are for pixels in 0..1; without them pixels stay in 0..255. Raises BadWeights.
    """
    require_file(path)
    side = Path(path).with_suffix(".json")
    example = '{"labels": ["anger", ...], "mean": [...], "std": [...]}'
    try:
        values = read_json(side)
        if not isinstance(values, dict):
            raise TypeError(f"it holds a {type(values).__name__}")
        known = values.keys() <= SIDECAR_KEYS
        labels = [str(label) for label in values["labels"]] if known else []
        scale = {key: [float(v) for v in values[key]] for key in ("mean", "std") if key in values}
        order = str(values.get("channels", "RGB")).upper()
    except FileNotFoundError:
        raise BadWeights(
            f"{path} has no labels of its outputs: write {side.name} beside it, {example}"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise BadWeights(f"{side} must be like {example} ({first_line(error)})") from None
    valid = all(len(v) == 3 for v in scale.values()) and all(scale.get("std", [1.0]))
    if not (labels and valid and len(scale) in (0, 2) and order in ("RGB", "BGR")):
        raise BadWeights(
            f"{side} must be like {example}, with keys of {', '.join(sorted(SIDECAR_KEYS))}: mean "
            "and std together with three numbers each, no std 0, channels RGB or BGR"
        )
    options = {**scale, "bgr": order == "BGR", "sidecar": side.read_bytes()}
    return {"emotions": ",".join(labels), **options}


class OnnxExtractor(Extractor):
    """Base of extractors from ONNX files: no gradients, no training."""

    def embed(self, x: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network gives no gradients; use it on uint8 images")

    def predict(self, features: Tensor) -> Tensor:
        raise NotImplementedError("an ONNX network takes images, not features")

    def training_task(self, faces: FaceSet, generator: torch.Generator) -> TrainingTask:
        raise BadData("an ONNX network cannot be trained")

    def evaluate(self, faces: FaceSet, extraction: Extraction) -> dict[str, Any]:
        raise BadData("an ONNX network cannot be evaluated")


class OnnxIdentity(OnnxExtractor):
    """A face recognition network in an ONNX file (ArcFace and similar), run by insightface.

    The licence of the file applies: insightface's packs are for non-commercial research only.
    """

    name = "onnx_identity"
    title = "Identity embedder (ONNX)"
    outputs = "the embedding, of length 1"

    def __init__(self, path: str | Path):
        super().__init__(EMOTIONS, 112)
        load_model(path)  # raises BadWeights before insightface reads the file
        from insightface.model_zoo import get_model

        try:
            with loading(path):
                self.network = get_model(str(path), providers=["CPUExecutionProvider"])
        except BadNetwork as error:
            raise BadWeights(str(error)) from None
        if not hasattr(self.network, "get_feat"):
            raise BadWeights(f"{path} is not a face recognition model of 112 x 112 px")
        width = self.network.output_shape[-1]
        if isinstance(width, int) and width < 32:  # a classifier with the same input size
            raise BadWeights(f"{path} has {width} outputs per face: too few for an embedding")
        self.sha256 = sha256(path)

    def forward(self, images: Tensor) -> Extraction:
        # The project's crop (ganmut.datasets.base.CROP) is ArcFace's shifted up by 7 px of 128;
        # this undoes the shift.
        shift = math.floor(images.shape[-2] * 7 / 128 + 0.5)
        lower = F.pad(images.float().cpu(), (0, 0, shift, 0), mode="replicate")
        small = pictures.resize(lower[..., : images.shape[-2], :], self.size)
        small = small.round().clamp(0, 255).to(torch.uint8)
        bgr = [np.ascontiguousarray(face[..., ::-1]) for face in pictures.to_array(small)]
        features = np.concatenate(list(self._batches(bgr)))
        embedding = F.normalize(torch.from_numpy(features).float(), dim=1)
        return Extraction(embedding, embedding)

    def _batches(self, faces: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Features of faces in batches of the size that the file fixes (often 1), or 64."""
        fixed = self.network.input_shape[0]
        step = fixed if isinstance(fixed, int) else 64
        for start in range(0, len(faces), step):
            batch = faces[start : start + step]
            missing = step - len(batch) if isinstance(fixed, int) else 0
            yield self.network.get_feat(batch + batch[-1:] * missing)[: len(batch)]


class OnnxEmotion(OnnxExtractor):
    """An expression classifier: N x 3 x S x S images -> probabilities (or logits).

    The input is RGB in 0..255, normalised by `mean` and `std` (of pixels in 0..1), BGR if `bgr`.
    sidecar: the bytes of the sidecar, which are part of the sha256. Features are the input of the
    last linear layer, or log-probabilities without one. Raises BadWeights.
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
        bgr: bool = False,
        sidecar: bytes = b"",
    ):
        names = [canonical_emotion(name) for name in emotions.split(",") if name.strip()]
        model = load_model(path)
        import onnx

        shape = input_shape(model)
        if len(shape) != 4 or shape[1] != 3 or not shape[2] or shape[2] != shape[3]:
            raise BadWeights(f"{path} has an input of shape {shape}, expected N x 3 x S x S")
        # Outputs are reordered from the classes of the file to the project's order, neutral first.
        if "neutral" not in names or len(set(names)) != len(names):
            raise BadWeights(
                f"{path}: name each output once, neutral among them, got {quote(emotions)}"
            )
        emotions_here = [e for e in EMOTIONS if e in names] + [
            e for e in names if e not in EMOTIONS
        ]
        super().__init__(tuple(emotions_here), shape[2])
        self.mean, self.std = (255 * torch.tensor(v)[:, None, None] for v in (mean, std))
        self.bgr, self.batch_size = bgr, shape[0]  # 0: any batch size
        self.columns = [names.index(emotion) for emotion in emotions_here]
        self.softmax = any(node.op_type == "Softmax" for node in model.graph.node[-3:])
        self.output_names = [model.graph.output[0].name]
        if feature := penultimate(model):
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(feature))
            self.output_names.append(feature)
        try:
            self.session = open_session(path, model.SerializeToString())
        except BadNetwork as error:
            raise BadWeights(str(error)) from None
        self.input_name, self.sha256 = model.graph.input[0].name, sha256(path)
        if sidecar:
            self.sha256 = hashlib.sha256(self.sha256.encode() + sidecar).hexdigest()
        self.path, self.classes = path, len(names)

    def forward(self, images: Tensor) -> Extraction:
        chunks = [self._run(chunk) for chunk in images.split(self.batch_size or BATCH_SIZE)]
        features, outputs = zip(*chunks, strict=True)
        return Extraction(torch.cat(features), torch.cat(outputs))

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and outputs of one batch, uint8 N x 3 x H x W."""
        x = pictures.resize(images.float().cpu(), self.size).round().clamp(0, 255)
        x = (x - self.mean) / self.std
        x = x.flip(1) if self.bgr else x
        # A fixed batch size: the last batch is padded with copies of its last image.
        missing = self.batch_size - len(x) if self.batch_size else 0
        x = torch.cat([x, x[-1:].expand(missing, -1, -1, -1)])
        arrays = self.session.run(self.output_names, {self.input_name: x.contiguous().numpy()})
        arrays = [array[: len(images)] for array in arrays]
        outputs, *features = (torch.from_numpy(array).float().flatten(1) for array in arrays)
        if outputs.shape[1] != self.classes:
            raise BadWeights(
                f"{self.path} has {outputs.shape[1]} outputs, {self.classes} emotions are named"
            )
        outputs = (outputs if self.softmax else outputs.softmax(1))[:, self.columns]
        return features[0] if features else outputs.clamp(min=1e-6).log(), outputs


def penultimate(model: Any) -> str | None:
    """The name of the input of the last linear layer of an ONNX model, or None without one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in reversed(model.graph.node):
        if node.op_type in ("MatMul", "Gemm"):
            return next((name for name in node.input if name not in constants), None)
    return None


def input_shape(model: Any) -> list[int]:
    """The shape of an ONNX model's input, 0 for dimensions of any size."""
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]


def require_packages() -> None:
    """Raises BadWeights where a package for ONNX files is missing."""
    try:
        import insightface  # noqa: F401
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise BadWeights(
            f"an ONNX extractor needs {error.name}: pip install 'ganmut[faces]'"
        ) from None


def require_file(path: str | Path) -> None:
    """Raises BadWeights for a missing file."""
    if not Path(path).is_file():
        raise BadWeights(f"{path}: no such ONNX file")


def load_model(path: str | Path) -> Any:
    """The ONNX model of a file; raises BadWeights for a missing or invalid file and for missing
    packages."""
    require_file(path)
    require_packages()
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(str(path))
        return onnx.load(str(path))
    except (onnx.checker.ValidationError, DecodeError, OSError) as error:
        reason = first_line(error).rstrip(".")
        raise BadWeights(
            f"{path} is not a usable ONNX file ({reason}): copy it again, or export it for an "
            "older version of ONNX"
        ) from None
