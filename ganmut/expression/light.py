"""Light of an expression: how a unit of each control changes the brightness of the skin.

Expression ratio images (Liu, Shan and Zhang 2001) as a linear basis: the logarithm of the
brightness, on the mean shape, is regressed on the expression within a person. What the lamp
changes is smooth over the face, so the smooth part is left out and serves as a covariate: without
it, squinting into the sun is learned as part of squinting.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import trange

from ganmut.expression.geometry import pose_terms, ridge, similarity, spline_flow, within
from ganmut.expression.landmark_data import LandmarkSet
from ganmut.expression.point_set import SIZE

SMOOTH = 14.0  # px; the standard deviation of the Gaussian that divides lamp from skin
LAMP_COMPONENTS = 12
FLOOR = 0.04  # brightness at which the logarithm levels off: noise of black pixels


def pixel_grid(size: int = SIZE, step: int = 1) -> Tensor:
    """G x 2 centres (x, y) of every `step`-th pixel of a size x size crop, row by row."""
    axis = torch.arange(0, size, step) + 0.5
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def border_points(size: int = SIZE) -> Tensor:
    """12 x 2 points round a crop, which no flow moves."""
    # Outside the crop: points on its border would pin skin that an open jaw moves.
    axis = (-8.0, size / 3, 2 * size / 3, size + 7.0)
    edge = (axis[0], axis[-1])
    return torch.tensor([[x, y] for x in axis for y in axis if x in edge or y in edge])


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """N x 1 x H x W blurred, the border repeated."""
    # Beyond three deviations a Gaussian holds .3 % of its mass.
    reach = int(3 * sigma)
    weights = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * sigma * sigma))
    weights = (weights / weights.sum()).view(1, 1, 1, -1)
    x = F.conv2d(F.pad(x, (reach, reach, 0, 0), mode="replicate"), weights)
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), weights.transpose(2, 3))


class MeanShapeWarp:
    """Brings photographs to the mean shape; the operator is made once for all.

    held: A x 2, further places of the mean face, which move with the head and no expression.
    """

    def __init__(self, mean_shape: Tensor, control: tuple[int, ...], held: Tensor):
        self.control, self.mean_shape, self.held = list(control), mean_shape, held
        self.shape = torch.cat([mean_shape[self.control], held])
        # Every second pixel: splines are smooth between landmarks, and this matrix is large.
        self.grid = pixel_grid(step=2)
        # A spline is linear in what it passes through: its values for each point's unit move.
        count = len(self.shape)
        unit = torch.eye(count).unsqueeze(2).expand(-1, -1, 2)
        nodes = self.shape.expand(count, -1, -1)
        self.operator = torch.cat(
            [
                # 32 unit moves at a time: every one brings its own matrix of distances.
                spline_flow(nodes[:32][: len(part)], part, border_points(), self.grid)[:, 0].T
                for part in unit.split(32)
            ],
            1,
        )

    def _held_on(self, landmarks: Tensor) -> Tensor:
        """N x A x 2: where the held places lie on faces N x P x 2."""
        if not len(self.held):
            return landmarks.new_empty(len(landmarks), 0, 2)
        found = [similarity(self.mean_shape, face) for face in landmarks]
        return torch.stack([self.held @ matrix.T + shift for matrix, shift in found])

    def __call__(self, images: Tensor, landmarks: Tensor) -> Tensor:
        """uint8 N x 128 x 128 with landmarks N x P x 2 -> float N x 1 x 128 x 128 in 0..1."""
        moved = torch.cat([landmarks[:, self.control], self._held_on(landmarks)], 1) - self.shape
        flow = torch.einsum("gp,npc->ncg", self.operator, moved).unflatten(2, (64, 64))
        # The operator's places are the pixels 0, 2, ..., 126.
        flow = F.interpolate(flow, size=127, mode="bilinear", align_corners=True)
        flow = F.pad(flow, (0, 1, 0, 1), mode="replicate")
        places = pixel_grid().T.reshape(2, SIZE, SIZE) + flow
        grid = (places * (2 / SIZE) - 1).permute(0, 2, 3, 1)
        return F.grid_sample(
            images[:, None].float() / 255, grid, padding_mode="border", align_corners=False
        )


def fit_light(
    faces: LandmarkSet,
    label: np.ndarray,
    warp: MeanShapeWarp,
    mask: Tensor,
    penalty: float = 8.0,
    progress: bool = True,
) -> tuple[Tensor, float]:
    """Log brightness ratio per unit of each control on the mean shape, K x 128 x 128 (mirrored and
    averaged by the caller), and the share of the variance within a person that it explains.

    faces: people with more than one picture, label as of people_with_pairs. mask: 128 x 128, 1 on
    the face, 0 outside it.
    """
    count = len(faces)
    # Half precision: logarithms within +-3 of thousands of faces, which must fit into memory.
    fine = np.empty((count, SIZE * SIZE), np.float16)
    lamp = np.empty((count, 64))
    # Normalised convolution (Knutsson and Westin 1993): blurred values over the blurred mask, so
    # that hair and background do not leak into the lamp's share.
    soft, covered = mask[None, None], gaussian(mask[None, None], SMOOTH).clamp(min=0.02)
    for start in trange(0, count, 64, unit="batch", disable=not progress, leave=False):
        rows = slice(start, start + 64)
        brightness = warp(faces.images[rows], faces.landmarks[rows])
        # A lamp multiplies the brightness; in logarithms it adds, as a regression needs.
        log = torch.log(brightness * (1 - FLOOR) + FLOOR)
        low = gaussian(log * soft, SMOOTH) / covered
        fine[rows] = (log - low).flatten(1).half().numpy()
        # Outside the face its own mean stands in: the wall behind it is no covariate.
        mean = (low * soft).sum((2, 3), keepdim=True) / soft.sum()
        coarse = F.interpolate(low * soft + mean * (1 - soft), size=8, mode="area")
        lamp[rows] = coarse.flatten(1).numpy()
    lamp = within(lamp, label)
    # All 64 cells would also explain changes that belong to the expression.
    lamp = lamp @ np.linalg.svd(lamp, full_matrices=False)[2][:LAMP_COMPONENTS].T
    pose = within(pose_terms(faces.pose.numpy()), label)
    expression = within(faces.expression.numpy(), label)
    # Unit variance: the one penalty then holds the lamp as it holds the controls.
    x = np.concatenate([expression, pose, lamp / lamp.std(0)], 1)
    inside = mask.flatten().numpy() > 0.5
    weights, left, total = np.zeros((x.shape[1], SIZE * SIZE)), 0.0, 0.0
    for columns in np.array_split(np.arange(SIZE * SIZE), 8):  # float64 of all would not fit
        y = within(fine[:, columns].astype(np.float32), label)
        weights[:, columns] = ridge(x, y, penalty)
        seen = inside[columns]
        left += float(((y - x @ weights[:, columns]) ** 2)[:, seen].sum())
        total += float((y**2)[:, seen].sum())
    light = weights[: expression.shape[1]].reshape(-1, SIZE, SIZE)
    return torch.from_numpy(light.astype(np.float32)), 1 - left / total
