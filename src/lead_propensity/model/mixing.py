"""How much of each member goes into the blend, told by scores from out of time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from lead_propensity.model.intervals import mean_and_error, row_loss

SLOPES = (1.0, 0.75, 0.5, 0.25, 0.1)
"""How far the blend may be drawn to the base rate; never so far that all leads are alike."""
DIGITS = 3
"""Weights are rounded: their last bits would depend on the machine."""


@dataclass(frozen=True)
class Mix:
    """The members' weights (together 1), and the blend's slope around the base rate."""

    weights: dict[str, float]
    slope: float
    losses: dict[str, float]
    """Mean log loss of each member, of the usual mix and of this one; empty where nothing was judged."""


def mix(
    scores: Mapping[str, np.ndarray],
    usual: Mapping[str, float],
    won: np.ndarray,
    groups: np.ndarray,
    base: np.ndarray,
) -> Mix:
    """`scores`: each member's out-of-fold log-odds (n,), NaN where no fold judged the row.

    The usual weights, and a slope of 1, are left only as far as the rows speak against them (`_trust`).
    `base` (n,) are the log-odds of the base rate that the row's fold knew.
    """
    judged = np.all([~np.isnan(score) for score in scores.values()], axis=0)
    start = np.array([usual[name] for name in scores])
    if not judged.any():
        return Mix(dict(usual), 1.0, {})
    matrix = np.column_stack([score[judged] for score in scores.values()])
    won, groups = won[judged], groups[judged]
    best = _best(matrix, won, start)
    trust = _trust(_mixed(matrix, start), _mixed(matrix, best), won, groups)
    weights = np.round(start + trust * (best - start), DIGITS)
    weights[np.argmax(weights)] += 1.0 - weights.sum()
    weights = np.round(weights, DIGITS)
    mixed = _mixed(matrix, weights)
    slope = _slope(mixed, won, groups, base[judged])
    found = {name: _mean(score[judged], won) for name, score in scores.items()}
    losses = {**found, "usual": _mean(_mixed(matrix, start), won), "mix": _mean(mixed, won)}
    return Mix(dict(zip(scores, weights.tolist(), strict=True)), slope, losses)


def _best(matrix: np.ndarray, won: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Weights >= 0 that add up to 1, with the lowest log loss."""

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = _mixed(matrix, weights)
        missed = expit(score) - won
        slopes = [float(np.mean(missed * column)) for column in matrix.T]
        return _mean(score, won), np.array(slopes)

    if len(start) == 1:
        return start
    whole = {"type": "eq", "fun": lambda weights: weights.sum() - 1.0}
    bounds = [(0.0, 1.0)] * len(start)
    found = minimize(loss, start, jac=True, bounds=bounds, constraints=[whole], method="SLSQP")
    inside = np.clip(np.asarray(found.x, dtype=np.float64), 0.0, 1.0)
    return np.asarray(inside / inside.sum())


def _slope(mixed: np.ndarray, won: np.ndarray, groups: np.ndarray, base: np.ndarray) -> float:
    drawn = {slope: base + slope * (mixed - base) for slope in SLOPES}
    best = min(drawn, key=lambda slope: _mean(drawn[slope], won))
    trust = _trust(mixed, drawn[best], won, groups)
    return round(1.0 + trust * (best - 1.0), DIGITS)


def _trust(usual: np.ndarray, best: np.ndarray, won: np.ndarray, groups: np.ndarray) -> float:
    """1 - (error / gain)^2 of what `best` gains over `usual`, at least 0: after James and Stein (1961)."""
    gain, error = mean_and_error(row_loss(usual, won) - row_loss(best, won), groups)
    return max(0.0, 1.0 - (error / gain) ** 2) if gain > 0 else 0.0


def _mixed(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Member by member: BLAS would add in another order on other rows."""
    score = np.zeros(len(matrix))
    for place, weight in enumerate(weights):
        score += weight * matrix[:, place]
    return score


def _mean(score: np.ndarray, won: np.ndarray) -> float:
    return float(np.mean(row_loss(score, won)))
