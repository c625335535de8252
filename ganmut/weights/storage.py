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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganmut.errors import ParameterError, first_line
from ganmut.files import DamagedFile, describe_stand_in, replaced_folder, write_atomic
from ganmut.json_files import parse_json
from ganmut.networks.config import Settings
from ganmut.text import quote
from ganmut.weights.schema import Facts
from ganmut.weights.tensor_files import (
    REMEDY,
    BadWeights,
    check_hash,
    check_size,
    read_shapes,
    read_start,
    read_tensors,
)

FORMAT = 1
FILES = {"editor": "generator.safetensors", "extractor": "network.safetensors"}
# Bytes of tensors in one file. With its header a file stays under 6 MiB, so that a failed upload or
# download repeats little.
MAX_PART_BYTES = 6_200_000
# Tensors with fewer elements stay float32: norms, biases and learned codes take little space.
HALF_MIN_ELEMENTS = 1024
# Bytes that are read of files from strangers; the largest published generator has 245 MB.
MAX_CONFIG_BYTES, MAX_GOLDEN_BYTES, MAX_TENSOR_BYTES = 1_000_000, 64_000_000, 2_000_000_000
# Elements that a network may have beyond twice those of its tensors: buffers and the like.
SPARE_ELEMENTS = 4_000_000
PART_TEXTS = ("file", "sha256")

Built = TypeVar("Built")
Checked = TypeVar("Checked", bound=Settings)


@dataclass(frozen=True)
class Weights:
    """The checked content of a weight folder: config.json, where it lies, and the tensors by name.

    shapes: the tensors without their values (on the device "meta"), as the files list them.
    """

    shapes: dict[str, Tensor]
    config: dict[str, Any]
    folder: Path

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name, read when they are first needed: after `check_fit`, so that a file
        takes no memory which its config does not ask for. Raises BadWeights for NaN and infinity,
        and where a file is no longer the one that was checked."""
        found: dict[str, Tensor] = {}
        for name in tensor_files(self.config):
            found |= read_tensors(self.folder / name)
        # Compared again after reading: the file may have been replaced since its header was read.
        _compare(self.shapes, found, self.path)
        return found

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
    """config.json of a weight folder, its entries checked; raises BadWeights."""
    path = Path(folder) / "config.json"
    config = parse_object(read_start(path, MAX_CONFIG_BYTES), path)
    # `format` first: entries of a later one may mean something else.
    found = config.get("format")
    # True equals 1.
    if found != FORMAT or type(found) is not int:
        raise BadWeights(
            f"{path} has format {quote(found)}, this version reads {FORMAT}; "
            f"update ganmut or {REMEDY}"
        )
    if config.get("kind") not in tuple(FILES):
        raise BadWeights(
            f"{path} has kind {quote(config.get('kind'))}, expected one of {', '.join(FILES)}"
        )
    parse_settings(Facts, {k: v for k, v in config.items() if k in Facts.names()}, path)
    stem = FILES[config["kind"]].removesuffix(".safetensors")
    parts = _parts(config)
    # A part is a file of this folder: no path may lead out of it.
    if not isinstance(parts, list) or not all(_is_part(part, stem) for part in parts):
        raise BadWeights(f"{path} has an invalid list of parts; {REMEDY}")
    return config


def _is_part(part: Any, stem: str) -> bool:
    if not isinstance(part, dict) or not all(isinstance(part.get(k), str) for k in PART_TEXTS):
        return False
    name, size = part["file"], part.get("bytes")
    return bool(re.fullmatch(rf"{stem}[-\w]*\.safetensors", name)) and type(size) is int


def parse_object(text: bytes, path: Path) -> dict[str, Any]:
    """The JSON object of a file's content; raises BadWeights for anything else, NaN included."""
    if stand_in := describe_stand_in(text):
        raise BadWeights(f"{path} is {stand_in}")
    try:
        found = parse_json(text)
        json.dumps(found, allow_nan=False)  # Python reads NaN, which is no JSON
    except DamagedFile as error:
        raise BadWeights(f"{path} is {error}; {REMEDY}") from None
    except ValueError:
        raise BadWeights(f"{path} is not valid JSON (NaN is no number); {REMEDY}") from None
    if not isinstance(found, dict):
        raise BadWeights(f"{path} is not valid JSON (no object); {REMEDY}")
    return found


def parse_settings(kind: type[Checked], values: Any, path: Path) -> Checked:
    """The settings of a JSON object of a weight folder; raises BadWeights for a name that is no
    field of them and for a value of another type or outside its limits."""
    try:
        return kind.parse(values)
    except ParameterError as error:
        raise BadWeights(
            f"{path}: {error}; it was damaged, or written by another version of ganmut"
        ) from None


