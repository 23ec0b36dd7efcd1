"""Columns that know the outcome by what is true of won leads alone, or of lost ones alone.

In a *separating set* (a value missing, a level, the values beyond a cut) at most 5% of the leads end one way,
and the odds of ending so are 50 times as high outside. Both must hold at the unfavourable ends of exact intervals,
on the fit part. That leaves far less than 1e-6 to chance, also among many columns: where nobody inside ends so,
about 185 should have, by the rate of all. Where a column that tells who the lead is has a value at all, half may end
the other way: forms are filled in for many reasons, but hardly 50 times as often for those who will buy.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from lead_propensity.evaluation.alone import table
from lead_propensity.model.looks import Look, Rows

ODDS = 50.0
"""Odds ratio of inside to outside that an honest predictor hardly has: the lower end of its interval."""
IMPURE = 0.05
"""Share of the rarer outcome inside: the upper end of its interval is at most this."""
FILLED = 0.5
"""The same where the set is that an explicit column is known."""
TAIL = 0.25
"""Beyond a cut such a share of one outcome must lie: the far end of an honest number is pure as well."""
MIN_ROWS = 10


@dataclass(frozen=True)
class Separation:
    """A set of leads, described by a column, of which (nearly) all ended the same way."""

    words: str
    """What holds in the set, e.g. `is missing`."""
    leads: int
    """Groups with a snapshot in the set."""
    share_won: float
    share_won_outside: float
    odds_ratio: float
    """Lower end of its interval."""
    pure: bool
    """Whether nearly all inside ended the same way; else it is most of those who have the column filled in."""


@dataclass(frozen=True)
class _Set:
    """A candidate: rows and wins inside and outside."""

    words: str
    bins: np.ndarray
    inside: np.ndarray
    """(n, wins)."""
    outside: np.ndarray
    impure: float
    """Share of the rarer outcome that is allowed inside."""

    @property
    def lost(self) -> bool:
        return bool(2 * self.inside[1] < self.inside[0])

    def contrary(self, side: np.ndarray) -> float:
        """Rows of this side whose outcome is the rarer one inside."""
        return float(side[1] if self.lost else side[0] - side[1])

    def share(self, side: np.ndarray) -> float:
        return self.contrary(side) / float(side[0])

    @property
    def is_only_a_tail(self) -> bool:
        """Whether most leads that end as those inside do are outside."""
        same = [float(side[0]) - self.contrary(side) for side in (self.inside, self.outside)]
        return same[0] < TAIL * sum(same)


def separation(look: Look, rows: Rows, history: bool) -> Separation | None:
    """The strongest separating set of a column, None where it has none.

    With a `history` of events, what a lead did not do may lose it honestly: behaviour is searched for
    won leads alone.
    """
    honest_losses = history and look.feature.kind == "implicit"
    found = [
        judged
        for candidate in _promising(look, table(look, rows, rows.is_fit))
        if not (candidate.lost and honest_losses)
        and (judged := _judged(candidate, candidate.bins[look.codes[rows.is_fit]], rows))
    ]
    return max(found, key=lambda one: (one.pure, one.odds_ratio), default=None)


def filled_odds_ratio(filled: int, filled_won: int, empty: int, empty_won: int) -> float:
    """The lower end of the odds ratio of winning, where a column is filled to where it is empty.

    Each lead one proof. 0 where nobody has the column empty, or where it is not mostly winners that fill it.
    """
    if min(filled, empty) == 0:
        return 0.0
    return _odds_ratio(filled - filled_won, filled, 1.0 - empty_won / empty, empty, FILLED)


def _promising(look: Look, counts: np.ndarray) -> list[_Set]:
    """Sets that would alarm if each row were a proof of its own; most columns have none."""
    total = counts.sum(axis=1)
    names, members = zip(*look.sets(), strict=True)
    cuts_from = len(names) - 2 * len(look.edges)  # they come last
    bins = np.array(members)
    inside = np.stack([np.sum(bins * row, axis=1) for row in counts], axis=1)
    known = names.index("is known") if look.feature.kind == "explicit" else -1
    sets = []
    for place in np.flatnonzero((inside[:, 0] >= MIN_ROWS) & (inside[:, 0] < total[0])):
        impure = FILLED if place == known else IMPURE
        one = _Set(names[place], bins[place], inside[place], total - inside[place], impure)
        if one.share(one.inside) > impure or (place >= cuts_from and one.is_only_a_tail):
            continue
        contrary, rows, others = one.contrary(one.inside), one.inside[0], one.outside[0]
        if _odds_ratio(contrary, rows, one.share(one.outside), others, impure) >= ODDS:
            sets.append(one)
    return sets


def _judged(one: _Set, mask: np.ndarray, rows: Rows) -> Separation | None:
    """With groups as trials: a group with one contrary snapshot counts as contrary.

    That errs on the quiet side: snapshots of one group are no independent proofs.
    """
    contrary_rows = (rows.fit_won == 1.0) == one.lost
    leads, others = _different(rows.fit_group[mask]), _different(rows.fit_group[~mask])
    contrary = _different(rows.fit_group[mask & contrary_rows])
    odds_ratio = _odds_ratio(contrary, leads, one.share(one.outside), others, one.impure)
    if odds_ratio < ODDS:
        return None
    return Separation(
        words=one.words,
        leads=leads,
        share_won=float(one.inside[1] / one.inside[0]),
        share_won_outside=float(one.outside[1] / one.outside[0]),
        odds_ratio=odds_ratio,
        pure=one.impure == IMPURE,
    )


def _odds_ratio(
    contrary: float, trials: float, share_outside: float, others: float, impure: float
) -> float:
    """Of the contrary outcome, outside to inside, at the unfavourable ends of two 95% intervals.

    The intervals are those of Clopper and Pearson (1934). 0 where the inside is not pure enough.
    """
    most = betaincinv(contrary + 1, max(trials - contrary, 1e-9), 0.975)
    if most > impure:
        return 0.0
    hits = share_outside * others
    least = betaincinv(max(hits, 1e-9), others - hits + 1, 0.025)
    return float(least * (1.0 - most) / (most * (1.0 - least)))


def _different(groups: np.ndarray) -> int:
    return len(np.unique(groups))
