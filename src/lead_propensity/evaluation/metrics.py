"""Single figures on (score, won): how well leads are ordered, and whether probabilities are true.

Arrays have one entry a snapshot; `won` is 1 or 0. A figure that the data cannot give is NaN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics as sk

from lead_propensity.model.intervals import clustered_rate

Floats = npt.NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 before a logarithm, as scikit-learn does."""


def auc(score: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Chance that a won lead is scored above a lost one, ties half; NaN with one class only."""
    y = _floats(won)
    return float(sk.roc_auc_score(y, _floats(score))) if _both_classes(y) else np.nan


def average_precision(score: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Precision averaged over the won leads, best score first; NaN with no won lead."""
    y = _floats(won)
    return float(sk.average_precision_score(y, _floats(score))) if y.sum() > 0 else np.nan


def log_loss(probability: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Mean surprise in nats; lower is better."""
    y = _floats(won)
    return float(sk.log_loss(y, _floats(probability), labels=[0, 1])) if len(y) else np.nan


def brier(probability: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Mean squared distance between probability and outcome; lower is better."""
    y = _floats(won)
    return float(np.mean((_floats(probability) - y) ** 2)) if len(y) else np.nan


def capture(
    score: npt.ArrayLike, won: npt.ArrayLike, share: float, tie: npt.ArrayLike | None = None
) -> float:
    """Fraction of all wins found in the top `share` of leads; equal scores by `tie`, ascending.

    >>> capture([.9, .2, .1, .4], [1, 0, 0, 1], share=.5)
    1.0
    """
    y = _floats(won)
    found = y[top(score, round(share * len(y)), tie)].sum()
    return float(found / y.sum()) if y.sum() > 0 else np.nan


def conversion(
    score: npt.ArrayLike, won: npt.ArrayLike, count: int, tie: npt.ArrayLike | None = None
) -> float:
    """Share of wins among the top `count` leads; NaN where that is nobody.

    >>> conversion([.9, .2, .1, .4], [1, 0, 0, 0], count=2)
    0.5
    """
    called = _floats(won)[top(score, count, tie)]
    return float(called.mean()) if len(called) else np.nan


def top(score: npt.ArrayLike, count: int, tie: npt.ArrayLike | None = None) -> npt.NDArray[np.intp]:
    """Positions of the `count` best scores, best first."""
    return best_first(score, tie)[:count]


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


def expected_to_observed(probability: npt.ArrayLike, won: npt.ArrayLike) -> float:
    """Deals expected over deals that came: 1.3 = 30% more were expected; NaN where none came."""
    observed = _floats(won).sum()
    return float(_floats(probability).sum() / observed) if observed > 0 else np.nan


def losses(probability: Floats, won: Floats) -> Floats:
    """The log loss of each snapshot."""
    p = np.clip(probability, EPSILON, 1 - EPSILON)
    loss: Floats = -np.where(won == 1, np.log(p), np.log1p(-p))
    return loss


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
    inner = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    place = np.searchsorted(np.unique(inner), p, side="left")
    return [
        _bin(p[mask], y[mask], clusters[mask]) for mask in (place == k for k in np.unique(place))
    ]


def _bin(p: Floats, y: Floats, cluster: npt.NDArray[np.generic]) -> ReliabilityBin:
    rate = clustered_rate(y, cluster)
    return ReliabilityBin(len(y), int(y.sum()), float(p.mean()), rate.rate, rate.lower, rate.upper)


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, np.float64)


def _both_classes(won: Floats) -> bool:
    return bool(0 < won.sum() < len(won))
