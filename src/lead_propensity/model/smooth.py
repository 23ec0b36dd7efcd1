"""The small view of a lead: each number as a smooth curve, and all that a lead did as one engagement index.

A hundred counts of the same deeds are noise to a line with a thousand wins. So the faded sums of all event
types enter as one sum, `engagement`, in which each type has a weight of its own; of it, and of every other
number, a cubic spline (de Boor 1978) is taken. The same deeds mean another thing in a new lead than in one
known for long: so the product of engagement and age is a column more.

Each won lead tells of its deal once, at the last look at it before (`lines.told_once`): so the index learns
what goes before a deal, and not how often a lead was looked at.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lead_propensity.features.catalogue import Feature
from lead_propensity.model.curves import NARROW, Curve, bounded, middle_of
from lead_propensity.model.encoding import CategoryColumn, numbers_of
from lead_propensity.model.lines import fit_line, told_once
from lead_propensity.model.storage import require_fields

INDEX_STRENGTH = 1e-4
"""Of the line that weighs the event types: shrunk so hard that correlated types share their weight."""
DECAYED, COUNTED = "decayed_", "count_all__"
AGE = "days_since_creation"
"""Of what a lead did, beside the index, which fades: silence and age are told by these two."""
TOLD_BY_OTHERS, OF_CRITERION = ("criteria_met", "known_attributes"), "criterion__"
"""What a lead says, counted once more: here each attribute speaks for itself."""


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
        middle = middle_of(np.sum(values * weights, axis=1))
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


@dataclass(frozen=True)
class LogScale:
    """log(1 + a number that is not negative), standardised; beyond its ends in the fit part it stays level."""

    low: float
    high: float
    mean: float
    scale: float

    @classmethod
    def fit(cls, values: np.ndarray) -> Self | None:
        """`values` (n,): NaN missing. None where they do not differ."""
        seen = _logged(values[np.isfinite(values)])
        if len(seen) == 0 or seen.std() <= NARROW:
            return None
        return cls(*(float(one) for one in (seen.min(), seen.max(), seen.mean(), seen.std())))

    def of(self, values: np.ndarray) -> np.ndarray:
        """(n,): 0, which is the mean, where the number is missing."""
        inside = np.clip(_logged(values), self.low, self.high)
        return np.where(np.isfinite(values), (inside - self.mean) / self.scale, 0.0)


def _logged(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(np.maximum(bounded(values), 0.0)))


@dataclass(frozen=True)
class Interaction:
    """The product of engagement and age, each on its `LogScale`."""

    engagement: LogScale
    age: LogScale

    @classmethod
    def fit(cls, engagement: np.ndarray, age: np.ndarray) -> Self | None:
        """None where one of them does not differ between leads."""
        done, known = LogScale.fit(engagement), LogScale.fit(age)
        return None if done is None or known is None else cls(done, known)

    def column(self, engagement: np.ndarray, age: np.ndarray) -> np.ndarray:
        """(n,)"""
        return np.asarray(self.engagement.of(engagement) * self.age.of(age))

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Self:
        """Raises ValueError where it is no product of two scales."""
        require_fields(cls, tree)
        scales = {name: LogScale(**tree[name]) for name in ("engagement", "age")}
        if any(one.scale <= 0 or one.low > one.high for one in scales.values()):
            raise ValueError("the interaction of engagement and age has an empty scale")
        return cls(**scales)


def _sum_of(X: pd.DataFrame, name: str) -> np.ndarray:
    values = numbers_of(X[name])
    return bounded(np.where(np.isfinite(values), values, 0.0))


@dataclass(frozen=True)
class SmoothEncoding:
    """What the smooth line sees: `Encoding`'s side for a line, with fewer columns and other shapes."""

    index: Index | None
    curves: dict[str, Curve]
    """By feature; the one of `index` stands under the name of its first sum."""
    categories: tuple[CategoryColumn, ...]
    interaction: Interaction | None
    """The last column, which stands under the name of the age."""

    @classmethod
    def fit(
        cls, X: pd.DataFrame, lead_ids: pd.Series, won: np.ndarray, features: Sequence[Feature]
    ) -> Self:
        """`features`: those that vary in the fit part. A lead's rows stand in the order of time."""
        numbers = [feature for feature in features if feature.column_type == "number"]
        sums = sorted(feature.name for feature in numbers if _is_faded_sum(feature))
        index = Index.fit(sums, X, told_once(lead_ids, won)) if sums else None
        engagement = index.value(X) if index else np.zeros(len(X))
        curves = {index.names[0]: Curve.fit(engagement)} if index else {}
        for feature in numbers:
            if index is None or _stands_alone(feature):
                values = numbers_of(X[feature.name])
                curves[feature.name] = Curve.fit(values, stepped=feature.kind == "explicit")
        texts = [f.name for f in features if f.column_type == "category"]
        categories = tuple(CategoryColumn.fit(name, X[name], lead_ids) for name in texts)
        interaction = None
        if index and AGE in curves:
            interaction = Interaction.fit(engagement, numbers_of(X[AGE]))
        return cls(index, curves, categories, interaction)

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
        widths += [column.width for column in self.categories]
        owners = np.repeat(np.arange(len(self.names)), widths)
        return np.append(owners, self.names.index(AGE)) if self.interaction else owners

    def for_linear(self, X: pd.DataFrame) -> np.ndarray:
        """n x len(linear_owners), without missing values."""
        matrix = np.empty((len(X), len(self.linear_owners)), order="F")
        place, engagement = 0, self.index.value(X) if self.index else np.zeros(len(X))
        for name, curve in self.curves.items():
            is_index = self.index is not None and name == self.index.names[0]
            values = engagement if is_index else numbers_of(X[name])
            matrix[:, place : place + curve.width] = curve.columns(values)
            place += curve.width
        for column in self.categories:
            column.write(column.codes(X[column.name]), matrix[:, place : place + column.width])
            place += column.width
        if self.interaction:
            matrix[:, place] = self.interaction.column(engagement, numbers_of(X[AGE]))
        return matrix

    def to_json(self) -> dict[str, Any]:
        return {
            "index": None if self.index is None else asdict(self.index),
            "curves": [{"name": name, **asdict(curve)} for name, curve in self.curves.items()],
            "categories": [asdict(column) for column in self.categories],
            "interaction": None if self.interaction is None else asdict(self.interaction),
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
        interaction = None
        if tree["interaction"] is not None:
            interaction = Interaction.from_json(tree["interaction"])
            if index is None or AGE not in curves:
                raise ValueError("the smooth line lacks what its interaction is made of")
        return cls(index, curves, tuple(categories), interaction)


def _is_faded_sum(feature: Feature) -> bool:
    return feature.kind == "implicit" and feature.name.startswith(DECAYED)


def _stands_alone(feature: Feature) -> bool:
    """Beside the index: what a lead is, how long it has been known, and deeds that speak against interest."""
    against = feature.interest == "down" and feature.name.startswith(COUNTED)
    again = feature.name in TOLD_BY_OTHERS or feature.name.startswith(OF_CRITERION)
    said = feature.kind == "explicit" and not again
    return said or feature.name == AGE or against
