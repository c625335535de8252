"""A weight folder on disk: written completely or not at all, checked before its tensors are used.

    generator.safetensors (editors) or network.safetensors (extractors); large ones in parts, as
                          generator-00001-of-00003.safetensors ..., listed in config.json
    config.json           what to build, the sha256 of the tensors, facts of the training
    golden.safetensors    inputs, and the outputs of the stored tensors for them
    README.md             the model card

Nothing is unpickled: tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ganmut.files import replaced_folder, write_atomic

FORMAT = 1
FILES = {"editor": "generator.safetensors", "extractor": "network.safetensors"}
# Bytes of tensors in one file. With its header a file stays under 6 MiB, so that a failed upload or
# download repeats little.
MAX_PART_BYTES = 6_200_000
# Tensors with fewer elements stay float32: norms, biases and learned codes take little space.
HALF_MIN_ELEMENTS = 1024
REMEDY = "fetch it again or train it again"


class BadWeights(ValueError):
    """A weight folder that cannot be used; the message names the file, the fault and the remedy."""


@dataclass(frozen=True)
class Weights:
    """The checked content of a weight folder: tensors by name, config.json, and where it lies."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    folder: Path

    @property
    def path(self) -> Path:
        """The file of the tensors, or the folder where they are in parts."""
        names = tensor_files(self.config)
        return self.folder / names[0] if len(names) == 1 else self.folder


def tensor_files(config: dict[str, Any]) -> list[str]:
    """Names of the tensor files that a checked config.json lists, in order."""
    return [part["file"] for part in _parts(config)]


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    whole = {"file": FILES[config["kind"]]} | {k: config.get(k) for k in ("sha256", "bytes")}
    return config.get("parts") or [whole]


