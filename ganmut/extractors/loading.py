"""Loading frozen extractors: from weight folders and from ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ganmut import device as hardware
from ganmut import weights
from ganmut.extractors.base import EXTRACTORS, MEMORY_FORMAT, Extractor
from ganmut.extractors.onnx_file import open_onnx
from ganmut.weights import storage


def build(config: dict[str, Any]) -> Extractor:
    """The extractor of a config.json, with initial parameters; raises BadWeights for missing
    keys."""
    missing = [name for name in ("extractor", "emotions", "size") if name not in config]
    if missing:
        raise storage.BadWeights(f"config.json lacks {', '.join(missing)}; {storage.REMEDY}")
    kind = EXTRACTORS[config["extractor"]]
    with torch.random.fork_rng([]):  # keeps the caller's random state
        return kind(tuple(config["emotions"]), config["size"])


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
    extractor = build(written.config)
    if (version := written.config.get("version")) != extractor.version:
        raise storage.BadWeights(
            f"{written.folder} holds version {version} of {extractor.name}, "
            f"this ganmut has version {extractor.version}; train it again"
        )
    storage.fill_module(extractor, written)
    extractor.config, extractor.sha256 = written.config, written.config["sha256"]
    target = hardware.select_device(None if device is None else str(device))
    extractor.eval().requires_grad_(False).to(target)
    extractor.to(memory_format=MEMORY_FORMAT)  # type: ignore[call-overload] # torch omits it
    return extractor


def verify(folder: str | Path) -> float:
    """Largest difference between the golden features and outputs and those computed on the CPU."""
    golden = storage.read_golden(folder)
    computed = restore(storage.read(folder, "extractor"), "cpu")(golden["faces"])
    pairs = ((computed.features, golden["features"]), (computed.outputs, golden["outputs"]))
    return max(float((a - b).abs().max()) for a, b in pairs)
