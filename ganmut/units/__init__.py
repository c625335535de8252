"""Action units of photographs: who tells them (ONE FILE = ONE PROVIDER), and writing them down."""

from ganmut.units.base import PROVIDERS, Provider, ProviderMissing
from ganmut.units.files import Report, write_units

__all__ = ["PROVIDERS", "Provider", "ProviderMissing", "Report", "write_units"]
