"""Trains the landmark network: `python -m ganmut.expression.train_landmarks --data FOLDER`."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports: a missing package is a sentence
    from ganmut import interrupts

    interrupts.run_module("ganmut.expression.train_landmarks")

import copy
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from skimage import data as samples
from torch import Tensor
from tqdm import trange

from ganmut.device import generator as seeded
from ganmut.errors import first_line
from ganmut.expression.augmentation import Augment
from ganmut.expression.evaluate_landmarks import evaluate
from ganmut.expression.geometry import FRONTAL, expressive_shapes, mirror_pairs
from ganmut.expression.landmark_data import LandmarkSet
from ganmut.expression.landmark_net import (
    SAMPLED,
    LandmarkNet,
    Shape,
    fold,
    normalised,
    save_landmark_net,
)
from ganmut.expression.point_set import IBUG, MESH, SIZE, PointSet
from ganmut.expression.rendered_landmarks import landmark_set
from ganmut.files import DamagedFile, append_lines, folder_lock, remove_temporaries, trim_lines
from ganmut.images import luma, resize
from ganmut.text import Parser
from ganmut.training.run_dir import (
    module_tensors,
    optimizer_tensors,
    read_snapshot,
    restore_module,
    restore_optimizer,
    write_snapshot,
)
from ganmut.weights.card import front_matter, table

SNAPSHOT = "snapshot.safetensors"
RANK = 96  # of the displacements that either stage can give


def point_weights(points: PointSet) -> Tensor:
    """P weights of the points' errors: the parts that an edit moves count three times."""
    weights = torch.ones(points.count)
    for part in points.parts.values():
        weights[list(part)] = 3
    return weights / weights.mean()


