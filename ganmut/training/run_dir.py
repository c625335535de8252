"""Run directories: numbering, recipe.json, stats.jsonl, sample grids and snapshots, written
atomically and checked when they are read again."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from ganmut import images, legacy
from ganmut.errors import first_line
from ganmut.files import (
    UNSEALED,
    DamagedFile,
    append_lines,
    folder_lock,
    remove_temporaries,
    seal,
    trim_lines,
    unseal,
    write_atomic,
)
from ganmut.json_files import parse_json, read_small
from ganmut.methods.base import Config
from ganmut.training.config import Recipe, from_json, to_json

log = logging.getLogger(__name__)

META: dict[str, Any] = {"step": int, "g_steps": int, "seconds": (int, float), "origin": dict}
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam keeps of a parameter
STARTING = 60  # seconds in which a run directory gets its recipe.json
KEEP = 2  # snapshots to keep: the newest, and one more in case the newest is damaged


class RunError(ValueError):
    """A run directory that cannot be created, written or resumed. `parameter`: see
    ganmut.errors.ParameterError; "" where no parameter is at fault."""

    def __init__(self, message: str, parameter: str = ""):
        super().__init__(message)
        self.parameter = parameter


@dataclass(frozen=True)
class Snapshot:
    """The checked content of a snapshot: tensors by name, the numbers beside them, and its file."""

    path: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


class RunDir:
    """`runs/00003-ganmut-procedural-64/`: recipe.json, stats.jsonl, samples/, snapshots/, weights/
    at the end, and checkpoints/ where weights were kept on the way."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @classmethod
    def create(
        cls, root: str | Path, recipe: Recipe, config: Config, need_bytes: int = 0
    ) -> RunDir:
        """Creates the next numbered directory. Raises RunError if it cannot be written, or the disk
        has less than need_bytes free."""
        root = Path(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            _remove_empty(root)
            run = cls(_next_folder(root, recipe))
            write_atomic(run.path / "recipe.json", to_json(recipe, config))
        except OSError as error:
            raise RunError(
                f"cannot write runs under {root}: {error.strerror}; choose another directory", "out"
            ) from None
        # After mkdir, since the free space is that of the file system of the new directory.
        free = shutil.disk_usage(run.path).free
        if free < need_bytes:
            shutil.rmtree(run.path)
            raise RunError(
                f"{root} has {free / 2**20:.0f} MiB free, "
                f"this run needs about {need_bytes / 2**20:.0f}; "
                "free some space or choose another directory",
                "out",
            )
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """An existing run directory; raises RunError for a folder without recipe.json."""
        if not (Path(path) / "recipe.json").is_file():
            raise RunError(f"{path} is not a run directory (no recipe.json in it)")
        return cls(Path(path))

    def recipe(self) -> tuple[Recipe, Config]:
        """The settings of the run; raises RunError for a broken recipe.json."""
        path = self.path / "recipe.json"
        try:
            return from_json(read_small(path).decode("utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be used: {error}") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps the run for this process, and removes temporaries of a killed one. Raises InUse
        where another process trains it."""
        with folder_lock(self.path):
            for folder in (self.path, self.path / "samples", self.path / "snapshots"):
                remove_temporaries(folder)
            yield

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line to stats.jsonl; numbers that are not finite become null."""
        bad = [k for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)]
        append_lines(self.path / "stats.jsonl", [record | dict.fromkeys(bad)])

    def trim_log(self, step: int) -> None:
        """Removes the lines of stats.jsonl after `step`, which a resumed run writes again."""
        trim_lines(self.path / "stats.jsonl", step)

    def sample(self, kimg: float, grid: Tensor) -> Path:
        """Writes a sample grid, 3 x H x W uint8."""
        return images.write_png(self.path / "samples" / f"{kimg:09.3f}.png", grid)

    def checkpoint(self, method: str, kimg: float) -> Path:
        """The weight folder that is kept of a training at kimg; its name is a row of the bench."""
        return self.path / "checkpoints" / f"{method}-{kimg:g}"

    def snapshots(self) -> list[Path]:
        """Snapshots, oldest first."""
        return sorted((self.path / "snapshots").glob("*.safetensors"))

    def snapshot(self, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
        """Writes the tensors and meta of a snapshot, and deletes old ones beyond KEEP. Raises
        RunError where it cannot be written."""
        path = self.path / "snapshots" / f"{step:08d}.safetensors"
        try:
            write_snapshot(path, tensors, meta)
        except OSError as error:
            raise RunError(
                f"cannot write the snapshot {path}: {error.strerror}; the previous one is intact: "
                "free some space and resume the training"
            ) from None
        # After the new one is whole: at no moment is there none.
        for old in self.snapshots()[:-KEEP]:
            old.unlink()
        return path

    def latest(self) -> Snapshot | None:
        """The newest intact snapshot, or None where there is none yet; a warning names damaged
        ones. Raises RunError where all are damaged."""
        paths = self.snapshots()
        for path in reversed(paths):
            try:
                # Newest first; the older one is there for the case that this one is damaged.
                return read_snapshot(path)
            except (DamagedFile, OSError) as error:
                log.warning("%s", error)
        if paths:
            raise RunError(
                f"no snapshot of {self.path} can be read; remove its folder snapshots to train "
                "from the first step"
            )
        return None


def _remove_empty(root: Path) -> None:
    """Removes run directories of trainings that were killed before recipe.json was written."""
    for path in root.glob("[0-9][0-9][0-9][0-9][0-9]-*"):
        if path.is_dir() and not (path / "recipe.json").exists():
            with contextlib.suppress(OSError):  # gone, or not empty: of somebody else
                # A new one is of a training that begins at this moment: without its folder, two
                # would take one number.
                if time.time() - path.stat().st_mtime > STARTING:
                    remove_temporaries(path)
                    path.rmdir()


def _next_folder(root: Path, recipe: Recipe) -> Path:
    """A new folder with the next number; another training may take a number at the same time."""
    while True:
        numbers = [int(m[1]) for p in root.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
        source = recipe.data.partition(":")[0]
        number = max(numbers, default=-1) + 1
        path = root / f"{number:05d}-{recipe.method}-{source}-{recipe.size}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path


def write_snapshot(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors and meta with a checksum, whole or not at all; raises OSError."""
    # clone: safetensors refuses tensors that share memory.
    content = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    write_atomic(path, seal(save(content, {"meta": json.dumps(meta), "sha256": UNSEALED})))


def read_snapshot(path: Path, kinds: Mapping[str, Any] = META) -> Snapshot:
    """The checked content of a snapshot's file; raises DamagedFile, OSError. kinds: the entries
    that its meta must have, and their types."""
    data = unseal(path)
    try:
        tensors = load(data)
        with safe_open(path, "pt") as file:
            meta = parse_json(file.metadata()["meta"])
        missing = [name for name, kind in kinds.items() if not isinstance(meta.get(name), kind)]
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedFile(f"{path} is damaged: {first_line(error)}") from None
    if missing:
        raise DamagedFile(f"{path} is damaged: it does not say {', '.join(missing)}")
    return Snapshot(path, {legacy.read_snapshot_key(k): v for k, v in tensors.items()}, meta)


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{i}.{k}": v for i, slots in state.items() for k, v in slots.items()}


def restore_optimizer(
    prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`; groups and learning rates stay as they are. Moments get
    the memory format of their parameter. Raises ValueError for a moment that is not of a
    parameter's shape."""
    # Names are PREFIX.INDEX.SLOT, as `optimizer_tensors` writes them.
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, slot = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[slot] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, slots in state.items():
        for slot, value in slots.items():
            known = number < len(parameters) and slot in MOMENTS
            if not known or (value.dim() and value.shape != parameters[number].shape):
                raise ValueError(f"{prefix}.{number}.{slot} belongs to no parameter")
            if value.dim():
                # A file holds no memory format, and fused Adam reads parameter and moments in the
                # order in which they lie: channels_last on CUDA.
                slots[slot] = torch.empty_like(parameters[number]).copy_(value)
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's state dict under a prefix."""
    return {f"{prefix}.{k}": v for k, v in module.state_dict().items()}


def restore_module(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """The inverse of `module_tensors`. Raises ValueError for the first tensor that is missing, not
    the module's, or of another shape."""
    start = len(prefix) + 1
    given = {k[start:]: v for k, v in tensors.items() if k.startswith(prefix + ".")}
    own = module.state_dict()
    for name in [*own, *(name for name in given if name not in own)]:
        shapes = [tuple(state[name].shape) if name in state else None for state in (given, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{prefix}.{name} has the shape {shapes[0]}, expected {shapes[1]}")
    module.load_state_dict(given)


def inherit_discriminator(discriminator: nn.Module, path: str | Path) -> bool:
    """Loads a discriminator from the newest snapshot of the run `path`. Returns False, and loads
    nothing, where `path` is not a run or its discriminator has other tensors."""
    if not (Path(path) / "recipe.json").is_file():
        return False
    # A discriminator that has seen nothing lets a trained generator fall back in its first steps.
    snapshot = RunDir.open(path).latest()
    prefix, tensors = "method.D.", snapshot.tensors if snapshot else {}
    given = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    own = discriminator.state_dict()
    if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in own.items()}:
        return False
    discriminator.load_state_dict(given)
    return True
