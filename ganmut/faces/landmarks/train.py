"""Trains the five-point network: `python -m ganmut.faces.landmarks.train --data FOLDER`."""

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
from tqdm import trange

from ganmut import images as pictures
from ganmut.datasets.base import BadData, digest
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
from ganmut.weights.card import front_matter, table
from ganmut.weights.storage import read_config

NOTE = (
    "Trained on muxspace/facial_expressions (Apache-2.0 repository; press photographs and film "
    "stills whose rights its compilers cannot clear): for research use."
)


def read_faces(folder: str | Path, split: str, fill: float = 0.8) -> Tensor:
    """uint8 N x 1 x 128 x 128: the aligned faces of one split of a folder with metadata.jsonl.

    Rows that say how much of the crop the picture covers (`fill`) are kept from `fill` on. Raises
    BadData.
    """
    note = Path(folder) / "metadata.jsonl"
    if not note.is_file():
        raise BadData(
            f"{note} is missing: data must be aligned {SIDE} px faces with a metadata.jsonl"
        )
    rows = [json.loads(line) for line in note.read_text().splitlines() if line.strip()]
    rows = [
        row for row in rows if row.get("split", "train") == split and row.get("fill", 1) >= fill
    ]
    if not rows:
        raise BadData(f"{note}: no row with split {split!r} and fill >= {fill}")
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
    plain: int = 1800,
    hard: int = 600,
    start: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict:
    """Trains on the train split of `data`, tests on its test split, writes the weight `out`.

    plain, hard: how many faceless windows there are, and how many of those that the cascade takes
    for faces. start: a weight folder to go on from instead of random weights. 2500 steps are about
    six minutes on one free core. Returns the facts that go into config.json.
    """
    generator = seeded(seed)
    torch.manual_seed(seed)  # the initial weights
    faces, views, started = read_faces(data, "train"), load_negative_images(), time.monotonic()
    negatives = sample_negatives(faces, views, generator, plain)
    negatives = torch.cat([negatives, mine_hard_negatives(faces, views, generator, hard)])
    network, before = FivePoints(width), {}
    if start:
        network, before = load_network(start), read_config(start)
    network = copy.deepcopy(network).requires_grad_(True).train()
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    bar = trange(steps, unit="step", disable=not progress, file=sys.stderr)
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = (
                rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
            )
        rows = torch.randint(len(faces), (batch,), generator=generator)
        loss = points_loss(network, make_windows(faces[rows], negatives, generator))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        update_ema(average, network, min(0.998, step / (step + 20)))
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
        "test": evaluate(average, read_faces(data, "test"), negatives),
    }
    save_network(average, out, facts, examples(), card(facts))
    return facts


def examples() -> Tensor:
    """uint8 2 x 1 x 64 x 64 golden windows: NASA's portrait of an astronaut, a cup of coffee."""
    portrait, cup = samples.astronaut()[52:172, 164:284], samples.coffee()[100:220, 200:320]
    views = [to_grey(portrait), to_grey(cup)]
    return pictures.resize(torch.stack(views).float(), SIZE).round().clamp(0, 255).to(torch.uint8)


def card(facts: dict) -> str:
    """The model card of a trained five-point network."""
    test = facts["test"]
    rows = {name: v for name, v in facts.items() if name not in ("note", "test") and v is not None}
    return f"""{front_matter(["face-alignment", "facial-landmarks"], "keypoint-detection")}
# Five points of a face

Finds the two eyes, the nose and the mouth corners in a 64 px grey window, and says whether it
shows a face. The `builtin` detector looks with it at what scikit-image's cascade proposes.

{facts["note"]}

## Training

Windows are cut at random around aligned faces, so the points are known by construction: they are
the alignment template's, seen from the window. The network therefore learns where the template
lies, which is what an alignment needs; a wide-open mouth's own corners can lie elsewhere.

{table(rows)}
## Measured on {test["faces"]} held-out faces (no person of the training split)

{table({key: value for key, value in test.items() if key != "faces"})}
Errors are mean distances in units of the distance between the eyes; `far` are windows placed as
roughly as the cascade does, `near` as well as a second look does. `face auc`: probability that a
face scores above a window without one.

## Limits

Upright faces up to about 35 degrees of roll, near frontal. Trained on adults, mostly of public
life: expect more misses on children, veiled faces and strong profiles.
"""


def points_loss(network: FivePoints, shown: Windows) -> Tensor:
    """Smooth L1 of the points (eye distances, faces only) plus cross-entropy of face or none."""
    with autocast(shown.x.device):
        points, logits = network(shown.x)
    away = (points.float() - shown.points)[shown.face] / template_eye_distance(SIZE)
    places = F.smooth_l1_loss(away, torch.zeros_like(away), beta=0.05)
    return 5 * places + 0.5 * F.binary_cross_entropy_with_logits(logits.float(), shown.face.float())


def template_eye_distance(size: int) -> float:
    """Distance of the eyes in an aligned crop of `size` pixels."""
    return float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0])) * size / SIDE


@torch.no_grad()
def update_ema(average: FivePoints, network: FivePoints, keep: float) -> None:
    """Moves the averaged network (weights and statistics) a little towards the trained one."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - keep)


@torch.no_grad()
def evaluate(network: FivePoints, faces: Tensor, negatives: Tensor) -> dict[str, float]:
    """Mean point error in eye distances, placed roughly (far) and well (near), and face AUC."""
    result: dict[str, float] = {"faces": len(faces)}
    shown = make_windows(faces, negatives, seeded(1))
    _, logits = network(shown.x)
    for name, part in (("far", FAR), ("near", NEAR)):
        placed = make_windows(faces, negatives, seeded(2), negative_share=0.0, jitter=part)
        away = (network(placed.x)[0] - placed.points).norm(dim=-1) / template_eye_distance(SIZE)
        result[f"error_{name}"] = round(float(away.mean()), 4)
    yes, no = logits[shown.face], logits[~shown.face]
    result["face_auc"] = round(float((yes[:, None] > no[None]).float().mean()), 4)
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ganmut.faces.landmarks.train", description=__doc__
    )
    parser.add_argument("--data", required=True, help="aligned 128 px faces with a metadata.jsonl")
    parser.add_argument(
        "--out", default=f"weights/{WEIGHT}", help="folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", default=2500, type=int, help="steps of 96 windows (default: %(default)s)"
    )
    parser.add_argument("--start", help="weight folder to go on from (default: random weights)")
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


if __name__ == "__main__":
    raise SystemExit(main())
