"""Trains the five-point network on aligned photographs: `python -m ganmut.faces.train_points --data FOLDER`."""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage import data as samples
from torch import Tensor
from tqdm import tqdm

from ganmut import images as pictures
from ganmut.data.base import BadData, digest
from ganmut.device import autocast
from ganmut.device import generator as seeded
from ganmut.faces.align import SIDE, TEMPLATE
from ganmut.faces.points import FOLDER, SIZE, FivePoints, save_network
from ganmut.faces.synth import FAR, NEAR, Windows, windows

# Pictures without faces that come with scikit-image. Others that come with it (coffee, chelsea, rocket, brick) are
# left for testing.
GROUNDS = (
    "gravel", "grass", "page", "text", "coins", "moon", "clock", "hubble_deep_field", "retina",
    "immunohistochemistry", "cell", "colorwheel", "checkerboard", "horse",
)  # fmt: skip
NOTE = (
    "Trained on muxspace/facial_expressions (Apache-2.0 repository; press photographs and film stills whose rights its "
    "compilers cannot clear): for research use."
)


def read_faces(folder: str | Path, split: str, fill: float = 0.8) -> Tensor:
    """uint8 N x 1 x 128 x 128 grey aligned faces of one split of an imagefolder with metadata.jsonl.

    Rows that say how much of the crop the picture covers (`fill`) are kept from `fill` on. Raises BadData.
    """
    note = Path(folder) / "metadata.jsonl"
    if not note.is_file():
        raise BadData(f"{note} is missing: --data wants aligned {SIDE} px faces with a metadata.jsonl")
    rows = [json.loads(line) for line in note.read_text().splitlines() if line.strip()]
    rows = [row for row in rows if row.get("split", "train") == split and row.get("fill", 1) >= fill]
    if not rows:
        raise BadData(f"{note}: no row with split {split!r} and fill >= {fill}")
    faces = torch.stack([_grey(pictures.read(Path(folder) / row["file_name"])) for row in rows])
    if faces.shape[-2:] != (SIDE, SIDE):
        raise BadData(f"{folder}: faces of {faces.shape[-1]} px, expected {SIDE}")
    return faces


def read_grounds(generator: torch.Generator, n: int = 1500) -> Tensor:
    """uint8 n x 1 x 128 x 128: pieces of faceless pictures at many scales, and cloudy noise for every fourth."""
    whole = [_grey(np.asarray(getattr(samples, name)())) for name in GROUNDS]
    found = []
    for i in range(n):
        if i % 4 == 0:
            found.append(_clouds(generator))
            continue
        picture = whole[i % len(whole)]
        side = int(min(picture.shape[1:]) * (0.1 + 0.9 * torch.rand(1, generator=generator).item()))
        top, left = (
            int(torch.randint(limit - side + 1, (1,), generator=generator)) for limit in picture.shape[1:]
        )
        piece = picture[None, :, top : top + side, left : left + side].float()
        found.append(pictures.resize(piece, SIDE)[0].round().to(torch.uint8))
    return torch.stack(found)


def _grey(pixels: np.ndarray) -> Tensor:
    """uint8 1 x H x W of any H x W (x C) picture, bool or 0..255."""
    pixels = pixels.astype(np.float32) * (255 if pixels.dtype == bool else 1)
    grey = pixels[..., :3] @ np.float32([0.299, 0.587, 0.114]) if pixels.ndim == 3 else pixels
    return torch.from_numpy(grey.round().clip(0, 255).astype(np.uint8))[None]


def _clouds(generator: torch.Generator) -> Tensor:
    """Noise of all scales, like walls, hair and foliage out of focus."""
    total = torch.zeros(1, 1, SIDE, SIDE)
    fall = 0.5 + torch.rand(1, generator=generator).item()
    for octave in range(1, 7):
        noise = torch.randn(1, 1, 2**octave, 2**octave, generator=generator)
        smooth = F.interpolate(noise, SIDE, mode="bicubic", align_corners=False)
        total += smooth * 2 ** (-fall * octave)
    return ((total - total.mean()) / total.std() * 50 + 128).clamp(0, 255)[0].to(torch.uint8)