def sampled_points(mean_shape: Tensor, points: PointSet) -> Tensor:
    """int64, at most 96: points spread over lips, lids and brows first, then over the rest, each
    the farthest from those chosen before it."""
    count = min(SAMPLED, points.count)
    inner = [p for name in ("lips", "lids", "brows") for p in points.parts[name]]
    middle = points.mouth.lower[len(points.mouth.lower) // 2]
    chosen = _farthest(mean_shape, inner, [middle], min(SAMPLED * 5 // 8, len(inner)))
    return torch.tensor(_farthest(mean_shape, list(range(points.count)), chosen, count))


def _farthest(shape: Tensor, candidates: list[int], chosen: list[int], count: int) -> list[int]:
    chosen = list(chosen)
    while len(chosen) < count:
        # Farthest points first: lips have many landmarks a pixel, and neighbours see the same.
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
    is read from the given and from the found landmarks, in units of each control's spread."""
    first, second, turned = network(views)

    def away(found: Tensor) -> Tensor:
        return ((found - points).abs().sum(-1) * weights).mean()

    # The given landmarks teach the reading itself, the found ones to bear the network's errors.
    read = torch.cat([network.read_expression(points), network.read_expression(second)])
    # In units of the spread: some controls hardly vary, and would not count.
    value = (read - expression.repeat(2, 1)) / spread
    return {
        "guess": 0.4 * away(first),
        "points": away(second),
        "pose": (turned - pose).abs().sum(1).mean(),
        "expression": 0.5 * value.abs().mean(),
    }


def train_landmarks(
    data: str | Path,
    out: str | Path,
    *,
    steps: int,
    batch: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    width: int = 24,
    hidden: int = 256,
    snapshot_every: int = 500,
    faces: int = 0,
    progress: bool = True,
) -> LandmarkNet:
    """Trains on the train split of a folder of photographs with landmarks (landmark_data.py), then
    fits the head that reads the expression.

    Snapshots, which a second call goes on from, and stats.jsonl lie in `out`. Returns the averaged
    network. Raises BadData, DamagedFile for a snapshot that cannot be used, InUse where another
    process trains in `out`.
    """
    out = Path(out)
    with folder_lock(out):
        remove_temporaries(out)
        train, test = (landmark_set(data, split, faces, progress) for split in ("train", "test"))
        sizes = (width, hidden)
        return _train(train, test, out, steps, batch, lr, seed, sizes, snapshot_every, progress)


def _train(
    faces: LandmarkSet,
    test: LandmarkSet,
    out: Path,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    sizes: tuple[int, int],
    snapshot_every: int,
    progress: bool,
) -> LandmarkNet:
    torch.manual_seed(seed)
    points = faces.points
    network = Shape(*sizes, min(RANK, 2 * points.count), points.name).build()
    # Of frontal faces: a mean over all yaws is narrower than any face.
    frontal = faces.pose[:, 0].abs() < FRONTAL
    network.mean_shape.copy_(faces.landmarks[frontal].mean(0))
    network.sampled.copy_(sampled_points(network.mean_shape, points))
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    done = restore(out, network, average, optimizer)
    trim_lines(out / "stats.jsonl", done)
    # Resumed runs draw new views; the first ones again would be seen twice as often.
    generator = seeded(seed + done)
    shapes = expressive_shapes(faces.landmarks, faces.expression, faces.pose)
    augment = Augment(mirror_pairs(shapes), generator)
    weights, spread = point_weights(points), faces.expression.std(0)
    started = time.monotonic()
    bar = trange(done, steps, initial=done, total=steps, disable=not progress, file=sys.stderr)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, lr)
        # ---- one step on random views ----
        rows = torch.randint(len(faces), (batch,), generator=generator)
        views = augment(faces.images[rows], faces.landmarks[rows], faces.pose[rows])
        values = faces.expression[rows]
        terms = losses(network, *views, values, weights, spread)
        optimizer.zero_grad()
        sum(terms.values(), torch.zeros(())).backward()
        # A rare wrong landmark pulls with all its pixels.
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        # The decay rises with the steps, so that the average forgets the random start.
        update_ema(average, network, min(0.999, (step + 1) / (step + 10)))
        # ---- a snapshot and a line of figures ----
        if (step + 1) % snapshot_every == 0 or step + 1 == steps:
            record = {"step": step + 1, "seconds": round(time.monotonic() - started, 1)}
            record |= {name: round(float(term), 4) for name, term in terms.items()}
            record |= evaluate(copy.deepcopy(average).eval(), test)
            append_lines(out / "stats.jsonl", [record])
            # After the line: a kill between them drops the line (`trim_lines`), no step.
            save_snapshot(out, network, average, optimizer, step + 1)
            bar.set_postfix(error=record["error"], r2=record["r2_found"])
    # Posed faces show where landmarks go; what a shape means is learned from faces as they are.
    fit_expression(average.eval(), faces[~faces.posed], augment)
    write_weights(average, out / "weights", test, steps=steps, batch=batch, seed=seed)
    return average


def learning_rate(step: int, steps: int, lr: float) -> float:
    """A warm-up, then a cosine to zero."""
    # The warm-up fills Adam's second moments, whose first estimates are single batches.
    return lr * min(1, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def write_weights(network: LandmarkNet, out: Path, test: LandmarkSet, **facts: int) -> None:
    """Writes the folded network as a weight folder with its card, measured on the test people."""
    folded = fold(network)
    settings = {
        "note": network.points.note,
        **facts,
        "test": evaluate(folded, test),
    }
    save_landmark_net(folded, out, settings, examples(test), card(settings, network.points))


def examples(test: LandmarkSet) -> Tensor:
    """uint8 1 x 1 x 128 x 128, the golden crop: NASA's portrait of an astronaut, or a rendered
    face."""
    if test.points is not MESH:
        return test.images[:1, None]
    portrait = torch.from_numpy(samples.astronaut()[51:169, 162:280].copy()).permute(2, 0, 1)[None]
    grey = luma(resize(portrait.float(), SIZE))
    return grey.round().clamp(0, 255).to(torch.uint8)


def card(facts: dict[str, Any], points: PointSet) -> str:
    """The model card of a trained landmark network."""
    test = facts["test"]
    return f"""{front_matter(["facial-landmarks"], "keypoint-detection")}
# Landmarks of a face

Finds {points.count} landmarks ({points.name}), the head's pose and {len(points.controls)} values of
the expression in an aligned grey crop of 128 px. The expression model draws with it.

{facts["note"]}

## Training

{table({name: value for name, value in facts.items() if name not in ("note", "test")})}
{MARKED[points.name]}

## Measured on {test["faces"]} faces of people who are not in the training split

{table({key: value for key, value in test.items() if key != "faces"})}
`error` and the parts are mean distances to the given landmarks in pixels of the crop; `error_p95`
is the 95th percentile over faces. `frontal`, `turned` and `profile` are yaws under .25, under .5
and above, in radians. `r2_found`: share of the variance of all values that is explained when
they are read from found landmarks; `r2_given`: from the given ones; `_mean`: the mean of the
columns, some of which hardly vary.

## Limits

{LIMITS[points.name]} Not for identification, and not for saying what anybody feels.
"""


MARKED = {
    MESH.name: """Landmarks, pose and blendshapes to learn from were read with MediaPipe's face
landmarker (Apache-2.0). They are a program's reading, not a person's marks.""",
    IBUG.name: """Landmarks, pose and action units to learn from are those that the faces were made
of.""",
}
LIMITS = {
    MESH.name: """Near-frontal adult faces, mostly of public life, in press photographs. Expect
larger errors on children, strong profiles, veiled faces and hands before the mouth.""",
    IBUG.name: "The faces that this project renders, and no photograph.",
}


def fit_expression(
    network: LandmarkNet,
    faces: LandmarkSet,
    augment: Augment,
    *,
    steps: int = 6000,
    lr: float = 1e-3,
) -> None:
    """Trains the head that reads the expression further, the rest of the network held fixed.

    Mean squares with a little L1: the joint training's L1 alone settles on medians, which are near
    zero for most values. It learns from the given landmarks and from those that the network
    finds in every face, in its mirror image and in one random view.
    """
    shapes = _shapes(network, faces, augment)
    values = faces.expression.repeat(len(shapes) // len(faces), 1)
    spread = values.std(0)
    head = network.expression.requires_grad_(True)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=1e-2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        rows = torch.randint(len(shapes), (256,), generator=augment.generator)
        away = (head(shapes[rows]) - values[rows]) / spread
        # L1 keeps the many values that are zero at zero; squares move the few that are not.
        loss = away.square().mean() + 0.3 * away.abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.requires_grad_(False)


@torch.no_grad()
def _shapes(network: LandmarkNet, faces: LandmarkSet, augment: Augment) -> Tensor:
    """4N x 2P normalised landmarks: given, found, found in the mirror image, in a random view."""
    parts: list[list[Tensor]] = [[], [], [], []]
    # In batches: the network's maps of all faces at once would take gigabytes.
    for start in range(0, len(faces), 64):
        rows = slice(start, start + 64)
        plain = faces.images[rows, None].float() / 255
        random = augment(faces.images[rows], faces.landmarks[rows], faces.pose[rows])[0]
        found = [network(views)[1] for views in (plain, plain.flip(-1), random)]
        for part, points in zip(parts, [faces.landmarks[rows], *found], strict=True):
            part.append(normalised(points, network.mean_shape).flatten(1))
    return torch.cat([torch.cat(part) for part in parts])


@torch.no_grad()
def update_ema(average: LandmarkNet, network: LandmarkNet, decay: float) -> None:
    """Moves the averaged network (weights and statistics) towards the trained one."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        # Counters of batches are integers; a mean of those means nothing.
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
    tensors = module_tensors("network", network) | module_tensors("ema", average)
    tensors |= optimizer_tensors("optimizer", optimizer)
    write_snapshot(out / SNAPSHOT, tensors, {"step": step})


def restore(
    out: Path, network: LandmarkNet, average: LandmarkNet, optimizer: torch.optim.Optimizer
) -> int:
    """Loads the snapshot of `out` where there is one and returns the step that it stands at; raises
    DamagedFile where it cannot be used."""
    path = out / SNAPSHOT
    if not path.is_file():
        return 0
    try:
        snapshot = read_snapshot(path, {"step": int})
        restore_module("network", network, snapshot.tensors)
        restore_module("ema", average, snapshot.tensors)
        restore_optimizer("optimizer", optimizer, snapshot.tensors)
    except (DamagedFile, ValueError) as error:
        raise DamagedFile(
            f"{path} cannot be used ({first_line(error)}); remove it to train from the first step"
        ) from None
    return snapshot.meta["step"]


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m ganmut.expression.train_landmarks", description=__doc__)
    parser.add_argument(
        "--data",
        required=True,
        help='a folder of photographs with landmarks, or "procedural": rendered faces',
    )
    parser.add_argument("--out", required=True, help="run folder: snapshots and stats.jsonl")
    parser.add_argument(
        "--faces",
        type=int,
        default=0,
        help="of the training split (default: 7000 rendered ones, all photographs)",
    )
    parser.add_argument("--steps", type=int, default=10500, help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=2e-3, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--width", type=int, default=24, help="(default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=256, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    # The network is small: threads cost more than they give, and sums keep their order.
    torch.set_num_threads(1)
    train_landmarks(
        options.data,
        options.out,
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        seed=options.seed,
        width=options.width,
        hidden=options.hidden,
        faces=options.faces,
    )
    return 0
