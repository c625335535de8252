"""The methods: one file is one method."""

from ganmut.models.base import METHODS

__all__ = ["METHODS"]
