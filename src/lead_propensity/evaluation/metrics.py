"""What the figures are made of: the order of the leads, each one's loss, bins of like probability.

Arrays have one entry a snapshot; `won` is 1 or 0. The figures themselves are in `compare.py`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import logit

from lead_propensity.model.intervals import clustered_rate, row_loss

Floats = npt.NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before a logarithm, as scikit-learn does."""


def best_first(score: npt.ArrayLike, tie: npt.ArrayLike | None = None) -> npt.NDArray[np.intp]:
    """Positions from the best score to the worst; equal scores by `tie`, ascending."""
    falling = -_floats(score)
    keys = (falling,) if tie is None else (np.asarray(tie), falling)
    return np.lexsort(keys)


def tie_break(lead_id: pd.Series, order: pd.Series) -> npt.NDArray[np.int64]:
    """Each snapshot's place by hash of its lead, then by time, whatever the order of the rows."""
    hashed = pd.util.hash_array(lead_id.astype(str).to_numpy(object), categorize=True)
    place = np.empty(len(hashed), np.int64)
    place[np.lexsort((order.to_numpy(), hashed))] = np.arange(len(hashed))
    return place


def losses(probability: Floats, won: Floats) -> Floats:
    """The log loss of each snapshot."""
    return row_loss(logit(np.clip(probability, EPSILON, 1 - EPSILON)), won)


@dataclass(frozen=True)
class ReliabilityBin:
    """Snapshots of like probability: what was expected and what came, with its 95% interval."""

    n: int
    wins: int
    expected: float
    observed: float
    lower: float
    upper: float


def reliability(
    probability: npt.ArrayLike, won: npt.ArrayLike, cluster: npt.ArrayLike, bins: int = 10
) -> list[ReliabilityBin]:
    """At most `bins` bins of about equal size, lowest first; equal probabilities share a bin.

    Intervals are Wilson's, clustered by `cluster`.
    """
    p, y, clusters = _floats(probability), _floats(won), np.asarray(cluster)
    if not len(p):
        return []
    place = bin_places(p, bins)
    return [
        _bin(p[mask], y[mask], clusters[mask]) for mask in (place == k for k in np.unique(place))
    ]


def bin_places(probability: Floats, bins: int = 10) -> npt.NDArray[np.intp]:
    """The bin of each of them, 0 the lowest; equal probabilities share one, so a number may be unused."""
    cuts = np.linspace(0, 1, bins + 1)[1:-1]
    inner = np.unique(np.quantile(probability, cuts, method="inverted_cdf"))
    return np.searchsorted(inner, probability, side="left")


def _bin(p: Floats, y: Floats, cluster: npt.NDArray[np.generic]) -> ReliabilityBin:
    rate = clustered_rate(y, cluster)
    return ReliabilityBin(len(y), int(y.sum()), float(p.mean()), rate.rate, rate.lower, rate.upper)


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float64)
