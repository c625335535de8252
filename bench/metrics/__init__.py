"""Metrics: one file per metric."""

from .base import METRICS, Metric, NotMeasured, Score, TooFew

__all__ = ["METRICS", "Metric", "NotMeasured", "Score", "TooFew"]
