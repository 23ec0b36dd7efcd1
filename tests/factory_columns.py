"""Columns of any kind beside an outcome, as the fit and the calibrate part hold them."""

from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.matrix import Dataset

N = 3000


def feature(name: str, category: bool, kind: str = "explicit") -> Feature:
    topic = "completeness" if name == "known_attributes" else name
    return Feature(name, kind, "category" if category else "number", "as known", name, topic)  # type: ignore[arg-type]


def dataset(
    columns: dict[str, Any],
    won: np.ndarray,
    group: np.ndarray | None = None,
    shape: str = "exported",
    implicit: tuple[str, ...] = (),
) -> Dataset:
    """Rows in time order; each its own lead, and its own group unless told otherwise."""
    lead = np.array([f"lead-{row}" for row in range(len(won))], dtype=object)
    groups = lead if group is None else np.array([f"group-{one}" for one in group], dtype=object)
    keys = pd.DataFrame(
        {"lead_id": lead, "group_id": groups, "order": np.arange(len(won)), "won": won}
    )
    X = pd.DataFrame(
        {name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}
    )
    features = tuple(
        feature(name, X[name].dtype == object, "implicit" if name in implicit else "explicit")
        for name in X.columns
    )
    return Dataset(keys, X, pd.DataFrame(index=X.index), Catalogue(features, {"shape": shape}))


def halves(data: Dataset, share: float = 0.7) -> tuple[Dataset, Dataset]:
    first = np.arange(len(data)) < share * len(data)
    return data.rows(first), data.rows(~first)


def coin(rate: float = 0.4, n: int = N, seed: int = 1) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < rate).astype(np.float64)


def noise(n: int = N, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def texts(values: Any) -> pd.Series:
    return pd.Series(values, dtype=object)