def read(folder: str | Path, kind: str | None = None) -> Weights:
    """The checked weight of a folder; raises BadWeights for a damaged file, a wrong hash or kind.

    kind: "editor", "extractor", or None for any. Sizes are compared before a file is read, and
    hashes before its tensors are.
    """
    folder = Path(folder)
    config = read_config(folder)
    if kind and config["kind"] != kind:
        raise BadWeights(
            f"{folder} holds an {config['kind']}, not an {kind}; give the folder of an {kind}"
        )
    parts, total = _parts(config), 0
    for part in parts:
        # Sizes before hashes: a file of gigabytes is refused without being read.
        total += check_size(folder / part["file"], part["bytes"])
        if total > MAX_TENSOR_BYTES:
            raise BadWeights(
                f"{folder} has tensors of more than {MAX_TENSOR_BYTES:,} bytes, which no method has"
            )
    whole = hashlib.sha256()
    for part in parts:
        check_hash(folder / part["file"], part["sha256"], whole)
    # Each part alone may be right and still belong to another weight.
    if whole.hexdigest() != config["sha256"]:
        raise BadWeights(
            f"{folder / 'config.json'} lists parts that do not match: their sha256 is "
            f"{whole.hexdigest()[:12]}, expected {config['sha256'][:12]}; {REMEDY}"
        )
    shapes: dict[str, Tensor] = {}
    for part in parts:
        shapes |= read_shapes(folder / part["file"])
    return Weights(shapes, config, folder)


def require(weights: Weights, *names: str) -> None:
    """Raises BadWeights where config.json lacks one of these entries."""
    if missing := [name for name in names if weights.config.get(name) is None]:
        path = weights.folder / "config.json"
        raise BadWeights(f"{path} lacks {', '.join(missing)}; {REMEDY}")


def read_golden(folder: str | Path, *names: str) -> dict[str, Tensor]:
    """The golden tensors of a weight folder, by name; raises BadWeights, also where one of `names`
    is missing."""
    path = Path(folder) / "golden.safetensors"
    read_start(path, MAX_GOLDEN_BYTES)
    found = read_tensors(path)
    if missing := [name for name in names if name not in found]:
        raise BadWeights(f"{path} lacks the tensor {quote(missing[0])}; {REMEDY}")
    return found


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_fit(expected: Mapping[str, Tensor], weights: Weights) -> None:
    """Compares the tensors of a weight with a state dict (of any device, "meta" included); raises
    BadWeights for the first name, shape or kind of number that differs."""
    _compare(expected, weights.shapes, weights.path)


def _compare(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    for name in [*expected, *(extra for extra in given if extra not in expected)]:
        if name not in given:
            raise BadWeights(
                f"{path} lacks the tensor {quote(name)} that its config needs; {REMEDY}"
            )
        if name not in expected:
            raise BadWeights(
                f"{path} holds the tensor {quote(name)} that its config does not need; {REMEDY}"
            )
        if expected[name].shape != given[name].shape:
            raise BadWeights(
                f"{path}: the tensor {quote(name)} has shape {tuple(given[name].shape)}, "
                f"its config asks for {tuple(expected[name].shape)}; {REMEDY}"
            )
        if expected[name].is_floating_point() != given[name].is_floating_point():
            raise BadWeights(
                f"{path}: the tensor {quote(name)} is {_dtype(given[name])}, its config asks for "
                f"{_dtype(expected[name])}; {REMEDY}"
            )


def fill_module(module: nn.Module, weights: Weights) -> None:
    """Loads the tensors into a module; raises BadWeights as `check_fit`."""
    check_fit(module.state_dict(), weights)
    module.load_state_dict(weights.tensors, strict=True)


class Blank(TorchFunctionMode):
    """Networks built within this are not initialised, and take no more than `most` elements.

    Stored tensors replace random ones at once; drawing them takes longer than reading. Raises
    ValueError where a network grows beyond that: a config from a stranger may ask for any size.
    """

    DRAW = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_normal_, nn.init.kaiming_uniform_)
    MAKE = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func in self.DRAW:
            return args[0] if args else (kwargs or {})["tensor"]
        made = func(*args, **kwargs or {})
        if func in self.MAKE:
            self.most -= made.numel()
            if self.most < 0:
                raise ValueError("its settings ask for a larger network than its tensors fill")
        return made


def build_module(
    build: Callable[[], Built], weights: Weights, network: Callable[[Built], nn.Module]
) -> Built:
    """What `build` returns, whose `network(...)` is filled with the tensors of a weight; raises
    BadWeights where they do not fit."""
    stored = sum(tensor.numel() for tensor in weights.shapes.values())
    try:
        # Initialisation must not advance the caller's random state.
        with torch.random.fork_rng([]), Blank(SPARE_ELEMENTS + 2 * stored):
            built = build()
    except (ValueError, RuntimeError) as error:
        path = weights.folder / "config.json"
        raise BadWeights(f"{path} cannot be built: {first_line(error)}; {REMEDY}") from None
    fill_module(network(built), weights)
    return built


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
        # From the folder as read back: what is checked later are these bytes, float16 included.
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
        raise BadWeights(f"the tensor {quote(name)} holds NaN or infinity; nothing was written")
    if (
        half
        and tensor.dtype == torch.float32
        and tensor.dim() > 1
        and tensor.numel() >= HALF_MIN_ELEMENTS
    ):
        # Above 65,504 float16 is infinite; such a tensor stays whole.
        smaller = tensor.half()
        tensor = smaller if torch.isfinite(smaller).all() else tensor
    # safetensors refuses tensors that share memory.
    return tensor.clone(memory_format=torch.contiguous_format)
