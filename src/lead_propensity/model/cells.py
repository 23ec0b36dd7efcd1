"""Values as cells: bins of a number, levels of a category; and how many independent rows a count is worth."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.features.kept import common
from lead_propensity.model.encoding import numbers_of

BINS = 10
LEVELS = 10
DIGITS = 6
"""Of an edge: enough to part values, too few to tell one lead's."""


@dataclass(frozen=True)
class Cells:
    """Where the values of one column are counted. After the cells of a number (edges + 1) or of the
    levels (levels + other) comes the one of what is missing."""

    name: str
    edges: tuple[float, ...] | None
    """Of a number, ascending; a value on an edge lies below it. None: a category."""
    levels: tuple[str, ...]
    """Of a category, each seen at so many leads that it names nobody."""
    counts: tuple[int, ...]
    effective: float
    """As many independent rows would tell as much: leads come back, and groups are alike."""

    @classmethod
    def of_numbers(cls, name: str, values: np.ndarray, group: np.ndarray) -> Self:
        """Deciles; where many values are equal there are fewer."""
        seen = values[~np.isnan(values)]
        edges: list[float] = []
        if len(seen):
            shares = np.arange(1, BINS) / BINS
            found = np.quantile(seen, shares, method="inverted_cdf")
            edges = sorted({float(f"{edge:.{DIGITS}g}") for edge in found if np.isfinite(edge)})
        return cls(name, tuple(edges), (), (), 0.0).filled(values, group)

    @classmethod
    def of_texts(cls, name: str, values: pd.Series, lead_id: np.ndarray, group: np.ndarray) -> Self:
        """The levels of most leads, of those that may be named: see `features.kept`."""
        levels = tuple(sorted(common(values, lead_id)[:LEVELS]))
        return cls(name, None, levels, (), 0.0).filled(values, group)

    @classmethod
    def of_words(
        cls, name: str, words: tuple[str, ...], values: np.ndarray, group: np.ndarray
    ) -> Self:
        """The levels are given, such as the bands."""
        return cls(name, None, words, (), 0.0).filled(pd.Series(values, dtype=object), group)

    def filled(self, values: Any, group: np.ndarray) -> Self:
        """The same cells with the counts of other values."""
        return self.counted(self.codes(values), group)

    def counted(self, codes: np.ndarray, group: np.ndarray) -> Self:
        """The same cells with the counts of `codes`; `group` (n,) holds whose each row is."""
        counts = np.bincount(codes, minlength=self.width)
        told = float(f"{effective_rows(codes, group):.{DIGITS}g}")
        return type(self)(
            self.name, self.edges, self.levels, tuple(int(count) for count in counts), told
        )

    @property
    def width(self) -> int:
        return 2 + len(self.levels if self.edges is None else self.edges)

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def codes(self, values: Any) -> np.ndarray:
        """(n,) int8: the cell of each value. `values` is an array or column of the kind it was made of."""
        missing = self.width - 1
        if self.edges is None:
            code = {level: place for place, level in enumerate(self.levels)}
            texts = values.astype(object)
            codes = texts.map(code).to_numpy(np.float64, na_value=np.nan)
            other = np.where(texts.isna().to_numpy(), missing, len(self.levels))
            return np.where(np.isnan(codes), other, codes).astype(np.int8)
        numbers = numbers_of(values) if isinstance(values, pd.Series) else values
        places = np.searchsorted(np.array(self.edges), numbers, side="left")
        return np.where(np.isnan(numbers), missing, places).astype(np.int8)

    def words(self, place: int) -> str:
        """A cell, for people.

        >>> Cells("visits", (0.0, 3.0), (), (), 0.0).words(1), Cells("visits", (0.0,), (), (), 0.0).words(2)
        ('over 0 up to 3', 'missing')
        """
        if place == self.width - 1:
            return "missing"
        if self.edges is None:
            return self.levels[place] if place < len(self.levels) else "any other"
        below = f"over {self.edges[place - 1]:,.6g}" if place else ""
        above = f"up to {self.edges[place]:,.6g}" if place < len(self.edges) else ""
        return " ".join(part for part in (below, above) if part) or "any number"

    def require_whole(self) -> None:
        """Raises ValueError where counts, edges and levels do not belong together."""
        edges = self.edges or ()
        if len(self.counts) != self.width or any(a >= b for a, b in pairwise(edges)):
            raise ValueError(f"the cells of {self.name!r} and their counts do not belong together")
        if min(self.counts) < 0 or not 0 <= self.effective <= self.rows:
            raise ValueError(f"the counts of {self.name!r} cannot be")


def effective_rows(codes: np.ndarray, group: np.ndarray) -> float:
    """Rows over their mean design effect (at least 1): Rao and Scott, "The analysis of categorical data from
    complex sample surveys" (1981), the first-order correction.

    A hundred leads, each seen twice in the same cell:

    >>> effective_rows(np.repeat(np.arange(100) % 2, 2), np.repeat(np.arange(100), 2))
    99.0
    """
    n = len(codes)
    names, place = np.unique(codes, return_inverse=True)
    whose, owners = pd.factorize(group)
    if n == 0 or len(owners) == n:
        return float(n)
    if len(names) < 2 or len(owners) < 2:
        return float(len(owners))
    table = np.bincount(whose * len(names) + place, minlength=len(owners) * len(names))
    table = table.reshape(len(owners), len(names)).astype(np.float64)
    share = table.sum(axis=0) / n
    away = table - table.sum(axis=1, keepdims=True) * share
    spread = np.sum(away * away, axis=0) * len(owners) / (len(owners) - 1) / n
    effect = float(np.sum(spread / share)) / (len(names) - 1)
    return n / max(1.0, effect)
