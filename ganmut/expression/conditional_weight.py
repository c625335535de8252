"""A method trained on expressions as a weight folder: written, read back, and its card."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganmut.datasets.base import CROP
from ganmut.editor import Editor
from ganmut.expression.conditional import ConditionalExpressions, expression_methods
from ganmut.expression.point_set import POINT_SETS, SIZE, PointSet
from ganmut.expression.weight import (
    FOLDER,
    Drawing,
    golden_edits,
    landmarks_for,
    model_beside,
    recorded_model,
)
from ganmut.methods.base import Method
from ganmut.weights.card import front_matter, table
from ganmut.weights.editors import FITTED, build_method
from ganmut.weights.storage import BadWeights, Weights, parse_settings, require, write


@dataclass(frozen=True, kw_only=True)
class LearnedDrawing(Drawing):
    """The same, with the method that was trained and the factor on the learned changes."""

    learned: str
    gain: float = 1.0

    ALLOWED: ClassVar = {"learned": tuple(expression_methods())}
    LIMITS: ClassVar = {"gain": (0, 10)}


def save_conditional(
    folder: str | Path, method: Method, drawing: LearnedDrawing, facts: dict[str, Any]
) -> Path:
    """Writes the weight folder of a method that was trained on expressions; the expression model
    itself stays in its own folder beside it, and its sha256 is recorded. `facts` go into
    config.json and the card."""
    points = POINT_SETS[drawing.points]
    model = model_beside(Path(folder), points)
    drawing = dataclasses.replace(drawing, model=model.sha256)
    config = {
        "method": ConditionalExpressions.name,
        "drawing": dataclasses.asdict(drawing),
        "emotions": list(method.emotions),
        "size": SIZE,
        "crop": CROP,
        "config": dataclasses.asdict(method.config),
        "space": {name: value.tolist() for name, value in method.space().state().items()},
        "note": points.note,
        **facts,
    }

    def edits(written: Weights) -> dict[str, Tensor]:
        return golden_edits(Editor(build_conditional(written), written.config))

    text = card(method, {"gain": drawing.gain, **facts}, points, model.sha256)
    return write(folder, "editor", method.G.state_dict(), config, edits, text)


@FITTED.register(ConditionalExpressions.name)
def build_conditional(weights: Weights) -> ConditionalExpressions:
    """The method of a checked weight on the expression model of the folder beside it, else on the
    bundled one; raises BadWeights where they do not fit each other."""
    require(weights, "drawing")
    path = weights.folder / "config.json"
    drawing = parse_settings(LearnedDrawing, weights.config["drawing"], path)
    inner = {**weights.config, "method": drawing.learned}
    method = build_method(dataclasses.replace(weights, config=inner))
    spread: Tensor = method.G.spread if method.config.controls else torch.ones(1)
    if not bool((spread > 0).all()):
        raise BadWeights(f"{weights.path}: the tensor 'spread' must be above 0")
    model = recorded_model(weights, drawing, "train-expressions")
    if method.config.controls != len(model.controls):
        raise BadWeights(
            f"{path}: it moves {method.config.controls} controls and the expression model beside "
            f"it has {len(model.controls)}; they belong to different models"
        )
    landmarks = landmarks_for(model, weights.folder)
    return ConditionalExpressions(model, landmarks, method, drawing.gain)


def card(method: Method, facts: dict[str, Any], points: PointSet, drawn_by: str) -> str:
    """The model card; drawn_by: sha256 of the expression model."""
    return f"""{front_matter(["facial-expression", "image-editing", "gan"], "image-to-image")}
# {method.title} on the expression model

{method.title} ({method.paper}) with its own losses and code space, whose networks work on
expressions instead of images: a code gives a change of the expression, and an expression model
draws it at the picture's own resolution. This weight holds the conditional space alone. It is drawn
by the model whose sha256 is `{drawn_by[:12]}` and loads with no other: the folder `{FOLDER}` beside
this one, or without such a folder the bundled `{points.group}/{FOLDER}`.

{points.note}

## Training

{table(facts)}
Expressions with emotion labels; every emotion was shown equally often. No image was seen.

## Limits

Those of the expression model. Not for impersonation, for pictures that pretend to show what a
person did or felt, or for judging anybody's emotions.
"""
