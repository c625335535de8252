"""GANmut's conditional space on the expression model: points of a learned disc become expressions,
which the model draws.

d'Apolito et al., "GANmut", CVPR 2021, learn a polar gamut of emotions from labels, with a generator
of images. Here the generator gives an expression, so the photograph stays a photograph, and what
was learned is the conditional space alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.codes import DiscSpace
from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import ExpressionModel
from ganmut.methods.base import Edit

WIDTH = 256


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, WIDTH),
        nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, WIDTH),
        nn.LeakyReLU(0.2),
        nn.Linear(WIDTH, outputs),
    )


class ExpressionGenerator(nn.Module):
    """From what a face shows and a point of the disc to the expression after the edit.

    Buffers: mean, spread K (of the expressions that it was trained with), rest K (neutral).
    directions: (emotions - 1) x 2, not normalised.
    """

    mean: Tensor
    spread: Tensor
    rest: Tensor

    def __init__(self, controls: int, emotions: int):
        super().__init__()
        for name in ("mean", "spread", "rest"):
            self.register_buffer(name, torch.zeros(controls))
        self.body = perceptron(controls + 2, controls)
        # A small last layer: the game begins near neutral. Tiny directions: GANmutGenerator.
        nn.init.normal_(self.body[-1].weight, std=0.01)
        nn.init.zeros_(self.body[-1].bias)
        self.directions = nn.Parameter(torch.empty(emotions - 1, 2).uniform_(-0.7, 0.7) * 1e-4)

    def standard(self, expression: Tensor) -> Tensor:
        """Expressions N x K in units of their spread."""
        return (expression - self.mean) / self.spread

    def forward(self, shown: Tensor, code: Tensor) -> Tensor:
        """N x K expressions after the edit; shown: N x K, code: N x 2 in the disc."""
        return self.rest + self.spread * self.body(torch.cat([self.standard(shown), code], 1))

    def unit_directions(self) -> Tensor:
        """(emotions - 1) x 2 of length 1."""
        return F.normalize(self.directions, dim=1)


class ExpressionGamut(ExpressionMethod):
    """GANmut's disc, drawn by an expression model. A code is a point of the unit disc."""

    name = "expression_gamut"
    title = "GANmut on the expression model"
    paper = "d'Apolito et al., CVPR 2021, on the expression model"
    reads_source = False

    def __init__(
        self, model: ExpressionModel, generator: ExpressionGenerator, emotions: tuple[str, ...]
    ):
        super().__init__(model, emotions)
        self.generator = generator

    def space(self) -> DiscSpace:
        return DiscSpace(self.emotions, self.generator.directions)

    def edit(self, features: tuple[FaceBasis, ...], code: Tensor) -> Edit:
        """Edited crops N x 3 x S x S in [-1, 1] of N bases under N x 2 points of the disc."""
        shown = torch.stack([basis.expression for basis in features])
        with torch.autocast(code.device.type, enabled=False):
            return super().edit(features, self.generator(shown, code.float()))

    def style_of(self, x: Tensor, emotion: Any) -> Tensor:
        raise ValueError(f"{self.title} takes no reference picture; give an emotion or a point")
