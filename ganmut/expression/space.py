"""ExpressionSpace: codes are the controls of a face's expression, which action units move too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganmut.action_units import blendshapes
from ganmut.codes import CodeSpace, unit_values
from ganmut.device import generator as seeded
from ganmut.emotions import UNITS, emotion_index
from ganmut.expression.model import ExpressionModel
from ganmut.expression.point_set import UNIT_CONTROLS

SEARCHED = 441  # codes of `grid`, as many as GANmut searches


class ExpressionSpace(CodeSpace):
    """The values that a face shows after the edit, one of each of the model's K controls, from 0 to
    the control's `highest`.

    Emotions are the model's recipes, added to its neutral face of a closed mouth. The seventeen
    action units move controls linearly: `moves` 17 x K, the change for a whole unit
    (ganmut.action_units.blendshapes.TABLE), unless the controls are the units themselves. Nothing
    here is learned apart from the model, which travels in the weight file.
    """

    kind = "expression"
    has_units = True

    def __init__(self, emotions: tuple[str, ...], model: ExpressionModel):
        super().__init__(emotions)
        self.controls, self.dim = model.controls, len(model.controls)
        self.rest, self.highest, self.centre, precision, recipes = (
            tensor.detach().float().cpu().clone()
            for tensor in (model.rest, model.highest, model.centre, model.precision, model.recipes)
        )
        self.recipes = recipes[[model.emotions.index(emotion) for emotion in emotions[1:]]]
        # float64, and made symmetric again: rounding in half precision leaves it neither.
        covariance = torch.linalg.inv(precision.double())
        self.spread = torch.linalg.cholesky((covariance + covariance.T) / 2).float()
        self.moves = torch.zeros(len(UNITS), self.dim)
        if self.controls == UNIT_CONTROLS:
            self.moves = torch.eye(self.dim)
            return
        for row, proxy in zip(self.moves, blendshapes.TABLE.values(), strict=True):
            for control, change in proxy.changes().items():
                row[self.controls.index(control)] = change

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        self._intensity(emotion, intensity)
        return self.mix({emotion: float(intensity)})

    def mix(self, shares: Mapping[str, float]) -> Tensor:
        # Held once, after the changes are added: each may leave the range that the sum is in.
        code = self.rest
        for emotion, share in shares.items():
            which = emotion_index(emotion, self.emotions)
            code = code + share * self.recipes[which - 1] if which else code
        return self._held(code)

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        # The expressions of real photographs, as a Gaussian.
        drawn = torch.randn(n, self.dim, generator=generator)
        return self._held(self.centre + drawn @ self.spread.T)

    def grid(self, budget: int | None = None) -> Tensor:
        """Every emotion at full intensity, then expressions drawn as for `sample`, the same for all
        runs."""
        count = SEARCHED if budget is None else budget
        named = torch.stack([self.of(emotion) for emotion in self.emotions])
        drawn = self.sample(max(count - len(named), 0), seeded(0))
        return torch.cat([named, drawn])[:count]

    def clamp(self, code: Tensor) -> Tensor:
        return self._held(self._validate(code))

    def units(self, values: Mapping[int, float], others: Sequence[float] | None = None) -> Tensor:
        own = self.rest if others is None else self.clamp(torch.tensor(others))
        change, shown = torch.zeros(len(UNITS)), self.units_of(own)
        for place, value in unit_values(values):
            # Units are asked for as values, controls move by differences.
            change[place] = value - shown[place]
        return self._held(own + change @ self.moves)

    def units_of(self, code: Tensor) -> Tensor:
        if self.controls == UNIT_CONTROLS:
            return self.clamp(code).clamp(max=1)
        shown = dict(zip(self.controls, self.clamp(code).tolist(), strict=True))
        return torch.tensor(blendshapes.units_of_controls(lambda name: shown.get(name, 0.0)))

    def _held(self, code: Tensor) -> Tensor:
        return torch.minimum(code.clamp(min=0), self.highest.to(code))
