"""A logistic line: its arithmetic, and the strength that the folds choose."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from lead_propensity.model.folds import Fold
from lead_propensity.model.intervals import row_loss

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
DEFAULT_STRENGTH = 0.01
ONCE = 3.0
"""Deals told once are fewer than the snapshots won by them, and shrink the more: so many times the strength."""


Line = tuple[float, np.ndarray]
"""Intercept and coefficients."""


class Newton:
    """Fits lines one after another by Newton's method, on one thread: threads would change sums."""

    def __init__(self) -> None:
        self._models: dict[int, LogisticRegression] = {}

    def fit(self, matrix: np.ndarray, won: np.ndarray, strength: float) -> Line:
        """Begins where the last fit of as many columns ended. `strength` is scikit-learn's C."""
        fresh = LogisticRegression(solver="newton-cholesky", tol=1e-6, warm_start=True)
        model = self._models.setdefault(matrix.shape[1], fresh).set_params(C=strength)
        with threadpool_limits(limits=1):
            model.fit(matrix, won)
        return float(model.intercept_[0]), np.array(model.coef_[0], dtype=np.float64)


@dataclass(frozen=True)
class Lesson:
    """What a line learns from: rows of encoded columns, and which were won."""

    matrix: np.ndarray
    won: np.ndarray

    def fit(self, strength: float) -> Line:
        """`strength` is scikit-learn's C: small shrinks more."""
        return self.along([strength])[0]

    def along(self, strengths: Sequence[float]) -> list[Line]:
        """The fit of each of them, which begins where the one before ended."""
        newton = Newton()
        return [newton.fit(self.matrix, self.won, strength) for strength in strengths]

    def rows(self, chosen: np.ndarray) -> Self:
        """The same of these row positions."""
        return type(self)(self.matrix[chosen], self.won[chosen])


@dataclass(frozen=True)
class LessonTwice(Lesson):
    """The same, with what a lead is or says learned in two ways, of which the mean is taken.

    A lead won late was looked at often, so its few attributes count several times: that is noise. So all of
    `said` is also learned as one direction from `told_once`, of which the snapshots then choose the size.
    """

    leads: np.ndarray
    """(n,): whose row it is; the rows of each in the order of time."""
    said: np.ndarray
    """(columns,) booleans."""

    def along(self, strengths: Sequence[float]) -> list[Line]:
        plain = super().along(strengths)
        once, said = told_once(self.leads, self.won), self.said
        if not said.any() or np.array_equal(once, self.won):
            return plain
        first, second = Newton(), Newton()
        return [
            self._mean(
                one,
                first.fit(self.matrix, once, min(ONCE * strength, max(STRENGTHS))),
                second,
                strength,
            )
            for one, strength in zip(plain, strengths, strict=True)
        ]

    def _mean(self, plain: Line, once: Line, newton: Newton, strength: float) -> Line:
        """Of `plain` and the line whose direction of `said` is that of `once`."""
        said, first = self.said, once[1]
        direction = line(self.matrix[:, said], 0.0, first[said])
        spread = float(direction.std())
        if spread == 0.0:
            return plain
        others = np.column_stack([self.matrix[:, ~said], direction / spread])
        bias, found = newton.fit(others, self.won, strength)
        told = np.empty(len(said))
        told[~said], told[said] = found[:-1], first[said] * (found[-1] / spread)
        return (plain[0] + bias) / 2, (plain[1] + told) / 2

    def rows(self, chosen: np.ndarray) -> Self:
        parts = (self.matrix[chosen], self.won[chosen], self.leads[chosen])
        return type(self)(*parts, self.said)


def told_once(leads: np.ndarray | pd.Series, won: np.ndarray) -> np.ndarray:
    """`won` (n,) of each lead's last row, 0 elsewhere; the rows of each lead stand in the order of time.

    Where that leaves no deal to learn from, `won` as it is.

    >>> told_once(np.array(["a", "b", "a", "b"]), np.array([1.0, 0.0, 1.0, 0.0]))
    array([0., 0., 1., 0.])
    """
    last = ~pd.Series(leads).duplicated(keep="last").to_numpy()
    once = np.where(last, won, 0.0)
    return once if once.any() else np.asarray(won)


def fit_line(matrix: np.ndarray, won: np.ndarray, strength: float) -> Line:
    """One line by itself; `strength` is scikit-learn's C: small shrinks more."""
    return Newton().fit(matrix, won, strength)


def line(matrix: np.ndarray, bias: float, coefficients: np.ndarray) -> np.ndarray:
    """Log-odds of a logistic model. Column by column: a row's bits do not depend on the rows beside it."""
    score = np.full(len(matrix), bias)
    for column in np.flatnonzero(coefficients):
        score += coefficients[column] * matrix[:, column]
    return score


@dataclass(frozen=True)
class TunedLine:
    """The logistic member's strength, its mean fold loss and out-of-fold log-odds."""

    strength: float
    losses: dict[str, float]
    score: np.ndarray
    """One value a row, NaN where no fold judged it."""


def tune_line(
    lesson_of: Callable[[Fold], Lesson],
    won: np.ndarray,
    folds: Sequence[Fold],
    strengths: Sequence[float],
    threads: int,
) -> TunedLine:
    """Try each of `strengths` on the folds, which run side by side; without folds the default.

    `lesson_of` gives all rows (n), encoded as the fold could have done it; `won` (n,) are their outcomes.
    """
    if not folds:
        return TunedLine(DEFAULT_STRENGTH, {}, np.full(len(won), np.nan))

    def judged(fold: Fold) -> list[np.ndarray]:
        lesson = lesson_of(fold)
        known, valid = lesson.rows(fold.train), lesson.matrix[fold.valid]
        return [line(valid, *found) for found in known.along(strengths)]

    scores = {strength: np.full(len(won), np.nan) for strength in strengths}
    # The largest fold is the last one: begun first, nobody waits for it alone.
    with ThreadPoolExecutor(min(threads, len(folds))) as pool:
        for fold, found in zip(reversed(folds), pool.map(judged, reversed(folds)), strict=True):
            for score, of_fold in zip(scores.values(), found, strict=True):
                score[fold.valid] = of_fold
    losses = {
        strength: float(np.mean([np.mean(row_loss(s[f.valid], won[f.valid])) for f in folds]))
        for strength, s in scores.items()
    }
    best = min(losses, key=lambda strength: losses[strength])
    return TunedLine(best, {str(key): loss for key, loss in losses.items()}, scores[best])
