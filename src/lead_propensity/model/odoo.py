"""Odoo's predictive lead scoring, a peer to beat: naive Bayes over counts of won and lost leads.

Written from its published formulas alone. With W[v,x] and L[v,x] the wins and losses among the leads whose
variable v has the value x, each 0.1 more than was counted, and W and L all wins and losses, 0.1 more too:

    S_w = W / (W + L) x product over v of W[v,x] / sum over x of W[v,x],    S_l alike with losses,
    p = S_w / (S_w + S_l), rounded to 4 decimals, at least 0.0001 and at most 0.9999.

A value that is missing, or that no lead of the counts had, says nothing. Imports numpy and pandas alone: the
benchmark runs this file in an environment of its own.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

ADDED = 0.1
DECIMALS = 4
LOWEST, HIGHEST = 0.0001, 0.9999
BINS = 10
"""Of about equal size, where numbers are put into bins."""


@dataclass(frozen=True)
class Variable:
    """One column: the log-odds that each of its values adds."""

    name: str
    values: pd.Index
    worth: np.ndarray
    """One entry a value, and a last one of 0 for all others."""
    edges: np.ndarray | None = None
    """Upper ends of all bins but the last; None: values are taken as they are."""

    @classmethod
    def fit(cls, column: pd.Series, won: np.ndarray, binned: bool) -> Self:
        edges = _edges(column) if binned and pd.api.types.is_numeric_dtype(column) else None
        place, values = pd.factorize(_values(column, edges), sort=False)
        given = place >= 0
        wins, losses = (
            np.bincount(place[given], weights=outcome[given], minlength=len(values))
            for outcome in (won, 1.0 - won)
        )
        worth = np.log(_shares(wins)) - np.log(_shares(losses))
        return cls(
            str(column.name), pd.Index(values, dtype=values.dtype), np.append(worth, 0.0), edges
        )

    def log_odds(self, column: pd.Series) -> np.ndarray:
        """(n,) what each row's value adds; 0 where it is missing or was never seen."""
        given = pd.Index(_values(column, self.edges), dtype=self.values.dtype)
        adds: np.ndarray = self.worth[self.values.get_indexer(given)]
        return adds


@dataclass(frozen=True)
class Odoo:
    """The counts of closed leads, as log-odds."""

    level: float
    variables: tuple[Variable, ...]

    @classmethod
    def fit(cls, X: pd.DataFrame, won: np.ndarray, binned: bool = False) -> Self:
        """From closed leads: all columns of `X` (n rows), `won` (n,) of 1 and 0, n >= 0.

        Numbers count as texts do, each value apart; `binned`: in tenths of these rows.
        """
        wins, losses = float(np.sum(won)) + ADDED, float(np.sum(1.0 - won)) + ADDED
        found = tuple(Variable.fit(X[name], won, binned) for name in X.columns)
        return cls(float(np.log(wins / losses)), found)

    def log_odds(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) log(S_w / S_l), neither rounded nor clamped."""
        score = np.full(len(X), self.level)
        for variable in self.variables:
            score += variable.log_odds(X[variable.name])
        return score

    def probability(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) as Odoo shows it: rounded, and never 0 or 1."""
        with np.errstate(over="ignore"):
            p = 1.0 / (1.0 + np.exp(-self.log_odds(X)))
        shown: np.ndarray = np.clip(np.round(p, DECIMALS), LOWEST, HIGHEST)
        return shown


def _shares(counts: np.ndarray) -> np.ndarray:
    """Of ADDED more than each count; the whole is added up so that its bits need no order."""
    shares: np.ndarray = (counts + ADDED) / (np.sum(counts) + ADDED * len(counts))
    return shares


def _values(column: pd.Series, edges: np.ndarray | None) -> np.ndarray:
    """What is counted: numbers (NaN where missing) or texts (None)."""
    if not pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(object)
    numbers = column.to_numpy(np.float64)
    if edges is None:
        return numbers
    places = np.searchsorted(edges, numbers, side="left").astype(np.float64)
    places[np.isnan(numbers)] = np.nan
    return places


def _edges(column: pd.Series) -> np.ndarray:
    known = column.to_numpy(np.float64)
    known = known[~np.isnan(known)]
    inner = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.unique(np.quantile(known, inner)) if len(known) else np.empty(0)