def train_points(
    data: str | Path, out: str | Path = FOLDER, *, minutes: float = 8.0, batch: int = 96, rate: float = 2e-3,
    width: int = 16, seed: int = 0, progress: bool = True,
) -> dict:  # fmt: skip
    """Trains for `minutes` on the train split of `data`, measures on its test split, writes `out`; the config written.

    Progress is counted in time, so the result depends on the machine; the seed fixes everything else.
    """
    generator = seeded(seed)
    torch.manual_seed(seed)  # the initial weights
    faces, grounds = read_faces(data, "train"), read_grounds(generator)
    network = FivePoints(width).train()
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    started, steps = time.monotonic(), 0
    bar = tqdm(total=round(minutes * 60), unit="s", disable=not progress, file=sys.stderr)
    while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (steps + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * share))
        rows = torch.randint(len(faces), (batch,), generator=generator)
        loss = loss_of(network, windows(faces[rows], grounds, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        follow(average, network, min(0.998, steps / (steps + 20)))
        steps += 1
        if steps % 50 == 0:
            bar.set_postfix(step=steps, loss=f"{loss.item():.4f}")
            bar.update(round(time.monotonic() - started) - bar.n)
    bar.close()
    config = {
        "width": width, "training": NOTE, "faces": len(faces), "fingerprint": digest(faces),
        "steps": steps, "batch": batch, "minutes": minutes, "seed": seed,
        "test": measure(average, read_faces(data, "test"), grounds),
    }  # fmt: skip
    save_network(average, out, config)
    return config


def loss_of(network: FivePoints, shown: Windows) -> Tensor:
    """Smooth L1 of the points (in eye distances, faces only) plus cross-entropy of face / no face."""
    with autocast(shown.x.device):
        points, logits = network(shown.x)
    away = (points.float() - shown.points)[shown.face] / eye_distance(SIZE)
    places = F.smooth_l1_loss(away, torch.zeros_like(away), beta=0.05)
    return 5 * places + 0.5 * F.binary_cross_entropy_with_logits(logits.float(), shown.face.float())


def eye_distance(size: int) -> float:
    """Distance of the eyes in an aligned crop of `size` pixels."""
    return float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0])) * size / SIDE


@torch.no_grad()
def follow(average: FivePoints, network: FivePoints, keep: float) -> None:
    """Moves the averaged network (weights and statistics) a little towards the trained one."""
    for mine, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(new, 1 - keep)


@torch.no_grad()
def measure(network: FivePoints, faces: Tensor, grounds: Tensor) -> dict[str, float]:
    """Mean point error in eye distances on held-out faces for windows placed roughly (far) and well (near); face AUC."""
    result = {"faces": len(faces)}
    shown = windows(faces, grounds, seeded(1))
    points, logits = network(shown.x)
    for name, part in (("far", FAR), ("near", NEAR)):
        placed = windows(faces, grounds, seeded(2), strays=0.0, jitter=part)
        away = (network(placed.x)[0] - placed.points).norm(dim=-1) / eye_distance(SIZE)
        result[f"error_{name}"] = round(float(away.mean()), 4)
    yes, no = logits[shown.face], logits[~shown.face]
    result["face_auc"] = round(float((yes[:, None] > no[None]).float().mean()), 4)
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ganmut.faces.train_points", description=__doc__)
    parser.add_argument("--data", required=True, help="aligned 128 px faces with a metadata.jsonl")
    parser.add_argument("--out", default=FOLDER, type=Path, help="folder to write (default: %(default)s)")
    parser.add_argument("--minutes", default=8.0, type=float, help="how long to train (default: 8)")
    parser.add_argument("--seed", default=0, type=int)
    options = parser.parse_args(arguments)
    try:
        config = train_points(options.data, options.out, minutes=options.minutes, seed=options.seed)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(config))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
