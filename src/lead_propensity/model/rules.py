"""The baseline: adds up the points of the scorecard and gives the rules' band."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Line, Scorecard
from lead_propensity.model.calibration import Shift


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

    def predict(self, points: np.ndarray) -> np.ndarray:
        """The level at or next below the points; below all levels the lowest."""
        place = np.searchsorted(self.points, points, side="right") - 1
        return self.probability[np.clip(place, 0, None)]


def reweighted(fit: Dataset, calibrate: Dataset, test: Dataset) -> np.ndarray:
    """The best that these rules could do: a logistic regression on the same conditions.

    Learned on the fit part, its level set on the calibrate part; probabilities for `test` (n,).
    Without a line, or where the fit part has one class: the calibrate part's base rate.
    """
    varied = [name for name in fit.rules if fit.rules[name].min() < fit.rules[name].max()]
    won = fit.won
    if not varied or len(np.unique(won)) < 2:
        return np.full(len(test), (calibrate.won.sum() + 0.5) / (len(calibrate) + 1))
    with threadpool_limits(1):  # so that the last bit does not depend on the number of cores
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
            fit.rules[varied], won
        )
        level = Shift.fit(model.decision_function(calibrate.rules[varied]), calibrate.won)
        return level.predict(model.decision_function(test.rules[varied]))
