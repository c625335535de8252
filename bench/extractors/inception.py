"""Inception-v3 as torch-fidelity has it ("inception-v3-compat"): the network behind FID, and no
other under that name.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import sys
import urllib.error
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from bench.score import NotMeasured

# torch-fidelity's published file, made from the original TensorFlow weights.
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
ADVICE = "no Inception weights: pass --inception PATH or go online"
_KEPT_ALIVE: list[Any] = []  # libraries of operators live as long as this module


def torch_fidelity() -> ModuleType:
    """The module torch_fidelity, whatever build of torchvision stands beside this PyTorch.

    torchvision built for CUDA registers operators that a CPU build of PyTorch does not have, and
    fails to import. They are declared, the half-imported modules dropped, and the import tried
    again; nothing happens on a sound installation.
    """
    for _ in range(4):
        try:
            importlib.import_module("torchvision")
            break
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if not missing:
                raise
            for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{missing[1]}(Tensor a, Tensor b, float c) -> Tensor")
            _KEPT_ALIVE.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # what a dependency of a dependency deprecates is not ours to mend
        return importlib.import_module("torch_fidelity")


@dataclass(frozen=True)
class Seen:
    """features: float32 m x 2048."""

    features: Tensor


class Inception:
    """uint8 pictures -> 2048 pool features; `note` is empty only for the published weights."""

    name, version = "inception-v3-compat", 1

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.device = torch.device(device)
        published = self.sha256 == PUBLISHED
        other = f"Inception weights are not the published file (sha256 {self.sha256[:12]})"
        self.note = "" if published else other
        self.network = _build(path, published).to(self.device)

    def __call__(self, images: Tensor) -> Seen:
        with torch.no_grad():
            pieces = [self.network(part.to(self.device))[0] for part in images.split(16)]
        return Seen(torch.cat(pieces).float().cpu())


def _build(path: Path, published: bool) -> torch.nn.Module:
    """The network of a file: the published .pth (known by its hash) or a .safetensors of the same
    keys and shapes.
    """
    torch_fidelity()
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    make = module.FeatureExtractorInceptionV3
    if published:  # torch-fidelity unpickles: only ever the file whose every byte is known
        return make(Inception.name, ["2048"], feature_extractor_weights_path=str(path))
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is not torch-fidelity's published file (sha256 {PUBLISHED[:12]}...) and "
            "will not be unpickled; give that file, or a .safetensors of the same tensors"
        )
    state = safetensors.torch.load_file(path)
    with _instead_of_download(module, state):
        try:
            return make(Inception.name, ["2048"])
        except RuntimeError as error:
            raise ValueError(
                f"{path} does not hold Inception-v3: {str(error).splitlines()[-1].strip()}"
            ) from None


@contextlib.contextmanager
def _instead_of_download(module: ModuleType, state: dict[str, Tensor]):
    # torch-fidelity takes a file to unpickle or downloads one; its loader is replaced while the
    # network is built.
    loader = module.load_state_dict_from_url
    module.load_state_dict_from_url = lambda *args, **kwargs: state
    try:
        yield
    finally:
        module.load_state_dict_from_url = loader


def find(path: str | None, device: torch.device | str = "cpu") -> Inception:
    """Inception from a file, from torch's cache, or from torch-fidelity's own address.

    Raises NotMeasured where none is at hand, ValueError for a file that is not what it should be.
    """
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"--inception {path}: there is no such file")
        return Inception(Path(path), device)
    torch_fidelity()
    url = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").URL_INCEPTION_V3
    kept = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(kept), hash_prefix=PUBLISHED, progress=False)
        except (urllib.error.URLError, OSError, RuntimeError):
            raise NotMeasured(ADVICE) from None
    return Inception(kept, device)
