"""Frozen networks that measure faces (emotion, identity, action units): one file is one network."""

from ganmut.extractors.base import EXTRACTORS, Extraction, Extractor
from ganmut.extractors.loading import load

__all__ = ["EXTRACTORS", "Extraction", "Extractor", "load"]
