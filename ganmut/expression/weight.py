"""The expression model as a weight folder: written, read back, and what its card says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from skimage import data as samples
from torch import Tensor

from ganmut.expression.model import ExpressionModel
from ganmut.expression.point_set import POINT_SETS
from ganmut.weights import bundled_root
from ganmut.weights.card import front_matter, table
from ganmut.weights.storage import BadWeights, Weights, fill_module, read, write

WEIGHT = "photos/expression"
NOTE = (
    "Trained on muxspace/facial_expressions (Apache-2.0 repository; press photographs and film "
    "stills whose rights its compilers cannot clear): for research use."
)


def save_expression_model(
    model: ExpressionModel, folder: str | Path, facts: dict[str, Any], note: str = NOTE
) -> Path:
    """Writes a weight folder, whole or not at all; `facts` go into its config.json and card.

    Golden tensors: edits of NASA's portrait of an astronaut, the mean shape laid on the crop.
    """
    config = {
        "network": "expression", "points": model.points.name, "controls": list(model.controls),
        "emotions": list(model.emotions), "note": note, **facts,
    }  # fmt: skip

    def edits(written: Weights) -> dict[str, Tensor]:
        stored = build_expression_model(written)
        crop = astronaut_crop()
        basis = stored.basis(crop.float() / 255, stored.mean_shape, stored.rest)
        changes = torch.eye(len(stored.controls)) * 0.6
        return {"crop": crop, "change": changes, "edits": to_bytes(stored.render(basis, changes))}

    return write(folder, "extractor", dict(model.state_dict()), config, edits, card(facts, note))


def to_bytes(images: Tensor) -> Tensor:
    """uint8 of images in 0..1."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def astronaut_crop() -> Tensor:
    """uint8 3 x 118 x 118: the face of NASA's portrait of an astronaut (public domain)."""
    return torch.from_numpy(samples.astronaut()[51:169, 162:280].copy()).permute(2, 0, 1)


def build_expression_model(weights: Weights) -> ExpressionModel:
    """The model of a checked weight; raises BadWeights where it does not fit."""
    config = weights.config
    if config.get("network") != "expression" or config.get("points") not in POINT_SETS:
        raise BadWeights(f"{weights.folder} holds no expression model")
    model = ExpressionModel(
        tuple(config["emotions"]), tuple(config["controls"]), POINT_SETS[config["points"]]
    )
    tensors = {name: tensor.float() for name, tensor in weights.tensors.items()}
    fill_module(model, Weights(tensors, config, weights.folder))
    return model


@cache
def load_expression_model(folder: str | Path | None = None) -> ExpressionModel:
    """The model of a weight folder (by default the bundled one); raises BadWeights."""
    return build_expression_model(read(folder or bundled_root() / WEIGHT, "extractor"))


def card(facts: dict[str, Any], note: str) -> str:
    """The model card."""
    measured = {name: value for name, value in facts.items() if isinstance(value, (int, float))}
    return f"""{front_matter(["facial-expression", "image-editing"], "image-to-image")}
# Expression model of photographs

Edits the expression of a face in a photograph at the photograph's own resolution: a change of
shape, of light and of the inside of the mouth, each linear in 22 controls (ARKit's blendshapes,
the mean of left and right).

{note}

```python
from ganmut.expression.weight import load_expression_model

model = load_expression_model()
basis = model.basis(crop, landmarks)  # 3 x S x S in 0..1; 478 x 2 in px of 128
edited = model.render(basis, model.emotion_change(basis, "happy", 0.8))  # 1 x 3 x S x S
```

## Fit

{table(measured)}
R2 of shape and light are shares of the variance within a person. `docs/photographs.md` has the
mathematics, the measurements and the failure cases.

## Limits

Upright faces, near frontal (yaw up to about 30 degrees), at least 60 px between the outline's
sides. Teeth of a mouth that was closed are drawn, not the person's own. Not for impersonation, for
pictures that pretend to show what a person did or felt, or for judging anybody's emotions.
"""
