"""Generator and discriminator of expressions: the methods' losses played on vectors of controls
instead of images, which the expression model then draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ganmut.networks.config import Settings, setting

HIDDEN = 256  # 75 thousand weights a network: minutes on one core


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


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.LeakyReLU(0.2),
        nn.Linear(HIDDEN, HIDDEN),
        nn.LeakyReLU(0.2),
        nn.Linear(HIDDEN, outputs),
    )


class ExpressionGenerator(nn.Module):
    """A standardised expression B x K under a code B x code_dim: forward(x, code) -> B x K.

    The result is the neutral expression plus a learned change, which sees the source's expression:
    an edit replaces what a face shows. mean, spread, rest: K, set by `standardise`; expressions are
    standardised so that rare controls count as much as common ones.
    """

    mean: Tensor
    spread: Tensor
    rest: Tensor

    def __init__(self, controls: int, code_dim: int):
        super().__init__()
        self.change = _mlp(controls + code_dim, controls)
        # Small first edits: the discriminator meets expressions that are nearly neutral.
        for parameter in self.change[-1].parameters():
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

    def encode(self, x: Tensor) -> Tensor:
        """The expression itself: nothing of it can be computed ahead."""
        return x

    def decode(self, features: Tensor, code: Tensor) -> Tensor:
        """Standardised expressions B x K after the edit."""
        return self.inputs(self.rest) + self.change(torch.cat([features, code], 1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.decode(x, code)


class ExpressionDiscriminator(nn.Module):
    """Score B x 1 and head outputs B x outputs of standardised expressions B x K."""

    def __init__(self, controls: int, outputs: int):
        super().__init__()
        self.network = _mlp(controls, 1 + outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        both = self.network(x)
        return both[:, :1], both[:, 1:]

    def score(self, x: Tensor) -> Tensor:
        """The score alone, the input of a gradient penalty."""
        return self.forward(x)[0]
