"""Training of extractors: a supervised loop, and the evaluation on people not in the training
set."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ganmut import device as hardware
from ganmut import images as pictures
from ganmut.datasets.base import BadData, FaceSet, open_source
from ganmut.errors import ParameterError
from ganmut.extractors.augment import augment
from ganmut.extractors.base import (
    BATCH_SIZE,
    EXTRACTORS,
    MEMORY_FORMAT,
    Extractor,
    TrainingTask,
)
from ganmut.extractors.loading import restore
from ganmut.weights import storage
from ganmut.weights.card import extractor_card

GOLDEN = 4  # faces in the golden test of an extractor


@dataclass(frozen=True)
class TrainConfig:
    """Length and settings of the training of an extractor; steps overrides epochs. Raises
    ParameterError."""

    epochs: float
    steps: int | None
    batch: int
    dtype: str
    seed: int
    progress: bool

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ParameterError("batch", f"must be at least 1, got {self.batch}")
        if not 0 < self.epochs < math.inf:
            raise ParameterError("epochs", f"must be above 0 and finite, got {self.epochs}")


def train_extractor(
    name: str,
    train: FaceSet,
    test: FaceSet,
    *,
    out: str | Path,
    epochs: float = 30,
    steps: int | None = None,
    batch: int = 256,
    size: int = 64,
    device: str | None = None,
    dtype: str = "auto",
    seed: int = 0,
    progress: bool = True,
    meta: dict[str, Any] | None = None,
) -> Path:
    """Trains extractor `name`, evaluates it on `test`, writes the weight folder `out`, returns it.

    train: the split "extractor"; test: other people. size: the input side in pixels. steps
    overrides epochs. meta: entries for config.json ("set", "licence", "commit"). On the CPU about
    2,000 steps of batch 64 are enough. Raises UnknownNameError, ParameterError (batch, epochs),
    BadData (labels or people), FloatingPointError (a loss that is not finite).
    """
    kind = EXTRACTORS[name]
    settings = TrainConfig(epochs, steps, batch, dtype, seed, progress)
    _check_splits(train, test)
    start, target = time.monotonic(), hardware.select_device(device)

    # ---- training Initialisation and dropout use PyTorch's global generator: it is seeded here and
    # restored after.
    with torch.random.fork_rng([target] if target.type == "cuda" else []):
        torch.manual_seed(seed)
        extractor: Extractor = kind(train.emotions, size).to(target, memory_format=MEMORY_FORMAT)
        task = extractor.training_task(train, hardware.generator(seed))
        total = _train(extractor, task, train, settings)

    # ---- evaluation of the weights as stored
    _round_weights(extractor)
    scores = extractor.evaluate(test, extractor(test.faces()))
    config = {
        "extractor": name,
        "version": extractor.version,
        "emotions": list(train.emotions),
        "size": size,
        "scores": scores,
        "data": train.source,
        "split": train.split,
        "crop": train.crop,
        "grey": train.grey,
        "data_fingerprint": train.fingerprint,
        "test_fingerprint": test.fingerprint,
        "faces": len(task.rows),
        "steps": total,
        "batch": batch,
        "seed": seed,
        "hardware": hardware.device_name(target),
        "minutes": (time.monotonic() - start) / 60,
        **(meta or {}),
    }

    # ---- weight folder, with golden features of rendered faces: weights must not hold photographs
    faces = open_source("procedural").load("test", size, GOLDEN, progress=False).faces()

    def golden(written: storage.Weights) -> dict[str, Tensor]:
        extraction = restore(written, "cpu")(faces)
        return {
            "faces": faces,
            "features": extraction.features,
            "outputs": extraction.outputs,
        }

    card = extractor_card(config, extractor, Path(out).name)
    return storage.write(out, "extractor", extractor.state_dict(), config, golden, card)


def _check_splits(train: FaceSet, test: FaceSet) -> None:
    if train.emotions != test.emotions:
        raise BadData(f"the training faces have {train.emotions}, the test faces {test.emotions}")
    if train.person is not None and test.person is not None:
        shared = int(torch.isin(test.person.cpu(), train.person.cpu()).sum())
        if shared:
            raise BadData(f"{shared} test faces show people of the training set")


def _round_weights(extractor: Extractor) -> None:
    """Rounds the weights to their stored precision, so that the scores are those of the file."""
    state = extractor.state_dict()
    stored = {
        name: storage.to_storage(name, value).to(value.dtype) for name, value in state.items()
    }
    extractor.load_state_dict(stored)


def _train(extractor: Extractor, task: TrainingTask, faces: FaceSet, settings: TrainConfig) -> int:
    """Trains in place (AdamW, one cycle) and returns the number of steps."""
    device = next(extractor.parameters()).device
    # All faces as bytes in memory, once: resizing at each step would cost more than the step.
    small = resize_faces(faces, task.rows, extractor.size).to(device)
    targets = task.targets.to(device)
    batch = min(settings.batch, len(small))
    total = settings.steps or max(round(settings.epochs * len(small) / batch), 1)
    for parameter in task.extra:  # in place: the loss refers to these parameters
        parameter.data = parameter.data.to(device)
    groups: list[dict[str, Any]] = [
        {"params": extractor.parameters()},
        {"params": task.extra, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=extractor.lr,
        weight_decay=0.02,
    )
    # One cycle: a few minutes on a core end at a rate of zero, without a search for a schedule.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, extractor.lr, total, pct_start=0.1)
    generator = hardware.generator(settings.seed, device)
    bar = tqdm(range(total), desc=extractor.title, disable=not settings.progress, unit="step")
    extractor.train()
    for step in bar:
        rows = torch.randint(len(small), (batch,), generator=generator, device=device)
        x = augment(pictures.to_float(small[rows]), generator).contiguous(
            memory_format=MEMORY_FORMAT
        )
        with hardware.autocast(device, settings.dtype):
            features = extractor.embed(x)
        # Losses in float32: margins and small errors are of bfloat16's rounding.
        loss = task.loss(features.float(), targets[rows], step / total)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == total - 1:  # reading the loss waits for the device
            bar.set_postfix(loss=f"{_finite_loss(loss, extractor, step):.3f}")
    return total


def _finite_loss(loss: Tensor, extractor: Extractor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"{extractor.name}: the loss is {value} at step {step}")
    return value


def resize_faces(faces: FaceSet, rows: Tensor, size: int) -> Tensor:
    """uint8 n x 3 x size x size of the faces of int64 `rows`, on the CPU; in chunks, since the
    faces may be in a file larger than the memory."""
    parts = []
    for chunk in rows.split(BATCH_SIZE):
        small = pictures.resize(faces.faces(chunk).float(), size)
        parts.append(small.round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(parts)
