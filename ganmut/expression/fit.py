"""Fits an expression model to faces with landmarks: a few regressions, minutes on a core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ganmut.expression.geometry import (
    FRONTAL,
    expressive_shapes,
    fit_shape,
    mirror_pairs,
    people_with_pairs,
    ridge,
    similarity,
)
from ganmut.expression.landmark_data import LandmarkSet
from ganmut.expression.light import MeanShapeWarp, fit_light, pixel_grid
from ganmut.expression.model import ExpressionModel
from ganmut.expression.mouth_tone import fit_mouth_tone, mouth_samples, tone_terms
from ganmut.expression.openings import fit_gap, gap_terms, middle_gap
from ganmut.expression.point_set import SIZE

# px around the mean face's lips and lids where no light is learned: eyes and teeth that are seen
# there through an error of the landmarks are not skin.
MASKED = {"mouth": 0.6, "eye": 3.0}
TURNED = 0.5  # beyond this yaw half of the face is hidden: no light is learned from it


def fit_expressions(
    faces: LandmarkSet, recipes: Mapping[str, Sequence[float]], progress: bool = True
) -> tuple[ExpressionModel, dict[str, float]]:
    """The model of faces of the train split, and what its regressions explain.

    recipes: for each emotion the change from the mean neutral expression that shows it. Raises
    ValueError where no person has two pictures.
    """
    model = ExpressionModel(tuple(recipes), faces.points.controls, faces.points)
    landmarks, expression = faces.landmarks.numpy(), faces.expression.numpy()
    neutral = torch.tensor([name == "neutral" for name in faces.emotion])
    frontal = neutral & (faces.pose[:, 0].abs() < FRONTAL)
    if not frontal.any():
        raise ValueError("no neutral frontal photograph to take the mean shape from")
    model.mean_shape.copy_(faces.landmarks[frontal].mean(0))
    # The median: some photographs labelled neutral smile.
    model.rest.copy_(faces.expression[neutral].median(0).values)
    # Strong expressions are rare in photographs: a little beyond the strongest may be asked for.
    model.highest.copy_((1.3 * faces.expression.quantile(0.999, 0)).clamp(0.02, 1.2))
    pairs = mirror_pairs(expressive_shapes(faces.landmarks, faces.expression, faces.pose))
    rows, label = people_with_pairs(faces.person)
    fitted, explained = fit_shape(
        landmarks[rows], expression[rows], faces.pose[rows].numpy(), label
    )
    shape = torch.from_numpy(fitted.astype(np.float32))
    # Controls are means of left and right, so their shape is symmetric.
    model.shape.copy_((shape + shape[:, pairs] * torch.tensor([-1.0, 1.0])) / 2)
    oval = model.mean_shape[list(model.points.oval)]
    # The ellipse bounds what light and flows may touch, in units of this face.
    low, high = oval.amin(0), oval.amax(0)
    low[1] -= model.points.crown * (high - low)[1]
    model.ellipse.copy_(torch.stack([(low + high) / 2, (high - low) / 2]))
    facts = {"shape_r2": float(explained.mean())}
    facts |= _fit_gaps(model, faces)
    facts |= _fit_reader(model, faces)
    # People may lose pictures here, and a person with one picture left has no differences.
    seen = np.flatnonzero(faces.pose[rows, 0].abs().numpy() < TURNED)
    kept, kept_label = people_with_pairs([faces.person[rows[i]] for i in seen])
    facts["light_r2"] = _fit_light(
        model, faces[torch.from_numpy(rows[seen][kept])], kept_label, progress
    )
    facts |= _fit_mouth_tone(model, faces, progress)
    shown = expression[~faces.posed.numpy()]
    centre = shown.mean(0)
    # Controls that hardly vary would make every edit of them infinitely unlikely.
    spread = np.cov(shown.T) + 1e-4 * np.eye(len(model.controls))
    model.centre.copy_(torch.from_numpy(centre))
    model.precision.copy_(torch.from_numpy(np.linalg.inv(spread)))
    model.recipes.copy_(torch.tensor(list(recipes.values())))
    return model, {name: round(value, 4) for name, value in facts.items()}


def _fit_gaps(model: ExpressionModel, faces: LandmarkSet) -> dict[str, float]:
    """How far mouth and eyes stand open under an expression, in px of the mean face."""
    scale = face_scales(faces.landmarks, model.mean_shape)
    near = (faces.pose[:, 0].abs() < TURNED).numpy()
    points = model.points
    terms = gap_terms(faces.expression.double(), points).numpy()
    rest = gap_terms(model.rest[None].double(), points).numpy()[0]
    # Landmarks of closed lips stay a little apart: that is no gap.
    lips, lids = points.contact
    mouth = middle_gap(faces.landmarks, points.mouth) / scale - lips
    eyes = torch.stack([middle_gap(faces.landmarks, eye) for eye in points.eyes]).mean(0)
    eyes = eyes / scale - lids
    # Where the fit is rough, neutral lips stay closed by a margin.
    margin = 0.0 if points.products else 0.3
    result = {}
    for name, gap, buffer in (("mouth", mouth, model.mouth_gap), ("eye", eyes, model.eye_gap)):
        # Below contact is noise of the landmarks.
        opening = gap.clamp(min=0).double().numpy()
        weights = fit_gap(terms[near], opening[near])
        if name == "mouth":  # the neutral face of a closed mouth has none open
            weights[-1] -= max(rest @ weights[:-1] + weights[-1] + margin, 0)
        buffer.copy_(torch.from_numpy(weights))
        found = np.maximum(terms[near] @ weights[:-1] + weights[-1], 0)
        result[f"{name}_gap_r2"] = float(
            1 - np.var(found - opening[near]) / max(np.var(opening[near]), 1e-9)
        )
    return result


def face_scales(landmarks: Tensor, mean_shape: Tensor) -> Tensor:
    """N: sizes of faces; 1 is the mean shape's."""
    centred = landmarks - landmarks.mean(1, keepdim=True)
    return centred.norm(dim=(1, 2)) / (mean_shape - mean_shape.mean(0)).norm()


