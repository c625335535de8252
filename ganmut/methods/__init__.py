"""The methods: every file but base*.py registers one or two methods."""

from ganmut.methods.base import METHODS

__all__ = ["METHODS"]
