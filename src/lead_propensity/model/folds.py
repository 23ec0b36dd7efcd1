"""Folds that respect time: what a fold learns from lies before what it is judged on."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

FOLDS = 4
LEAD_FOLDS = 5
EARLIEST = 0.4
"""Share of the rows before the first validation."""
MIN_OF_EACH = 5
"""Wins, and losses, that each side of a fold needs."""
MIN_KNOWN = 0.1
"""Share of all wins, and losses, known before the first validation."""


@dataclass(frozen=True)
class Fold:
    """Row positions: what `train` teaches is judged on the later `valid`."""

    starts: int
    """The first order of `valid`."""
    train: np.ndarray
    valid: np.ndarray
    known: bool = True
    """Every label of `train` was known at `starts`. Else the history was too short for that, and no
    lead stands on both sides."""


def known_by(keys: pd.DataFrame, moment: int) -> np.ndarray:
    """n booleans: labelled snapshots before `moment`, in units of `order`, whose label was known then."""
    known = keys["won"].notna() & (keys["label_known_at"] <= moment) & (keys["order"] < moment)
    return known.to_numpy(bool)


def time_folds(keys: pd.DataFrame, count: int = FOLDS) -> tuple[Fold, ...]:
    """At most `count` expanding folds over the last 60% of labelled rows; () if history is short.

    `keys` as in Dataset. Where labels come late the first validation starts later. A history that is
    too short for a purge gives folds that are told apart by lead.
    """
    if len(keys) == 0:
        return ()
    order = keys["order"].to_numpy(np.int64)
    known_at = keys["label_known_at"].to_numpy(np.int64)
    won = keys["won"].to_numpy(np.float64)
    starts = _starts(order, _first_start(order, known_at, won), count)
    folds = [
        Fold(start, np.flatnonzero(known_by(keys, start)), valid)
        for start, valid in _judged(order, starts)
    ]
    kept = tuple(fold for fold in folds if _enough(won[fold.train]) and _enough(won[fold.valid]))
    return kept or _folds_of_leads(keys, count)


def lead_folds(keys: pd.DataFrame) -> tuple[Fold, ...]:
    """At most LEAD_FOLDS folds of other leads (groups), chosen by a hash, each of all times.

    They know the future: good to tell what depends on the number of rows, and not to judge a model.
    """
    order, won = keys["order"].to_numpy(np.int64), keys["won"].to_numpy(np.float64)
    fold = hash_folds(keys["group_id"], LEAD_FOLDS)
    numbers = range(LEAD_FOLDS)
    parts = [(np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in numbers]
    return tuple(
        Fold(int(order[valid].min()), train, valid, known=False)
        for train, valid in parts
        if _enough(won[train]) and _enough(won[valid])
    )


def _folds_of_leads(keys: pd.DataFrame, count: int) -> tuple[Fold, ...]:
    order, won = keys["order"].to_numpy(np.int64), keys["won"].to_numpy(np.float64)
    lead, _ = pd.factorize(keys["group_id"])
    first = int(np.quantile(order, EARLIEST, method="higher"))
    folds = []
    for start, valid in _judged(order, _starts(order, first, count)):
        before = np.flatnonzero(order < start)
        train = before[~np.isin(lead[before], lead[valid])]
        if _enough(won[train]) and _enough(won[valid]):
            folds.append(Fold(start, train, valid, known=False))
    return tuple(folds)


def _judged(order: np.ndarray, starts: list[int]) -> list[tuple[int, np.ndarray]]:
    """Each start with the rows from there to the next one."""
    ends = [*starts[1:], np.iinfo(np.int64).max][: len(starts)]
    return [
        (start, np.flatnonzero((order >= start) & (order < end)))
        for start, end in zip(starts, ends, strict=True)
    ]


def sample_of_leads(lead_ids: pd.Series, limit: int) -> np.ndarray:
    """n booleans: whole leads, chosen by a hash of their id, at most `limit` rows together."""
    if len(lead_ids) <= limit:
        return np.ones(len(lead_ids), dtype=bool)
    codes, leads = pd.factorize(lead_ids)
    place = np.argsort(stable_hash(leads), kind="stable")
    taken = np.zeros(len(leads), dtype=bool)
    taken[place[np.cumsum(np.bincount(codes)[place]) <= limit]] = True
    chosen: np.ndarray = taken[codes]
    return chosen


def stable_hash(ids: pd.Index) -> np.ndarray:
    """A uint64 per id, the same on every machine and in every process."""
    digests = (hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def hash_folds(ids: pd.Series, count: int) -> np.ndarray:
    """A number below `count` per row; all rows of one id get the same."""
    codes, names = pd.factorize(ids)
    numbers: np.ndarray = (stable_hash(names) % count).astype(np.int64)[codes]
    return numbers


def _first_start(order: np.ndarray, known_at: np.ndarray, won: np.ndarray) -> int | None:
    early = int(np.quantile(order, EARLIEST, method="higher"))
    for outcome in (0.0, 1.0):
        known = np.sort(known_at[won == outcome])
        need = max(MIN_OF_EACH, int(np.ceil(MIN_KNOWN * len(known))))
        if len(known) < need:
            return None
        early = max(early, int(known[need - 1]))
    return early


def _starts(order: np.ndarray, first: int | None, count: int) -> list[int]:
    later = order[order >= first] if first is not None else order[:0]
    if len(later) == 0:
        return []
    shares = np.arange(count) / count
    return [int(start) for start in np.unique(np.quantile(later, shares, method="higher"))]


def _enough(won: np.ndarray) -> bool:
    wins = int(np.sum(won == 1.0))
    return min(wins, len(won) - wins) >= MIN_OF_EACH