def _fit_reader(model: ExpressionModel, faces: LandmarkSet) -> dict[str, float]:
    """The linear reading of an expression from landmarks."""
    rows = []
    for face in faces.landmarks:
        matrix, shift = similarity(face, model.mean_shape)
        rows.append((face @ matrix.T + shift - model.mean_shape).flatten())
    # In tens of pixels, as ExpressionModel.read divides: the penalty belongs to this unit.
    x = torch.stack(rows).double().numpy() / 10
    y = faces.expression.double().numpy()
    middle_x, middle_y = x.mean(0), y.mean(0)
    # Centred, so that the penalty leaves the constant alone.
    weights = ridge(x - middle_x, y - middle_y, 3.0)
    model.reader.copy_(torch.from_numpy(np.vstack([weights, middle_y - middle_x @ weights])))
    left = ((y - middle_y - (x - middle_x) @ weights) ** 2).sum(0)
    return {"reader_r2": float((1 - left / ((y - middle_y) ** 2).sum(0)).mean())}


def _fit_light(
    model: ExpressionModel, faces: LandmarkSet, label: np.ndarray, progress: bool
) -> float:
    places = (pixel_grid() - model.ellipse[0]) / model.ellipse[1]
    # Soft over about a quarter of the radius: an edge of light on skin would be seen.
    mask = torch.sigmoid((1 - places.square().sum(1)) * 8).view(SIZE, SIZE)
    held = model.points.hairline(model.ellipse)
    warp = MeanShapeWarp(model.mean_shape, model.points.control, held)
    # Light is learned on the mean shape, where a fold of all people lies on one pixel.
    light, explained = fit_light(faces, label, warp, mask, progress=progress)
    # Mirrored about the axis of the mean face, and averaged: controls have no side.
    mirror = pixel_grid() * torch.tensor([-1.0, 1.0])
    mirror = mirror + torch.tensor([2 * float(model.ellipse[0, 0]), 0.0])
    grid = (mirror * (2 / SIZE) - 1).view(1, SIZE, SIZE, 2)
    turned = F.grid_sample(light[None], grid, padding_mode="border", align_corners=False)[0]
    light = (light + turned) / 2
    model.light.copy_(light * (1 - opening_mask(model)) * mask)
    return explained


def _fit_mouth_tone(model: ExpressionModel, faces: LandmarkSet, progress: bool) -> dict[str, float]:
    """How bright the inside of an open mouth is under an expression."""
    terms, seen = [], []
    wide = middle_gap(faces.landmarks, model.points.mouth) >= model.points.inside.least_gap
    rows = (wide & (faces.pose[:, 0].abs() < TURNED)).nonzero().flatten().tolist()
    for row in tqdm(rows, "open mouths", disable=not progress):
        landmarks, expression = faces.landmarks[row], faces.expression[row]
        image = faces.images[row][None].float() / 255
        basis = model.basis(image, landmarks, expression)
        brightness, gap = mouth_samples(model.points, basis, landmarks)
        terms.append(tone_terms(expression[None], gap))
        seen.append(brightness)
    if not seen:
        return {}
    maps, explained = fit_mouth_tone(torch.cat(terms), torch.stack(seen))
    model.mouth_tone.copy_(maps)
    return {"mouth_tone_r2": explained}


def opening_mask(model: ExpressionModel) -> Tensor:
    """128 x 128: 1 on the mean face's eyes and lip line, soft over a pixel: what is seen there is
    not skin, and is drawn."""
    places = pixel_grid()
    mask = torch.zeros(SIZE * SIZE)
    for opening in model.points.openings:
        upper = model.mean_shape[list(opening.upper)]
        lower = model.mean_shape[list(opening.lower)]
        line = torch.stack([upper, lower]).mean(0)
        # A closed mouth has a lip line all the same, of .6 px on either side.
        half = ((lower - upper)[:, 1] / 2).clamp(min=0.6)
        gaps = torch.cdist(places, line)
        near, index = gaps.min(1)
        reach = MASKED["mouth" if opening is model.points.mouth else "eye"]
        mask = torch.maximum(mask, (1 + reach - (near - half[index]).clamp(min=0)).clamp(0, 1))
    return mask.view(SIZE, SIZE)
