"""Facial-expression editing with GANs: every method on one footing.
`ganmut.load("procedural/ganmut")` gives an Editor."""

from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.weights import load

__all__ = ["EMOTIONS", "METHODS", "Editor", "load"]
__version__ = "0.1.0"
