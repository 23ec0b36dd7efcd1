"""Features that know the outcome: what is true of won leads alone, or of lost ones alone.

Two tests a column, on the fit part. In a *separating set* (a value missing, a level, the values beyond a
cut) at most 5% of the leads end one way, and the odds of ending so are 50 times as high outside. Both must hold
at the unfavourable ends of exact intervals. That leaves far less than 1e-6 to chance, also among many columns:
where nobody inside ends so, about 185 should have, by the rate of all.

An *ordering* column alone tells a won lead from a lost one in 95 of 100 pairs, its order learned on one half
of the groups and judged on the other.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from lead_propensity.model.looks import Look, Rows

ODDS = 50.0
"""Odds ratio of inside to outside that an honest predictor hardly has: the lower end of its interval."""
IMPURE = 0.05
"""Share of the rarer outcome inside: the upper end of its interval is at most this."""
TAIL = 0.25
"""Beyond a cut such a share of one outcome must lie: the far end of an honest number is pure as well."""
MIN_ROWS = 10
AUC = 0.95
MIN_OF_EACH = 10
"""Won, and lost, groups that an ordering is judged by."""


@dataclass(frozen=True)
class Separation:
    """A set of leads, described by one or several columns, of which (nearly) all ended the same way."""

    columns: tuple[str, ...]
    words: str
    """What holds in the set, e.g. `is missing`."""
    outcome: str
    """How nearly all of them ended: `won` or `lost`."""
    leads: int
    """Groups with a snapshot in the set."""
    share_won: float
    share_won_outside: float
    odds_ratio: float
    """Lower end of its interval."""
    also: tuple[str, ...] = ()
    """The same leads in other words, e.g. `` `known_attributes` is at most 2``."""


@dataclass(frozen=True)
class Ordering:
    """A column that alone orders won before lost leads."""

    column: str
    auc: float


@dataclass(frozen=True)
class _Set:
    """A candidate: rows and wins inside and outside."""

    words: str
    bins: np.ndarray
    inside: np.ndarray
    """(n, wins)."""
    outside: np.ndarray

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


def separations(looks: Sequence[Look], rows: Rows, history: bool) -> list[Separation]:
    """The separating sets, one a column, the strongest first; equal sets of several columns are one.

    With a `history` of events, what a lead did not do may lose it honestly: behaviour is searched for
    won leads alone.
    """
    found: dict[bytes, Separation] = {}
    for look in looks:
        best = _best(look, rows, history and look.feature.kind == "implicit")
        if best is None:
            continue
        mask, separation = best
        key = hashlib.blake2b(np.packbits(mask).tobytes()).digest()
        found[key] = _joined(found[key], separation) if key in found else separation
    return sorted(found.values(), key=lambda one: -one.odds_ratio)


def orderings(looks: Sequence[Look], rows: Rows, seed: int) -> list[Ordering]:
    """The ordering columns, the strongest first."""
    won, groups = rows.fit_won, rows.fit_group
    per_group = pd.Series(won).groupby(groups).max()
    wins = int(per_group.sum())
    if min(wins, len(per_group) - wins) < MIN_OF_EACH:
        return []
    first = (np.random.default_rng(seed).random(int(rows.group.max()) + 1) < 0.5)[rows.group]
    found = []
    for look in looks:
        if not look.varies:
            continue
        halves = [_table(look, rows, rows.is_fit & side) for side in (first, ~first)]
        auc = min(_auc(halves[0], halves[1]), _auc(halves[1], halves[0]))
        if auc > AUC:
            found.append(Ordering(look.feature.name, auc))
    return sorted(found, key=lambda one: -one.auc)


def _best(look: Look, rows: Rows, honest_losses: bool) -> tuple[np.ndarray, Separation] | None:
    """The strongest separating set of a column and the rows of the fit part in it."""
    best: tuple[np.ndarray, Separation] | None = None
    for candidate in _promising(look, _table(look, rows, rows.is_fit)):
        if candidate.lost and honest_losses:
            continue
        mask = candidate.bins[look.codes[rows.is_fit]]
        separation = _judged(look, candidate, mask, rows)
        if separation and (best is None or separation.odds_ratio > best[1].odds_ratio):
            best = mask, separation
    return best


def _promising(look: Look, table: np.ndarray) -> list[_Set]:
    """Sets that would alarm if each row were a proof of its own; most columns have none."""
    total = table.sum(axis=1)
    names, members = zip(*look.sets(), strict=True)
    cuts_from = len(names) - 2 * len(look.edges)  # they come last
    bins = np.array(members)
    inside = np.stack([np.sum(bins * row, axis=1) for row in table], axis=1)
    sets = []
    for place in np.flatnonzero((inside[:, 0] >= MIN_ROWS) & (inside[:, 0] < total[0])):
        one = _Set(names[place], bins[place], inside[place], total - inside[place])
        if one.share(one.inside) > IMPURE or (place >= cuts_from and one.is_only_a_tail):
            continue
        contrary, rows, others = one.contrary(one.inside), one.inside[0], one.outside[0]
        if _odds_ratio(contrary, rows, one.share(one.outside), others) >= ODDS:
            sets.append(one)
    return sets


def _judged(look: Look, one: _Set, mask: np.ndarray, rows: Rows) -> Separation | None:
    """With groups as trials: a group with one contrary snapshot counts as contrary.

    That errs on the quiet side: snapshots of one group are no independent proofs.
    """
    contrary_rows = (rows.fit_won == 1.0) == one.lost
    leads, others = _different(rows.fit_group[mask]), _different(rows.fit_group[~mask])
    contrary = _different(rows.fit_group[mask & contrary_rows])
    odds_ratio = _odds_ratio(contrary, leads, one.share(one.outside), others)
    if odds_ratio < ODDS:
        return None
    return Separation(
        columns=(look.feature.name,),
        words=one.words,
        outcome="lost" if one.lost else "won",
        leads=leads,
        share_won=float(one.inside[1] / one.inside[0]),
        share_won_outside=float(one.outside[1] / one.outside[0]),
        odds_ratio=odds_ratio,
    )


def _odds_ratio(contrary: float, trials: float, share_outside: float, others: float) -> float:
    """Of the contrary outcome, outside to inside, at the unfavourable ends of two 95% intervals.

    The intervals are those of Clopper and Pearson (1934). 0 where the inside is not pure enough.
    """
    most = betaincinv(contrary + 1, max(trials - contrary, 1e-9), 0.975)
    if most > IMPURE:
        return 0.0
    hits = share_outside * others
    least = betaincinv(max(hits, 1e-9), others - hits + 1, 0.025)
    return float(least * (1.0 - most) / (most * (1.0 - least)))


def _joined(first: Separation, other: Separation) -> Separation:
    if other.words == first.words:
        return replace(first, columns=first.columns + other.columns)
    also = tuple(f"`{column}` {other.words}" for column in other.columns)
    return replace(first, also=first.also + also)


def _table(look: Look, rows: Rows, where: np.ndarray) -> np.ndarray:
    """(2, bins + 1): rows, and wins, by code."""
    return np.stack([look.counts(where), look.counts(where, rows.won[where])])


def _auc(learn: np.ndarray, judge: np.ndarray) -> float:
    """Share of won-lost pairs that the win rates of `learn` put right in `judge`; ties count half."""
    base = learn[1].sum() / max(1.0, learn[0].sum())
    rate = (learn[1] + base) / (learn[0] + 1.0)
    order = np.argsort(rate, kind="stable")
    wins, losses = judge[1][order], (judge[0] - judge[1])[order]
    pairs = wins.sum() * losses.sum()
    below = np.cumsum(losses) - losses
    return float(np.sum(wins * (below + losses / 2.0)) / pairs) if pairs > 0 else 0.5


def _different(groups: np.ndarray) -> int:
    return len(np.unique(groups))
