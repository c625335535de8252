"""Conditional spaces on the expression model: a method learns where codes lead, the model draws it.

The networks of a method (its losses, code space, directions or modes are those of its class) work
on expressions, vectors of the model's controls, instead of images. So two methods can be compared
with the drawing held fixed: what differs between them is the conditional space alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import trange

from ganmut.codes import CodeSpace
from ganmut.datasets.base import BadData, Batch
from ganmut.device import generator as seeded
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.landmark_data import read_landmark_set
from ganmut.expression.landmark_net import LandmarkNet
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import ExpressionModel
from ganmut.expression.point_set import IBUG, MESH, PointSet
from ganmut.expression.rendered_landmarks import RENDERED
from ganmut.methods.base import METHODS, Method
from ganmut.networks.expression import ExpressionConfig
from ganmut.rendering.sampler import sample_parameters
from ganmut.training.config import Recipe
from ganmut.training.trainer import Trainer

BATCH = 128
STEPS = 12000
RENDERED_COUNT = 20000  # faces, of which nothing but the parameters is made
# R1 holds the discriminator's slope. Expressions have a spread of 1, so it needs no other weight
# than the paper's; the cycle counts as much as the label, as in the short schedule on images.
OBJECTIVE: dict[str, Any] = {
    "adversarial": "nonsaturating",
    "g_interval": 1,
    "lambda_r1": 1.0,
    "lambda_rec": 1.0,
}


def expression_methods() -> list[str]:
    """The names of the methods whose networks can work on expressions."""
    return [name for name in METHODS if issubclass(METHODS[name].Config, ExpressionConfig)]


def expression_settings(method: str) -> set[str]:
    """The names of the fields of a method's Config that a training on expressions may set: weights
    of losses, and what its EXPRESSIONS set. The others are those of image networks."""
    kind = METHODS[method]
    return {name for name in kind.Config.names() if name.startswith("lambda_")} | {
        *kind.EXPRESSIONS
    }


def expression_row(method: str, seed: int = 0) -> str:
    """The name of the weight of a method on expressions, and of its row in the bench: those of
    other seeds than 0 are further trainings."""
    return f"{method}_expression" + (f"@{seed}" if seed else "")


@dataclass(frozen=True)
class LabelledExpressions:
    """values: N x K expressions; labels: int64 N, places in `emotions` (neutral first)."""

    values: Tensor
    labels: Tensor
    emotions: tuple[str, ...]


def labelled_expressions(
    data: str | Path, emotions: Sequence[str]
) -> tuple[LabelledExpressions, PointSet]:
    """The expressions of a train split whose emotion is known, and what they are the controls of:
    of rendered faces for "procedural", else of a folder of photographs (landmark_data). Raises
    BadData."""
    if str(data) == RENDERED:
        faces = sample_parameters(0, "train", range(RENDERED_COUNT))
        return check_expressions(
            LabelledExpressions(faces.units, faces.emotion, tuple(EMOTIONS))
        ), IBUG
    photographs = read_landmark_set(data, "train")
    known = [row for row, name in enumerate(photographs.emotion) if name in emotions]
    labels = torch.tensor([list(emotions).index(photographs.emotion[row]) for row in known])
    values = photographs.expression[known]
    return check_expressions(LabelledExpressions(values, labels.long(), tuple(emotions))), MESH


def check_expressions(data: LabelledExpressions, least: int = 8) -> LabelledExpressions:
    """The expressions themselves. Raises BadData where they are not finite, where neutral does not
    come first, and where an emotion has fewer than `least` faces."""
    if data.values.dim() != 2 or not bool(data.values.isfinite().all()):
        raise BadData("expressions must be finite numbers, N x K")
    if len(data.emotions) < 2 or data.emotions[0] != "neutral":
        raise BadData("the emotions must begin with neutral and hold at least one other")
    counts = data.labels.bincount(minlength=len(data.emotions)).tolist()
    for emotion, count in zip(data.emotions, counts, strict=True):
        if count < least:
            raise BadData(f"{emotion} has {count} faces; a method needs at least {least} to learn")
    return data


def train_on_expressions(
    name: str,
    data: LabelledExpressions,
    rest: Tensor,
    *,
    steps: int = STEPS,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Method:
    """A method, by name, trained on expressions; every emotion is shown equally often.

    rest: K, the neutral expression; settings: fields of its Config (expression_settings) that
    differ from OBJECTIVE and the method's EXPRESSIONS. Raises BadData for data that cannot be used,
    ParameterError for steps or a setting out of its range, ValueError for a method that works on
    images alone, DivergenceError where a loss is not finite.
    """
    kind = METHODS[name]
    if name not in expression_methods():
        known = ", ".join(expression_methods())
        raise ValueError(f"{name} works on images; those that work on expressions are {known}")
    if steps < 1:
        raise ParameterError("steps", f"steps must be at least 1, got {steps}")
    check_expressions(data)
    if data.values.shape[1:] != rest.shape:
        raise BadData(
            f"expressions of {data.values.shape[1]} values; the model has {len(rest)} controls"
        )
    # torch.nn initialises parameters with the global generator.
    torch.manual_seed(seed)
    common = {name: value for name, value in OBJECTIVE.items() if name in kind.Config.names()}
    config = kind.Config(
        controls=data.values.shape[1], **common | kind.EXPRESSIONS | dict(settings or {})
    )
    recipe = Recipe(
        name, batch=BATCH, kimg=steps * BATCH / 1000, lr_g=2e-4, lr_d=2e-4, dtype="fp32", seed=seed
    )
    # ---- networks, on standardised expressions
    method = kind(config, data.emotions, data.values.shape[1])
    # Some controls hardly vary, and would not count.
    method.G.standardise(data.values, rest)
    trainer = Trainer(method, recipe, torch.device("cpu"))
    trainer.method.rng = None  # heads see expressions as they are: no noise of pixels
    # ---- steps, on as many faces of every emotion
    # Data show some emotions far more often than others; D would take that for realism.
    draws = seeded(seed)
    groups = [(data.labels == label).nonzero()[:, 0] for label in range(len(data.emotions))]
    x = method.G.inputs(data.values)
    for step in trange(steps, desc=name, disable=not progress):
        labels = torch.randint(len(groups), (BATCH,), generator=draws)
        # A share of the group, not an index: groups differ in size, one draw serves all of them.
        places = torch.rand(BATCH, generator=draws)
        rows = torch.stack(
            [
                groups[label][int(place * len(groups[label]))]
                for label, place in zip(labels.tolist(), places.tolist(), strict=True)
            ]
        )
        trainer.train_step(Batch(x[rows], labels))
        if step % 1000 == 999:
            trainer.meter.read()  # raises where a loss is not finite
    return trainer.export()


class ConditionalExpressions(ExpressionMethod):
    """A method trained on expressions (`learned`), drawn by an expression model.

    gain: factor on the change from what the neutral code gives. Labels of photographs name weak
    expressions, so the learned ones are weak too; their direction is what was learned.
    """

    name = "conditional_expressions"
    reads_source = False  # codes are the method's own; the source's expression enters its generator

    def __init__(
        self, model: ExpressionModel, landmarks: LandmarkNet, learned: Method, gain: float = 1.0
    ):
        super().__init__(model, landmarks, learned.emotions)
        self.learned, self.gain = learned, gain
        self.dependencies += (str(gain),)
        self.neutral = learned.space().of(learned.emotions[0])
        self.title = f"{learned.title} on the expression model"
        self.paper = learned.paper
        self.supervision = f"{learned.supervision}, {self.supervision}"

    def space(self) -> CodeSpace:
        return self.learned.space()

    def expression(self, source: Tensor, code: Tensor) -> Tensor:
        """N x K expressions in the allowed range of source expressions N x K under codes."""
        generator: Any = self.learned.G
        # float32: bfloat16 rounds an expression so coarsely that edits differ by grey levels.
        with torch.autocast(source.device.type, enabled=False):
            x = generator.inputs(source)
            faces = self.learned.encode(x)
            # The change from neutral, which can be scaled: at gain 1 it is the method's own output.
            start = self.learned.edit(faces, self.neutral.to(x).expand(len(x), -1)).images
            change = self.learned.edit(faces, code.float()).images - start
            return self.model.clamp_expression(generator.expressions(start + self.gain * change))

    def style_of(self, x: Tensor, emotion: Any) -> Tensor:
        """N x dim codes of what reference crops show (N x 3 x S x S in [-1, 1]) for an emotion;
        raises ValueError for methods without a style encoder."""
        shown = self.learned.G.inputs(self.source_codes(self.encode(x)))
        return self.learned.style_of(shown, emotion)

    def target(self, features: tuple[FaceBasis, ...], code: Tensor) -> Tensor:
        """N x K expressions of N bases after an edit under N codes of the method's space."""
        return self.expression(self.source_codes(features), code)
