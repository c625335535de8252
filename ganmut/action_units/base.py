"""The providers' contract and their registry: ONE FILE in this folder = ONE PROVIDER."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ganmut.registry import Registry

PROVIDERS = Registry("provider of action units", "ganmut.action_units")


class ProviderUnavailable(ValueError):
    """A provider whose package or model is not at hand; the message says how to get it."""


class Provider(Protocol):
    """What a file here registers: built from the text of `model`, "" where there was none."""

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """17 units in 0..1 (order of ganmut.emotions.UNITS) of each H x W x 3 uint8 RGB picture of
        one face; None where no face is seen."""
        ...
