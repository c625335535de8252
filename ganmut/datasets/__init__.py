"""Where faces come from: one file is one source."""

from ganmut.datasets.base import CROP, SOURCES, BadData, Batch, FaceSet, Source, open_source

__all__ = ["CROP", "SOURCES", "BadData", "Batch", "FaceSet", "Source", "open_source"]
