"""The members: each turns the catalogue's columns into log-odds and says what made them.

All share one contract: `raw_score(X)` is n log-odds; `contributions(X)` is n x (names + 1) parts,
the last one being the constant, whose row sums are the raw score.
"""

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import lightgbm
import numpy as np
import pandas as pd
from scipy.special import logit

from lead_propensity.model import treetext
from lead_propensity.model.encoding import Encoding, numbers_of
from lead_propensity.model.engagement import BESIDE, Index
from lead_propensity.model.lines import Lesson, line
from lead_propensity.model.smooth import AGE, SmoothEncoding
from lead_propensity.model.treeshap import Forest

Parameters = Mapping[str, Any]
FEW_FEATURES = 0.6
"""Up to this share histograms column by column are quicker (LightGBM 4.7, 62,034 rows of 114 features)."""
BATCH = 25_000
"""Rows that one thread scores at a time."""


class Learner(Protocol):
    """See the module."""

    @property
    def names(self) -> list[str]: ...

    def raw_score(self, X: pd.DataFrame) -> np.ndarray: ...

    def contributions(self, X: pd.DataFrame) -> np.ndarray: ...

    def weights(self) -> np.ndarray:
        """How much each of `names` matters, adding up to 1 (or all 0)."""
        ...


@dataclass(frozen=True)
class BaseRate:
    """The same log-odds for every lead."""

    log_odds: float

    @classmethod
    def fit(cls, won: np.ndarray) -> Self:
        return cls(float(logit((np.sum(won) + 0.5) / (len(won) + 1))))

    @property
    def names(self) -> list[str]:
        return []

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        return np.full(len(X), self.log_odds)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        return np.full((len(X), 1), self.log_odds)

    def weights(self) -> np.ndarray:
        return np.zeros(0)


@dataclass(frozen=True)
class Logistic:
    """L2 logistic regression; contributions are relative to the fit part's average lead."""

    encoding: Encoding | SmoothEncoding
    bias: float
    coefficients: np.ndarray
    centre: np.ndarray
    """Mean of each encoded column in the fit part."""
    spread: np.ndarray
    """Standard deviation of each encoded column in the fit part."""

    @classmethod
    def fit(cls, encoding: Encoding | SmoothEncoding, lesson: Lesson, strength: float) -> Self:
        """The lesson's matrix is `encoding.for_linear`; `strength` is scikit-learn's C: small shrinks more."""
        bias, coefficients = lesson.fit(strength)
        matrix = lesson.matrix
        return cls(encoding, bias, coefficients, matrix.mean(axis=0), matrix.std(axis=0))

    @property
    def names(self) -> list[str]:
        return [*self.encoding.names, *self.encoding.further]

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        return line(self.encoding.for_linear(X), self.bias, self.coefficients)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        matrix = self.encoding.for_linear(X)
        by_feature = np.zeros((len(X), len(self.names) + 1), order="F")
        for column, owner in enumerate(self.encoding.linear_owners):
            moved = matrix[:, column] - self.centre[column]
            by_feature[:, owner] += moved * self.coefficients[column]
        by_feature[:, -1] = self.bias + float(np.sum(self.centre * self.coefficients))
        if isinstance(self.encoding, SmoothEncoding) and self.encoding.index:
            self._hand_out(self.encoding, self.encoding.index, X, by_feature)
        return by_feature

    def _hand_out(
        self, encoding: SmoothEncoding, index: Index, X: pd.DataFrame, parts: np.ndarray
    ) -> None:
        """Give what the index adds to the sums that moved the index, each by how far it moved it.

        Integrated gradients on the straight way from the fit part's mean (Sundararajan et al. 2017): along
        it every sum's share of the index is constant, so the mean slope of what it adds is all that is needed.
        That is its curve, and of its product with the age, which is 0 at the mean age, a half (Shapley 1953).
        """
        places = [self.names.index(name) for name in index.names]
        moved, around = index.above_mean(X), index.middle + np.array([0, -BESIDE, BESIDE])
        away = np.zeros(len(X))
        for place in range(len(places)):
            away += moved[:, place]
        at_middle, *beside = self._of_index(encoding, places[0], around)
        added = parts[:, places[0]] - at_middle
        slope = np.full(len(X), (beside[1] - beside[0]) / (2 * BESIDE))
        if encoding.interaction:
            scales = encoding.interaction
            half = 0.5 * self.coefficients[-1] * scales.age.of(numbers_of(X[AGE]))
            start, *beside = scales.engagement.of(around)
            due = half * (scales.engagement.of(index.middle + away) - start)
            added += due
            slope += half * (beside[1] - beside[0]) / (2 * BESIDE)
            parts[:, self.names.index(AGE)] -= due
        far = np.abs(away) > BESIDE
        slope[far] = added[far] / away[far]
        parts[:, -1] += added + at_middle
        for place, owner in enumerate(places):
            parts[:, owner] = moved[:, place] * slope
            parts[:, -1] -= parts[:, owner]

    def _of_index(self, encoding: SmoothEncoding, place: int, value: np.ndarray) -> np.ndarray:
        """(n,): what the curve, of the feature at `place`, adds where the index has this `value`."""
        own = encoding.linear_owners == place
        return line(encoding.index_columns(value) - self.centre[own], 0.0, self.coefficients[own])

    def weights(self) -> np.ndarray:
        sizes = np.abs(self.coefficients) * self.spread
        owners = self.encoding.linear_owners
        shares = np.bincount(owners, weights=sizes, minlength=len(self.names))
        if isinstance(self.encoding, SmoothEncoding) and self.encoding.index:
            index = self.encoding.index
            places = [self.names.index(name) for name in index.names]
            if self.encoding.interaction:
                shares[owners[-1]] -= sizes[-1] / 2
                shares[places[0]] += sizes[-1] / 2
            shares[places] = shares[places[0]] * _shares(np.array(index.weights) * index.means)
        return _shares(shares)

    def to_json(self) -> dict[str, Any]:
        arrays = {"coefficients": self.coefficients, "centre": self.centre, "spread": self.spread}
        return {"bias": self.bias, **{name: array.tolist() for name, array in arrays.items()}}

    @classmethod
    def from_json(cls, tree: dict[str, Any], encoding: Encoding | SmoothEncoding) -> Self:
        names = ("coefficients", "centre", "spread")
        arrays = {name: np.array(tree[name], dtype=np.float64) for name in names}
        if any(array.shape != encoding.linear_owners.shape for array in arrays.values()):
            raise ValueError("as many numbers as the encoding has columns are needed")
        bias = float(tree["bias"])
        if not np.isfinite(np.concatenate([[bias], *arrays.values()])).all():
            raise ValueError("the logistic model lacks a number")
        return cls(encoding, bias, **arrays)


