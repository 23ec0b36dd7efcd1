"""One look at the columns before anything is learned: values as small whole numbers, leads as numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd

from lead_propensity.features.catalogue import Feature
from lead_propensity.features.kept import shown
from lead_propensity.features.matrix import Dataset

MAX_ROWS = 40_000
"""More rows of one part are sampled, whole groups at a time."""
_TAILS = np.array([0.002, 0.005, 0.01, 0.02, 0.035])
CUTS = np.concatenate([_TAILS, np.linspace(0.05, 0.95, 19), 1.0 - _TAILS[::-1]])
"""Quantiles of the fit part at which a number is cut: finer at its ends, where leaks stand."""
MAX_LEVELS = 100
MAX_WORDS = 40
"""Letters of a level that a sentence shows."""


@dataclass(frozen=True)
class Rows:
    """Rows of the fit part, then of the calibrate part; arrays of one length."""

    X: pd.DataFrame
    order: np.ndarray
    won: np.ndarray
    lead: np.ndarray
    """int64."""
    group: np.ndarray
    """int64: snapshots of one group are one proof."""
    is_fit: np.ndarray

    @classmethod
    def of(cls, train: Dataset, calibrate: Dataset, seed: int) -> Self:
        """Both parts, of each at most about 40,000 rows of whole groups drawn by `seed`."""
        rng = np.random.default_rng(seed)
        parts = [_sampled(part, rng) for part in (train, calibrate)]
        keys = pd.concat([part.keys for part in parts], ignore_index=True)
        return cls(
            X=pd.concat([part.X for part in parts], ignore_index=True),
            order=keys["order"].to_numpy(np.int64),
            won=keys["won"].to_numpy(np.float64),
            lead=pd.factorize(keys["lead_id"])[0],
            group=pd.factorize(keys["group_id"])[0],
            is_fit=np.arange(len(keys)) < len(parts[0]),
        )

    @cached_property
    def fit_won(self) -> np.ndarray:
        found: np.ndarray = self.won[self.is_fit]
        return found

    @cached_property
    def fit_group(self) -> np.ndarray:
        found: np.ndarray = self.group[self.is_fit]
        return found


@dataclass(frozen=True)
class Look:
    """One column of `Rows` in bins: a number cut at quantiles of the fit part, a category by level."""

    feature: Feature
    codes: np.ndarray
    """(rows,) int64: 0 .. bins - 1, or `bins` where the value is missing."""
    names: tuple[str, ...]
    """Of a category: the level of each bin; all rarer ones share the last bin, which has no name."""
    edges: tuple[float, ...]
    """Of a number: the highest value of each bin but the last."""
    distinct: int
    """Different values in the fit part, a missing one counted."""

    @classmethod
    def of(cls, feature: Feature, rows: Rows) -> Self:
        values = rows.X[feature.name]
        if feature.column_type == "category":
            return cls._category(feature, values, rows.is_fit)
        return cls._number(feature, values.to_numpy(np.float64, na_value=np.nan), rows.is_fit)

    @classmethod
    def _number(cls, feature: Feature, values: np.ndarray, is_fit: np.ndarray) -> Self:
        of_fit = np.sort(values[is_fit])  # missing values come last
        seen = of_fit[: int(np.sum(~np.isnan(of_fit)))]
        if len(seen) == 0:
            return cls(feature, np.where(np.isnan(values), 1, 0), (), (), int(len(of_fit) > 0))
        places = (CUTS * (len(seen) - 1)).astype(np.int64)
        edges = np.unique(seen[places])
        codes = np.searchsorted(edges, values, side="left")
        codes[np.isnan(values)] = len(edges) + 1
        distinct = 1 + int(np.count_nonzero(seen[1:] != seen[:-1])) + (len(seen) < len(of_fit))
        return cls(feature, codes, (), tuple(edges.tolist()), distinct)

    @classmethod
    def _category(cls, feature: Feature, values: pd.Series, is_fit: np.ndarray) -> Self:
        raw, levels = pd.factorize(values)
        counts = np.bincount(raw[is_fit & (raw >= 0)], minlength=len(levels))
        texts = np.array([str(level) for level in levels], dtype=object)
        places = np.lexsort((texts, -counts))[:MAX_LEVELS]
        places = places[counts[places] > 0]
        new = np.full(len(levels) + 1, len(places), dtype=np.int64)
        new[places] = np.arange(len(places))
        new[-1] = len(places) + 1  # raw -1: missing
        distinct = int(np.count_nonzero(counts)) + bool((raw[is_fit] < 0).any())
        return cls(feature, new[raw], tuple(texts[places]), (), distinct)

    @property
    def bins(self) -> int:
        return (
            len(self.names) + 1 if self.feature.column_type == "category" else len(self.edges) + 1
        )

    @property
    def varies(self) -> bool:
        """Whether the fit part holds two different values."""
        return self.distinct > 1

    def counts(self, where: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """(bins + 1,) rows, or their summed weights, of the rows in `where`, by code."""
        codes = self.codes[where]
        return np.bincount(codes, weights, minlength=self.bins + 1).astype(np.float64)

    def sets(self) -> Iterator[tuple[str, np.ndarray]]:
        """Sets of bins a lead may fall into, in words, each as bins + 1 booleans."""
        every = np.arange(self.bins + 1)
        yield "is missing", every == self.bins
        yield "is known", every < self.bins
        for place, name in enumerate(self.names):
            yield f'is "{_short(shown(name))}"', every == place
        for place, edge in enumerate(self.edges):
            yield f"is at most {edge:,.6g}", every <= place
            yield f"is above {edge:,.6g}", (every > place) & (every < self.bins)


def looks(rows: Rows, features: tuple[Feature, ...]) -> list[Look]:
    """Each column in bins."""
    return [Look.of(feature, rows) for feature in features]


def _short(text: str) -> str:
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 3] + "..."


def _sampled(part: Dataset, rng: np.random.Generator) -> Dataset:
    if len(part) <= MAX_ROWS:
        return part
    codes, groups = pd.factorize(part.keys["group_id"])
    return part.rows((rng.random(len(groups)) < MAX_ROWS / len(part))[codes])
