"""Trains the five-point network: `python -m ganmut.faces.landmarks.train --data FOLDER`."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports: a missing package is a sentence
    from ganmut import interrupts

    interrupts.run_module("ganmut.faces.landmarks.train")

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
from tqdm import trange

from ganmut import images as pictures
from ganmut.datasets.base import BadData, digest
from ganmut.datasets.folder import read_table
from ganmut.device import autocast
from ganmut.device import generator as seeded
from ganmut.faces.align import SIDE, TEMPLATE
from ganmut.faces.landmarks.augmentation import FAR, NEAR, Windows, make_windows
from ganmut.faces.landmarks.five_points import SIZE, WEIGHT, FivePoints, load_network, save_network
from ganmut.faces.landmarks.negatives import (
    load_negative_images,
    mine_hard_negatives,
    sample_negatives,
    to_grey,
)
from ganmut.text import Parser, quote
from ganmut.weights.card import front_matter, table
from ganmut.weights.storage import read_config

NOTE = (
    "Trained on muxspace/facial_expressions (Apache-2.0 repository; press photographs and film "
    "stills whose rights its compilers cannot clear): for research use."
)


def read_faces(folder: str | Path, split: str, fill: float = 0.8) -> Tensor:
    """uint8 N x 1 x 128 x 128: the aligned faces of one split of a folder with metadata.jsonl.

    fill: least share of the crop inside its picture (column `fill`, 1 where absent). Raises BadData
    without a metadata file or such rows, and for faces of another size.
    """
    metadata = Path(folder) / "metadata.jsonl"
    if not metadata.is_file():
        raise BadData(
            f"{metadata} is missing: data must be aligned {SIDE} px faces with a metadata.jsonl"
        )
    rows = [
        row
        for _, row in read_table(metadata)
        if row.get("split", "train") == split and row.get("fill", 1) >= fill
    ]
    if not rows:
        raise BadData(f"{metadata}: no row with split {quote(split)} and fill >= {fill}")
    faces = torch.stack(
        [to_grey(pictures.read_image(Path(folder) / row["file_name"])) for row in rows]
    )
    if faces.shape[-2:] != (SIDE, SIDE):
        raise BadData(f"{folder}: faces of {faces.shape[-1]} px, expected {SIDE}")
    return faces


def train_points(
    data: str | Path,
    out: str | Path,
    *,
    steps: int = 2500,
    batch: int = 96,
    rate: float = 2e-3,
    width: int = 16,
    random_negatives: int = 1800,
    hard_negatives: int = 600,
    start: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict:
    """Trains on the train split of `data`, evaluates on its test split, writes the weight `out`.

    random_negatives, hard_negatives: numbers of windows without faces (`sample_negatives`) and of
    false alarms (`mine_hard_negatives`). start: a weight folder to continue from. 2500 steps take
    about six minutes on one core. Returns the facts that are added to config.json.
    """
    generator = seeded(seed)
    torch.manual_seed(seed)  # the initial weights
    faces, backgrounds, started = (
        read_faces(data, "train"),
        load_negative_images(),
        time.monotonic(),
    )
    negatives = torch.cat(
        [
            sample_negatives(faces, backgrounds, generator, random_negatives),
            mine_hard_negatives(faces, backgrounds, generator, hard_negatives),
        ]
    )
    network, before = FivePoints(width), {}
    if start:
        network, before = load_network(start), read_config(start)
    network = copy.deepcopy(network).requires_grad_(True).train()
    ema = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    bar = trange(steps, unit="step", disable=not progress, file=sys.stderr)
    for step in bar:
        # Linear warm-up over 100 steps, then cosine decay to 0.
        decay = min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate * decay
        rows = torch.randint(len(faces), (batch,), generator=generator)
        loss = points_loss(network, make_windows(faces[rows], negatives, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        # A growing decay keeps the random initial weights out of the average.
        update_ema(ema, network, min(0.998, step / (step + 20)))
        if step % 50 == 0:
            bar.set_postfix(loss=f"{loss.item():.4f}")
    facts = {
        "note": NOTE,
        "faces": len(faces),
        "fingerprint": digest(faces),
        "batch": batch,
        "steps": steps + (before.get("steps") or 0),
        "start": before.get("sha256"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "seed": seed,
        "test": evaluate(ema, read_faces(data, "test"), negatives),
    }
    save_network(ema, out, facts, examples(), card(facts))
    return facts


def examples() -> Tensor:
    """uint8 2 x 1 x 64 x 64 golden windows: NASA's portrait of an astronaut, a cup of coffee."""
    crops = samples.astronaut()[52:172, 164:284], samples.coffee()[100:220, 200:320]
    windows = torch.stack([to_grey(crop) for crop in crops]).float()
    return pictures.resize(windows, SIZE).round().clamp(0, 255).to(torch.uint8)


