"""Categories of many levels, such as campaigns or cities, as numbers: what is known of the leads of each level.

A level's number is the shift of its leads' log-odds against those of all leads, its share of wins drawn to that of
all by as many leads as the levels' own differences tell (a beta prior, by moments: Kleinman, JASA 68, 1973). What
members learn from is the number as it stood at each row's own moment, from labels that were known by then: so no
row sees its own outcome or a later one (target statistics in order: Prokhorenkova et al., NeurIPS 2018), but for the
strength of the prior, one number a category, which all labels tell. What they score with is told by all labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from scipy.special import logit

from lead_propensity.features import kept
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.encoding import MAX_LEVELS, CategoryColumn, LevelColumn

FEWEST, MOST = 1.0, 1e6
"""Leads that the prior counts as much as."""
ALWAYS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Counts:
    """The leads of some levels, and the deals among them, each with when it was known (in units of `order`).

    A lead counts for each level that it was seen with, once.
    """

    known: np.ndarray
    """(leads of a level,) sorted by level and time."""
    known_level: np.ndarray
    won: np.ndarray
    won_level: np.ndarray

    @classmethod
    def of(cls, level: np.ndarray, keys: pd.DataFrame) -> Self:
        """`level` (n,): one integer a row; `keys` as in Dataset, all labelled."""
        frame = pd.DataFrame(
            {
                "level": level,
                "lead": pd.factorize(keys["lead_id"])[0],
                "at": keys["label_known_at"].to_numpy(np.int64),
                "won": keys["won"].to_numpy() == 1.0,
            }
        )
        known, won = (
            rows.groupby(["level", "lead"])["at"].min().reset_index().sort_values(["level", "at"])
            for rows in (frame, frame[frame["won"]])
        )
        return cls(
            *(one[name].to_numpy(np.int64) for one in (known, won) for name in ("at", "level"))
        )

    def by(self, level: np.ndarray, moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,) leads, and (m,) deals, of `level` (m,) known by `moment` (m,)."""
        return (
            _at_most(self.known_level, self.known, level, moment),
            _at_most(self.won_level, self.won, level, moment),
        )


def many_levels(train: Dataset) -> tuple[LevelColumn, ...]:
    """Of the categories of which more than MAX_LEVELS levels may be named; `train` is labelled."""
    found = []
    for feature in train.catalogue.features:
        texts = train.X[feature.name]
        if feature.column_type == "category" and texts.nunique() > MAX_LEVELS:
            levels = tuple(sorted(kept.common(texts, train.keys["lead_id"])))
            if len(levels) > MAX_LEVELS:
                category = CategoryColumn(feature.name, levels)
                rare = category.unknown(texts) / len(texts)
                found.append(_fitted(replace(category, rare=rare), train))
    return tuple(found)


def told(train: Dataset, levels: Sequence[LevelColumn]) -> Dataset:
    """`train` with the shifts of `levels` in the place of their texts, as they stood at each row's moment."""
    if not levels:
        return train
    moment = train.keys["order"].to_numpy(np.int64)
    X = train.X.copy(deep=False)
    for column in levels:
        level = _places(column.category, train.X[column.name])
        counts = Counts.of(level, train.keys)
        X[column.name] = _shifts(counts, level, moment, _prior(counts))
    return replace(train, X=X)


def _fitted(category: CategoryColumn, train: Dataset) -> LevelColumn:
    counts = Counts.of(_places(category, train.X[category.name]), train.keys)
    level = np.arange(len(category.levels) + 2)
    shifts = _shifts(counts, level, np.full(len(level), ALWAYS), _prior(counts))
    spread = float(shifts[_places(category, train.X[category.name])].std())
    return LevelColumn(category, tuple(shifts.tolist()), spread if spread > 0 else 1.0)


def _places(category: CategoryColumn, texts: pd.Series) -> np.ndarray:
    return category.places(category.codes(texts))


def _shifts(counts: Counts, level: np.ndarray, moment: np.ndarray, prior: float) -> np.ndarray:
    """(m,) log-odds of `level` (m,) less those of all leads, as known by `moment` (m,)."""
    known, won = counts.by(level, moment)
    everyone = np.zeros(len(level), dtype=np.int64)
    order, order_won = np.sort(counts.known), np.sort(counts.won)
    all_known = _at_most(np.zeros_like(order), order, everyone, moment)
    all_won = _at_most(np.zeros_like(order_won), order_won, everyone, moment)
    rate = (all_won + 0.5) / (all_known + 1.0)
    return np.asarray(logit((won + prior * rate) / (known + prior)) - logit(rate))


def _prior(counts: Counts) -> float:
    """As many leads as it counts: many where levels differ no more than by chance."""
    leads = np.bincount(counts.known_level).astype(np.float64)
    won = np.bincount(counts.won_level, minlength=len(leads))[leads > 0]
    leads = leads[leads > 0]
    total, rate = leads.sum(), won.sum() / leads.sum()
    chance = rate * (1.0 - rate)
    beyond = np.sum(leads * (won / leads - rate) ** 2) - (len(leads) - 1) * chance
    spread = beyond / (total - np.sum(leads**2) / total)
    return float(np.clip(chance / spread, FEWEST, MOST)) if spread > 0 else MOST


def _at_most(
    levels: np.ndarray, times: np.ndarray, level: np.ndarray, moment: np.ndarray
) -> np.ndarray:
    """(m,) how many of the `times`, sorted within the sorted `levels`, of `level` (m,) are at most `moment` (m,)."""
    ranks = np.unique(times)
    rank = np.searchsorted(ranks, moment, side="right")
    key = levels * (len(ranks) + 1) + np.searchsorted(ranks, times) + 1
    first = level * (len(ranks) + 1)
    return np.searchsorted(key, first + rank, "right") - np.searchsorted(key, first, "right")
