"""Generator and discriminator of expressions: the methods' losses played on vectors of controls
instead of images, which the expression model then draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganmut.networks.config import Settings, setting
from ganmut.networks.edit import Edit

HIDDEN = 256  # 75 thousand weights a network: minutes on one core
STEERED = 4 * HIDDEN  # gains and offsets of a StyledPerceptron


@dataclass(frozen=True)
class ExpressionConfig(Settings):
    """The setting of methods whose networks can work on expressions."""

    controls: int = setting(
        0,
        "values of an expression that the method edits in place of an image, which the expression "
        "model draws; 0: it edits images, as published",
        option=False,
    )

    LIMITS: ClassVar = {"controls": (0, 1024)}


class Perceptron(nn.Sequential):
    """Three linear layers: parts of an input, side by side B x inputs -> B x outputs."""

    def __init__(self, inputs: int, outputs: int, hidden: int = HIDDEN):
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, outputs),
        )

    def forward(self, *parts: Tensor) -> Tensor:
        return super().forward(torch.cat(parts, 1))


class StyledPerceptron(nn.Module):
    """The same of an input and a code, which modulates a residual block as styles modulate those of
    image generators (AdaIN): steer(code) -> B x STEERED, two gains around 0 and two offsets."""

    def __init__(self, inputs: int, outputs: int, steer: nn.Module):
        super().__init__()
        self.steer = steer
        self.first, self.last = nn.Linear(inputs, HIDDEN), nn.Linear(HIDDEN, outputs)
        self.block = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        h = block = F.leaky_relu(self.first(x), 0.2)
        styles = self.steer(code).chunk(4, 1)
        for layer, gain, offset in zip(self.block, styles[:2], styles[2:], strict=True):
            # 1 + gain, so that a gain near zero leaves the normalised features as they are.
            normed = F.layer_norm(layer(block), (HIDDEN,))
            block = F.leaky_relu((1 + gain) * normed + offset, 0.2)
        return self.last(h + block)


class ExpressionChange(nn.Module):
    """A learned change of standardised expressions B x K under codes B x code_dim, change(x, code).

    mean, spread, rest: K, set by `standardise`; expressions are standardised so that rare controls
    count as much as common ones.
    """

    mean: Tensor
    spread: Tensor
    rest: Tensor

    def __init__(self, controls: int, code_dim: int, change: nn.Module | None = None):
        """change: the network of the change, change(x, code), whose last layer gives it."""
        super().__init__()
        self.change = change or Perceptron(controls + code_dim, controls)
        # Small first edits: the discriminator meets expressions that are nearly neutral.
        for parameter in list(self.change.children())[-1].parameters():
            nn.init.normal_(parameter, std=0.01)
        for name in ("mean", "spread", "rest"):
            self.register_buffer(name, torch.ones(controls) * (name == "spread"))

    def standardise(self, expressions: Tensor, rest: Tensor) -> None:
        """Takes mean and spread from expressions N x K; rest: K, the neutral one."""
        self.mean.copy_(expressions.mean(0))
        # A control that hardly ever moves must not weigh more than its noise.
        self.spread.copy_(expressions.std(0).clamp(min=0.02))
        self.rest.copy_(rest)

    def inputs(self, expressions: Tensor) -> Tensor:
        """Standardised expressions."""
        return (expressions - self.mean) / self.spread

    def expressions(self, x: Tensor) -> Tensor:
        """The inverse of `inputs`."""
        return self.mean + x * self.spread


class ExpressionGenerator(ExpressionChange):
    """forward(x, code) -> B x K: the neutral expression plus the learned change, which sees the
    source's expression: an edit replaces what a face shows."""

    def encode(self, x: Tensor) -> Tensor:
        """The expression itself: nothing of it can be computed ahead."""
        return x

    def decode(self, features: Tensor, code: Tensor) -> Edit:
        """Standardised expressions B x K after the edit, in place of images."""
        return Edit(self.forward(features, code))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.inputs(self.rest) + self.change(x, code)


class ExpressionDiscriminator(nn.Module):
    """Score B x 1 and head outputs B x outputs of standardised expressions B x K."""

    def __init__(self, controls: int, outputs: int):
        super().__init__()
        self.network = Perceptron(controls, 1 + outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        both = self.network(x)
        return both[:, :1], both[:, 1:]

    def score(self, x: Tensor) -> Tensor:
        """The score alone, the input of a gradient penalty."""
        return self.forward(x)[0]
