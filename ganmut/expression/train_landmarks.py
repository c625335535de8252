"""Trains the landmark network: `python -m ganmut.expression.train_landmarks --data FOLDER`."""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from tqdm import trange

from ganmut.device import generator as seeded
from ganmut.expression.augmentation import Augment, mirror_points
from ganmut.expression.landmark_data import (
    BROWS,
    FACE_OVAL,
    IRISES,
    LIDS,
    LIPS,
    POINTS,
    LandmarkSet,
    read_landmark_set,
)
from ganmut.expression.landmark_net import COMPONENTS, SAMPLED, LandmarkNet, normalised
from ganmut.images import write_atomic

PARTS = {"lips": LIPS, "lids": LIDS, "brows": BROWS, "oval": FACE_OVAL, "irises": IRISES}


def point_weights() -> Tensor:
    """478 weights of the points' errors: the parts that an edit moves count three times."""
    weights = torch.ones(POINTS)
    weights[list(LIPS + LIDS + BROWS + IRISES)] = 3
    return weights / weights.mean()


def sampled_points(mean_shape: Tensor) -> Tensor:
    """int64 96: points spread over lips, lids and brows first, then over the rest, each the
    farthest from those chosen before it."""
    inner = list(dict.fromkeys(LIPS + LIDS + BROWS))
    chosen = _farthest(mean_shape, inner, [14], SAMPLED * 5 // 8)
    return torch.tensor(_farthest(mean_shape, list(range(POINTS)), chosen, SAMPLED))


def _farthest(shape: Tensor, candidates: list[int], chosen: list[int], count: int) -> list[int]:
    chosen = list(chosen)
    while len(chosen) < count:
        gaps = torch.cdist(shape[candidates], shape[chosen]).amin(1)
        chosen.append(candidates[int(gaps.argmax())])
    return chosen


def losses(
    network: LandmarkNet,
    views: Tensor,
    points: Tensor,
    pose: Tensor,
    expression: Tensor,
    weights: Tensor,
    spread: Tensor,
) -> dict[str, Tensor]:
    """Weighted terms: L1 of both stages in pixels, L1 of the pose, and L1 of the expression that
    is read from the given and from the found landmarks (in units of each control's spread)."""
    first, second, turned = network(views)

    def away(found: Tensor) -> Tensor:
        return ((found - points).abs().sum(-1) * weights).mean()

    read = torch.cat([network.read_expression(points), network.read_expression(second)])
    value = (read - expression.repeat(2, 1)).abs() / spread
    return {
        "guess": 0.4 * away(first),
        "points": away(second),
        "pose": (turned - pose).abs().sum(1).mean(),
        "expression": 0.5 * value.mean(),
    }


@torch.no_grad()
def predict(network: LandmarkNet, images: Tensor, batch: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Landmarks, pose and expression of uint8 N x 128 x 128 crops."""
    parts = []
    for start in range(0, len(images), batch):
        _, points, pose = network(images[start : start + batch, None].float() / 255)
        parts.append((points, pose, network.read_expression(points)))
    points, pose, expression = (torch.cat(part) for part in zip(*parts, strict=True))
    return points, pose, expression


@torch.no_grad()
def evaluate(network: LandmarkNet, faces: LandmarkSet) -> dict[str, float]:
    """Mean error in pixels over all points and by part, the 95th percentile over faces, and the R2
    of the 22 values read from found landmarks and from given ones: of all values together (r2) and
    the mean of the 22 columns (r2_mean), some of which hardly vary."""
    points, pose, expression = predict(network, faces.images)
    error = (points - faces.landmarks).norm(dim=-1)
    result = {"faces": len(faces), "error": float(error.mean())}
    result |= {name: float(error[:, list(part)].mean()) for name, part in PARTS.items()}
    result["error_p95"] = float(error.mean(1).quantile(0.95))
    yaw = faces.pose[:, 0].abs()
    for name, rows in (
        ("frontal", yaw < 0.25),
        ("turned", (yaw >= 0.25) & (yaw < 0.5)),
        ("profile", yaw >= 0.5),
    ):
        if rows.any():
            result[f"error_{name}"] = float(error[rows].mean())
    result["pose_degrees"] = float(torch.rad2deg((pose - faces.pose).abs()).mean())
    for name, read in (("found", expression), ("given", network.read_expression(faces.landmarks))):
        rest, whole = squared_residuals(read.clamp(0, 1), faces.expression)
        result[f"r2_{name}"] = 1 - float(rest.sum() / whole.sum())
        result[f"r2_{name}_mean"] = float((1 - rest / whole).mean())
    return {name: round(value, 4) for name, value in result.items()}


def squared_residuals(found: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of squares by column: of the residuals, and of the given values about their mean."""
    return (found - given).square().sum(0), (given - given.mean(0)).square().sum(0)


def train_landmarks(
    data: str | Path,
    out: str | Path,
    *,
    steps: int,
    batch: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    snapshot_every: int = 500,
    progress: bool = True,
) -> LandmarkNet:
    """Trains on the train split of a folder of photographs with landmarks (landmark_data.py).

    Snapshots, which a second call goes on from, and stats.jsonl lie in `out`. Returns the averaged
    network. Raises BadData.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    faces = read_landmark_set(data, "train", progress=progress)
    test = read_landmark_set(data, "test", progress=progress)
    torch.manual_seed(seed)
    network = LandmarkNet()
    frontal = faces.pose[:, 0].abs() < 0.12
    network.mean_shape.copy_(faces.landmarks[frontal].mean(0))
    network.sampled.copy_(sampled_points(network.mean_shape))
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    done = restore(out, network, average, optimizer)
    generator = seeded(seed + done)
    augment = Augment(mirror_points(network.mean_shape), generator)
    weights, spread = point_weights(), faces.expression.std(0)
    started, seconds = time.monotonic(), 0.0
    bar = trange(done, steps, initial=done, total=steps, disable=not progress, file=sys.stderr)
    for step in bar:
        progressed = step / steps
        for group in optimizer.param_groups:
            group["lr"] = (
                lr * min(1, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * progressed))
            )
        rows = torch.randint(len(faces), (batch,), generator=generator)
        views = augment(faces.images[rows], faces.landmarks[rows], faces.pose[rows])
        terms = losses(network, *views, faces.expression[rows], weights, spread)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        follow(average, network, min(0.999, (step + 1) / (step + 10)))
        if (step + 1) % snapshot_every == 0 or step + 1 == steps:
            save_snapshot(out, network, average, optimizer, step + 1)
            seconds = time.monotonic() - started
            record = {"step": step + 1, "seconds": round(seconds, 1)}
            record |= {name: round(float(term), 4) for name, term in terms.items()}
            record |= evaluate(copy.deepcopy(average).eval(), test)
            with open(out / "stats.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
            bar.set_postfix(error=record["error"])
    return average.eval()


def fit_expression(
    network: LandmarkNet,
    faces: LandmarkSet,
    augment: Augment,
    *,
    rounds: int = 4,
    steps: int = 8000,
    lr: float = 2e-3,
) -> None:
    """Fits the head that reads the 22 values, the rest of the network held fixed.

    It learns from the given landmarks and from those that the network finds in `rounds` random
    views of every face, in principal components, by mean squares: the joint training's L1 settles
    on medians, which are near zero for most of the 22.
    """
    shapes, values = _shapes_and_values(network, faces, augment, rounds)
    middle = shapes.mean(0)
    _, spread, axes = torch.pca_lowrank(shapes - middle, COMPONENTS, niter=4)
    # Small components are noise of the landmarks: they enter at their size, not at unit spread.
    scale = spread / len(shapes) ** 0.5
    project = axes / scale.clamp(min=float(scale[0]) * 0.02)
    head = network.expression
    head[0].weight.data, head[0].bias.data = project.T.contiguous(), -middle @ project
    inputs, weight = (shapes - middle) @ project, values.std(0)
    rest = head[1:].requires_grad_(True)
    optimizer = torch.optim.AdamW(rest.parameters(), lr=lr, weight_decay=1e-4)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        rows = torch.randint(len(inputs), (256,), generator=augment.generator)
        noise = 0.03 * augment.normal(256, COMPONENTS)
        loss = ((rest(inputs[rows] + noise) - values[rows]) / weight).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.requires_grad_(False)


@torch.no_grad()
def _shapes_and_values(
    network: LandmarkNet, faces: LandmarkSet, augment: Augment, rounds: int
) -> tuple[Tensor, Tensor]:
    """Normalised landmarks M x 956, given ones and found ones, and their expressions M x 22."""
    shapes = [normalised(faces.landmarks, network.mean_shape).flatten(1)]
    for _ in range(rounds):
        for start in range(0, len(faces), 64):
            rows = slice(start, start + 64)
            views, _, _ = augment(faces.images[rows], faces.landmarks[rows], faces.pose[rows])
            shapes.append(normalised(network(views)[1], network.mean_shape).flatten(1))
    return torch.cat(shapes), faces.expression.repeat(rounds + 1, 1)


@torch.no_grad()
def follow(average: LandmarkNet, network: LandmarkNet, decay: float) -> None:
    """Moves the averaged network (weights and statistics) towards the trained one."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def save_snapshot(
    out: Path,
    network: LandmarkNet,
    average: LandmarkNet,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    """Writes all that a resumed training needs into one file, atomically."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    data = safetensors.torch.save(tensors, metadata={"step": str(step)})
    write_atomic(out / "snapshot.safetensors", data)


def restore(
    out: Path, network: LandmarkNet, average: LandmarkNet, optimizer: torch.optim.Optimizer
) -> int:
    """Loads the snapshot of `out` where there is one and returns the step that it stands at."""
    path = out / "snapshot.safetensors"
    if not path.is_file():
        return 0
    with safetensors.safe_open(path, "pt") as file:
        step = int(file.metadata()["step"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def part(name: str) -> dict[str, Tensor]:
        head = f"{name}."
        return {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}

    network.load_state_dict(part("network"))
    average.load_state_dict(part("average"))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer").items():
        number, field = name.split(".", 1)
        state.setdefault(int(number), {})[field] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ganmut.expression.train_landmarks", description=__doc__
    )
    parser.add_argument("--data", required=True, help="folder of photographs with landmarks")
    parser.add_argument("--out", required=True, help="run folder: snapshots and stats.jsonl")
    parser.add_argument("--steps", type=int, default=20000, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        train_landmarks(
            options.data,
            options.out,
            steps=options.steps,
            batch=options.batch,
            lr=options.lr,
            seed=options.seed,
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
