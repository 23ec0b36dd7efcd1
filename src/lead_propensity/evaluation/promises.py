"""Bands as promises: what each should bring, what it brought, how many leads it asks for."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.model.bands import BANDS
from lead_propensity.model.intervals import clustered_rate

FIT_GRADES = ("A", "B", "C", "D")
INTEREST_GRADES = ("1", "2", "3", "4")


def outcome(frame: pd.DataFrame) -> dict[str, Any]:
    """n, leads, expected and observed rate of some snapshots, with the clustered interval.

    `n` and `leads` count all; the rates speak of the `labelled` ones, whose outcome is known.
    """
    seen = frame[frame["won"].notna()]
    rate = clustered_rate(seen["won"].to_numpy(np.float64), seen["group_id"].to_numpy(object))
    return {
        "n": len(frame),
        "leads": int(frame["lead_id"].nunique()),
        "labelled": len(seen),
        "wins": int(seen["won"].sum()),
        "expected": float(seen["probability"].mean()) if len(seen) else None,
        "observed": rate.rate if len(seen) else None,
        "lower": rate.lower if len(seen) else None,
        "upper": rate.upper if len(seen) else None,
        "deff": rate.deff if len(seen) else None,
    }


def band_table(frame: pd.DataFrame, promised: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """One row a band, hot first; `promised` gives lower bounds by band, {} for no promise."""
    rows = []
    for band in reversed(BANDS):
        row = {"band": band, **outcome(frame[frame["band"] == band])}
        row["share"] = row["n"] / len(frame) if len(frame) else None
        row["promised_lower"] = promised.get(band)
        row["promise"] = promise(row["promised_lower"], row["upper"])
        row["promise_words"] = promise_words(row)
        row["expected_outside"] = _expected_outside(row)
        rows.append(row)
    return rows


def promise(promised_lower: float | None, upper: float | None) -> str:
    """`kept` where the test interval reaches the promised lower bound, `broken` where it does not.

    `none` where nothing was promised, or where the test part holds no outcome to judge by.
    """
    if promised_lower is None or upper is None:
        return "none"
    return "kept" if upper >= promised_lower else "broken"


def promise_words(row: Mapping[str, Any]) -> str:
    """The promise as the report puts it: a rate below what was promised is at best not contradicted.

    >>> row = {"promised_lower": 0.2, "observed": 0.1, "upper": 0.4, "labelled": 12}
    >>> promise_words(row)
    'not contradicted (n=12)'
    """
    judged = promise(row["promised_lower"], row["upper"])
    if judged == "kept" and row["observed"] < row["promised_lower"]:
        return f"not contradicted (n={row['labelled']:,})"
    return judged


def _expected_outside(row: Mapping[str, Any]) -> bool | None:
    """Whether the expected rate lies outside the interval of what came; None without outcomes."""
    if row["observed"] is None:
        return None
    return not row["lower"] <= row["expected"] <= row["upper"]


def weekly(stock: pd.DataFrame, plan: int | None) -> dict[str, Any] | None:
    """Newly hot leads in each calendar week, each lead once; None where snapshots carry no time.

    The first week also holds the backlog, all who were hot already: `per_week` leaves it out where
    there are others. Where leads were sampled, each counts as the `weight` leads that it stands for, so
    that numbers a week speak of all. `newly_hot` judges each lead of the sample by its first hot snapshot.
    """
    dated = stock[stock["as_of"].notna()].sort_values(["as_of", "lead_id"])
    if dated.empty:
        return None
    first = dated[dated["band"] == "hot"].drop_duplicates("lead_id")
    looked = _mondays(dated).unique()
    counts = [round(first.loc[_mondays(first) == monday, "weight"].sum()) for monday in looked]
    weeks = [
        {"week": f"{monday:%Y-%m-%d}", "newly_hot": count, "backlog": k == 0}
        for k, (monday, count) in enumerate(zip(looked, counts, strict=True))
    ]
    steady = counts[1:] or counts
    return {
        "plan": plan,
        "per_week": float(np.mean(steady)),
        "per_week_with_backlog": float(np.mean(counts)),
        "backlog": counts[0] if len(counts) > 1 else 0,
        "lowest": min(steady),
        "highest": max(steady),
        "weeks": weeks,
        "weight": float(dated["weight"].iloc[0]),
        "newly_hot": outcome(first),
    }


def fit_interest(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The matrix of fit (A best) by interest (1 best): one row a cell, empty cells included.

    Each also counts its bands: `hot`, `warm`, `cold`.
    """
    cells = []
    for fit in FIT_GRADES:
        for interest in INTEREST_GRADES:
            cell = frame[(frame["fit_grade"] == fit) & (frame["interest_grade"] == interest)]
            bands = {band: int((cell["band"] == band).sum()) for band in reversed(BANDS)}
            cells.append({"fit": fit, "interest": interest, **outcome(cell), **bands})
    return cells


def _mondays(frame: pd.DataFrame) -> pd.Series:
    day = frame["as_of"].dt.tz_localize(None).dt.normalize()
    monday: pd.Series = day - pd.to_timedelta(day.dt.day_of_week, unit="D")
    return monday
