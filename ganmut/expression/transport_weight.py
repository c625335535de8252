"""Expression transport as a weight folder: written, read back, and its card."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import Tensor

from ganmut.datasets.base import CROP
from ganmut.editor import Editor
from ganmut.expression.point_set import SIZE, PointSet
from ganmut.expression.transport import ExpressionTransport, Transport
from ganmut.expression.weight import (
    FOLDER,
    Drawing,
    golden_edits,
    landmarks_for,
    model_beside,
    recorded_model,
)
from ganmut.weights.card import front_matter, table
from ganmut.weights.editors import FITTED
from ganmut.weights.storage import (
    Weights,
    build_module,
    parse_settings,
    require,
    write,
)


def save_transport(
    folder: str | Path,
    fitted: Transport,
    emotions: tuple[str, ...],
    points: PointSet,
    facts: dict[str, Any],
) -> Path:
    """Writes the weight folder; the expression model stays in its own folder beside it, and its
    sha256 is recorded. `facts` go into config.json and the card."""
    model = model_beside(Path(folder), points)
    config = {
        "method": ExpressionTransport.name,
        "drawing": dataclasses.asdict(Drawing(points=points.name, model=model.sha256)),
        "emotions": list(emotions),
        "size": SIZE,
        "crop": CROP,
        "config": {},
        "note": points.note,
        **facts,
    }

    def edits(written: Weights) -> dict[str, Tensor]:
        return golden_edits(Editor(build_transport(written), written.config))

    text = card(facts, points, model.sha256)
    # Whole, not half: rounded, the change would no longer have the coordinates that it is for.
    return write(folder, "editor", dict(fitted.state_dict()), config, edits, text, half=False)


@FITTED.register(ExpressionTransport.name)
def build_transport(weights: Weights) -> ExpressionTransport:
    """The method of a checked weight on the expression model of the folder beside it, else on the
    bundled one; raises BadWeights where they do not fit each other."""
    require(weights, "emotions", "drawing")
    path = weights.folder / "config.json"
    drawing = parse_settings(Drawing, weights.config["drawing"], path)
    emotions = tuple(weights.config["emotions"])
    model = recorded_model(weights, drawing, "fit-transport")
    fitted = build_module(
        lambda: Transport(len(model.controls), len(emotions)), weights, lambda module: module
    )
    landmarks = landmarks_for(model, weights.folder)
    return ExpressionTransport(model, landmarks, fitted, emotions)


def card(facts: dict[str, Any], points: PointSet, drawn_by: str) -> str:
    """The model card; drawn_by: sha256 of the expression model."""
    return f"""{front_matter(["facial-expression", "image-editing"], "image-to-image")}
# Expression transport

Moves a face from the distribution of all expressions to that of one emotion, by the smallest
changes that do so: optimal transport between Gaussians, in the linear discriminants of labelled
expressions. The expression model draws the result at the picture's own resolution. This weight is
drawn by the model whose sha256 is `{drawn_by[:12]}` and loads with no other: the folder `{FOLDER}`
beside this one, or without such a folder the bundled `{points.group}/{FOLDER}`.

{points.note}

## Fit

{table(facts)}
`docs/transport.md` has the mathematics and the measurements.

## Limits

Those of the expression model. Edits are as weak as the expressions that it was fitted to. Not for
impersonation, for pictures that pretend to show what a person did or felt, or for judging anybody's
emotions.
"""
