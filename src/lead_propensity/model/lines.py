"""A logistic line: its arithmetic, and the strength that the folds choose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from lead_propensity.model.folds import Fold
from lead_propensity.model.intervals import row_loss

STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
DEFAULT_STRENGTH = 0.01


def fit_line(matrix: np.ndarray, won: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
    """Intercept and coefficients, by Newton's method on one thread: threads would change sums."""
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-6)
    with threadpool_limits(limits=1):
        model.fit(matrix, won)
    return float(model.intercept_[0]), np.asarray(model.coef_[0], dtype=np.float64)


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


def tune_line(matrix: np.ndarray, won: np.ndarray, folds: Sequence[Fold]) -> TunedLine:
    """Try each strength on the folds; without folds the default."""
    if not folds:
        return TunedLine(DEFAULT_STRENGTH, {}, np.full(len(won), np.nan))
    scores = {strength: _line_scores(matrix, won, folds, strength) for strength in STRENGTHS}
    losses = {
        strength: float(np.mean([np.mean(row_loss(s[f.valid], won[f.valid])) for f in folds]))
        for strength, s in scores.items()
    }
    best = min(losses, key=lambda strength: losses[strength])
    return TunedLine(best, {str(key): loss for key, loss in losses.items()}, scores[best])


def _line_scores(
    matrix: np.ndarray, won: np.ndarray, folds: Sequence[Fold], strength: float
) -> np.ndarray:
    score = np.full(len(won), np.nan)
    for fold in folds:
        bias, coefficients = fit_line(matrix[fold.train], won[fold.train], strength)
        score[fold.valid] = line(matrix[fold.valid], bias, coefficients)
    return score
