"""The emotion wheel: a disc of emotions drawn by the expression model, for the gamut pad.

Nothing of it is learned: the emotions lie in the order of Russell's circumplex (1980), equally far
apart, and between two of them their recipes are mixed by angle. It shows what a gamut does at a
photograph's own resolution; what labels alone can teach is GANmut's (methods/ganmut.py).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ganmut.codes import DiscSpace
from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.landmark_net import LandmarkNet
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import ExpressionModel
from ganmut.expression.traced import search_sorted

# Counter-clockwise from the right: pleasant on the right, aroused above.
ORDER = ("happy", "surprised", "fearful", "angry", "disgusted", "sad")


def wheel_directions(emotions: tuple[str, ...]) -> Tensor:
    """len(emotions) x 2 unit vectors, equally far apart in the order of ORDER."""
    order = [name for name in ORDER if name in emotions]
    order += [name for name in emotions if name not in order]
    angles = torch.tensor([2 * math.pi * order.index(name) / len(order) for name in emotions])
    return torch.stack([angles.cos(), angles.sin()], 1)


class ExpressionWheel(ExpressionMethod):
    """A disc on an expression model: the angle chooses the emotions, the radius is the intensity.

    directions: (emotions - 1) x 2, of the emotions other than neutral.
    """

    name = "expression_wheel"
    title = "Emotion wheel"
    paper = "Russell 1980 (the order of the emotions), on the expression model"
    reads_source = False

    def __init__(
        self,
        model: ExpressionModel,
        landmarks: LandmarkNet,
        directions: Tensor,
        emotions: tuple[str, ...],
    ):
        super().__init__(model, landmarks, emotions)
        self.directions = directions
        rows = [model.emotions.index(emotion) for emotion in emotions[1:]]
        angles = torch.atan2(directions[:, 1], directions[:, 0])
        self.angles, order = angles.sort()
        self.recipes = model.recipes[rows][order]

    def space(self) -> DiscSpace:
        return DiscSpace(self.emotions, self.directions)

    def expression(self, code: Tensor) -> Tensor:
        """N x K expressions of points N x 2 of the disc: neutral in the middle, on the rim the
        emotions' own, between two of them a mixture, linear in the angle."""
        # Neutral has no angle; one of its own keeps graphs from dividing zero by zero.
        x = torch.where((code == 0).all(1), 1.0, code[:, 0])
        angle = torch.atan2(code[:, 1], x)
        after = search_sorted(self.angles, angle.contiguous(), right=True)
        # The last direction's neighbour is the first one, across the half turn where atan2 jumps.
        after, before = after % len(self.angles), (after - 1) % len(self.angles)
        turn = 2 * math.pi
        gap = (self.angles[after] - self.angles[before]) % turn
        gap = torch.where(gap > 0, gap, turn)  # one emotion alone is its own neighbour
        share = (((angle - self.angles[before]) % turn) / gap)[:, None]
        mixed = torch.lerp(self.recipes[before], self.recipes[after], share)
        # The radius scales the change from rest, so the disc's middle is neutral at every angle.
        return self.model.clamp_expression(self.model.rest + code.norm(dim=1, keepdim=True) * mixed)

    def target(self, features: tuple[FaceBasis, ...], code: Tensor) -> Tensor:
        """N x K expressions of N x 2 points of the disc, the same for every face."""
        return self.expression(code.float())

    def style_of(self, x: Tensor, emotion: Any) -> Tensor:
        raise ValueError(f"{self.title} takes no reference picture; give an emotion or a point")
