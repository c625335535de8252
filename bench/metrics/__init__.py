"""Metrics: one file per metric."""

from bench.metrics.base import METRICS, Metric, NotMeasured, Score, TooFew

__all__ = ["METRICS", "Metric", "NotMeasured", "Score", "TooFew"]
