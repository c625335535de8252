"""The Fréchet distance between two Gaussians fitted to features: the one behind FED and FID."""

from __future__ import annotations

import numpy as np


def moments(
    features: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[d]` and unbiased covariance `[d, d]`, float64, of n x d features; `weights` count each
    row.
    """
    x = np.asarray(features, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean = w @ x / w.sum()
    centred = x - mean
    return mean, (centred * w[:, None]).T @ centred / (w.sum() - 1)


def distance(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) (Dowson & Landau 1982), all in float64.

    The trace of the root is the sum of the roots of the eigenvalues of C_a^1/2 C_b C_a^1/2, which
    is symmetric: no complex numbers, no jitter on the diagonal, and singular covariances are as
    good as any.
    """
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    gap = mean_a - mean_b
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def frechet(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The distance between n x d and m x d features; `weights` (where n = m) count pairs of rows,
    for the bootstrap.

    With fewer rows than features the eigenvalues come from the small side (the n x m product of the
    centred features has the same ones), which is what makes a bootstrap of FID's 2048 features
    affordable.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features must be n x d and m x d, got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 rows, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features hold NaN or infinity")
    if max(len(a), len(b)) >= a.shape[1]:
        return distance(*moments(a, weights), *moments(b, weights))
    (mean_a, x, trace_a), (mean_b, y, trace_b) = _factor(a, weights), _factor(b, weights)
    gap = mean_a - mean_b
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(gap @ gap + trace_a + trace_b - 2 * cross)


def _factor(
    features: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, a factor x with x^T x = covariance, and the trace of the covariance."""
    x = np.asarray(features, np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    mean = w @ x / w.sum()
    factor = (x - mean) * np.sqrt(w / (w.sum() - 1))[:, None]
    return mean, factor, float((factor**2).sum())
