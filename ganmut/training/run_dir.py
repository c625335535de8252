"""Run directories: numbering, recipe.json, stats.jsonl, sample grids and snapshots, written
atomically."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganmut import images, legacy
from ganmut.files import append_lines, read_lines, to_line, write_atomic
from ganmut.methods.base import Config
from ganmut.training.config import Recipe, from_json, to_json

KEEP = 2  # snapshots to keep: the newest, and one more in case the newest is damaged


class RunError(ValueError):
    """A run directory that cannot be created, written or resumed. `parameter`: see
    ganmut.errors.ParameterError; "" where no parameter is at fault."""

    def __init__(self, message: str, parameter: str = ""):
        super().__init__(message)
        self.parameter = parameter


class RunDir:
    """`runs/00003-ganmut-procedural-64/`: recipe.json, stats.jsonl, samples/, snapshots/, weights/
    at the end."""

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
            numbers = [int(m[1]) for p in root.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
            source = recipe.data.partition(":")[0]
            name = f"{max(numbers, default=-1) + 1:05d}-{recipe.method}-{source}-{recipe.size}"
            run = cls(root / name)
            run.path.mkdir()
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
        """The settings of the run; raises ValueError for a broken recipe.json."""
        return from_json((self.path / "recipe.json").read_text())

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line to stats.jsonl; numbers that are not finite become null."""
        bad = [k for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)]
        append_lines(self.path / "stats.jsonl", [record | dict.fromkeys(bad)])

    def trim_log(self, step: int) -> None:
        """Removes the lines of stats.jsonl after `step`, which a resumed run writes again."""
        records, _ = read_lines(self.path / "stats.jsonl")
        before = [record for record in records if record.get("step", step + 1) <= step]
        write_atomic(self.path / "stats.jsonl", "".join(map(to_line, before)))

    def sample(self, kimg: float, grid: Tensor) -> Path:
        """Writes a sample grid, 3 x H x W uint8."""
        return images.write_png(self.path / "samples" / f"{kimg:09.3f}.png", grid)

    def snapshots(self) -> list[Path]:
        """Snapshots, oldest first."""
        return sorted((self.path / "snapshots").glob("*.safetensors"))

    def snapshot(self, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
        """Writes the tensors and meta of a snapshot, and deletes old ones beyond KEEP. Raises
        RunError where it cannot be written."""
        folder = self.path / "snapshots"
        folder.mkdir(exist_ok=True)
        path, temporary = folder / f"{step:08d}.safetensors", folder / f".{step:08d}.tmp"
        try:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()},
                temporary,
                {"meta": json.dumps(meta)},
            )
            with open(temporary, "rb") as file:
                # On disk before the rename: a power failure leaves the old or the new snapshot.
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"cannot write the snapshot {path}: {error}; the previous one is intact"
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        for old in self.snapshots()[:-KEEP]:
            old.unlink()
        return path

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and meta of the newest intact snapshot, or None without one."""
        for path in reversed(self.snapshots()):
            try:
                with safe_open(path, "pt") as file:
                    meta = json.loads(file.metadata()["meta"])
                    names = {legacy.read_snapshot_key(k): k for k in file.keys()}  # noqa: SIM118
                    return {name: file.get_tensor(k) for name, k in names.items()}, meta
            except (SafetensorError, KeyError, json.JSONDecodeError):
                continue  # damaged: fall back to the previous one
        return None


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{i}.{k}": v for i, slots in state.items() for k, v in slots.items()}


def restore_optimizer(
    prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`; groups and learning rates stay as they are."""
    # Names are PREFIX.INDEX.SLOT, as `optimizer_tensors` writes them.
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, slot = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[slot] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def module_tensors(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's state dict under a prefix."""
    return {f"{prefix}.{k}": v for k, v in module.state_dict().items()}


def restore_module(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """The inverse of `module_tensors`."""
    start = len(prefix) + 1
    module.load_state_dict({k[start:]: v for k, v in tensors.items() if k.startswith(prefix + ".")})


def inherit_discriminator(discriminator: nn.Module, path: str | Path) -> bool:
    """Loads a discriminator from the newest snapshot of the run `path`. Returns False, and loads
    nothing, where `path` is not a run or its discriminator has other tensors."""
    if not (Path(path) / "recipe.json").is_file():
        return False
    tensors, _ = RunDir.open(path).latest() or ({}, {})
    prefix = "method.D."
    given = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    own = discriminator.state_dict()
    if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in own.items()}:
        return False
    discriminator.load_state_dict(given)
    return True
