"""How near the landmark network comes to given landmarks, and what expression it reads."""

from __future__ import annotations

import torch
from torch import Tensor

from ganmut.expression.landmark_data import LandmarkSet
from ganmut.expression.landmark_net import LandmarkNet


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
    of the values read from found landmarks and from given ones, without posed faces: of all values
    together (r2) and the mean of the columns (r2_mean), some of which hardly vary."""
    points, pose, expression = predict(network, faces.images)
    error = (points - faces.landmarks).norm(dim=-1)
    parts = network.points.parts | {"oval": network.points.oval}
    result = {"faces": len(faces), "error": float(error.mean())}
    result |= {name: float(error[:, list(part)].mean()) for name, part in parts.items()}
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
        # Clamped, since edits use them so; posed faces say nothing of how people look.
        natural = ~faces.posed
        rest, whole = squared_residuals(read.clamp(0, 1)[natural], faces.expression[natural])
        result[f"r2_{name}"] = 1 - float(rest.sum() / whole.sum())
        result[f"r2_{name}_mean"] = float((1 - rest / whole).mean())
    return {name: round(value, 4) for name, value in result.items()}


def squared_residuals(found: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of squares by column: of the residuals, and of the given values about their mean."""
    return (found - given).square().sum(0), (given - given.mean(0)).square().sum(0)