def card(facts: dict) -> str:
    """The model card of a trained five-point network."""
    test = facts["test"]
    rows = {name: v for name, v in facts.items() if name not in ("note", "test") and v is not None}
    return f"""{front_matter(["face-alignment", "facial-landmarks"], "keypoint-detection")}
# Five points of a face

Locates the two eyes, the nose and the mouth corners in a 64 px grey window, and classifies whether
it shows a face. The `builtin` detector applies it to the proposals of scikit-image's cascade.

{facts["note"]}

## Training

Windows are sampled at random around aligned faces, so the points are known by construction: they
are the points of the alignment template. The network therefore predicts the template's position, as
alignment needs it; the corners of a wide-open mouth can lie elsewhere.

{table(rows)}
## Measured on {test["faces"]} held-out faces (no person of the training split)

{table({key: value for key, value in test.items() if key != "faces"})}
Errors are mean distances in units of the distance between the eyes, for windows placed with the
error of the cascade (`far`) and of a second pass (`near`). `face auc`: probability that a window
with a face scores above one without.

## Limits

Upright faces up to about 35 degrees of roll, near frontal. Trained mostly on adult public figures:
expect more misses on children, covered faces and strong profiles.
"""


def points_loss(network: FivePoints, windows: Windows) -> Tensor:
    """Smooth L1 of the points (in eye distances, faces only) plus cross-entropy of the face
    score."""
    with autocast(windows.x.device):
        points, logits = network(windows.x)
    error = (points.float() - windows.points)[windows.face] / template_eye_distance(SIZE)
    regression = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05)
    target = windows.face.float()
    return 5 * regression + 0.5 * F.binary_cross_entropy_with_logits(logits.float(), target)


def template_eye_distance(size: int) -> float:
    """Distance between the eyes in an aligned crop of `size` px, in pixels."""
    return float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0])) * size / SIDE


@torch.no_grad()
def update_ema(ema: FivePoints, network: FivePoints, decay: float) -> None:
    """Updates the moving average of weights and batch statistics in place."""
    for mean, new in zip(ema.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, 1 - decay)


@torch.no_grad()
def evaluate(network: FivePoints, faces: Tensor, negatives: Tensor) -> dict[str, float]:
    """Mean point errors in eye distances under the jitters FAR and NEAR, and the face AUC."""
    result: dict[str, float] = {"faces": len(faces)}
    windows = make_windows(faces, negatives, seeded(1))
    _, logits = network(windows.x)
    for name, jitter in (("far", FAR), ("near", NEAR)):
        placed = make_windows(faces, negatives, seeded(2), negative_share=0.0, jitter=jitter)
        error = (network(placed.x)[0] - placed.points).norm(dim=-1) / template_eye_distance(SIZE)
        result[f"error_{name}"] = round(float(error.mean()), 4)
    positive, negative = logits[windows.face], logits[~windows.face]
    auc = (positive[:, None] > negative[None]).float().mean()
    result["face_auc"] = round(float(auc), 4)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Trains and prints the facts as JSON; exit code 2 for unusable data or weights."""
    parser = Parser(prog="python -m ganmut.faces.landmarks.train", description=__doc__)
    parser.add_argument("--data", required=True, help="aligned 128 px faces with a metadata.jsonl")
    parser.add_argument(
        "--out", default=f"weights/{WEIGHT}", help="folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", default=2500, type=int, help="steps of 96 windows (default: %(default)s)"
    )
    parser.add_argument("--start", help="weight folder to continue from (default: random weights)")
    parser.add_argument("--rate", default=2e-3, type=float, help="(default: %(default)s)")
    parser.add_argument("--seed", default=0, type=int)
    options = parser.parse_args(arguments)
    try:
        settings = {name: getattr(options, name) for name in ("steps", "rate", "start", "seed")}
        config = train_points(options.data, options.out, **settings)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(config))
    return 0
