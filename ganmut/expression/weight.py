"""The expression model as a weight folder: written, read back, and what its card says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from skimage import data as samples
from torch import Tensor

from ganmut.datasets.base import CROP
from ganmut.editor import Editor
from ganmut.expression.landmark_net import LandmarkNet, load_landmark_net, written_at
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import ExpressionModel
from ganmut.expression.openings import gap_terms
from ganmut.expression.point_set import IBUG, MESH, POINT_SETS, SIZE, PointSet
from ganmut.expression.wheel import ExpressionWheel, wheel_directions
from ganmut.networks.config import Settings
from ganmut.rendering.sampler import sample_parameters
from ganmut.rendering.shading import render
from ganmut.weights import bundled_root
from ganmut.weights.card import front_matter, table
from ganmut.weights.editors import FITTED
from ganmut.weights.storage import (
    BadWeights,
    Weights,
    build_module,
    check_fit,
    parse_settings,
    read,
    require,
    write,
)

FOLDER = "expression"  # of the model's weight, in every set
GAPS = ("mouth_gap", "eye_gap")


@dataclass(frozen=True)
class Shape(Settings):
    """The entry `config` of the weight: the set of landmarks and the names of the controls."""

    points: str
    controls: tuple[str, ...]

    ALLOWED: ClassVar = {"points": tuple(POINT_SETS)}


@dataclass(frozen=True, kw_only=True)
class Drawing(Settings):
    """The entry `drawing` of a weight that an expression model draws: the landmarks of that model
    and its sha256 ("": not recorded, as by earlier versions)."""

    points: str
    model: str = ""

    ALLOWED: ClassVar = {"points": tuple(POINT_SETS)}


def save_expression_model(
    model: ExpressionModel, folder: str | Path, facts: dict[str, Any]
) -> Path:
    """Writes the weight folder of an editor, whole or not at all; `facts` go into its config.json
    and card.

    Golden tensors: a face (`example_crop`) under each emotion, on the landmarks of the network that
    `landmarks_for` finds.
    """
    config = {
        "method": ExpressionMethod.name,
        "emotions": ["neutral", *model.emotions],
        "size": SIZE,
        "crop": CROP,
        "config": {"points": model.points.name, "controls": list(model.controls)},
        "note": model.points.note,
        **facts,
    }

    def edits(written: Weights) -> dict[str, Tensor]:
        return golden_edits(Editor(build_expression_method(written), written.config))

    text = card(model.points, facts)
    return write(folder, "editor", dict(model.state_dict()), config, edits, text)


def save_wheel(folder: str | Path, model: ExpressionModel) -> Path:
    """Writes the weight folder of the emotion wheel; the model itself stays in its own folder
    beside it (`build_wheel`)."""
    emotions = ("neutral", *model.emotions)
    config = {
        "method": ExpressionWheel.name,
        "emotions": list(emotions),
        "size": SIZE,
        "crop": CROP,
        "config": {},
        "note": model.points.note,
    }

    def edits(written: Weights) -> dict[str, Tensor]:
        return golden_edits(Editor(build_wheel(written), written.config))

    tensors = {"directions": wheel_directions(emotions[1:])}
    return write(folder, "editor", tensors, config, edits, WHEEL_CARD, half=False)


def golden_edits(editor: Editor) -> dict[str, Tensor]:
    """The example face under each emotion."""
    method: Any = editor.method
    codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
    faces, rows = example_crop(method.model.points)[None], torch.zeros(len(codes), dtype=torch.long)
    edited = editor.edit(editor.select(editor.prepare(faces), rows), codes)
    return {"faces": faces, "rows": rows, "codes": codes, "edited": edited}


def to_bytes(images: Tensor) -> Tensor:
    """uint8 of images in 0..1."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def example_crop(points: PointSet) -> Tensor:
    """uint8 3 x S x S: a rendered face for models of rendered faces, else the face of NASA's
    portrait of an astronaut (public domain)."""
    if points is IBUG:
        return render(sample_parameters(0, "test", range(1)), SIZE)[0]
    return torch.from_numpy(samples.astronaut()[51:169, 162:280].copy()).permute(2, 0, 1)


def build_expression_model(weights: Weights) -> ExpressionModel:
    """The model of a checked weight; raises BadWeights where it does not fit."""
    config = weights.config
    if config.get("method") != ExpressionMethod.name:
        raise BadWeights(f"{weights.folder} holds no expression model")
    require(weights, "emotions", "config")
    built = parse_settings(Shape, config["config"], weights.folder / "config.json")
    points, k = POINT_SETS[built.points], len(built.controls)
    # Weights of before gaps had products of the controls have none: as if their weights were 0.
    known = {name: getattr(weights.shapes.get(name), "shape", None) for name in GAPS}
    old = [name for name, shape in known.items() if points.products and shape == (k + 1,)]

    def made() -> ExpressionModel:
        model = ExpressionModel(tuple(config["emotions"][1:]), built.controls, points)
        for name in old:
            setattr(model, name, torch.zeros(k + 1))
        return model

    model = build_module(made, weights, lambda model: model)
    products = gap_terms(torch.zeros(1, k), points).shape[1] - k
    for name in old:
        controls, constant = getattr(model, name).split((k, 1))
        setattr(model, name, torch.cat([controls, torch.zeros(products), constant]))
    model.sha256 = config["sha256"]
    return model


