"""Statistics: bootstrap over source faces, Fréchet distance, and the score that a metric
returns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

CONFIDENCE = 0.95
SIZES, SUBSETS = 8, 4  # of the extrapolation to infinitely many samples
MIN_DRAWS = 20  # below this many finite draws an interval would be noise


# Scores -------------------------------------------------------------------------------------------


class TooFew(ValueError):
    """Fewer samples than the metric needs; the message gives both numbers."""


class NotMeasured(Exception):
    """A cell that stays empty without an error; the message is the reason shown in the table."""


@dataclass(frozen=True)
class Score:
    """A metric's value over n faces, with a 95 % interval.

    parts, intervals: values and intervals by name (emotions, budgets). draws: bootstrap draws
    `[replicates]` of the value (key "") and of the parts, paired over systems. samples: what the
    draws resample, where they are means: for the value (key "") and each part the values of k
    components x n faces (or batches), NaN where one is left out; the value is the mean of the
    components' means. Claims are tested on samples, else on draws. seed: of the draws. note: a
    remark that is printed with the number.
    """

    value: float
    n: int
    parts: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    note: str = ""
    samples: dict[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0

    def join(self, other: Score) -> Score:
        """This score with the parts of `other` added."""
        return replace(
            self,
            parts={**self.parts, **other.parts},
            intervals={**self.intervals, **other.intervals},
            draws={**other.draws, **self.draws},
            samples={**other.samples, **self.samples},
        )


# Bootstrap ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=16)
def resample_counts(n: int, replicates: int, seed: int) -> np.ndarray:
    """replicates x n: how often each replicate draws each of n faces.

    Depends on the arguments alone, so every system and metric with this n shares its draws and
    differences between systems are paired.
    """
    # Seeded by n too: prefixes of one stream would correlate metrics of different sizes.
    generator = np.random.default_rng([seed, n])
    return generator.multinomial(n, np.full(n, 1 / n), size=replicates).astype(np.float64)


def resample_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`[replicates]`: mean of the finite ones of n values in every replicate; NaN where a replicate
    draws no finite value."""
    finite = np.isfinite(values)
    total = counts @ np.where(finite, values, 0.0)
    # A face without a value is left out of both sums, as if it had not been drawn.
    weight = counts @ finite.astype(np.float64)
    return np.divide(total, weight, out=np.full(len(counts), np.nan), where=weight > 0)


def mean_of_means(samples: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """`[replicates]`: mean over k components of their means over n faces, of k x n samples; NaN
    leaves a face out of a component, and a component without faces out of the mean. counts:
    replicates x n; by default every face once, one replicate."""
    counts = np.ones((1, samples.shape[1])) if counts is None else counts
    means = np.stack([resample_means(component, counts) for component in samples])
    # Each component counts the same: an emotion with few faces weighs as much as the others.
    finite = np.isfinite(means)
    total, known = np.where(finite, means, 0).sum(0), finite.sum(0)
    return np.divide(total, known, out=np.full(len(counts), np.nan), where=known > 0)


def percentile_interval(
    draws: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """The central share `confidence` of the draws, or None for fewer than MIN_DRAWS finite
    ones."""
    finite = draws[np.isfinite(draws)]
    if len(finite) < MIN_DRAWS:
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def recentre(draws: np.ndarray, value: float) -> np.ndarray:
    """The draws shifted so that their mean is `value`.

    A resample holds fewer distinct faces, so the Fréchet distance between resamples is biased
    upwards; only the spread of its draws is meaningful.
    """
    return draws - np.nanmean(draws) + value


# Fréchet distance ---------------------------------------------------------------------------------


def moments(
    features: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[d]` and unbiased covariance `[d, d]`, float64, of n x d features; `weights` `[n]`
    count each row."""
    x = np.asarray(features, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean = w @ x / w.sum()
    centred = x - mean
    return mean, (centred * w[:, None]).T @ centred / (w.sum() - 1)


def gaussian_distance(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) (Dowson & Landau 1982), float64.

    The trace of the square root is the sum of the square roots of the eigenvalues of
    C_a^1/2 C_b C_a^1/2. That matrix is symmetric, so no complex numbers arise and singular
    covariances need no jitter on the diagonal.
    """
    # eigh, not sqrtm: symmetric input gives real roots, also of rank-deficient covariances.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    gap = mean_a - mean_b
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def frechet_distance(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Fréchet distance between Gaussians fitted to n x d and m x d features (FED, FID); `weights`
    (where n = m) count pairs of rows, for the bootstrap.

    With fewer rows than features the eigenvalues are those of the n x m product of the centred
    features, which makes a bootstrap of FID's 2048 features affordable. Raises ValueError for
    shapes that do not match, fewer than 2 rows, NaN or infinity.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features must be n x d and m x d, got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 rows, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features contain NaN or infinity")
    if max(len(a), len(b)) >= a.shape[1]:
        return gaussian_distance(*moments(a, weights), *moments(b, weights))
    (mean_a, x, trace_a), (mean_b, y, trace_b) = _factor(a, weights), _factor(b, weights)
    gap = mean_a - mean_b
    # The nuclear norm of X Y^T is the trace of the root: n x m numbers in place of 2048 x 2048.
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(gap @ gap + trace_a + trace_b - 2 * cross)


def extrapolate(
    distance: Callable[[np.ndarray], float], n: int, smallest: int, seed: int
) -> dict[str, float]:
    """A distance of n samples at half of them and at infinitely many ("n / 2", "n = infinity").

    distance(rows) measures some of the n samples. The Fréchet distance is biased by about K / n;
    the constant of a line in 1 / n through subsets of n / 2 to n samples is the estimate without
    the bias (Chong and Forsyth 2020, arXiv 1911.07023, section 3). Subsets have at least
    `smallest` samples; where n / 2 is less, or n itself, there is no estimate and the result is
    empty.
    """
    if n // 2 < smallest:
        return {}
    rng = np.random.default_rng([seed, n])
    # Even in 1 / n, in which the bias is a line.
    sizes = np.unique((1 / np.linspace(2 / n, 1 / n, SIZES)).round().astype(int))
    means = [
        np.mean([distance(rng.permutation(n)[:size]) for _ in range(SUBSETS if size < n else 1)])
        for size in sizes
    ]
    # The line's value at 1 / n = 0 is the distance of infinitely many samples.
    _, constant = np.polyfit(1 / sizes, means, 1)
    return {"n / 2": float(means[0]), "n = infinity": float(constant)}


def _factor(
    features: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, a factor x with x^T x = covariance, and the trace of the covariance."""
    x = np.asarray(features, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean = w @ x / w.sum()
    factor = (x - mean) * np.sqrt(w / (w.sum() - 1))[:, None]
    return mean, factor, float((factor**2).sum())
