"""The small view of a lead: each number as a smooth curve, and all that a lead did as one engagement index.

A hundred counts of the same deeds are noise to a line with a thousand wins. So the faded sums of all event
types enter as one sum, `engagement`, in which each type has a weight of its own; of it, and of every other
number, a cubic spline (de Boor 1978) is taken.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.interpolate import BSpline

from lead_propensity.features.catalogue import Feature
from lead_propensity.model.encoding import CategoryColumn, numbers_of, signed_log
from lead_propensity.model.lines import fit_line
from lead_propensity.model.storage import require_fields

DEGREE = 3
KNOTS = 4
"""Of a curve, at evenly spaced quantiles; two of them are its ends."""
FEW_VALUES = 4
"""A number with so few different values is a straight line."""
NARROW, LARGEST = 1e-100, 1e100
"""Numbers closer than the one are the same, and beyond the other they count as it."""
INDEX_STRENGTH = 1e-4
"""Of the line that weighs the event types: shrunk so hard that correlated types share their weight."""
DECAYED, COUNTED = "decayed_", "count_all__"
STEADY = ("days_since_creation", "days_since_event", "days_since_first_event")
"""Of what a lead did, beside the index."""


@dataclass(frozen=True)
class Curve:
    """One number as the columns of a cubic spline, or as itself; one column more where some were missing."""

    log: bool
    knots: tuple[float, ...]
    """From end to end, rising. Beyond its ends a curve stays level."""
    curved: bool
    """False: a straight line."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    missing: bool

    @classmethod
    def fit(cls, values: np.ndarray) -> Self:
        """`values` (n,): NaN missing, and so is what is not finite."""
        finite = np.isfinite(values)
        missing, seen = not bool(finite.all()), _bounded(values[finite])
        if len(seen) == 0:
            return cls(False, (0.0, 0.0), False, (0.0,), (1.0,), missing)
        log = float(seen.min()) >= 0 and float(seen.max()) > 10 * _middle(seen)
        seen = signed_log(seen) if log else seen
        knots = np.unique(np.quantile(seen, np.linspace(0, 1, KNOTS)))
        curved = len(np.unique(seen)) > FEW_VALUES and bool((np.diff(knots) > NARROW).all())
        curved = curved and len(knots) > 1
        ends = tuple(knots.tolist()) if curved else (float(seen.min()), float(seen.max()))
        curve = cls(log, ends, curved, (), (), missing)
        raw = curve._raw(seen)
        scales = np.where(raw.std(axis=0) > NARROW, raw.std(axis=0), 1.0)
        return replace(curve, means=tuple(raw.mean(axis=0).tolist()), scales=tuple(scales.tolist()))

    @property
    def width(self) -> int:
        return len(self.means) + self.missing

    def columns(self, values: np.ndarray) -> np.ndarray:
        """(n, width): standardised; 0 where the number is missing."""
        into = np.zeros((len(values), self.width))
        seen = np.isfinite(values)
        if seen.any():
            given = _bounded(values[seen])
            given = signed_log(given) if self.log else given
            into[seen, : len(self.means)] = (self._raw(given) - self.means) / self.scales
        if self.missing:
            into[:, -1] = ~seen
        return into

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError where its numbers are those of no curve."""
        require_fields(cls, tree)
        knots, means, scales = (tuple(tree[name]) for name in ("knots", "means", "scales"))
        rising = all(low < high for low, high in pairwise(knots)) or not tree["curved"]
        width = len(knots) + DEGREE - 2 if tree["curved"] else 1
        whole = len(means) == len(scales) == width and all(scale > 0 for scale in scales)
        if not (whole and rising and len(knots) > 1 and knots[0] <= knots[-1]):
            raise ValueError("a curve of the smooth line is not whole")
        return cls(tree["log"], knots, tree["curved"], means, scales, tree["missing"])

    def _raw(self, given: np.ndarray) -> np.ndarray:
        inside = np.clip(given, self.knots[0], self.knots[-1])
        if not self.curved:
            return np.asarray(inside[:, None])
        repeated = [*[self.knots[0]] * DEGREE, *self.knots, *[self.knots[-1]] * DEGREE]
        basis = BSpline.design_matrix(inside, np.array(repeated), DEGREE).toarray()
        # They add up to 1, so one of them says nothing new.
        return np.asarray(basis[:, 1:], dtype=np.float64)


def _bounded(values: np.ndarray) -> np.ndarray:
    """Numbers whose squares can be held."""
    return np.asarray(np.clip(values, -LARGEST, LARGEST), dtype=np.float64)


def _middle(seen: np.ndarray) -> float:
    above = seen[seen > 0]
    return float(np.median(above)) if len(above) else 0.0


@dataclass(frozen=True)
class Index:
    """The faded sums of all event types as one number: sum of weight x value, in units of its median."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    """Not negative."""
    tops: tuple[float, ...]
    """The largest value of each sum in the fit part: a type that returns counts no more than it ever did."""
    means: tuple[float, ...]
    """The mean of each sum in the fit part: what a lead's own is told from."""

    @classmethod
    def fit(cls, names: Sequence[str], X: pd.DataFrame, won: np.ndarray) -> Self | None:
        """None where nothing that leads do goes with winning."""
        values = np.column_stack([_sum_of(X, name) for name in names])
        scales = np.where(values.std(axis=0) > 0, values.std(axis=0), np.inf)
        _, found = fit_line((values - values.mean(axis=0)) / scales, won, INDEX_STRENGTH)
        weights = np.maximum(found, 0.0) / scales
        middle = _middle(np.sum(values * weights, axis=1))
        if middle == 0.0:
            return None
        tops, means = values.max(axis=0), values.mean(axis=0)
        arrays = ((weights / middle).tolist(), tops.tolist(), means.tolist())
        return cls(tuple(names), *(tuple(numbers) for numbers in arrays))

    def value(self, X: pd.DataFrame) -> np.ndarray:
        total = np.zeros(len(X))
        for name, weight, top in zip(self.names, self.weights, self.tops, strict=True):
            total += weight * np.minimum(_sum_of(X, name), top)
        return total

    def above_mean(self, X: pd.DataFrame) -> np.ndarray:
        """(n, names): by how much each sum moves the index away from its value at `means`."""
        moved = np.empty((len(X), len(self.names)))
        for place, name in enumerate(self.names):
            counted = np.minimum(_sum_of(X, name), self.tops[place])
            moved[:, place] = self.weights[place] * (counted - self.means[place])
        return moved

    @property
    def middle(self) -> float:
        """The index at `means`."""
        return float(sum(w * mean for w, mean in zip(self.weights, self.means, strict=True)))

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError where it is no sum of weight x value."""
        require_fields(cls, tree)
        arrays = [tuple(tree[name]) for name in ("names", "weights", "tops", "means")]
        if not arrays[0] or len({len(one) for one in arrays}) > 1 or min(arrays[1]) < 0:
            raise ValueError("the engagement index has not one weight >= 0 for each of its sums")
        return cls(*arrays)


def _sum_of(X: pd.DataFrame, name: str) -> np.ndarray:
    values = numbers_of(X[name])
    return _bounded(np.where(np.isfinite(values), values, 0.0))


@dataclass(frozen=True)
class SmoothEncoding:
    """What the smooth line sees: `Encoding`'s side for a line, with fewer columns and other shapes."""

    index: Index | None
    curves: dict[str, Curve]
    """By feature; the one of `index` stands under the name of its first sum."""
    categories: tuple[CategoryColumn, ...]

    @classmethod
    def fit(
        cls, X: pd.DataFrame, lead_ids: pd.Series, won: np.ndarray, features: Sequence[Feature]
    ) -> Self:
        """`features`: those that vary in the fit part."""
        numbers = [feature for feature in features if feature.column_type == "number"]
        sums = sorted(feature.name for feature in numbers if _is_faded_sum(feature))
        index = Index.fit(sums, X, won) if sums else None
        curves = {index.names[0]: Curve.fit(index.value(X))} if index else {}
        for feature in numbers:
            if index is None or _stands_alone(feature):
                curves[feature.name] = Curve.fit(numbers_of(X[feature.name]))
        texts = [f.name for f in features if f.column_type == "category"]
        return cls(index, curves, tuple(CategoryColumn.fit(n, X[n], lead_ids) for n in texts))

    @property
    def names(self) -> list[str]:
        return [*self.curves, *(column.name for column in self.categories)]

    @property
    def further(self) -> tuple[str, ...]:
        """The sums of the index beside the first, under whose name its curve stands."""
        return self.index.names[1:] if self.index else ()

    def index_columns(self, value: np.ndarray) -> np.ndarray:
        """(n, width): the columns of the index's curve where the index has this `value`; see `Curve`."""
        assert self.index is not None
        return self.curves[self.index.names[0]].columns(value)

    @property
    def linear_owners(self) -> np.ndarray:
        """For each column of `for_linear` the position of its feature in `names`."""
        widths = [curve.width for curve in self.curves.values()]
        return np.repeat(np.arange(len(self.names)), [*widths, *(c.width for c in self.categories)])

    def for_linear(self, X: pd.DataFrame) -> np.ndarray:
        """n x len(linear_owners), without missing values."""
        matrix = np.empty((len(X), len(self.linear_owners)), order="F")
        place = 0
        for name, curve in self.curves.items():
            is_index = self.index is not None and name == self.index.names[0]
            values = self.index.value(X) if is_index and self.index else numbers_of(X[name])
            matrix[:, place : place + curve.width] = curve.columns(values)
            place += curve.width
        for column in self.categories:
            column.write(column.codes(X[column.name]), matrix[:, place : place + column.width])
            place += column.width
        return matrix

    def to_json(self) -> dict[str, Any]:
        return {
            "index": None if self.index is None else asdict(self.index),
            "curves": [{"name": name, **asdict(curve)} for name, curve in self.curves.items()],
            "categories": [asdict(column) for column in self.categories],
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError or TypeError where the tree is no such encoding."""
        index = None if tree["index"] is None else Index.from_json(tree["index"])
        curves = {
            row["name"]: Curve.from_json({key: row[key] for key in row if key != "name"})
            for row in tree["curves"]
        }
        if len(curves) != len(tree["curves"]) or (index and index.names[0] not in curves):
            raise ValueError("the smooth line has not one curve for each of its numbers")
        categories = []
        for row in tree["categories"]:
            require_fields(CategoryColumn, row)
            categories.append(CategoryColumn(row["name"], tuple(row["levels"]), row["rare"]))
        return cls(index, curves, tuple(categories))


def _is_faded_sum(feature: Feature) -> bool:
    return feature.kind == "implicit" and feature.name.startswith(DECAYED)


def _stands_alone(feature: Feature) -> bool:
    """Beside the index: what a lead is, how long it has been known, and deeds that speak against interest."""
    against = feature.interest == "down" and feature.name.startswith(COUNTED)
    return feature.kind == "explicit" or feature.name in STEADY or against
