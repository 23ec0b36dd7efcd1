"""The arithmetic of a logistic line."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits


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
