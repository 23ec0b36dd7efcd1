"""The baseline: adds up the points of the scorecard and gives the rules' band."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import isotonic_regression

from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Line, Scorecard
from lead_propensity.model.calibration import Shift
from lead_propensity.model.intervals import row_loss


@dataclass(frozen=True)
class RulesScore:
    """`points` (n,) and `band` (n,) of each snapshot."""

    points: np.ndarray
    band: np.ndarray


def score(card: Scorecard, columns: pd.DataFrame) -> RulesScore:
    """Points and band from the columns `rules__*` (n rows).

    A disqualified lead is cold and stands below all others: it gets one point less than the fewest
    that any lead of the card could have.
    """
    points = np.zeros(len(columns))
    disqualified = np.zeros(len(columns), dtype=bool)
    for section, column, line in card.lines():
        values = columns[column].to_numpy(np.float64)
        if section == "disqualify":
            disqualified |= values > 0
        else:
            points += _points(line, values)
    points[disqualified] = _fewest(card) - 1
    hot, warm = points >= card.thresholds.hot, points >= card.thresholds.warm
    band = np.where(hot & ~disqualified, "hot", np.where(warm & ~disqualified, "warm", "cold"))
    return RulesScore(points, band.astype(object))


def _points(line: Line, values: np.ndarray) -> np.ndarray:
    points = values * line.points
    return points if line.cap is None else np.clip(points, -line.cap, line.cap)


def _fewest(card: Scorecard) -> float:
    """The fewest points without a disqualification; an uncapped negative event counts 100 times."""
    negative = [
        line for section, _, line in card.lines() if section != "disqualify" and line.points < 0
    ]
    return sum(
        -line.cap if line.cap is not None else line.points * (100 if line.event else 1)
        for line in negative
    )


@dataclass(frozen=True)
class RulesProbability:
    """What the points are worth: an isotonic map from points to a probability, smoothed.

    Each pooled level gives (wins + 1/2) / (n + 1), so that no level promises 0 or 1.
    """

    points: np.ndarray
    probability: np.ndarray

    @classmethod
    def fit(cls, points: np.ndarray, won: np.ndarray) -> Self:
        """From (n,) points and outcomes, n >= 1."""
        levels = (
            pd.DataFrame({"points": points, "won": won})
            .groupby("points")["won"]
            .agg(["sum", "size"])
        )
        rate = (levels["sum"] / levels["size"]).to_numpy(np.float64)
        pooled = isotonic_regression(rate, sample_weight=levels["size"].to_numpy(np.float64))
        smooth = levels.groupby(pooled).transform("sum")
        probability = ((smooth["sum"] + 0.5) / (smooth["size"] + 1)).to_numpy(np.float64)
        return cls(levels.index.to_numpy(np.float64), np.maximum.accumulate(probability))

    def at_level(self, points: np.ndarray, won: np.ndarray) -> Self:
        """The same map, its log-odds moved until these (n,) snapshots' expected wins are what came."""
        by = Shift.fit(logit(self.predict(points)), won).shift
        return type(self)(self.points, expit(logit(self.probability) + by))

    def predict(self, points: np.ndarray) -> np.ndarray:
        """The level at or next below the points; below all levels the lowest."""
        place = np.searchsorted(self.points, points, side="right") - 1
        return self.probability[np.clip(place, 0, None)]


def reweighted(card: Scorecard, fit: Dataset, calibrate: Dataset, test: Dataset) -> np.ndarray:
    """These rules, re-weighted: each line's points, capped as it says, times a weight of its own.

    Weights are learned on `fit`, the level is set on `calibrate`; probabilities for `test` (n,). Without
    a line that varies, or where `fit` has one class: the base rate of `calibrate`.
    """
    if len(np.unique(fit.won)) > 1 and (weights := Weights.fit(card, fit.rules, fit.won)):
        level = Shift.fit(weights.score(card, calibrate.rules), calibrate.won)
        return level.predict(weights.score(card, test.rules))
    return np.full(len(test), (calibrate.won.sum() + 0.5) / (len(calibrate) + 1))


@dataclass(frozen=True)
class Weights:
    """What a point of each line is worth in log-odds, never below 0: no line turns its sign."""

    worth: np.ndarray

    @classmethod
    def fit(cls, card: Scorecard, columns: pd.DataFrame, won: np.ndarray) -> Self | None:
        """The most likely weights, held to one common worth of a point by a ridge; None if no line varies.

        So little data leave the rules as they are. The ridge of 1 is on lines in units of their
        spread; a disqualification has no points and is held to 0 instead. Needs both classes.
        """
        lines = _contributions(card, columns)
        spread = lines.std(axis=0)
        varied = spread > 0
        if not varied.any():
            return None
        scaled = (lines[:, varied] - lines[:, varied].mean(axis=0)) / spread[varied]
        has_points = np.array([section != "disqualify" for section, _, _ in card.lines()])
        common = np.where(has_points, spread, 0.0)[varied] / spread.max()
        worth = np.zeros(len(spread))
        worth[varied] = _most_likely(scaled, won, common) / spread[varied]
        return cls(worth)

    def score(self, card: Scorecard, columns: pd.DataFrame) -> np.ndarray:
        """Log-odds (n,), their level left open."""
        return _times(_contributions(card, columns), self.worth)


def _contributions(card: Scorecard, columns: pd.DataFrame) -> np.ndarray:
    """The points of each line (n, lines), capped; -1 for a disqualification."""
    found: list[np.ndarray] = [np.empty((len(columns), 0))]
    for section, column, line in card.lines():
        values = columns[column].to_numpy(np.float64)
        points = -1.0 * (values > 0) if section == "disqualify" else _points(line, values)
        found.append(points[:, None])
    return np.hstack(found)


def _most_likely(lines: np.ndarray, won: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Weights >= 0 of a logistic model whose ridge pulls them to a free multiple of `common`."""
    n, count = lines.shape

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        weights, scale, level = at[:count], at[count], at[count + 1]
        score = _times(lines, weights) + level
        off, wrong = weights - scale * common, expit(score) - won
        slope = np.einsum("ij,i->j", lines, wrong) + off
        total = np.sum(row_loss(score, won)) + np.sum(off * off) / 2
        return total / n, np.concatenate([slope, [-np.sum(off * common), np.sum(wrong)]]) / n

    start = np.concatenate([np.zeros(count + 1), [np.log(won.mean() / (1 - won.mean()))]])
    bounds = [(0.0, None)] * (count + 1) + [(None, None)]
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"maxiter": 2000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-8},
    )  # fmt: skip
    weights: np.ndarray = found.x[:count]
    return weights


def _times(lines: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`lines @ weights`, added in the same order on any number of threads."""
    total: np.ndarray = np.einsum("ij,j->i", lines, weights)
    return total
