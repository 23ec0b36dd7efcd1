"""All that a lead did as one number, the engagement index, and its product with the lead's age.

Each event type's faded sum has a weight of its own. The weights are told by the deals: first as if the log-odds
rose with the index in a straight line, then along the curve that they follow, as in a single-index model
(Ichimura, Journal of Econometrics 58, 1993), by steps of Gauss and Newton.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from lead_propensity.model.curves import NARROW, bounded, middle_of
from lead_propensity.model.encoding import numbers_of
from lead_propensity.model.lines import fit_line
from lead_propensity.model.storage import require_fields

INDEX_STRENGTH = 1e-4
"""Of the line that weighs the event types: shrunk so hard that correlated types share their weight."""
STEP_STRENGTH = 1e-3
"""Of a step that moves the weights: scikit-learn's C, too."""
BESIDE = 1e-4
"""In units of the engagement index: so near a value a curve is taken as straight."""


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
        for place, weight in enumerate(self.weights):
            total += weight * self._counted(X, place)
        return total

    def moved(self, X: pd.DataFrame, won: np.ndarray, score: np.ndarray, slope: np.ndarray) -> Self:
        """One step of Gauss and Newton from weights that gave `score`, shrunk toward them.

        `score` (n,) is in log-odds, and `slope` (n,) by how much it rises with the index.
        """
        sums = np.column_stack([self._counted(X, place) for place in range(len(self.names))])
        spread = np.where(sums.std(axis=0) > 0, sums.std(axis=0), np.inf)
        chance = expit(score)
        weight = chance * (1.0 - chance)
        rise = sums / spread * slope[:, None]
        rise -= np.average(rise, axis=0, weights=weight)
        bend = (rise * weight[:, None]).T @ rise + np.eye(len(self.names)) / STEP_STRENGTH
        step = np.linalg.solve(bend, rise.T @ (won - chance)) / spread
        weights = np.maximum(np.array(self.weights) + step, 0.0)
        middle = middle_of(np.sum(sums * weights, axis=1))
        return self if middle == 0.0 else replace(self, weights=tuple((weights / middle).tolist()))

    def _counted(self, X: pd.DataFrame, place: int) -> np.ndarray:
        return np.asarray(np.minimum(_sum_of(X, self.names[place]), self.tops[place]))

    def above_mean(self, X: pd.DataFrame) -> np.ndarray:
        """(n, names): by how much each sum moves the index away from its value at `means`."""
        moved = np.empty((len(X), len(self.names)))
        for place, weight in enumerate(self.weights):
            moved[:, place] = weight * (self._counted(X, place) - self.means[place])
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
