"""The methods: one file is one method."""

from ganmut.methods.base import METHODS

__all__ = ["METHODS"]