@dataclass(frozen=True)
class BoostedTrees:
    """LightGBM, kept as its own text."""

    encoding: Encoding
    text: str

    @classmethod
    def fit(cls, encoding: Encoding, data: lightgbm.Dataset, parameters: Parameters) -> Self:
        """`data` from `binned`; `parameters` hold `num_iterations` too."""
        booster = lightgbm.train(dict(parameters), data)
        return cls(encoding, _without_threads(booster.model_to_string()))

    @classmethod
    def from_text(cls, encoding: Encoding, text: str) -> Self:
        """Raises LightGBMError or ValueError where the text is not such a model.

        LightGBM ends the whole process on some damaged texts, so it is read here first.
        """
        treetext.require_whole(text, len(encoding.columns))
        trees = cls(encoding, text)
        if trees.booster.num_feature() != len(encoding.columns):
            raise ValueError(f"the trees want {trees.booster.num_feature()} columns")
        return trees

    @cached_property
    def forest(self) -> Forest:
        """The same trees, as `contributions` wants them."""
        return Forest.of(treetext.trees(self.text))

    @cached_property
    def booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.text)

    @property
    def names(self) -> list[str]:
        return self.encoding.names

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        """Batches side by side, one LightGBM thread each.

        Its number of threads belongs to the process: a call that asks for more, while another thread of
        ours bins its rows, makes that one write where no memory is.
        """
        return in_batches(self._raw_score, X)

    def _raw_score(self, X: pd.DataFrame) -> np.ndarray:
        matrix = self.encoding.for_trees(X)
        return np.asarray(self.booster.predict(matrix, raw_score=True, num_threads=1), np.float64)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        return self.forest.contributions(self.encoding.for_trees(X))

    def weights(self) -> np.ndarray:
        return _shares(self.booster.feature_importance("gain").astype(np.float64))


Member = Logistic | BoostedTrees


