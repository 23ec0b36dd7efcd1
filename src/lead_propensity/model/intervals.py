"""How sure a rate or a difference is when several snapshots belong to one lead.

Sums are `np.sum` of products and not `@`: BLAS adds in another order on another number of threads.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

Z_95 = 1.959963984540054
"""Two-sided 95%: each bound is passed by chance in 2.5% of the cases."""


@dataclass(frozen=True)
class Rate:
    """A share of wins with its two-sided 95% interval; n / `deff` is the effective n (deff >= 1)."""

    n: int
    rate: float
    lower: float
    upper: float
    deff: float


def clustered_rate(won: np.ndarray, cluster: np.ndarray) -> Rate:
    """Wilson's interval (1927) with the effective n, which never exceeds the number of clusters.

    n = 0 gives rate NaN and the bounds 0 and 1.

    >>> rate = clustered_rate(np.array([1.0, 0.0, 0.0, 0.0]), np.array(["a", "b", "c", "d"]))
    >>> round(rate.lower, 3), round(rate.upper, 3), rate.deff
    (0.046, 0.699, 1.0)
    """
    n = len(won)
    if n == 0:
        return Rate(0, float("nan"), 0.0, 1.0, 1.0)
    rate = float(np.mean(won))
    deff = max(design_effect(won, cluster), n / len(pd.unique(cluster)))
    lower, upper = wilson(rate, n / deff)
    return Rate(n, rate, lower, upper, deff)


def design_effect(won: np.ndarray, cluster: np.ndarray) -> float:
    """Variance of the mean with clusters over that without, at least 1 (Kish 1965, linearised).

    Both variances are unbiased: G / (G - 1) with G clusters, n / (n - 1) with n rows. Where all or
    none are won the data cannot tell: rows of one cluster count as copies. So they do where there
    is one cluster alone.
    """
    codes, names = pd.factorize(cluster)
    n, clusters = len(won), len(names)
    centred = won - np.mean(won)
    apart = _squares(centred)
    if apart <= 0 or clusters < 2:
        return _squares(np.bincount(codes).astype(np.float64)) / n
    together = _squares(np.bincount(codes, weights=centred))
    small = clusters / (clusters - 1) * (n - 1) / n
    return max(1.0, small * together / apart)


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's two-sided 95% interval of a share seen in `n` independent rows."""
    square = Z_95**2
    middle = (rate + square / (2 * n)) / (1 + square / n)
    half = Z_95 / (1 + square / n) * np.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def mean_and_error(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The mean and its standard error clustered by `cluster`; one cluster alone: infinite."""
    mean = float(np.mean(values))
    codes, names = pd.factorize(cluster)
    if len(names) < 2:
        return mean, float("inf")
    together = np.bincount(codes, weights=values - mean)
    small = len(names) / (len(names) - 1)
    return mean, float(np.sqrt(small * _squares(together))) / len(values)


def row_loss(score: np.ndarray, won: np.ndarray) -> np.ndarray:
    """Each row's log loss, from log-odds."""
    loss: np.ndarray = np.logaddexp(0.0, score) - won * score
    return loss


def _squares(values: np.ndarray) -> float:
    return float(np.sum(values * values))
