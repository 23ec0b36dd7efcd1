"""A CRM whose leads are won at a known rate, which may change on a known day."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from lead_propensity.config import Config

BEGINS = pd.Timestamp("2023-01-01", tz="UTC")
HORIZON_DAYS = 30
KEYS = {
    "snapshots": {"ages_days": [1], "horizon_days": HORIZON_DAYS},
    "split": {"calibrate_days": 60, "test_days": 60},
    "model": {"trials": 1, "backtest_periods": 0, "min_wins_trees": 9999},
    "bands": {"policy": "capacity", "hot_per_week": 5},
    "engine": {"threads": 1},
}


def write(
    folder: Path,
    days: int,
    changes_on: int,
    level: float = 0.0,
    slope: float = 1.0,
    per_day: int = 8,
    until: int = 10**6,
) -> Path:
    """The tables as exported after `days`; leads created from day `changes_on` on, and before day `until`,
    have other log-odds.

    A lead with the attribute x has the log-odds x - 1.5, afterwards slope * x - 1.5 + level. Two longer or
    shorter exports hold the same leads. Deals close within 20 days after the first one.
    """
    created = np.repeat(np.arange(days), per_day)
    n = len(created)
    x, luck, took = (np.random.default_rng(seed).random(n) for seed in (1, 2, 3))
    x = 4 * x - 2
    later = (created >= changes_on) & (created < until)
    won = luck < expit(np.where(later, slope * x + level, x) - 1.5)
    closed = created + 2.0 + 20 * took
    leads = pd.DataFrame(
        {
            "lead_id": [f"L{k}" for k in range(n)],
            "created_at": _times(created + 0.1),
            "x": x.round(4),
        }
    )
    deals = pd.DataFrame(
        {
            "lead_id": leads["lead_id"],
            "closed_at": _times(closed),
            "outcome": np.where(won, "won", "lost"),
        }
    )
    folder.mkdir(parents=True)
    leads.to_csv(folder / "leads.csv", index=False)
    deals[closed < days].to_csv(folder / "deals.csv", index=False)
    return folder


def config(folder: Path, days: int, name: str = "shifting", **keys: object) -> Config:
    """Of the export that `write` left."""
    data = {
        "exported_at": (BEGINS + pd.Timedelta(days=days)).isoformat(),
        "timezone": "UTC",
        "leads": {"path": str(folder / "leads.csv")},
        "deals": {"path": str(folder / "deals.csv")},
    }
    return Config.model_validate({"name": name, "data": data, **KEYS, **keys})


def _times(days: np.ndarray) -> pd.Series:
    moments = BEGINS + pd.to_timedelta(days, unit="D").round("s")
    return pd.Series(moments).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
