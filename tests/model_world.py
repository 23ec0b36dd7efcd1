"""Small datasets whose truth is known, for the tests of the model room."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.matrix import Dataset

DAY = 86_400 * 1_000_000
WEEK = 7 * DAY
HORIZON_WEEKS = 4

FEATURES = (
    Feature("visits_30d", "implicit", "number", "last 30 days", "visits", "visit", "up"),
    Feature("silent_days", "implicit", "number", "all time", "days silent", "visit", "down"),
    Feature("channel_last", "implicit", "category", "all time", "last channel", "channel", "free"),
    Feature("trend", "implicit", "number", "last 30 days", "trend of visits", "visit"),
    Feature("industry", "explicit", "category", "as known", "industry", "industry"),
    Feature("employees", "explicit", "number", "as known", "employees", "employees"),
    Feature('we,i:rd "name" {é}', "explicit", "number", "as known", "hostile name", "hostile"),
    Feature("always_one", "explicit", "number", "as known", "a constant", "constant"),
)
CATALOGUE = Catalogue(FEATURES, {"windows_days": [30]})


def config(**model: Any) -> Config:
    """Two trials, one thread, unless told otherwise."""
    sections = {name: model.pop(name) for name in ("bands", "data") if name in model}
    threads = model.pop("threads", 1)
    return Config.model_validate(
        {
            "name": "synthetic",
            "data": {"leads": {"path": "l.csv"}, "deals": {"path": "d.csv"}},
            "model": {"trials": 2, **model},
            "bands": {"hot_share": 0.1},
            "engine": {"threads": threads},
            **sections,
        }
    )


EXPORTED = {"exported": {"path": "x.csv", "outcome": "o", "won": "1"}}


def matrix(leads: int, weeks: int, seed: int) -> pd.DataFrame:
    """The features of `leads` x `weeks` snapshots, ordered by week, then lead."""
    rng = np.random.default_rng(seed)
    n = leads * weeks
    eager = np.tile(rng.normal(size=leads), weeks)
    visits = rng.poisson(np.exp(0.7 * eager)).astype(np.float64)
    industries = np.array(["software", "retail", "steel", None], dtype=object)
    employees = np.exp(np.tile(rng.normal(4, 1.5, leads), weeks))
    return pd.DataFrame(
        {
            "visits_30d": visits,
            "silent_days": np.where(visits > 0, rng.exponential(10, n), np.nan),
            "channel_last": pd.Series(rng.choice(["mail", "web"], n), dtype=object),
            "trend": rng.normal(size=n),
            "industry": pd.Series(np.tile(rng.choice(industries, leads), weeks), dtype=object),
            "employees": np.where(rng.random(n) < 0.2, np.nan, employees),
            FEATURES[6].name: rng.normal(size=n),
            "always_one": np.ones(n),
        }
    )


def true_score(X: pd.DataFrame) -> np.ndarray:
    """The log-odds that the labels are drawn from."""
    silent = X["silent_days"].fillna(60.0).to_numpy()
    software = (X["industry"] == "software").to_numpy()
    score: np.ndarray = -2.0 + 0.9 * np.log1p(X["visits_30d"]) - 0.03 * silent + 1.2 * software
    return np.asarray(score)


def dataset(
    leads: int = 250, weeks: int = 24, seed: int = 1, level: float = 0.0, shuffled: bool = False
) -> Dataset:
    """Weekly snapshots: fit, a purge of one horizon, calibrate (also as stock), a purge, test."""
    X = matrix(leads, weeks, seed)
    rng = np.random.default_rng(seed + 1)
    won = (rng.random(len(X)) < expit(true_score(X) + level)).astype(np.float64)
    if shuffled:
        won = rng.permutation(won)
    lead_id = [f"lead-{number}" for number in np.tile(np.arange(leads), weeks)]
    keys = keys_of(np.repeat(np.arange(weeks), leads), won, lead_id, weeks)
    stock = np.flatnonzero(keys["part"] == "calibrate")
    keys = pd.concat([keys, keys.iloc[stock].assign(population="stock")], ignore_index=True)
    X = pd.concat([X, X.iloc[stock]], ignore_index=True)
    return Dataset(keys, X, pd.DataFrame(index=X.index), CATALOGUE)


def keys_of(week: np.ndarray, won: np.ndarray, lead_id: list[str], weeks: int) -> pd.DataFrame:
    """A Dataset's keys; the last quarter is test, and before it an eighth is calibrate."""
    test, calibrate = round(weeks * 0.75), round(weeks * 0.75) - HORIZON_WEEKS - weeks // 8
    parts = np.full(len(week), "purged", dtype=object)
    parts[week < calibrate - HORIZON_WEEKS] = "fit"
    parts[(week >= calibrate) & (week < test - HORIZON_WEEKS)] = "calibrate"
    parts[week >= test] = "test"
    order = week.astype(np.int64) * WEEK
    return pd.DataFrame(
        {
            "lead_id": lead_id,
            "group_id": lead_id,
            "as_of": order,
            "order": order,
            "label_known_at": order + HORIZON_WEEKS * WEEK,
            "population": "training",
            "part": parts,
            "age_days": 7.0 * week + 1.0,
            "won": won,
            "amount": np.where(won == 1.0, 1000.0, np.nan),
        }
    )


def as_exported(rows: int = 3000, seed: int = 1) -> Dataset:
    """One row a lead, no time: `order` counts rows, labels are known 5% of the rows later."""
    X = matrix(rows, 1, seed)
    rng = np.random.default_rng(seed + 1)
    won = (rng.random(rows) < expit(true_score(X))).astype(np.float64)
    order = np.arange(rows)
    delay = rows // 20
    parts = np.full(rows, "purged", dtype=object)
    parts[: int(rows * 0.5)] = "fit"
    parts[int(rows * 0.5) + delay : int(rows * 0.7)] = "calibrate"
    parts[int(rows * 0.7) + delay :] = "test"
    keys = keys_of(order, won, [f"lead-{row}" for row in order], 1).assign(
        as_of=-1, order=order, label_known_at=order + delay, part=parts, age_days=np.nan
    )
    return Dataset(keys, X, pd.DataFrame(index=X.index), CATALOGUE)