@FITTED.register(ExpressionMethod.name)
def build_expression_method(weights: Weights) -> ExpressionMethod:
    """What an Editor of a checked weight draws with; raises BadWeights."""
    model = build_expression_model(weights)
    landmarks = landmarks_for(model, weights.folder)
    return ExpressionMethod(model, landmarks, tuple(weights.config["emotions"]))


def landmarks_for(model: ExpressionModel, folder: Path) -> LandmarkNet:
    """The network that finds a model's landmarks: of the folder `landmarks` beside `folder`, else
    the bundled one; raises BadWeights where it finds others."""
    beside = folder.parent / "landmarks"
    if not (beside / "config.json").is_file():
        beside = bundled_root() / model.points.group / "landmarks"
    network = load_landmark_net(beside)
    if network.points is not model.points:
        raise BadWeights(
            f"{beside} finds {network.points.name}, the expression model needs {model.points.name}"
        )
    return network


def model_beside(folder: Path, points: PointSet = MESH) -> ExpressionModel:
    """The expression model that a weight of the same set draws with: of the folder `expression`
    beside it, else the bundled one on these points; raises BadWeights."""
    beside = folder.parent / FOLDER
    if not (beside / "config.json").is_file():
        beside = bundled_root() / points.group / FOLDER
    model = load_expression_model(beside)
    if model.points is not points:
        raise BadWeights(f"{beside} moves {model.points.name}, {folder.name} needs {points.name}")
    return model


def recorded_model(weights: Weights, drawing: Drawing, command: str) -> ExpressionModel:
    """The model beside a weight that its entry names; raises BadWeights with the command that makes
    the weight anew where it is another."""
    model = model_beside(weights.folder, POINT_SETS[drawing.points])
    if drawing.model not in ("", model.sha256):
        raise BadWeights(
            f"{weights.folder} was made for the expression model {drawing.model[:12]}, and the "
            f"one here is {model.sha256[:12]}: put the right one beside it as {FOLDER}, or make it "
            f"again with `{command}`"
        )
    return model


@FITTED.register(ExpressionWheel.name)
def build_wheel(weights: Weights) -> ExpressionWheel:
    """The wheel of a checked weight, on the expression model of the folder beside it, else on the
    bundled one; raises BadWeights."""
    require(weights, "emotions")
    emotions = tuple(weights.config["emotions"])
    check_fit({"directions": torch.zeros(len(emotions) - 1, 2)}, weights)
    model = model_beside(weights.folder)
    if unknown := set(emotions[1:]) - set(model.emotions):
        raise BadWeights(f"{weights.folder} has emotions without a recipe: {sorted(unknown)[0]}")
    landmarks = landmarks_for(model, weights.folder)
    return ExpressionWheel(model, landmarks, weights.tensors["directions"].float(), emotions)


def load_expression_model(folder: str | Path | None = None) -> ExpressionModel:
    """The model of a weight folder (by default the bundled one of photographs), shared by all that
    draw with it; read again where its config.json is another. Raises BadWeights."""
    path = Path(folder or bundled_root() / MESH.group / FOLDER)
    return _load_model(path, written_at(path))


@lru_cache(maxsize=4)
def _load_model(folder: Path, written: int) -> ExpressionModel:
    return build_expression_model(read(folder, "editor"))


def card(points: PointSet, facts: dict[str, Any]) -> str:
    """The model card."""
    measured = {name: value for name, value in facts.items() if isinstance(value, (int, float))}
    return f"""{front_matter(["facial-expression", "image-editing"], "image-to-image")}
# Expression model

Edits the expression of a face at the picture's own resolution: a change of shape, of light and of
the inside of the mouth, each linear in {CONTROLLED[points.name]}.

{points.note}

```python
import ganmut
from ganmut import faces, images

editor = ganmut.load("{points.group}/{FOLDER}")
edited = faces.edit_image(images.read_image("photo.jpg"), editor, editor.space.of("happy", 0.8))
images.write_png("edited.png", edited.pixels)
```

## Fit

{table(measured)}
R2 of shape and light are shares of the variance within a person. `docs/photographs.md` has the
mathematics, the measurements and the failure cases.

## Limits

{LIMITS[points.name]}Upright faces, near frontal (yaw up to about 30 degrees), at least 60 px
between the outline's sides. Teeth of a mouth that was closed are drawn, not the person's own. Not
for impersonation, for pictures that pretend to show what a person did or felt, or for judging
anybody's emotions.
"""


CONTROLLED = {
    MESH.name: "22 controls (ARKit's blendshapes, the mean of left and right)",
    IBUG.name: "17 action units",
}
LIMITS = {MESH.name: "", IBUG.name: "The faces that this project renders, and no photograph. "}

WHEEL_CARD = f"""{front_matter(["facial-expression", "image-editing"], "image-to-image")}
# Emotion wheel of the expression model

A disc for the gamut pad: the angle chooses the emotion, the radius its intensity, and the
expression model of the folder beside this one draws it at the photograph's own resolution. The
emotions lie in the order of Russell's circumplex; nothing is learned here.

{MESH.note}
"""