@dataclass(frozen=True)
class Blend:
    """Members mixed in log-odds: `offset` + the sum of weight x log-odds. The first one is the line.

    With weights that add up to less than 1 the blend is drawn to the base rate, which `offset` holds.
    """

    members: tuple[Member, ...]
    weights_of: tuple[float, ...]
    offset: float

    def __post_init__(self) -> None:
        """Raises ValueError for weights that are no shares."""
        if len(self.weights_of) != len(self.members) or not isinstance(self.members[0], Logistic):
            raise ValueError("a weight for each member is needed, the first of a line")
        if min(self.weights_of) < 0.0 or not 0.0 < sum(self.weights_of) <= 1.0 + 1e-9:
            raise ValueError(f"the members' weights are {self.weights_of}; shares of 1 are needed")
        if not np.isfinite(self.offset):
            raise ValueError(f"the blend's offset is {self.offset}")
        unknown = {name for member in self.members for name in member.names} - set(self.names)
        if unknown:
            raise ValueError(f"the line does not know {min(unknown)!r}, which another member uses")

    @property
    def line(self) -> Logistic:
        assert isinstance(self.members[0], Logistic), "checked above"
        return self.members[0]

    @property
    def names(self) -> list[str]:
        """All that a member uses; the line uses every one."""
        return self.line.names

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        return self.with_line(X)[0]

    def with_line(self, X: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The blend's raw score, and that of its line alone."""
        line, score = self.line.raw_score(X), np.full(len(X), self.offset)
        for weight, member in zip(self.weights_of, self.members, strict=True):
            if weight:
                score += weight * (line if member is self.line else member.raw_score(X))
        return score, line

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        parts = np.zeros((len(X), len(self.names) + 1), order="F")
        parts[:, -1] = self.offset
        for weight, member in zip(self.weights_of, self.members, strict=True):
            if weight:
                added = member.contributions(X)
                for column, place in enumerate([*self._places(member), -1]):
                    parts[:, place] += weight * added[:, column]
        return parts

    def weights(self) -> np.ndarray:
        shares = np.zeros(len(self.names))
        for weight, member in zip(self.weights_of, self.members, strict=True):
            shares[self._places(member)] += weight * member.weights()
        return _shares(shares)

    def _places(self, member: Member) -> list[int]:
        """Of the member's features among `names`."""
        place = {name: number for number, name in enumerate(self.names)}
        return [place[name] for name in member.names]


def in_batches(work: Callable[[pd.DataFrame], np.ndarray], X: pd.DataFrame) -> np.ndarray:
    """What `work` makes of the rows of X, batch by batch and side by side; each row along the first axis."""
    if len(X) <= BATCH:
        return work(X)
    batches = [X.iloc[start : start + BATCH] for start in range(0, len(X), BATCH)]
    with ThreadPoolExecutor(min(len(batches), os.cpu_count() or 1)) as pool:
        return np.concatenate(list(pool.map(work, batches)))


def binned(matrix: np.ndarray, won: np.ndarray, categories: list[int]) -> lightgbm.Dataset:
    """The matrix in LightGBM's bins; columns are named by place, as it refuses some names."""
    return lightgbm.Dataset(
        matrix,
        label=won,
        feature_name=[f"Column_{place}" for place in range(matrix.shape[1])],
        categorical_feature=categories,
        params={"feature_pre_filter": False, "max_bin": 127, "verbosity": -1, "num_threads": 1},
    )


def tree_parameters(seed: int, settings: Parameters) -> dict[str, Any]:
    """A boosted model's own `settings`, with what every one here shares; one thread.

    Where a tree uses few of the features, histograms are made column by column, else row by row: whichever
    is quicker. The trees are the same.
    """
    few = settings.get("feature_fraction", 1.0) <= FEW_FEATURES
    return {
        "objective": "binary",
        "learning_rate": 0.05,
        "max_bin": 127,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise" if few else "force_row_wise": True,
        "seed": seed,
        "num_threads": 1,
        "verbosity": -1,
        **settings,
    }


def _without_threads(text: str) -> str:
    return re.sub(r"^\[num_threads: \d+\]\n", "", text, flags=re.MULTILINE)


def _shares(sizes: np.ndarray) -> np.ndarray:
    total = float(sizes.sum())
    return sizes / total if total > 0 else np.zeros(len(sizes))
