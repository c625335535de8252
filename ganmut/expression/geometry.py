"""Shape of an expression: the basis of landmark displacements, and flows through radial splines.

The basis is the shape part of an active appearance model (Cootes, Edwards and Taylor 1998), fitted
on differences within a person. Flows interpolate displacements of landmarks with the polyharmonic
spline of kernel -r (Duchon 1977) on the edited face, so that lips and lids lie where they should.
Coordinates are pixels of the 128 px crop, which spans 0..128: the centre of pixel i lies at i + .5.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganmut.expression.point_set import SIZE
from ganmut.expression.traced import distances, solve

# Added to the spline's diagonal: points that all but coincide do not make it singular.
RIDGE = 0.03
# Share of the identity that a flow keeps at least: its determinant never falls under it.
LEAST_DETERMINANT = 0.12
# Linear interpolation of prefiltered values at shifted places is nearly as sharp as a cubic one, at
# a quarter of its cost (Blu, Thevenaz and Unser 2004). The best shift, in pixels.
SHIFT = 0.5 * (1 - 3**-0.5)
FRONTAL = 0.12  # radians of yaw under which a face counts as seen from the front


def within(values: np.ndarray, label: np.ndarray) -> np.ndarray:
    """float64 N x D values minus the mean of their person (label: int N, 0..people - 1)."""
    # float64: the normal equations of the regressions square the condition number.
    values = values.astype(np.float64)
    mean = np.zeros((label.max() + 1, values.shape[1]))
    # Unlike mean[label] += values, add.at counts every row of a repeated label.
    np.add.at(mean, label, values)
    return values - (mean / np.bincount(label, minlength=len(mean))[:, None])[label]


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Coefficients X x Y of the ridge regression of y (N x Y) on x (N x X)."""
    # Normal equations: there are some tens of columns, however many photographs.
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


def pose_terms(pose: np.ndarray) -> np.ndarray:
    """N x 7 of N x 3 (yaw, pitch, roll): the pose, its squares, and yaw times pitch."""
    # A turned head is foreshortened by cosines, which are squares to the second order.
    return np.concatenate([pose, pose**2, pose[:, :1] * pose[:, 1:2]], 1)


def people_with_pairs(person: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of everybody with more than one picture, and their labels 0..people - 1."""
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(person):
        # An empty name is an unknown person; all unknown ones are not one person.
        if name:
            groups.setdefault(name, []).append(row)
    pairs = [rows for rows in groups.values() if len(rows) > 1]
    if not pairs:
        raise ValueError("no person has two pictures; an expression model needs pairs")
    labels = [np.full(len(rows), label) for label, rows in enumerate(pairs)]
    return np.concatenate(pairs), np.concatenate(labels)


def fit_shape(
    landmarks: np.ndarray,
    expression: np.ndarray,
    pose: np.ndarray,
    label: np.ndarray,
    penalty: float = 2.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Displacements per unit of each control, K x P x 2 px, and the share of the variance within a
    person that they and the pose explain, P x 2.

    landmarks N x P x 2, expression N x K, pose N x 3, label N as of people_with_pairs.
    """
    controls = expression.shape[1]
    # Pose is a covariate: heads that nod as they smile would put the nod into the smile.
    x = np.concatenate([within(expression, label), within(pose_terms(pose), label)], 1)
    y = within(landmarks.reshape(len(landmarks), -1), label)
    weights = ridge(x, y, penalty)
    explained = 1 - ((y - x @ weights) ** 2).sum(0) / (y**2).sum(0)
    shape = landmarks.shape[1:]
    return weights[:controls].reshape(controls, *shape), explained.reshape(shape)


def expressive_shapes(landmarks: Tensor, expression: Tensor, pose: Tensor) -> Tensor:
    """K x P x 2: for each control, the mean landmarks of the nearly frontal faces that show most of
    it; landmarks N x P x 2, expression N x K, pose N x 3."""
    # Twice the frontal limit: strong expressions are rare, and their mean has no side.
    near = pose[:, 0].abs() < 2 * FRONTAL
    landmarks, expression = landmarks[near], expression[near]
    # The strongest 2.5 %: few enough to show the control, enough to average persons away.
    most = max(len(landmarks) // 40, 1)
    strongest = expression.argsort(0, descending=True)[:most]
    return torch.stack([landmarks[rows].mean(0) for rows in strongest.T])


def mirror_pairs(shapes: Tensor) -> Tensor:
    """int64 P: the landmark that each becomes in a mirrored face, by the symmetry of several mean
    shapes M x P x 2 (of different expressions: in one alone, closed lips cannot be told apart)."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and only fits need it

    centre = shapes[..., 0].mean(1, keepdim=True)
    mirrored = torch.stack([2 * centre - shapes[..., 0], shapes[..., 1]], -1)
    gaps = torch.cdist(mirrored, shapes).square().sum(0)
    # The assignment as a whole: nearest pairs first would leave the last points with strangers.
    _, partners = linear_sum_assignment((gaps + gaps.T).numpy())
    return torch.from_numpy(partners)


def similarity(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled rotation 2 x 2 and shift 2 that bring P x 2 source points nearest to the target
    (Umeyama 1991): target ~ source @ matrix.T + shift."""
    middle, aim = source.mean(0), target.mean(0)
    (x, y), (u, v) = (source - middle).unbind(1), (target - aim).unbind(1)
    power = (x * x + y * y).sum()
    # A similarity of the plane is a multiplication by a + ib: two unknowns, a closed form.
    a, b = (x * u + y * v).sum() / power, (x * v - y * u).sum() / power
    matrix = torch.stack([torch.stack([a, -b]), torch.stack([b, a])])
    return matrix, aim - matrix @ middle


def spline_flow(points: Tensor, moves: Tensor, fixed: Tensor, places: Tensor) -> Tensor:
    """N x 2 x G values at G places (G x 2) of the splines that pass through `moves` N x P x 2 at
    points N x P x 2 and through zero at the F x 2 fixed points."""
    n = len(points)
    nodes = torch.cat([points, fixed.expand(n, -1, -1)], 1) if len(fixed) else points
    count = nodes.shape[1]
    # Half the crop's size as the unit, so that the affine columns are of the kernel's order.
    affine = torch.cat([torch.ones(n, count, 1), nodes / 64], 2)
    # -r is conditionally positive definite, so the ridge that smooths has a plus sign.
    kernel = RIDGE * torch.eye(count) - distances(nodes, nodes)
    if torch.jit.is_tracing():
        # No weights change, since they sum to zero, and no pivot is small.
        kernel = kernel + 2 * SIZE
    system = torch.cat(
        [
            torch.cat([kernel, affine], 2),
            torch.cat([affine.transpose(1, 2), torch.zeros(n, 3, 3)], 2),
        ],
        1,
    )
    # The zeros at the end are the side conditions: weights orthogonal to affine maps, without which
    # the splines are not unique.
    right = torch.cat([moves, torch.zeros(n, count + 3 - moves.shape[1], 2)], 1)
    weights = solve(system.double(), right.double()).float()
    # Nodes by places, and the weights on the left: several times faster than places by nodes.
    basis = torch.cat([torch.ones(places.shape[0], 1), places / 64], 1).T
    weights = weights.transpose(1, 2)
    apart = distances(nodes, places.expand(n, -1, -1))
    return torch.baddbmm(weights[..., count:] @ basis, weights[..., :count], apart, alpha=-1)


def gradient(field: Tensor, step: Tensor) -> Tensor:
    """N x 4 x h x w: du/dx, du/dy, dv/dx, dv/dy of flows N x 2 x h x w on a grid of step (x, y)."""
    # The repeated border halves the slope of the outer nodes, where flows have faded.
    wide = F.pad(field, (1, 1, 1, 1), mode="replicate")
    dx = (wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2]) / (2 * step[0])
    dy = (wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]) / (2 * step[1])
    return torch.stack([dx[:, 0], dy[:, 0], dx[:, 1], dy[:, 1]], 1)


