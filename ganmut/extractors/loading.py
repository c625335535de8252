"""Loading frozen extractors: from weight folders and from ONNX files."""

from __future__ import annotations

from pathlib import Path

import torch

from ganmut import device as hardware
from ganmut import weights
from ganmut.extractors.base import EXTRACTORS, MEMORY_FORMAT, Extractor
from ganmut.extractors.onnx_file import open_onnx
from ganmut.weights import storage


def load(spec: str | Path, device: torch.device | str | None = None) -> Extractor:
    """The frozen extractor of a spec: bundled "procedural/emotion", a folder, "hub:OWNER/NAME@REV".

    "onnx:PATH": a face recognition network for insightface; "onnx:buffalo_l": that of one of its
    packs; "onnx:PATH:": an expression classifier with its labels in a sidecar; and
    "onnx:PATH:happy,neutral,...": with its outputs in this order. Raises UnknownNameError or
    BadWeights.
    """
    if str(spec).startswith("onnx:"):
        return open_onnx(str(spec).removeprefix("onnx:"))
    return restore(storage.read(weights.resolve(spec, "extractor"), "extractor"), device)


def restore(written: storage.Weights, device: torch.device | str | None = None) -> Extractor:
    """The frozen extractor of a weight folder; raises BadWeights for another version."""
    storage.require(written, "extractor", "emotions", "size")
    config = written.config
    kind = EXTRACTORS[config["extractor"]]
    if (version := config.get("version")) != kind.version:
        raise storage.BadWeights(
            f"{written.folder} holds version {version} of {kind.name}, "
            f"this ganmut has version {kind.version}; train it again"
        )
    extractor: Extractor = storage.build_module(
        lambda: kind(tuple(config["emotions"]), config["size"]), written, lambda built: built
    )
    extractor.config, extractor.sha256 = config, config["sha256"]
    target = hardware.select_device(None if device is None else str(device))
    extractor.eval().requires_grad_(False).to(target)
    extractor.to(memory_format=MEMORY_FORMAT)  # type: ignore[call-overload] # torch omits it
    return extractor


def verify(folder: str | Path) -> float:
    """Largest difference between the golden features and outputs and those computed on the CPU."""
    golden = storage.read_golden(folder, "faces", "features", "outputs")
    computed = restore(storage.read(folder, "extractor"), "cpu")(golden["faces"])
    pairs = ((computed.features, golden["features"]), (computed.outputs, golden["outputs"]))
    if any(a.shape != b.shape for a, b in pairs):
        raise storage.BadWeights(f"{folder}: its golden tensors are not those of its network")
    return max(float((a - b).abs().max()) for a, b in pairs)
