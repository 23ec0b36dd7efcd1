"""From log-odds to probabilities: the shape. (Its level over time: level.py.)"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.isotonic import isotonic_regression

from lead_propensity.model.folds import hash_folds
from lead_propensity.model.intervals import mean_and_error, row_loss

EDGE = 1e-9
"""Probabilities keep so far away from 0 and 1."""
MIN_WINS = 20
"""Fewer groups that won: the identity. Many snapshots of one won lead are one win."""
CROSS_FITS = 5
SLOPE_ERROR = 0.5
"""Standard deviation of the slopes that are expected before any outcome was seen, around 1."""
NEWTON_STEPS = 50


class Calibrator(ABC):
    """A map from log-odds to a probability in (0, 1) that never falls."""

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, score: np.ndarray, won: np.ndarray) -> Self: ...

    @abstractmethod
    def predict(self, score: np.ndarray) -> np.ndarray: ...

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @staticmethod
    def from_json(tree: dict[str, Any]) -> "Calibrator":
        fields = {name: _frozen(value) for name, value in tree.items() if name != "kind"}
        return KINDS[tree["kind"]](**fields)


@dataclass(frozen=True)
class Identity(Calibrator):
    """The log-odds are right as they are."""

    kind: ClassVar[str] = "identity"

    @classmethod
    def fit(cls, score: np.ndarray, won: np.ndarray) -> Self:
        return cls()

    def predict(self, score: np.ndarray) -> np.ndarray:
        return _open(expit(score))


@dataclass(frozen=True)
class Shift(Calibrator):
    """The log-odds are off by a constant: the base rate moved."""

    kind: ClassVar[str] = "shift"
    shift: float

    @classmethod
    def fit(cls, score: np.ndarray, won: np.ndarray) -> Self:
        return cls(_level(score, won))

    def predict(self, score: np.ndarray) -> np.ndarray:
        return _open(expit(score + self.shift))


@dataclass(frozen=True)
class Sigmoid(Calibrator):
    """The log-odds are too steep or too flat as well (Platt 1999, shrunk to a slope of 1); they never turn round."""

    kind: ClassVar[str] = "sigmoid"
    slope: float
    intercept: float

    @classmethod
    def fit(cls, score: np.ndarray, won: np.ndarray) -> Self:
        if len(np.unique(won)) < 2 or len(np.unique(score)) < 2:
            return cls(1.0, _level(score, won))
        slope = max(0.05, _slope(score, won))
        return cls(slope, _level(slope * score, won))

    def predict(self, score: np.ndarray) -> np.ndarray:
        return _open(expit(self.slope * score + self.intercept))


@dataclass(frozen=True)
class Isotonic(Calibrator):
    """Any rising shape: pooled neighbours (PAV), straight lines between their middles."""

    kind: ClassVar[str] = "isotonic"
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def fit(cls, score: np.ndarray, won: np.ndarray) -> Self:
        n = len(won)
        equal = pd.DataFrame({"score": score, "won": won}).groupby("score")["won"]
        levels = equal.agg(["mean", "size"]).reset_index()
        weights = levels["size"].to_numpy(np.float64)
        pooled = isotonic_regression(levels["mean"].to_numpy(), sample_weight=weights)
        inside = np.clip(pooled, 0.5 / (n + 1), (n + 0.5) / (n + 1))
        frame = pd.DataFrame({"p": inside, "w": weights, "s": levels["score"] * weights})
        sums = frame.groupby("p", sort=True).sum()
        middles = (sums["s"] / sums["w"]).to_numpy(np.float64)
        return cls(tuple(middles.tolist()), tuple(sums.index.to_numpy(np.float64).tolist()))

    def predict(self, score: np.ndarray) -> np.ndarray:
        return _open(np.interp(score, self.scores, self.probabilities))


KINDS: dict[str, type[Calibrator]] = {
    kind.kind: kind for kind in (Identity, Shift, Sigmoid, Isotonic)
}


@dataclass(frozen=True)
class CalibratorChoice:
    """The kind that out-of-time scores speak for, and each kind's mean log loss there."""

    kind: str
    losses: dict[str, float]


def choose_calibrator(score: np.ndarray, won: np.ndarray, group_ids: pd.Series) -> CalibratorChoice:
    """Cross-fit each kind over groups; the identity unless another wins by one standard error."""
    if min(_groups(group_ids, won == 1.0), _groups(group_ids, won == 0.0)) < MIN_WINS:
        return CalibratorChoice(Identity.kind, {})
    part = hash_folds(group_ids, CROSS_FITS)
    rows = {name: _cross_loss(kind, score, won, part) for name, kind in KINDS.items()}
    losses = {name: float(np.mean(loss)) for name, loss in rows.items()}
    best = min(losses, key=lambda name: losses[name])
    gain, error = mean_and_error(rows[Identity.kind] - rows[best], group_ids.to_numpy())
    return CalibratorChoice(best if gain > error else Identity.kind, losses)


def fit_calibrator(
    kind: str, score: np.ndarray, won: np.ndarray, group_ids: pd.Series
) -> Calibrator:
    """Its parameters, from the calibrate part; with fewer than 20 groups that won the identity."""
    enough = _groups(group_ids, won == 1.0) >= MIN_WINS
    return KINDS[kind if enough else Identity.kind].fit(score, won)


def _cross_loss(
    kind: type[Calibrator], score: np.ndarray, won: np.ndarray, part: np.ndarray
) -> np.ndarray:
    probability = np.empty(len(won))
    for number in np.unique(part):
        held = part == number
        if held.all():
            probability[held] = Identity().predict(score[held])
            continue
        probability[held] = kind.fit(score[~held], won[~held]).predict(score[held])
    return row_loss(logit(probability), won)


def _groups(group_ids: pd.Series, rows: np.ndarray) -> int:
    return int(group_ids[rows].nunique())


def _level(score: np.ndarray, won: np.ndarray) -> float:
    """The shift at which the expected wins are the observed ones (half a win more of n + 1)."""
    target = (won.sum() + 0.5) / (len(won) + 1)
    reach = float(np.abs(score).max()) + 40.0
    return float(brentq(lambda shift: expit(score + shift).mean() - target, -reach, reach))


def _slope(score: np.ndarray, won: np.ndarray) -> float:
    """The likeliest slope, by Newton's method, where 1 +- SLOPE_ERROR is believed before.

    Scores that hardly differ say nothing about their slope; unbounded, it would be 10 there.
    """
    slope, intercept = 1.0, _level(score, won)
    for _ in range(NEWTON_STEPS):
        p = expit(slope * score + intercept)
        weight, missed = np.maximum(p * (1.0 - p), 1e-12), p - won
        gradient = np.array(
            [np.sum(missed * score) + (slope - 1.0) / SLOPE_ERROR**2, np.sum(missed)]
        )
        curved, mixed = np.sum(weight * score**2) + SLOPE_ERROR**-2, np.sum(weight * score)
        step = np.linalg.solve([[curved, mixed], [mixed, np.sum(weight)]], gradient)
        slope, intercept = slope - step[0], intercept - step[1]
        if np.max(np.abs(step)) < 1e-10:
            break
    return float(slope)


def _open(probability: np.ndarray) -> np.ndarray:
    inside: np.ndarray = np.clip(probability, EDGE, 1.0 - EDGE)
    return inside


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
