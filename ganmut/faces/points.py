"""The five-point network: a 64 px grey window -> the five points in it and whether it is a face at all."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ganmut.faces.align import crop, template
from ganmut.faces.base import DetectorMissing
from ganmut.images import write_atomic

SIZE = 64
FOLDER = Path(__file__).resolve().parents[2] / "weights" / "faces" / "points"
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as everywhere in the project
RETRAIN = "restore the folder, or train it again with `python -m ganmut.faces.train_points --data FOLDER`"


class FivePoints(nn.Module):
    """A small residual convolutional network; windows are brought to zero mean and unit spread before it."""

    def __init__(self, width: int = 16):
        super().__init__()
        widths = [width, width * 2, width * 4, width * 5]
        stages: list[nn.Module] = [_conv(1, width, 2)]
        for before, after in zip(widths, widths[1:], strict=False):
            stages += [_conv(before, after, 2), _Residual(after)]
        self.trunk = nn.Sequential(*stages)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * 16, 128), nn.ReLU())
        self.points, self.face = nn.Linear(128, 10), nn.Linear(128, 1)
        nn.init.zeros_(self.points.weight)
        nn.init.zeros_(self.points.bias)
        self.register_buffer("mean", torch.from_numpy(template(SIZE)).float(), persistent=False)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Points N x 5 x 2 in window pixels and face logits N, of windows N x 1 x 64 x 64 float (any range)."""
        spread, level = torch.std_mean(windows, (1, 2, 3), keepdim=True)
        seen = self.neck(self.trunk((windows - level) / (spread + 1e-3)))
        points = self.mean + self.points(seen).unflatten(1, (5, 2)) * (SIZE / 4)
        return points, self.face(seen)[:, 0]


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


@torch.no_grad()
def refine(
    network: FivePoints, picture: np.ndarray, guesses: np.ndarray, passes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Points N x 5 x 2 in picture pixels and scores N in 0..1, from guessed points N x 5 x 2.

    Each pass aligns the picture by the points so far and looks again; the score is the last pass's. Raises BadPoints
    where a guess defines no alignment.
    """
    points = np.asarray(guesses, np.float64)
    scores = np.zeros(len(points))
    for _ in range(passes if len(points) else 0):
        views = [crop(picture, five, SIZE) for five in points]
        windows = torch.from_numpy(np.stack([view @ LUMA for view, _ in views]))[:, None]
        found, logits = network(windows / 255)
        points = np.stack(
            [
                transform.inverse(five)
                for five, (_, transform) in zip(found.double().numpy(), views, strict=True)
            ]
        )
        scores = logits.sigmoid().double().numpy()
    return points, scores


def save_network(network: FivePoints, folder: str | Path, config: dict) -> Path:
    """Writes network.safetensors and config.json (with its sha256) into `folder`, each whole or not at all."""
    folder = Path(folder)
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    content = save(tensors)
    write_atomic(folder / "network.safetensors", content)
    digest = hashlib.sha256(content).hexdigest()
    config = {"size": SIZE, "sha256": digest, "bytes": len(content), **config}
    write_atomic(folder / "config.json", json.dumps(config, indent=2) + "\n")
    return folder


@cache
def load_network(folder: str | Path = FOLDER) -> FivePoints:
    """The network of a folder, ready to use; raises DetectorMissing where it is missing, changed or damaged."""
    folder = Path(folder)
    file, note = folder / "network.safetensors", folder / "config.json"
    try:
        content, config = file.read_bytes(), json.loads(note.read_text())
    except FileNotFoundError as error:
        raise DetectorMissing(f"{error.filename} is missing: {RETRAIN}") from None
    except ValueError as error:
        raise DetectorMissing(f"{note} is not json ({error}): {RETRAIN}") from None
    if config.get("bytes") != len(content):
        raise DetectorMissing(
            f"{file} has {len(content)} bytes where config.json says {config.get('bytes')}: {RETRAIN}"
        )
    if hashlib.sha256(content).hexdigest() != config.get("sha256"):
        raise DetectorMissing(f"{file} does not match the sha256 in config.json: {RETRAIN}")
    network = FivePoints(config["width"])
    try:
        state = {name: value.float() for name, value in load(content).items()}
        missing, unknown = network.load_state_dict(state, strict=False)
    except (SafetensorError, RuntimeError) as error:
        raise DetectorMissing(f"{file} is damaged or of another shape ({error}): {RETRAIN}") from None
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unknown:
        raise DetectorMissing(f"{file} lacks {missing} or has unknown {unknown}: {RETRAIN}")
    return network.eval().requires_grad_(False)
