"""A run directory: numbering, recipe.json, stats.jsonl, sample grids and snapshots, each written
whole or not at all."""

from __future__ import annotations

import json
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
from ganmut.methods.base import Config
from ganmut.training.config import Recipe, from_json, to_json

KEEP = 2  # snapshots kept: the newest, and one more in case the newest was cut short by the machine


class RunError(ValueError):
    """A run directory that cannot be made, written or resumed; the message says what to do."""


class RunDir:
    """`runs/00003-ganmut-procedural-64/`: recipe.json, stats.jsonl, samples/, snapshots/, weights/
    at the end."""

    def __init__(self, path: Path):
        self.path = Path(path)

    @classmethod
    def create(
        cls, root: str | Path, recipe: Recipe, config: Config, need_bytes: int = 0
    ) -> RunDir:
        """A fresh numbered directory; raises RunError before any work if it cannot be written or
        the disk is too full."""
        root = Path(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            taken = [int(m[1]) for p in root.iterdir() if (m := re.match(r"(\d{5})-", p.name))]
            source = recipe.data.partition(":")[0]
            name = f"{max(taken, default=-1) + 1:05d}-{recipe.method}-{source}-{recipe.size}"
            run = cls(root / name)
            run.path.mkdir()
            images.write_atomic(run.path / "recipe.json", to_json(recipe, config))
        except OSError as error:
            raise RunError(
                f"cannot write runs under {root}: {error.strerror}; choose another --out"
            ) from None
        free = shutil.disk_usage(run.path).free
        if free < need_bytes:
            shutil.rmtree(run.path)
            raise RunError(
                f"{root} has {free / 2**20:.0f} MiB free, "
                f"this run needs about {need_bytes / 2**20:.0f}; "
                "make room or choose another --out"
            )
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """An existing run directory; raises RunError if it is none."""
        if not (Path(path) / "recipe.json").is_file():
            raise RunError(f"{path} is not a run directory (no recipe.json in it)")
        return cls(Path(path))

    def recipe(self) -> tuple[Recipe, Config]:
        return from_json((self.path / "recipe.json").read_text())

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line to stats.jsonl."""
        with open(self.path / "stats.jsonl", "a") as file:
            file.write(json.dumps(record) + "\n")

    def trim_log(self, kimg: float) -> None:
        """Drops the lines of stats.jsonl after `kimg`: a resumed run repeats those ticks."""
        path = self.path / "stats.jsonl"
        if path.exists():
            lines = path.read_text().splitlines()
            kept = [x for x in lines if x.endswith("}") and json.loads(x)["kimg"] <= kimg]
            images.write_atomic(path, "".join(x + "\n" for x in kept))

    def sample(self, kimg: float, sheet: Tensor) -> Path:
        """Writes a sample grid, 3 x H x W uint8."""
        return images.write_png(self.path / "samples" / f"{kimg:09.3f}.png", sheet)

    def snapshots(self) -> list[Path]:
        """Snapshots, oldest first."""
        return sorted((self.path / "snapshots").glob("*.safetensors"))

    def snapshot(self, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
        """Writes all that a resume needs; the older ones beyond KEEP go only once the new one is
        safe on disk."""
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
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"cannot write the snapshot {path}: {error}; the one before is whole"
            ) from None
        finally:
            temporary.unlink(missing_ok=True)
        for old in self.snapshots()[:-KEEP]:
            old.unlink()
        return path

    def latest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and meta of the newest snapshot that is whole, or None where there is none
        yet."""
        for path in reversed(self.snapshots()):
            try:
                with safe_open(path, "pt") as file:
                    meta = json.loads(file.metadata()["meta"])
                    names = {legacy.read_snapshot_key(k): k for k in file.keys()}  # noqa: SIM118
                    return {name: file.get_tensor(k) for name, k in names.items()}, meta
            except (SafetensorError, KeyError, json.JSONDecodeError):
                continue  # cut short: the one before it is kept for this
        return None


def optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{i}.{k}": v for i, slots in state.items() for k, v in slots.items()}


def restore_optimizer(
    prefix: str, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`; groups and learning rates stay as they are."""
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


def inherit_discriminator(critics: nn.Module, path: str | Path) -> bool:
    """Loads a method's critics from the newest snapshot of a run, where `path` is one and its
    critics are the same networks; whether they were."""
    if not (Path(path) / "recipe.json").is_file():
        return False
    tensors, _ = RunDir.open(path).latest() or ({}, {})
    prefix = "method.D."
    given = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    own = critics.state_dict()
    if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in own.items()}:
        return False
    critics.load_state_dict(given)
    return True
