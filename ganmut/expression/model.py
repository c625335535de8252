"""ExpressionModel: edits of a photograph's expression at the photograph's own resolution.

An expression is a change of shape, of light and of what the mouth shows, each almost linear in the
expression within a person: an active appearance model (Cootes, Edwards and Taylor 1998) with
expression ratio images (Liu, Shan and Zhang 2001). docs/photographs.md has the mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganmut.expression.face_basis import FaceBasis, make_basis, raise_lids
from ganmut.expression.geometry import similarity
from ganmut.expression.mouth_tone import COLUMNS, ROWS
from ganmut.expression.openings import (
    UPPER_SHARE,
    gap_terms,
    middle_gaps,
    resampled,
    solved_edges,
    target_gap,
)
from ganmut.expression.point_set import CONTROLS, MESH, SIZE, PointSet
from ganmut.expression.render import render


@dataclass(frozen=True)
class Displacement:
    """Where a change moves a face: points N x P x 2 (px of 128), the landmarks of the edited face;
    moves N x P x 2; gap, opened: N, the mouth's middle gap now and before (px, above contact)."""

    points: Tensor
    moves: Tensor
    gap: Tensor
    opened: Tensor

    def scaled(self, share: Tensor) -> Displacement:
        """The same change, `share` (N) of it."""
        rest = self.points - self.moves
        moves = self.moves * share.view(-1, 1, 1)
        return Displacement(rest + moves, moves, self.gap, self.opened)


