"""Hot as the largest set of leads that is sure to be won at a target rate.

The limit is chosen by outcomes of the calibrate part, and the promise is made by the same outcomes. It stays
valid by fixed-sequence testing (Bauer 1991; Angelopoulos, Bates, Candes, Jordan & Lei 2021, "Learn then
Test", section 4): the fit part fixes an order of the limits, each is tested at the full 5%, and the first
failure ends the row. So the chance that the chosen set converts below its target is at most 5%.

It assumes that leads to come are exchangeable with those of the calibrate part, and groups independent of
each other: each group is looked at once, on one date that a hash of its id draws.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from scipy.stats import beta, binom

from lead_propensity.model.cuts import Cut, unit_hash
from lead_propensity.model.folds import stable_hash
from lead_propensity.model.stock import Stock

CONFIDENCE = 0.95
SHARES = (
    *(0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15),
    *(0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
"""Of the fit part's snapshots: where hot may begin."""


@dataclass(frozen=True)
class Foretold:
    """What the fit part tells of the limits, the strictest first; arrays of one length."""

    starts: np.ndarray
    """Raw scores, falling."""
    rate: np.ndarray
    """The share won among the fit part's snapshots from there on."""

    @classmethod
    def of(cls, raw_score: np.ndarray, won: np.ndarray) -> Self:
        """From labelled snapshots of the fit part, best judged by models that did not know them."""
        starts = np.unique(np.quantile(raw_score, 1.0 - np.array(SHARES), method="higher"))[::-1]
        order = np.argsort(-raw_score, kind="stable")
        counts = np.searchsorted(-raw_score[order], -starts, side="right")
        return cls(starts, np.cumsum(won[order])[counts - 1] / counts)

    def sequence(self, raw_score: np.ndarray, target: float) -> np.ndarray:
        """The limits in the order of testing: from the one most likely to pass to ever wider ones.

        Likely by the fit part's rates and by how many of the snapshots to judge by (`raw_score`) reach
        each limit. Their outcomes are not looked at; stricter limits would give smaller sets.
        """
        n = len(raw_score) - np.searchsorted(np.sort(raw_score), self.starts, side="left")
        # The wins at which the bound reaches the target.
        needed = binom.isf(1.0 - CONFIDENCE, n, target) + 1
        power = binom.sf(needed - 1, n, self.rate)
        return self.starts[int(np.argmax(power)) :]


@dataclass(frozen=True)
class Proof:
    """The widest set that passed or, where none did, the first one; each group counted once."""

    target: float
    n: int
    wins: int
    lower: float
    """One-sided 95% bound of the share won."""
    passed: bool

    @property
    def words(self) -> str:
        found = f"of {self.n} leads looked at once each {self.wins} were won, at 95% confidence at least"
        return f"{found} {self.lower:.1%}; the target is {self.target:.1%}."


def lower_bound(wins: int, n: int) -> float:
    """The one-sided bound of Clopper & Pearson (1934): below it lies the true rate in 5% of samples at most.

    >>> round(lower_bound(9, 10), 3), lower_bound(0, 10), lower_bound(0, 0)
    (0.606, 0.0, 0.0)
    """
    return float(beta.ppf(1.0 - CONFIDENCE, wins, n - wins + 1)) if wins else 0.0


def widest(
    raw_score: np.ndarray, won: np.ndarray, sequence: np.ndarray, target: float
) -> tuple[float | None, Proof]:
    """The last limit of `sequence` before the first failure, and its test; None where the first fails.

    `raw_score` and `won` have one row a group; `sequence` was fixed without looking at `won`.
    """
    found, best = None, None
    for start in sequence:
        reached = raw_score >= start
        n, wins = int(reached.sum()), int(won[reached].sum())
        lower = lower_bound(wins, n)
        now = Proof(target, n, wins, lower, passed=lower >= target)
        if not now.passed:
            return found, best or now
        found, best = float(start), now
    assert best is not None, "a sequence has one limit or more"
    return found, best


def precision_cut(
    stock: Stock, young: np.ndarray, foretold: Foretold, target: float
) -> tuple[Cut | None, Proof]:
    """The cut that keeps `target` with 95% confidence, or None; only `young` ones (n booleans) are hot."""
    rows = one_each(stock)
    rows = rows[(young & stock.leads.meets & stock.labelled)[rows]]
    raw_score, won = stock.leads.raw_score[rows], stock.won[rows]
    start, tested = widest(raw_score, won, foretold.sequence(raw_score, target), target)
    if start is None:
        return None, tested
    hot = stock.leads.raw_score >= start
    probability = float(stock.leads.probability[hot].min())
    tied = bool((~hot & (stock.leads.probability == probability)).any())
    return Cut(probability, start if tied else None), tested


def one_each(stock: Stock) -> np.ndarray:
    """Row numbers, at most one a group: its lead on one date, both drawn by a hash.

    The date is drawn of all dates, also of those on which the group has no open lead: it is then not
    looked at. So a lead that stays open for long weighs in as it does in the stock. Where rows carry no
    time, one row of each group.
    """
    rows = pd.DataFrame(
        {"group": stock.group_id, "order": stock.order, "row": np.arange(len(stock.won))}
    )
    rows = rows[~stock.earlier]
    if rows.empty:
        return np.empty(0, dtype=np.int64)
    if stock.weeks is not None:
        dates = np.unique(rows["order"])
        codes, groups = pd.factorize(rows["group"])
        drawn = stable_hash(pd.Index([f"date of {group}" for group in groups])) % len(dates)
        rows = rows[rows["order"].to_numpy() == dates[drawn.astype(np.int64)][codes]]
    unit = unit_hash(stock.leads.lead_id[rows["row"].to_numpy()])
    first = rows.assign(unit=unit).sort_values(["unit", "order", "row"]).drop_duplicates("group")
    chosen: np.ndarray = np.sort(first["row"].to_numpy(np.int64))
    return chosen
