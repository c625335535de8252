"""Logs of a training beside stats.jsonl: the same numbers and sample grids, for programs that show
them."""

from __future__ import annotations

import importlib
import math
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from ganmut.errors import ParameterError
from ganmut.files import naming_errors, sha256
from ganmut.images import to_array
from ganmut.text import quote
from ganmut.training.run_dir import RunDir


class Log(Protocol):
    """Where the reports of a run go."""

    def write(self, step: int, numbers: dict[str, float], grid: Tensor) -> None:
        """Adds the numbers and the sample grid (3 x H x W uint8) of a step."""
        ...

    def close(self) -> None:
        """Ends the log, which then holds everything."""
        ...


class TensorBoardLog:
    """Event files in RUN/tensorboard; a resumed run replaces what it repeats. Raises OSError with
    the name of that folder where it cannot be written."""

    def __init__(self, folder: Path, step: int):
        self.folder = folder / "tensorboard"
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise ParameterError("log_to", f"{self.folder} is no folder; move it away")
        writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        self.hook, threading.excepthook = threading.excepthook, self._end_of_thread
        with naming_errors(self.folder):
            self.writer = writer(str(self.folder), purge_step=step + 1)

    def write(self, step: int, numbers: dict[str, float], grid: Tensor) -> None:
        with naming_errors(self.folder):
            for name, value in numbers.items():
                self.writer.add_scalar(name, value, step)
            self.writer.add_image("samples", grid, step)
            self.writer.flush()  # a kill loses no report

    def close(self) -> None:
        try:
            with naming_errors(self.folder):
                self.writer.close()
        finally:
            threading.excepthook = self.hook

    def _end_of_thread(self, args: threading.ExceptHookArgs) -> None:
        """Shows no error of the thread that TensorBoard writes in: `flush` raises it, too."""
        if not type(args.thread).__module__.startswith("tensorboard."):
            self.hook(args)


class WandbLog:
    """A run of Weights & Biases named by the run directory, which a resumed run continues. Where it
    goes, and who is logged in, are wandb's own settings (WANDB_MODE, WANDB_PROJECT)."""

    def __init__(self, folder: Path, step: int):
        self.wandb = importlib.import_module("wandb")
        name = folder.resolve().name
        # The name alone is no id: every folder of runs has a number 00000.
        self.run = self.wandb.init(
            name=name, id=_wandb_id(folder), resume="allow", dir=str(folder), config={"run": name}
        )

    def write(self, step: int, numbers: dict[str, float], grid: Tensor) -> None:
        self.run.log({**numbers, "samples": self.wandb.Image(to_array(grid))}, step=step)

    def close(self) -> None:
        self.run.finish()


# Name -> (package, what opens the log in a run directory at a step).
LOGS: dict[str, tuple[str, Callable[[Path, int], Log]]] = {
    "tensorboard": ("tensorboard", TensorBoardLog),
    "wandb": ("wandb", WandbLog),
}


def check_logs(names: Sequence[str]) -> None:
    """Raises ParameterError for a log that does not exist or whose package is missing."""
    for name in names:
        if name not in LOGS:
            raise ParameterError(
                "log_to", f"unknown log {quote(name)}; there are: {', '.join(LOGS)}"
            )
        package, _ = LOGS[name]
        try:
            importlib.import_module(package)
        except ImportError:
            raise ParameterError(
                "log_to", f"{name} needs the package {package}: pip install {package}"
            ) from None


def open_logs(names: Sequence[str], run: RunDir, step: int) -> list[Log]:
    """The logs of a run that stands at a step."""
    return [LOGS[name][1](run.path, step) for name in dict.fromkeys(names)]


def numbers_of(record: dict[str, Any]) -> dict[str, float]:
    """The numbers of a report, without its step and what is not finite."""
    return {
        name: float(value)
        for name, value in record.items()
        if name != "step" and isinstance(value, int | float) and math.isfinite(value)
    }


def _wandb_id(folder: Path) -> str:
    return f"{folder.resolve().name}-{sha256(folder / 'recipe.json')[:8]}"