def read_config(folder: str | Path) -> dict[str, Any]:
    """config.json of a weight folder, its format and kind checked; raises BadWeights."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadWeights(f"{path} is missing: not a weight folder; {REMEDY}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadWeights(f"{path} is not valid JSON ({error}); {REMEDY}") from None
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise BadWeights(
            f"{path} has format {found!r}, this version reads {FORMAT}; update ganmut or {REMEDY}"
        )
    if config.get("kind") not in FILES:
        raise BadWeights(
            f"{path} has kind {config.get('kind')!r}, expected one of {', '.join(FILES)}"
        )
    stem = FILES[config["kind"]].removesuffix(".safetensors")
    try:  # a part is a file of this folder: no path may lead out of it
        valid = all(
            re.fullmatch(rf"{stem}[-\w]*\.safetensors", name) for name in tensor_files(config)
        )
    except (TypeError, KeyError):
        valid = False
    if not valid:
        raise BadWeights(f"{path} has an invalid list of parts; {REMEDY}")
    return config


def read(folder: str | Path, kind: str | None = None) -> Weights:
    """The checked weight of a folder; raises BadWeights for a damaged file, a wrong hash or kind.

    kind: "editor", "extractor", or None for any.
    """
    folder = Path(folder)
    config = read_config(folder)
    if kind and config["kind"] != kind:
        raise BadWeights(
            f"{folder} holds an {config['kind']}, not an {kind}; give the folder of an {kind}"
        )
    tensors: dict[str, Tensor] = {}
    whole = hashlib.sha256()
    for part in _parts(config):
        data = _bytes(folder / part["file"], part.get("sha256"), part.get("bytes"))
        whole.update(data)
        tensors |= _tensors(folder / part["file"], data)
    if whole.hexdigest() != config.get("sha256"):
        raise BadWeights(
            f"{folder / 'config.json'} lists parts that do not match: their sha256 is "
            f"{whole.hexdigest()[:12]}, expected {str(config.get('sha256'))[:12]}; {REMEDY}"
        )
    return Weights(tensors, config, folder)


def read_golden(folder: str | Path) -> dict[str, Tensor]:
    """The golden tensors of a weight folder, by name; raises BadWeights."""
    path = Path(folder) / "golden.safetensors"
    return _tensors(path, _bytes(path))


def _bytes(path: Path, expected: str | None = "", length: int | None = None) -> bytes:
    if not path.is_file():
        raise BadWeights(f"{path} is missing; {REMEDY}")
    data = path.read_bytes()
    if data.startswith(b"version https://git-lfs"):
        raise BadWeights(f"{path} is a Git LFS pointer, not the file; run `git lfs pull`")
    if length is not None and len(data) < length:
        raise BadWeights(f"{path} is truncated: {len(data):,} of {length:,} bytes; {REMEDY}")
    found = hashlib.sha256(data).hexdigest()
    if expected != "" and found != expected:
        raise BadWeights(
            f"{path} was altered: its sha256 is {found[:12]}, "
            f"config.json says {str(expected)[:12]}; {REMEDY}"
        )
    return data


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise BadWeights(f"{path} is not a readable safetensors file ({error}); {REMEDY}") from None


def fill_module(module: nn.Module, weights: Weights) -> None:
    """Loads the tensors into a module; raises BadWeights for the first name or shape that
    differs."""
    expected, given, path = module.state_dict(), weights.tensors, weights.path
    for name in [*expected, *(extra for extra in given if extra not in expected)]:
        if name not in given:
            raise BadWeights(f"{path} lacks the tensor {name!r} that its config needs; {REMEDY}")
        if name not in expected:
            raise BadWeights(
                f"{path} holds the tensor {name!r} that its config does not need; {REMEDY}"
            )
        if expected[name].shape != given[name].shape:
            raise BadWeights(
                f"{path}: the tensor {name!r} has shape {tuple(given[name].shape)}, "
                f"its config asks for {tuple(expected[name].shape)}; {REMEDY}"
            )
    module.load_state_dict(given, strict=True)


def write(
    folder: str | Path,
    kind: str,
    tensors: dict[str, Tensor],
    config: dict[str, Any],
    make_golden: Callable[[Weights], dict[str, Tensor]],
    card: str,
    half: bool = True,
) -> Path:
    """Writes a weight folder, completely or not at all, and returns it; replaces an older weight.

    make_golden: makes the golden tensors from the weights as read back, so that they include the
    rounding to float16. card: text of README.md. Raises BadWeights where the folder holds other
    files, or a tensor NaN or infinity.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file():
        raise BadWeights(f"{folder} is in use and is not a weight folder; choose another folder")
    with replaced_folder(folder) as partial:
        split = _split(kind, {name: to_storage(name, t, half) for name, t in tensors.items()})
        for name, data in split.items():
            write_atomic(partial / name, data)
        head = {"format": FORMAT, "kind": kind}
        digest = _digest(b"".join(split.values()))
        if len(split) > 1:
            digest["parts"] = [{"file": name} | _digest(data) for name, data in split.items()]
        text = json.dumps({**head, **config, **digest}, indent=2, allow_nan=False)
        write_atomic(partial / "config.json", text + "\n")
        facts = {name: t.contiguous() for name, t in make_golden(read(partial)).items()}
        write_atomic(partial / "golden.safetensors", safetensors.torch.save(facts))
        write_atomic(partial / "README.md", card)
    return folder


def _digest(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _split(kind: str, tensors: dict[str, Tensor]) -> dict[str, bytes]:
    """File name -> bytes: one file, or numbered parts where the tensors exceed MAX_PART_BYTES."""
    from huggingface_hub import split_torch_state_dict_into_shards

    pattern = FILES[kind].replace(".", "{suffix}.")
    parts = split_torch_state_dict_into_shards(
        tensors, filename_pattern=pattern, max_shard_size=MAX_PART_BYTES
    ).filename_to_tensors
    return {
        file: safetensors.torch.save({name: tensors[name] for name in names})
        for file, names in parts.items()
    }


def to_storage(name: str, tensor: Tensor, half: bool = True) -> Tensor:
    """A tensor as stored, on the CPU; float32 tensors of HALF_MIN_ELEMENTS become float16 where
    `half` is set and none of their values overflows. Raises BadWeights on NaN or infinity."""
    tensor = tensor.detach().cpu()
    if not torch.isfinite(tensor).all():
        raise BadWeights(f"the tensor {name!r} holds NaN or infinity; nothing was written")
    if (
        half
        and tensor.dtype == torch.float32
        and tensor.dim() > 1
        and tensor.numel() >= HALF_MIN_ELEMENTS
    ):
        smaller = tensor.half()
        tensor = smaller if torch.isfinite(smaller).all() else tensor
    # safetensors refuses tensors that share memory.
    return tensor.clone(memory_format=torch.contiguous_format)
