"""Inception-v3 in torch-fidelity's version ("inception-v3-compat"): the network of FID."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import re
import sys
import urllib.error
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..stats import NotMeasured

# torch-fidelity's published file, made from the original TensorFlow weights.
PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
UNAVAILABLE = "no Inception weights: pass --inception PATH or go online"
_LIBRARIES: list[Any] = []  # operators are unregistered when their library is collected


def torch_fidelity() -> ModuleType:
    """Imports torch_fidelity, also where torchvision is built for CUDA and PyTorch for CPU.

    Such a torchvision fails to import, because it uses operators that PyTorch does not register.
    They are declared, the incomplete modules removed, and the import is tried again. A working
    installation is left as it is.
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
            _LIBRARIES.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings of its own dependencies
        return importlib.import_module("torch_fidelity")


@dataclass(frozen=True)
class Extraction:
    """features: float32 m x 2048."""

    features: Tensor


class Inception:
    """uint8 m x 3 x S x S pictures -> m x 2048 pool features. note: a remark for results, empty for
    the published weights."""

    name, version = "inception-v3-compat", 1

    def __init__(self, path: Path, device: torch.device | str = "cpu"):
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.device = torch.device(device)
        published = self.sha256 == PUBLISHED
        other = f"Inception weights are not the published file (sha256 {self.sha256[:12]})"
        self.note = "" if published else other
        self.network = _build(path, published).to(self.device)

    def __call__(self, images: Tensor) -> Extraction:
        with torch.no_grad():
            pieces = [self.network(part.to(self.device))[0] for part in images.split(16)]
        return Extraction(torch.cat(pieces).float().cpu())


def _build(path: Path, published: bool) -> torch.nn.Module:
    """The network of a file: the published .pth, recognised by its hash, or a .safetensors with the
    same keys and shapes. Raises ValueError for any other file."""
    torch_fidelity()
    module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    make = module.FeatureExtractorInceptionV3
    if published:  # torch-fidelity unpickles: only the file with the known hash
        return make(Inception.name, ["2048"], feature_extractor_weights_path=str(path))
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} is not torch-fidelity's published file (sha256 {PUBLISHED[:12]}...) and "
            "will not be unpickled; give that file, or a .safetensors of the same tensors"
        )
    state = safetensors.torch.load_file(path)
    with _replace_download(module, state):
        try:
            return make(Inception.name, ["2048"])
        except RuntimeError as error:
            raise ValueError(
                f"{path} does not hold Inception-v3: {str(error).splitlines()[-1].strip()}"
            ) from None


@contextlib.contextmanager
def _replace_download(module: Any, state: dict[str, Tensor]) -> Iterator[None]:
    # torch-fidelity unpickles a file or downloads one. Its loader is replaced while the network is
    # built.
    loader = module.load_state_dict_from_url
    module.load_state_dict_from_url = lambda *args, **kwargs: state
    try:
        yield
    finally:
        module.load_state_dict_from_url = loader


def find(path: str | None, device: torch.device | str = "cpu") -> Inception:
    """Loads Inception from a file, from torch's cache, or from torch-fidelity's address.

    Raises NotMeasured where it is not available, ValueError for a wrong file.
    """
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"--inception {path}: no such file")
        return Inception(Path(path), device)
    torch_fidelity()
    url = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").URL_INCEPTION_V3
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=PUBLISHED, progress=False)
        except (urllib.error.URLError, OSError, RuntimeError):
            raise NotMeasured(UNAVAILABLE) from None
    return Inception(cached, device)
