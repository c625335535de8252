"""Trains an extractor: a plain supervised loop, then an examination on people it has never seen."""

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
    """How long and with what an extractor is trained; steps overrides epochs."""

    epochs: float
    steps: int | None
    batch: int
    dtype: str
    seed: int
    progress: bool


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
    """Trains extractor `name`, examines it on `test`, writes the weight folder `out`, returns it.

    train: the split "extractor"; test: other people. size: the input side. steps overrides epochs.
    meta: facts for the config ("set", "licence", "commit"). On the CPU some 2,000 steps of batch 64
    are sensible. Raises UnknownNameError, BadData, FloatingPointError (a loss that is not finite).
    """
    kind = EXTRACTORS[name]
    _check(train, test)
    began, target = time.monotonic(), hardware.select_device(device)
    schooling = TrainConfig(epochs, steps, batch, dtype, seed, progress)
    # Initialisation and dropout know only PyTorch's global generator: seeded, and put back after.
    with torch.random.fork_rng([target] if target.type == "cuda" else []):
        torch.manual_seed(seed)
        extractor: Extractor = kind(train.emotions, size).to(target, memory_format=MEMORY_FORMAT)
        task = extractor.training_task(train, hardware.generator(seed))
        total = _learn(extractor, task, train, schooling)
    _round(extractor)
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
        "minutes": (time.monotonic() - began) / 60,
        **(meta or {}),
    }
    # Rendered faces, whatever it was trained on: a weight must not carry anybody's photograph.
    faces = open_source("procedural").load("test", size, GOLDEN, progress=False).faces()

    def golden(written: storage.Weights) -> dict[str, Tensor]:
        seen = restore(written, "cpu")(faces)
        return {"faces": faces, "features": seen.features, "outputs": seen.outputs}

    card = extractor_card(config, extractor, Path(out).name)
    return storage.write(out, "extractor", extractor.state_dict(), config, golden, card)


def _check(train: FaceSet, test: FaceSet) -> None:
    if train.emotions != test.emotions:
        raise BadData(f"the training faces have {train.emotions}, the test faces {test.emotions}")
    if train.person is not None and test.person is not None:
        shared = int(torch.isin(test.person.cpu(), train.person.cpu()).sum())
        if shared:
            raise BadData(f"{shared} test faces show people whom the extractor is trained on")


def _round(extractor: Extractor) -> None:
    """Rounds the weights to what goes to disk, so that the scores are those of the shipped file."""
    state = extractor.state_dict()
    shipped = {
        name: storage.to_storage(name, value).to(value.dtype) for name, value in state.items()
    }
    extractor.load_state_dict(shipped)


def _learn(extractor: Extractor, task: TrainingTask, faces: FaceSet, how: TrainConfig) -> int:
    """Trains in place (AdamW, one cycle) and returns the number of steps."""
    device = next(extractor.parameters()).device
    small = shrunk(faces, task.rows, extractor.size).to(device)
    targets = task.targets.to(device)
    batch = min(how.batch, len(small))
    total = how.steps or max(round(how.epochs * len(small) / batch), 1)
    for parameter in task.extra:  # in place: the loss holds these very parameters
        parameter.data = parameter.data.to(device)
    optimiser = torch.optim.AdamW(
        [{"params": extractor.parameters()}, {"params": task.extra, "weight_decay": 0.0}],
        lr=extractor.lr,
        weight_decay=0.02,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, extractor.lr, total, pct_start=0.1)
    generator = hardware.generator(how.seed, device)
    bar = tqdm(range(total), desc=extractor.title, disable=not how.progress, unit="step")
    extractor.train()
    for step in bar:
        rows = torch.randint(len(small), (batch,), generator=generator, device=device)
        x = augment(pictures.to_float(small[rows]), generator).contiguous(
            memory_format=MEMORY_FORMAT
        )
        with hardware.autocast(device, how.dtype):
            features = extractor.embed(x)
        loss = task.loss(features.float(), targets[rows], step / total)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == total - 1:  # reading the loss waits for the device
            bar.set_postfix(loss=f"{_finite(loss, extractor, step):.3f}")
    return total


def _finite(loss: Tensor, extractor: Extractor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"{extractor.name}: the loss is {value} at step {step}")
    return value


def shrunk(faces: FaceSet, rows: Tensor, size: int) -> Tensor:
    """uint8 n x 3 x size x size of some faces, on the CPU; in chunks, since a set may be a file."""
    parts = []
    for chunk in rows.split(BATCH_SIZE):
        small = pictures.resize(faces.faces(chunk).float(), size)
        parts.append(small.round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(parts)
