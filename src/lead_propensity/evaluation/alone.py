"""What a column tells by itself: its AUC, that of its being missing, and what a random split would promise.

All orders are learned on one half of the groups and judged on the other, both ways. So a level that only one
lead has tells nothing, and one group never stands on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from lead_propensity.model.looks import Look, Rows

MIN_OF_EACH = 10
"""Won, and lost, snapshots on the judging side: fewer give no figure."""
QUICK_ROWS = 20_000
"""About so many rows at most teach the quick model."""


@dataclass(frozen=True)
class Halves:
    """Masks over the rows: a random half of the groups and the other one, drawn by a seed."""

    rows: Rows
    first: np.ndarray
    kept: np.ndarray
    """The rows that the quick model sees: all, or those of some groups."""

    @classmethod
    def of(cls, rows: Rows, seed: int) -> Self:
        draw = np.random.default_rng(seed).random((2, int(rows.group.max(initial=0)) + 1))
        share = QUICK_ROWS / max(1, len(rows.won))
        return cls(rows, (draw[0] < 0.5)[rows.group], (draw[1] < share)[rows.group])

    @property
    def both_ways(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """(learning half, judging half), twice."""
        return (self.first, ~self.first), (~self.first, self.first)


@dataclass(frozen=True)
class Alone:
    """Figures of one column; None where too few leads were won or lost."""

    auc: float | None
    auc_missing: float | None
    missing: float
    """Share of the rows."""
    auc_random: float | None
    """On the calibrate part, learned from other groups of fit and calibrate: as a random split judges."""
    auc_time: float | None
    """On the same rows, learned from the fit part alone: as the future judges."""

    @classmethod
    def of(cls, look: Look, halves: Halves) -> Self:
        fit, later = halves.rows.is_fit, ~halves.rows.is_fit
        every = np.ones(len(fit), dtype=bool)
        unknown = look.codes == look.bins
        return cls(
            auc=_mean_auc(look, halves, every, every),
            auc_missing=_mean_auc(look, halves, every, every, only_missing=True),
            missing=float(unknown.mean()) if len(unknown) else 0.0,
            auc_random=_mean_auc(look, halves, every, later),
            auc_time=_mean_auc(look, halves, fit, later),
        )


def quick_auc(looks: Sequence[Look], halves: Halves, time_ordered: bool) -> float | None:
    """AUC on the calibrate part of a quick model of these columns, learned as `Alone` says.

    A logistic regression on each column's log-odds by bin. These odds come from the half of the groups that
    does not learn the weights, so rare levels get none.
    """
    if not looks:
        return None
    rows, found = halves.rows, []
    learn = halves.kept & (rows.is_fit | (not time_ordered))
    judge = halves.kept & ~rows.is_fit
    of_half = [_odds(looks, rows, side & learn) for side, _ in halves.both_ways]
    for own, (taught, other) in enumerate(halves.both_ways):
        weighed, asked = taught & learn, other & judge
        if len(np.unique(rows.won[weighed])) < 2:
            return None
        score = _logistic(of_half[1 - own][weighed], rows.won[weighed], of_half[own][asked])
        found.append(_auc(score, rows.won[asked]))
    return _mean(found)


def table(look: Look, rows: Rows, where: np.ndarray) -> np.ndarray:
    """(2, bins + 1): rows, and wins, by code."""
    return np.stack([look.counts(where), look.counts(where, rows.won[where])])


def judged_auc(learn: np.ndarray, judge: np.ndarray) -> float | None:
    """Share of won-lost pairs that the win rates of the table `learn` put right in `judge`; ties count half.

    None where fewer than ten rows were won, or lost.
    """
    rate = _rates(learn)
    order = np.argsort(rate, kind="stable")
    rate, won, lost = rate[order], judge[1][order], (judge[0] - judge[1])[order]
    if min(won.sum(), lost.sum()) < MIN_OF_EACH:
        return None
    level = np.cumsum(np.append(True, rate[1:] != rate[:-1])) - 1
    won, lost = np.bincount(level, won), np.bincount(level, lost)
    below = np.cumsum(lost) - lost
    return float(np.sum(won * (below + lost / 2.0)) / (won.sum() * lost.sum()))


def _mean_auc(
    look: Look, halves: Halves, learn: np.ndarray, judge: np.ndarray, only_missing: bool = False
) -> float | None:
    found = []
    for taught, other in halves.both_ways:
        sides = [table(look, halves.rows, taught & learn), table(look, halves.rows, other & judge)]
        if only_missing:
            sides = [np.stack([one[:, :-1].sum(axis=1), one[:, -1]], axis=1) for one in sides]
        found.append(judged_auc(sides[0], sides[1]))
    return _mean(found)


def _odds(looks: Sequence[Look], rows: Rows, learn: np.ndarray) -> np.ndarray:
    """(rows, columns) log-odds of each row's bin in the rows of `learn`."""
    columns = [logit(_rates(table(look, rows, learn)))[look.codes] for look in looks]
    return np.stack(columns, axis=1)


def _logistic(X: np.ndarray, won: np.ndarray, asked: np.ndarray) -> np.ndarray:
    with threadpool_limits(limits=1, user_api="blas"):  # the same figures on any number of threads
        middle, spread = X.mean(axis=0), X.std(axis=0) + 1e-9
        model = LogisticRegression(C=0.1, max_iter=200).fit((X - middle) / spread, won)
        score: np.ndarray = model.decision_function((asked - middle) / spread)
    return score


def _auc(score: np.ndarray, won: np.ndarray) -> float | None:
    _, code = np.unique(score.round(9), return_inverse=True)
    counts = np.stack([np.bincount(code), np.bincount(code, won)]).astype(np.float64)
    rising = np.stack([np.ones(len(counts[0])), np.linspace(0.0, 1.0, len(counts[0]))])
    return judged_auc(rising, counts)


def _rates(side: np.ndarray) -> np.ndarray:
    """Share won in each bin, with one more row at the rate of all, itself half a win more of n + 1."""
    base = (side[1].sum() + 0.5) / (side[0].sum() + 1.0)
    rates: np.ndarray = (side[1] + base) / (side[0] + 1.0)
    return rates


def _mean(found: Sequence[float | None]) -> float | None:
    known = [one for one in found if one is not None]
    return float(np.mean(known)) if len(known) == len(found) else None
