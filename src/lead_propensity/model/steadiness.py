"""Columns that will not carry on as they were: vanished, moved, numbered in time; and the same one twice."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from lead_propensity.model.looks import Look, Rows

CHANCE = 1e-6
"""A column is called vanished where chance leaves its other values out so seldom."""
PSI = 0.25
"""Population stability index from which a distribution is commonly called another one (Siddiqi 2006)."""
DRIFT_BINS = 10
SAME = 0.999
"""Rank correlation of columns that say the same."""
ID_SHARE = 0.5
"""Different levels to leads with a value: more is like an id."""
MIN_LEADS = 50
"""Fewer leads (of a third: groups) show neither an id nor a drift."""
IN_TIME = 0.99
"""Rank correlation with time of a number that counts leads."""
RANK_ROWS = 5_000


@dataclass(frozen=True)
class Drift:
    """How far a column moved from the first third of the rows to the last, less what chance makes."""

    column: str
    index: float


def constant(looks: Sequence[Look]) -> tuple[str, ...]:
    """Columns with one value in the fit part."""
    return tuple(look.feature.name for look in looks if not look.varies)


def vanished(looks: Sequence[Look], rows: Rows) -> tuple[str, ...]:
    """Columns that vary in the fit part and have one value, or none, in the calibrate part."""
    later = _different(rows.group[~rows.is_fit])
    return tuple(
        look.feature.name
        for look in looks
        if look.varies
        and len(np.unique(look.codes[~rows.is_fit])) == 1
        and _one_value(look, rows, ~rows.is_fit)
        and _commonest(look, rows.is_fit) ** later < CHANCE
    )


def appeared(looks: Sequence[Look], rows: Rows) -> tuple[str, ...]:
    """Columns with one value in the fit part, from which many rows of the calibrate part differ."""
    earlier = _different(rows.fit_group)
    return tuple(
        look.feature.name
        for look in looks
        if not look.varies and (1.0 - _unlike_fit(look, rows)) ** earlier < CHANCE
    )


def drifts(looks: Sequence[Look], rows: Rows, but: frozenset[str]) -> list[Drift]:
    """Columns whose stability index passes .25, the furthest first; not those named in `but`.

    The index of two samples of one distribution is not 0: about (bins - 1) (1/n + 1/m), with groups for
    n and m, is taken off.
    """
    lower, upper = np.quantile(rows.order, (1 / 3, 2 / 3), method="lower")
    first, last = rows.order <= lower, rows.order > upper
    sizes = [_different(rows.group[third]) for third in (first, last)]
    if min(sizes) < MIN_LEADS:
        return []
    noise = 1.0 / sizes[0] + 1.0 / sizes[1]
    moved = []
    for look in looks:
        if look.feature.name in but or not look.varies:
            continue
        before, after = _coarse(look.counts(first), look.counts(last))
        index = _stability(before, after) - (len(before) - 1) * noise
        if index > PSI:
            moved.append(Drift(look.feature.name, index))
    return sorted(moved, key=lambda drift: -drift.index)


def id_like(looks: Sequence[Look], rows: Rows) -> tuple[str, ...]:
    """Categories with nearly as many levels as leads; numbers unique to a lead that grow with time."""
    _, first = np.unique(rows.lead[rows.is_fit], return_index=True)  # one row of each lead
    order = rows.order[rows.is_fit][first]
    names = []
    for look in looks:
        values = rows.X[look.feature.name][rows.is_fit].iloc[first]
        known = values.notna().to_numpy()
        leads = int(known.sum())
        if leads < MIN_LEADS or look.distinct <= ID_SHARE * leads:
            continue
        if look.feature.column_type == "category" or _numbered(
            values.to_numpy(np.float64)[known], order[known]
        ):
            names.append(look.feature.name)
    return tuple(names)


def duplicates(looks: Sequence[Look], rows: Rows) -> list[tuple[str, ...]]:
    """Columns that say the same: numbers by rank correlation above .999, categories level by level."""
    varying = [look for look in looks if look.varies]
    numbers = [look for look in varying if look.feature.column_type == "number"]
    groups = _same_ranks([look.feature.name for look in numbers], rows)
    by_digest: dict[bytes, list[str]] = {}
    for look in varying:
        if look.feature.column_type == "category":
            digest = hashlib.blake2b(_in_order_of_appearance(look.codes[rows.is_fit])).digest()
            by_digest.setdefault(digest, []).append(look.feature.name)
    groups += [tuple(names) for names in by_digest.values() if len(names) > 1]
    return groups


def _same_ranks(names: list[str], rows: Rows) -> list[tuple[str, ...]]:
    if len(names) < 2:
        return []
    step = max(1, int(np.sum(rows.is_fit)) // RANK_ROWS)
    values = rows.X[names].to_numpy(np.float64)[rows.is_fit][::step]
    ranks = rankdata(np.where(np.isnan(values), -np.inf, values), axis=0)
    ranks -= ranks.mean(axis=0)
    length = np.sqrt(np.sum(ranks * ranks, axis=0))
    with threadpool_limits(limits=1, user_api="blas"):
        alike = np.abs(ranks.T @ ranks) > SAME * np.outer(length, length)
    groups, taken = [], np.zeros(len(names), dtype=bool)
    for place in range(len(names)):
        same = np.flatnonzero(alike[place] & ~taken) if length[place] > 0 else np.empty(0, int)
        if len(same) > 1 and not taken[place]:
            groups.append(tuple(names[one] for one in same))
            taken[same] = True
    return groups


def _numbered(values: np.ndarray, order: np.ndarray) -> bool:
    """Whether each row has a number of its own, all but in the order of time."""
    if len(np.unique(values)) < len(values) or len(np.unique(order)) < 2:
        return False
    together = np.corrcoef(rankdata(values), rankdata(order))[0, 1]
    return bool(abs(together) > IN_TIME)


def _in_order_of_appearance(codes: np.ndarray) -> bytes:
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return bytes(place[inverse].tobytes())


def _one_value(look: Look, rows: Rows, where: np.ndarray) -> bool:
    return len(rows.X[look.feature.name][where].drop_duplicates()) <= 1


def _unlike_fit(look: Look, rows: Rows) -> float:
    """Share of the later rows that do not have the one value of the fit part."""
    values = rows.X[look.feature.name]
    value, later = values[rows.is_fit].iloc[0], values[~rows.is_fit]
    differs = later.notna() if value is None or value != value else later != value
    return float(differs.mean()) if len(later) else 0.0


def _commonest(look: Look, where: np.ndarray) -> float:
    counts = look.counts(where)
    return float(counts.max() / counts.sum())


def _coarse(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About ten neighbouring bins with equal shares of both samples together; missing stays apart."""
    both = before[:-1] + after[:-1]
    middle = np.cumsum(both) - both / 2.0
    place = np.minimum(middle / max(1.0, both.sum()) * DRIFT_BINS, DRIFT_BINS - 1).astype(np.int64)
    place = np.append(np.unique(place, return_inverse=True)[1], int(place.max()) + 1)
    pooled = (np.bincount(place, side) for side in (before, after))
    first, last = pooled
    filled = first + last > 0
    return first[filled], last[filled]


def _stability(before: np.ndarray, after: np.ndarray) -> float:
    """Sum of (p - q) log(p / q) over the bins, half a row added to each."""
    p = (before + 0.5) / (before.sum() + 0.5 * len(before))
    q = (after + 0.5) / (after.sum() + 0.5 * len(after))
    return float(np.sum((p - q) * np.log(p / q)))


def _different(groups: np.ndarray) -> int:
    return len(np.unique(groups))
