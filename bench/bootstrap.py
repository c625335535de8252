"""The bootstrap over source faces. Every row is measured on the same faces under the same draws:
differences are paired.
"""

from __future__ import annotations

import functools

import numpy as np

LEVEL = 0.95


@functools.lru_cache(maxsize=16)
def counts(n: int, replicates: int, seed: int) -> np.ndarray:
    """replicates x n: how often each of n faces is drawn; the same for every row and metric with
    this n.
    """
    generator = np.random.default_rng([seed, n])
    return generator.multinomial(n, np.full(n, 1 / n), size=replicates).astype(np.float64)


def means(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Mean of n values (NaN = left out) under every draw: `[replicates]`; NaN where a draw holds no
    value.
    """
    known = np.isfinite(values)
    total = draws @ np.where(known, values, 0.0)
    share = draws @ known.astype(np.float64)
    return np.divide(total, share, out=np.full(len(draws), np.nan), where=share > 0)


def interval(draws: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of the draws, or None where there are none to speak of."""
    known = draws[np.isfinite(draws)]
    if len(known) < 20:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def centred(draws: np.ndarray, value: float) -> np.ndarray:
    """The draws moved so that their mean is the estimate.

    A Fréchet distance between resamples is larger than between the samples themselves, since a
    resample holds fewer different faces; what the draws are good for is the spread.
    """
    return draws - np.nanmean(draws) + value
