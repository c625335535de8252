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
import torch.nn.functional as F
from torch import Tensor
from tqdm import trange

from ganmut.device import generator as seeded
from ganmut.expression.landmark_data import (
    BROWS,
    FACE_OVAL,
    IRISES,
    LIDS,
    LIPS,
    POINTS,
    SIZE,
    LandmarkSet,
    read_landmark_set,
)
from ganmut.expression.landmark_net import SAMPLED, LandmarkNet
from ganmut.images import write_atomic

PARTS = {"lips": LIPS, "lids": LIDS, "brows": BROWS, "oval": FACE_OVAL, "irises": IRISES}


def point_weights() -> Tensor:
    """478 weights of the points' errors: the parts that an edit moves count three times."""
    weights = torch.ones(POINTS)
    weights[list(LIPS + LIDS + BROWS + IRISES)] = 3
    return weights / weights.mean()


def mirror_points(mean_shape: Tensor) -> Tensor:
    """int64 478: the point that each becomes when a face is mirrored, by the symmetry of the mean
    shape; pairs are taken from the nearest on, each point once."""
    centre = mean_shape[list(FACE_OVAL), 0].mean()
    mirrored = torch.stack([2 * centre - mean_shape[:, 0], mean_shape[:, 1]], 1)
    gaps = torch.cdist(mirrored, mean_shape)
    gaps = gaps + gaps.T
    pairs = torch.full((POINTS,), -1)
    for flat in gaps.flatten().argsort().tolist():
        a, b = divmod(flat, POINTS)
        if pairs[a] < 0 and pairs[b] < 0:
            pairs[a], pairs[b] = b, a
    return pairs


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


class Augment:
    """Random views of aligned photographs, as faces come in practice: turned, shifted, scaled,
    mirrored, lit, blurred, covered. Landmarks and pose follow."""

    def __init__(self, pairs: Tensor, generator: torch.Generator):
        self.pairs, self.generator = pairs, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def __call__(
        self, images: Tensor, points: Tensor, pose: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """images uint8 N x 128 x 128 -> float N x 1 x 128 x 128 in 0..1, points N x 478 x 2 and
        pose N x 3 of the views."""
        n = len(images)
        flip = self.uniform(0, 1, n) < 0.5
        mirrored = points * points.new_tensor([-1, 1]) + points.new_tensor([SIZE - 1, 0])
        points = torch.where(flip[:, None, None], mirrored[:, self.pairs], points)
        pose = torch.where(flip[:, None], pose * pose.new_tensor([-1, 1, -1]), pose)
        angle = (self.normal(n) * 0.14).clamp(-0.5, 0.5)
        scale = torch.exp((self.normal(n) * 0.08).clamp(-0.25, 0.25))
        shift = (self.normal(n, 2) * 3.5).clamp(-12, 12)
        a, b = scale * angle.cos(), scale * angle.sin()
        turn = torch.stack([torch.stack([a, -b], 1), torch.stack([b, a], 1)], 1)
        centre = (SIZE - 1) / 2
        points = (points - centre) @ turn.transpose(1, 2) + centre + shift[:, None]
        pose = pose - torch.stack(
            [0 * angle, 0 * angle, angle], 1
        )  # MediaPipe's roll is anticlockwise
        # grid_sample asks where an output pixel comes from: the inverse map.
        inverse = torch.linalg.inv(turn)
        mirror = torch.where(flip, -1.0, 1.0)
        inverse = torch.stack([inverse[:, 0] * mirror[:, None], inverse[:, 1]], 1)
        offset = -(inverse @ shift[..., None]) * (2 / SIZE)
        grid = F.affine_grid(
            torch.cat([inverse, offset], 2), [n, 1, SIZE, SIZE], align_corners=False
        )
        views = F.grid_sample(
            images[:, None].float() / 255, grid, padding_mode=self._border(), align_corners=False
        )
        return self._cover(self._light(self._soften(views))), points, pose

    def _border(self) -> str:
        return "border" if float(self.uniform(0, 1, 1)) < 0.7 else "zeros"

    def _light(self, views: Tensor) -> Tensor:
        """Gamma, contrast, brightness, a lamp from one side, grain."""
        n = len(views)
        views = views.clamp(1e-3, 1) ** torch.exp(self.normal(n, 1, 1, 1) * 0.25)
        gain = torch.exp(self.normal(n, 1, 1, 1) * 0.2)
        views = views * gain + self.normal(n, 1, 1, 1) * 0.06
        ramp = torch.linspace(-1, 1, SIZE)
        lamp = self.normal(n, 1, 1, 1) * ramp + self.normal(n, 1, 1, 1) * ramp[:, None]
        views = views * torch.exp(0.15 * lamp)
        grain = self.uniform(0, 0.05, n, 1, 1, 1) * self.normal(*views.shape)
        return (views + grain).clamp(0, 1)

    def _soften(self, views: Tensor) -> Tensor:
        """Some views at a lower resolution, as small faces are."""
        side = int(self.uniform(24, 129, 1)) if float(self.uniform(0, 1, 1)) < 0.35 else SIZE
        if side == SIZE:
            return views
        few = torch.randperm(len(views), generator=self.generator)[: max(len(views) // 2, 1)]
        small = F.interpolate(views[few], size=side, mode="area")
        views[few] = F.interpolate(small, size=SIZE, mode="bilinear", align_corners=False)
        return views

    def _cover(self, views: Tensor) -> Tensor:
        """Half the views get a block of one grey or of another view, as hands and hair do."""
        n = len(views)
        donors = torch.randperm(n, generator=self.generator).tolist()
        for i in range(n):
            if float(self.uniform(0, 1, 1)) < 0.6:
                continue
            w, h = (int(v) for v in self.uniform(8, 52, 2))
            x, y = (int(v) for v in self.uniform(-10, SIZE - 6, 2))
            block = (i, 0, slice(max(y, 0), y + h), slice(max(x, 0), x + w))
            if float(self.uniform(0, 1, 1)) < 0.5:
                views[block] = float(self.uniform(0, 1, 1))
            else:
                views[block] = views[(donors[i], *block[1:])].clone()
        return views


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
    """Mean error in pixels over all points and by part, the 95th percentile over faces, and the
    mean R2 of the 22 values read from found landmarks and from given ones."""
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
    for name, found in (("found", expression), ("given", network.read_expression(faces.landmarks))):
        result[f"r2_{name}"] = float(r_squared(found, faces.expression).mean())
    return {name: round(value, 4) for name, value in result.items()}


def r_squared(found: Tensor, given: Tensor) -> Tensor:
    """Share of each column's variance that is explained, 22."""
    rest = (found - given).square().sum(0)
    return 1 - rest / (given - given.mean(0)).square().sum(0)


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
