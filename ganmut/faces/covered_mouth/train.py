"""Trains the network that notices covered mouths:
`python -m ganmut.faces.covered_mouth.train --data FOLDER`. Five minutes on one core."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports: a missing package is a sentence
    from ganmut import interrupts

    interrupts.run_module("ganmut.faces.covered_mouth.train")

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm, trange

from ganmut.device import generator as seeded
from ganmut.expression.landmark_data import LandmarkSet, read_landmark_set
from ganmut.expression.train_landmarks import examples
from ganmut.faces.covered_mouth.network import (
    SIZE,
    MouthCoverNet,
    covered_mouths,
    save_mouth_cover_net,
)
from ganmut.faces.covered_mouth.occluders import OccluderSource
from ganmut.text import Parser
from ganmut.weights.card import front_matter, table

SHARES = (0.3, 0.2)  # of the views: photographs as they are, and with something beside the mouth
BATCH = 64


class Views:
    """Random views of photographs, half of them with a covered mouth."""

    def __init__(self, faces: LandmarkSet, generator: np.random.Generator):
        self.images, self.landmarks = faces.images.numpy(), faces.landmarks.numpy()
        self.generator = generator
        self.occluders = OccluderSource(self.images, generator)

    def take(self, n: int, progress: bool) -> tuple[Tensor, Tensor]:
        """(float N x 1 x 128 x 128 in 0..1, N bool: covered), about n of them."""
        rows = np.resize(self.generator.permutation(len(self.images)), n)
        views, labels = [], []
        for row in tqdm(rows, unit="face", disable=not progress, leave=False):
            image, landmarks = self.images[row], self.landmarks[row]
            share = self.generator.random()
            covered = share >= sum(SHARES)
            view: np.ndarray | None = image
            if covered:
                view = self.occluders.covered(image, landmarks)
            elif share >= SHARES[0]:
                view = self.occluders.beside(image, landmarks)
            if view is not None:
                views.append(self.photographed(view))
                labels.append(covered)
        return torch.from_numpy(np.stack(views))[:, None], torch.tensor(labels)

    def photographed(self, image: np.ndarray) -> np.ndarray:
        """float32 in 0..1: another place, light, resolution and grain."""
        draw = self.generator
        angle, scale = draw.normal() * 0.06, np.exp(draw.normal() * 0.04)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.full(2, SIZE / 2)
        shift = centre - turn @ centre + draw.normal(0, 2, 2)
        matrix = (*turn[0], shift[0], *turn[1], shift[1])
        method, resampling = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        moved = Image.fromarray(image).transform((SIZE, SIZE), method, matrix, resampling)
        if draw.random() < 0.3:  # as small faces are
            side = int(draw.integers(32, 110))
            moved = moved.resize((side, side), Image.Resampling.BOX).resize((SIZE, SIZE))
        values = (np.asarray(moved, np.float32) / 255).clip(1e-3, 1)
        values = values ** np.exp(draw.normal() * 0.2) * np.exp(draw.normal() * 0.15)
        grain = draw.normal(0, draw.uniform(0, 0.03), values.shape)
        return (values + draw.normal() * 0.04 + grain).clip(0, 1).astype(np.float32)


def train_mouth_cover(
    data: str | Path, out: str | Path, *, views: int, epochs: int, seed: int, progress: bool = True
) -> Path:
    """Trains on covered and uncovered views of the train split, measures on the test split and
    writes the weight folder. Raises BadData."""
    faces, test = (read_landmark_set(data, split, progress=progress) for split in ("train", "test"))
    crops, labels = Views(faces, np.random.default_rng(seed)).take(views, progress)
    network = fit(crops, labels, epochs, seed, progress)
    facts = {
        "note": test.points.note,
        "views": len(crops),
        "epochs": epochs,
        "seed": seed,
        "test": evaluate(network, test, np.random.default_rng(seed + 1), progress),
    }
    return save_mouth_cover_net(network, out, facts, examples(test), card(facts))


def fit(crops: Tensor, labels: Tensor, epochs: int, seed: int, progress: bool) -> MouthCoverNet:
    """The network after `epochs` over the views, with random mirror images and small shifts."""
    torch.manual_seed(seed)
    network, draw = MouthCoverNet().train(), seeded(seed)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = max(len(crops) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * steps)
    for _ in trange(epochs, unit="epoch", disable=not progress, file=sys.stderr):
        order = torch.randperm(len(crops), generator=draw)
        for rows in order[: steps * BATCH].chunk(steps):
            x = crops[rows]
            if float(torch.rand(1, generator=draw)) < 0.5:
                x = x.flip(3)
            by = torch.randint(-4, 5, (2,), generator=draw).tolist()
            logits = network(torch.roll(x, by, (2, 3)))
            loss = F.binary_cross_entropy_with_logits(logits, labels[rows].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def evaluate(
    network: MouthCoverNet, faces: LandmarkSet, generator: np.random.Generator, progress: bool
) -> dict[str, float]:
    """Shares of the photographs that count as covered: as they are, and with what was drawn over
    their mouths or beside them."""

    def share(crops: Tensor) -> float:
        found = [covered_mouths(network, part) for part in crops.split(256)]
        return round(float(torch.cat(found).float().mean()), 4)

    crops, labels = Views(faces, generator).take(max(2 * len(faces), 64), progress)
    return {
        "faces": len(faces),
        "as_they_are": share(faces.images[:, None].float() / 255),
        "drawn_over": share(crops[labels]),
        "with_others": share(crops[~labels]),
    }


def card(facts: dict) -> str:
    """The model card."""
    settings = {name: facts[name] for name in ("views", "epochs", "seed")}
    return f"""{front_matter(["faces"], "image-classification")}
# Covered mouths

Says of an aligned grey crop of 128 px whether a hand, a mask or an object covers the mouth, so that
no mouth is drawn on it.

{facts["note"]}

## Training

{table(settings)}
Photographs with hands, face masks and objects drawn over the mouth
(`ganmut/faces/covered_mouth/occluders.py`) against the same photographs as they are and with
something drawn elsewhere.

## Measured on people who are not in the training split: shares that count as covered

{table(facts["test"])}
`as_they_are`: real photographs, some of which show a hand before the mouth; `drawn_over`: mouths
covered by what was drawn; `with_others`: real ones and such with something drawn beside the mouth.

## Limits

Near-frontal adult faces. Half-covered mouths, beards over the lips and glass may be taken for
either.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m ganmut.faces.covered_mouth.train", description=__doc__)
    parser.add_argument("--data", required=True, help="a folder of photographs with landmarks")
    parser.add_argument("--out", default="out/mouth_cover", help="weight folder to write")
    parser.add_argument("--views", type=int, default=10000, help="pictures to learn from")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if min(options.views, options.epochs) < 1:
        parser.error("--views and --epochs must be at least 1")
    torch.set_num_threads(1)  # threads cost a small network more than they give
    sizes = {"views": options.views, "epochs": options.epochs}
    print(f"wrote {train_mouth_cover(options.data, options.out, **sizes, seed=options.seed)}")
    return 0