class ExpressionModel(nn.Module):
    """Shape, light and mouth of an expression of K controls on P landmarks.

    Buffers: shape K x P x 2 (px per unit), mean_shape P x 2, light K x 128 x 128 (log ratio per
    unit), ellipse 2 x 2 (centre and radii of the mean face, px), mouth_gap and eye_gap T + 1
    (openings.fit_gap), mouth_tone 2K + 3 x 16 x 24 (mouth_tone.fit_mouth_tone), reader 2P + 1 x K
    (expression of a shape), rest K (the neutral expression of a closed mouth), highest K (the
    largest value that a control takes in an edit), centre K and precision K x K (mean and inverse
    covariance of real expressions), recipes E x K (the change from rest that shows each emotion at
    strength 1).
    """

    shape: Tensor
    mean_shape: Tensor
    light: Tensor
    ellipse: Tensor
    mouth_gap: Tensor
    eye_gap: Tensor
    mouth_tone: Tensor
    reader: Tensor
    rest: Tensor
    centre: Tensor
    precision: Tensor
    recipes: Tensor
    highest: Tensor

    def __init__(
        self,
        emotions: tuple[str, ...] = (),
        controls: tuple[str, ...] = CONTROLS,
        points: PointSet = MESH,
    ):
        super().__init__()
        self.emotions, self.controls, self.points = emotions, controls, points
        self.sha256 = ""  # of the weight that it was read from
        k, p = len(controls), points.count
        terms = gap_terms(torch.zeros(1, k), points).shape[1]
        for name, shape in {
            "shape": (k, p, 2),
            "mean_shape": (p, 2),
            "light": (k, SIZE, SIZE),
            "ellipse": (2, 2),
            "mouth_gap": (terms + 1,),
            "eye_gap": (terms + 1,),
            "mouth_tone": (2 * k + 3, ROWS, COLUMNS),
            "reader": (2 * p + 1, k),
            "rest": (k,),
            "centre": (k,),
            "precision": (k, k),
            "recipes": (len(emotions), k),
        }.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("highest", torch.ones(k))

    def basis(self, crop: Tensor, landmarks: Tensor, expression: Tensor | None = None) -> FaceBasis:
        """What does not depend on the change, once a face.

        crop: 1 or 3 x S x S, float in 0..1, any S, the face upright with a margin (an edit reaches
        half the face's size beyond its outline); landmarks: P x 2 in px of 128: the crop spans
        0..128, whatever S. expression: K values in 0..1 that the face shows; read from the
        landmarks where not given. Raises ValueError.
        """
        landmarks = landmarks.detach().float()
        if expression is None:
            expression = self.read(landmarks[None])[0]
        if expression.shape != (len(self.controls),):
            raise ValueError(
                f"an expression is {len(self.controls)} values, got {tuple(expression.shape)}"
            )
        expression = self.clamp_expression(expression.detach().float())
        with torch.no_grad():
            return make_basis(
                crop.float(),
                landmarks,
                expression,
                self.points,
                self.mean_shape,
                self.light,
                self.ellipse,
            )

    def resize_basis(self, basis: FaceBasis, crop: Tensor) -> FaceBasis:
        """The basis of the same face in a crop C x s x s of another size, with the landmarks and
        the expression that it has."""
        found = raise_lids(basis.landmarks, self.points, -basis.scale)
        return self.basis(crop, found, basis.expression)

    def render(self, basis: FaceBasis, change: Tensor) -> Tensor:
        """N x C x S x S edited crops in 0..1, differentiable in `change` (N x K or K, added to the
        face's expression; the sum is held to the allowed range). No change gives the crop itself,
        bit for bit, and so does every pixel outside the face."""
        return render(self, basis, change.view(-1, len(self.controls)).float())

    def read(self, landmarks: Tensor) -> Tensor:
        """N x K expressions of landmarks N x P x 2, by linear regression, in 0..1."""
        aligned = []
        for face in landmarks:
            # Place, size and roll of the head are no expression.
            matrix, shift = similarity(face, self.mean_shape)
            aligned.append((face @ matrix.T + shift - self.mean_shape).flatten())
        x = torch.stack(aligned) / 10
        return (x @ self.reader[:-1] + self.reader[-1]).clamp(0, 1)

    def clamp_expression(self, expression: Tensor) -> Tensor:
        """Expressions (... x K) in the allowed range: 0 to `highest`."""
        return torch.minimum(expression.clamp(min=0), self.highest)

    def distance(self, expression: Tensor) -> Tensor:
        """N: Mahalanobis distance of expressions N x K to those of real photographs."""
        away = expression - self.centre
        return ((away @ self.precision) * away).sum(-1).clamp(min=0).sqrt()

    def displacement(self, basis: FaceBasis, change: Tensor) -> Displacement:
        """Where changes N x K (already held to the allowed range) move the landmarks: the linear
        shape, with lips and lids solved for a gap of zero where the target's expression closes
        them."""
        # On the mean shape; basis.matrix turns and scales it to this face.
        linear = torch.einsum("nk,kpc->npc", change, self.shape)
        moves = linear @ basis.matrix.T
        points, gaps, source = self.points, basis.gaps, basis.landmarks[None]
        moved = source + moves
        # The source first: the gap is corrected by what the prediction misses on this very face.
        values = torch.cat([basis.expression[None], basis.expression + change])
        terms = gap_terms(values, points)
        mouth, eye = (terms @ each[:-1] + each[-1] for each in (self.mouth_gap, self.eye_gap))
        predicted = basis.scale * torch.stack([mouth, eye, eye], 1)
        # A linear shape cannot close: it has no zero at which lips stop. So the gap is solved for.
        gap = target_gap(gaps.opened, predicted[:1], predicted[1:])
        if not points.products:
            # Where lips or lids stay apart, the linear shape is the better guess.
            linear_gap = (middle_gaps(moved, points) - gaps.contact).clamp(min=0)
            gap = torch.lerp(gap, linear_gap, (predicted[1:] / basis.scale).clamp(0, 1))
        # Contact itself closes with the last of the gap: lips that meet leave none at all.
        wanted = gap + gaps.touching * (gap / gaps.last).clamp(max=1)
        kinds = zip(("mouth", "eye"), points.edges, wanted.split((1, 2), 1), strict=True)
        for kind, edges, asked in kinds:
            both = moved[:, edges.flatten(), 1].unflatten(1, edges.shape)
            corrections = solved_edges(both[:, 0], both[:, 1], asked, UPPER_SHARE[kind])
            for edge, correction in zip(edges[..., 1:-1], corrections, strict=True):
                moves[:, edge.flatten(), 1] += correction[..., 1:-1].flatten(1)
            if kind == "eye":  # the skin round an eye stays, lips move whole
                continue
            for inner, correction in zip(points.mouth.outer_inner, corrections, strict=True):
                if len(inner):
                    # The lips' outer contours follow by .7: lips thin a little as they part.
                    along = resampled(correction[:, 0], len(inner) + 2)[:, 1:-1]
                    moves[:, inner, 1] += 0.7 * along
        opened = gaps.opened[:1].expand(len(gap))
        return Displacement(source + moves, moves, gap[:, 0], opened)

    def jaw_drop(self, basis: FaceBasis, expression: Tensor) -> Tensor:
        """N: px that the jaw has moved down from rest under expressions N x K."""
        chin = self.shape[:, self.points.chin] @ basis.matrix.T
        return ((expression - self.rest) @ chin)[:, 1]

    def jaw_opening(self, basis: FaceBasis, expression: Tensor) -> Tensor:
        """N: px that the jaw alone opens under expressions N x K. A broad smile moves the chin too,
        but parts no teeth: only the control that moves the chin most counts."""
        chin = self.shape[:, self.points.chin] @ basis.matrix.T
        jaw = chin[:, 1].argmax()
        return (expression[:, jaw] - self.rest[jaw]) * chin[jaw, 1]
