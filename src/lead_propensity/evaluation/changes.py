"""Which leads changed their band between the last two weekly looks at the stock."""

from typing import Any

import pandas as pd

from lead_propensity.model.bands import BANDS

NEW, GONE = "not open yet", "no longer open"
RANK = {band: place for place, band in enumerate(BANDS)}
_FIRST = tuple(reversed(BANDS))
LOCAL_COLUMNS = (
    *("lead_id", "as_of", "band_before", "band_now"),
    *("probability_before", "probability_now"),
)


def changes(stock: pd.DataFrame, silent_routes: list[str]) -> dict[str, Any] | None:
    """Flows between the bands, without any lead's id; None where the stock has fewer than two dates.

    `silent`: leads that fell silent, so that their route became one of `silent_routes`.
    """
    pairs = _pairs(stock)
    if pairs is None:
        return None
    both = pairs[(pairs["band_before"] != NEW) & (pairs["band_now"] != GONE)]
    before, now = both["band_before"].map(RANK), both["band_now"].map(RANK)
    counts = pairs.groupby(["band_before", "band_now"]).size()
    silent = both["route_now"].isin(silent_routes) & ~both["route_before"].isin(silent_routes)
    hot_now, hot_before = pairs["band_now"] == "hot", pairs["band_before"] == "hot"
    return {
        "before": str(pairs["date_before"].iloc[0]),
        "now": str(pairs["date_now"].iloc[0]),
        "flows": [
            {"before": old, **{new: int(counts.get((old, new), 0)) for new in (*_FIRST, GONE)}}
            for old in (*_FIRST, NEW)
        ],
        "leads": len(both),
        "newly_hot": int((hot_now & ~hot_before).sum()),
        "cooled": int((now < before).sum()),
        "warmed": int((now > before).sum()),
        "silent": int(silent.sum()),
    }


def changed_leads(predictions: pd.DataFrame) -> pd.DataFrame:
    """LOCAL_COLUMNS of each lead whose band changed, the newly hot first; empty without two dates.

    `predictions` as a run leaves them. It names leads: it stays in the run folder's private part.
    """
    pairs = _pairs(predictions[predictions["population"] == "stock"])
    if pairs is None:
        return pd.DataFrame(columns=list(LOCAL_COLUMNS))
    moved = pairs[pairs["band_before"] != pairs["band_now"]]
    moved = moved.assign(as_of=moved["date_now"], hot=moved["band_now"].map(RANK).fillna(-1))
    moved = moved.sort_values(["hot", "probability_now", "lead_id"], ascending=[False, False, True])
    return moved[list(LOCAL_COLUMNS)].reset_index(drop=True)


def _pairs(stock: pd.DataFrame) -> pd.DataFrame | None:
    """One row a lead open on one of the last two dates: its band, probability and route before and now."""
    as_of = stock["as_of"]
    if pd.api.types.is_integer_dtype(as_of):
        as_of = pd.to_datetime(as_of.where(as_of >= 0), unit="us", utc=True)
    dates = sorted(as_of.dropna().unique())[-2:]
    if len(dates) < 2:
        return None
    columns = ["lead_id", "band", "probability", "route"]
    before, now = (stock.loc[as_of == date, columns] for date in dates)
    pairs = before.merge(now, on="lead_id", how="outer", suffixes=("_before", "_now"))
    pairs["band_before"] = pairs["band_before"].fillna(NEW)
    pairs["band_now"] = pairs["band_now"].fillna(GONE)
    days = [f"{pd.Timestamp(date):%Y-%m-%d}" for date in dates]
    dated: pd.DataFrame = pairs.assign(date_before=days[0], date_now=days[1])
    return dated
