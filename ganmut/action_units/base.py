"""The interface and the registry of providers: ONE FILE in this folder = ONE PROVIDER."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ganmut.registry import Registry

PROVIDERS = Registry("provider of action units", "ganmut.action_units")


class ProviderUnavailable(ValueError):
    """A provider whose package or model is missing; the message says how to get it."""


class Provider(Protocol):
    """An estimator of action units, constructed with the parameter `model` (default "")."""

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """17 units in 0..1 (order of ganmut.emotions.UNITS) for each H x W x 3 uint8 RGB image of
        one face; None where no face is found."""
        ...
