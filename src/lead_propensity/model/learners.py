"""The members: each turns the catalogue's columns into log-odds and says what made them.

All share one contract: `raw_score(X)` is n log-odds; `contributions(X)` is n x (names + 1) parts,
the last one being the constant, whose row sums are the raw score.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import lightgbm
import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from lead_propensity.model import treetext
from lead_propensity.model.encoding import Encoding

Parameters = Mapping[str, Any]


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

    encoding: Encoding
    bias: float
    coefficients: np.ndarray
    centre: np.ndarray
    """Mean of each encoded column in the fit part."""
    spread: np.ndarray
    """Standard deviation of each encoded column in the fit part."""

    @classmethod
    def fit(cls, encoding: Encoding, matrix: np.ndarray, won: np.ndarray, strength: float) -> Self:
        """`matrix` is `encoding.for_linear`; `strength` is scikit-learn's C: small shrinks more."""
        bias, coefficients = fit_line(matrix, won, strength)
        return cls(encoding, bias, coefficients, matrix.mean(axis=0), matrix.std(axis=0))

    @property
    def names(self) -> list[str]:
        return self.encoding.names

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        return line(self.encoding.for_linear(X), self.bias, self.coefficients)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        parts = (self.encoding.for_linear(X) - self.centre) * self.coefficients
        by_feature = np.zeros((len(X), len(self.names) + 1))
        for column, owner in enumerate(self.encoding.linear_owners):
            by_feature[:, owner] += parts[:, column]
        by_feature[:, -1] = self.bias + float(self.centre @ self.coefficients)
        return by_feature

    def weights(self) -> np.ndarray:
        sizes = np.abs(self.coefficients) * self.spread
        owners = self.encoding.linear_owners
        return _shares(np.bincount(owners, weights=sizes, minlength=len(self.names)))

    def to_json(self) -> dict[str, Any]:
        arrays = {"coefficients": self.coefficients, "centre": self.centre, "spread": self.spread}
        return {"bias": self.bias, **{name: array.tolist() for name, array in arrays.items()}}

    @classmethod
    def from_json(cls, tree: dict[str, Any], encoding: Encoding) -> Self:
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
    def booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.text)

    @property
    def names(self) -> list[str]:
        return self.encoding.names

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        score = self.booster.predict(self.encoding.for_trees(X), raw_score=True)
        return np.asarray(score, dtype=np.float64)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        parts = self.booster.predict(self.encoding.for_trees(X), pred_contrib=True)
        return np.asarray(parts, dtype=np.float64)

    def weights(self) -> np.ndarray:
        return _shares(self.booster.feature_importance("gain").astype(np.float64))


@dataclass(frozen=True)
class Blend:
    """Both members, mixed in log-odds; `weight` is the share of the trees."""

    logistic: Logistic
    trees: BoostedTrees
    weight: float

    def __post_init__(self) -> None:
        """Raises ValueError for a weight that is no share."""
        if not 0.0 <= self.weight <= 1.0:
            raise ValueError(f"the trees' weight is {self.weight}; a share from 0 to 1 is needed")

    @property
    def names(self) -> list[str]:
        return self.logistic.names

    def raw_score(self, X: pd.DataFrame) -> np.ndarray:
        return blended(self.logistic.raw_score(X), self.trees.raw_score(X), self.weight)

    def contributions(self, X: pd.DataFrame) -> np.ndarray:
        return blended(self.logistic.contributions(X), self.trees.contributions(X), self.weight)

    def weights(self) -> np.ndarray:
        return blended(self.logistic.weights(), self.trees.weights(), self.weight)


def blended(logistic: np.ndarray, trees: np.ndarray, weight: float) -> np.ndarray:
    """The mixture of two arrays of log-odds, or of their parts."""
    mixed: np.ndarray = (1.0 - weight) * logistic + weight * trees
    return mixed


def fit_line(matrix: np.ndarray, won: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
    """Intercept and coefficients, by Newton's method on one thread: threads would change sums."""
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-6)
    with threadpool_limits(limits=1):
        model.fit(matrix, won)
    return float(model.intercept_[0]), np.asarray(model.coef_[0], dtype=np.float64)


def line(matrix: np.ndarray, bias: float, coefficients: np.ndarray) -> np.ndarray:
    """Log-odds of a logistic model. Column by column: a row's bits do not depend on the rows beside it."""
    score = np.full(len(matrix), bias)
    for column in np.flatnonzero(coefficients):
        score += coefficients[column] * matrix[:, column]
    return score


def binned(matrix: np.ndarray, won: np.ndarray, categories: list[int]) -> lightgbm.Dataset:
    """The matrix in LightGBM's bins; columns are named by place, as it refuses some names."""
    return lightgbm.Dataset(
        matrix,
        label=won,
        feature_name=[f"Column_{place}" for place in range(matrix.shape[1])],
        categorical_feature=categories,
        params={"feature_pre_filter": False, "max_bin": 127, "verbosity": -1},
    )


def tree_parameters(seed: int, threads: int) -> dict[str, Any]:
    """What every boosted model here shares; the result does not depend on `threads`."""
    return {
        "objective": "binary",
        "learning_rate": 0.05,
        "max_bin": 127,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "num_threads": threads,
        "verbosity": -1,
    }


def _without_threads(text: str) -> str:
    return re.sub(r"^\[num_threads: \d+\]\n", "", text, flags=re.MULTILINE)


def _shares(sizes: np.ndarray) -> np.ndarray:
    total = float(sizes.sum())
    return sizes / total if total > 0 else np.zeros(len(sizes))