def unfolded_share(slopes: Tensor, visible: Tensor) -> Tensor:
    """N: the largest share s <= 1 of each flow for which det(1 + s gradient) stays at least
    LEAST_DETERMINANT where `visible` (h x w, bool); slopes N x 4 x h x w from `gradient`.

    The determinant is 1 + s trace + s^2 det, so the first root is known at every node.
    """
    a, b, c, d = slopes.unbind(1)
    trace, determinant = a + d, a * d - b * c
    room = 1 - LEAST_DETERMINANT
    # The first positive root in the form that does not cancel; none where no root is real.
    discriminant = trace.square() - 4 * determinant * room
    # det = .12 is solved as 2c / (-b + sqrt(b^2 - 4ac)): the other form loses all digits at a flow
    # that is nearly a shift, whose quadratic term vanishes.
    divisor = -trace + discriminant.clamp(min=0).sqrt()
    reaches = (discriminant >= 0) & (divisor > 1e-6) & visible
    root = torch.where(reaches, 2 * room / divisor.clamp(min=1e-6), torch.full_like(divisor, 9.0))
    return root.flatten(1).amin(1).clamp(max=1)


def sample(field: Tensor, at: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """N x C x H x W values of fields N x C x h x w, whose outer nodes lie at `low` and `high`
    (x, y), at places N x 2 x H x W in pixels."""
    low, high = low.view(1, 2, 1, 1), high.view(1, 2, 1, 1)
    # Nodes, not pixels: the outer values lie exactly at -1 and 1, hence align_corners.
    grid = ((at - low) * (2 / (high - low)) - 1).permute(0, 2, 3, 1)
    return F.grid_sample(field, grid, padding_mode="border", align_corners=True)


def shifted_coefficients(image: Tensor) -> Tensor:
    """C x H x W values whose linear interpolation, SHIFT pixels up and left of a place, is the
    image's at that place; exact at the centres of its pixels."""
    taps = shift_taps()
    out = F.pad(image[:, None], (11, 0, 11, 0), mode="replicate")
    return F.conv2d(F.conv2d(out, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))[:, 0]


@cache
@torch.inference_mode(False)
def shift_taps() -> Tensor:
    """12: the filter of `shifted_coefficients`."""
    # c[k] = (f[k] - SHIFT c[k - 1]) / (1 - SHIFT), unrolled until the rest is below 1e-7.
    pole = -SHIFT / (1 - SHIFT)
    taps = pole ** torch.arange(11, -1, -1, dtype=torch.float32) / (1 - SHIFT)
    taps[0] = 1 - taps[1:].sum()  # the border, repeated, goes on for ever
    return taps
