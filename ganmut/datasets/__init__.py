"""Data sources: labelled faces of a split as a FaceSet. One file is one source."""

from ganmut.datasets.base import CROP, SOURCES, BadData, Batch, FaceSet, Source, open_source

__all__ = ["CROP", "SOURCES", "BadData", "Batch", "FaceSet", "Source", "open_source"]
