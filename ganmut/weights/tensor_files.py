"""Reads the files of a weight folder: of bounded size, of the listed hash, safetensors only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganmut.errors import first_line
from ganmut.files import STAND_IN_BYTES, describe_stand_in
from ganmut.text import quote

REMEDY = "fetch it again or train it again"
CHUNK_BYTES = 1 << 20
DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "U8": torch.uint8,
}


class BadWeights(ValueError):
    """A weight folder that cannot be used; the message names the file, the fault and the remedy."""


def read_start(path: Path, most: int) -> bytes:
    """The bytes of a file that has at most `most`; raises BadWeights for a larger one, and for one
    that is missing or no file."""
    size = _size(path)
    if size > most:
        raise BadWeights(f"{path} has {size:,} bytes, at most {most:,} are expected; {REMEDY}")
    return path.read_bytes()


def _size(path: Path) -> int:
    try:
        state = path.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise BadWeights(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None
        raise BadWeights(f"{path} is missing; {REMEDY}") from None
    # A pipe would wait for a writer for ever, and a device has no end.
    if not stat.S_ISREG(state.st_mode):
        raise BadWeights(f"{path} is not a file; {REMEDY}")
    return state.st_size


def check_size(path: Path, expected: int) -> int:
    """The size of a tensor file; raises BadWeights where it is not the expected one."""
    size = _size(path)
    if size == expected:
        return size
    with open(path, "rb") as file:
        # A Git LFS pointer or an error page in place of the file: another remedy than a broken
        # copy.
        if stand_in := describe_stand_in(file.read(STAND_IN_BYTES)):
            raise BadWeights(f"{path} is {stand_in}")
    wrong = "truncated" if size < expected else "too large"
    raise BadWeights(f"{path} is {wrong}: {size:,} of {expected:,} bytes; {REMEDY}")


def check_hash(path: Path, expected: str, whole: Any) -> None:
    """Adds the bytes of a file to a hash of all parts; raises BadWeights for a wrong hash."""
    state = hashlib.sha256()
    with open(path, "rb") as file:
        # By the mebibyte: hashing must not take the memory that the tensors will need.
        while chunk := file.read(CHUNK_BYTES):
            state.update(chunk)
            whole.update(chunk)
    if state.hexdigest() != expected:
        raise BadWeights(
            f"{path} was altered: its sha256 is {state.hexdigest()[:12]}, "
            f"config.json says {expected[:12]}; {REMEDY}"
        )


def read_shapes(path: Path) -> dict[str, Tensor]:
    """The tensors that a file's header lists, without values; raises BadWeights for a dtype that no
    network here has."""
    with _refuse_unreadable(path), safetensors.safe_open(path, "pt") as file:
        listed = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        kinds = {name: part.get_dtype() for name, part in listed.items()}
        shapes = {name: part.get_shape() for name, part in listed.items()}
    for name, kind in kinds.items():
        # A dtype of no network here would be converted silently when it is loaded.
        if kind not in DTYPES:
            raise BadWeights(
                f"{path}: the tensor {quote(name)} is {kind}, expected one of {', '.join(DTYPES)}; "
                f"{REMEDY}"
            )
    return {
        name: torch.empty(shape, dtype=DTYPES[kinds[name]], device="meta")
        for name, shape in shapes.items()
    }


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; raises BadWeights for a dtype that no network here has, for NaN and
    for infinity."""
    read_shapes(path)
    with _refuse_unreadable(path):
        # Not mapped: a file that is overwritten under its tensors would end the process.
        found = safetensors.torch.load(path.read_bytes())
    for name, tensor in found.items():
        if not torch.isfinite(tensor).all():
            raise BadWeights(f"{path}: the tensor {quote(name)} holds NaN or infinity; {REMEDY}")
    return found


@contextlib.contextmanager
def _refuse_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        reason = first_line(error)
        raise BadWeights(
            f"{path} is not a readable safetensors file ({reason}); {REMEDY}"
        ) from None
