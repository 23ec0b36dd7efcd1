"""Where the leads of the test part went, what that brought, and what the company's demands on hot cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lead_propensity.evaluation.promises import outcome


def routes(stock: pd.DataFrame, listed: Sequence[str]) -> dict[str, Any]:
    """One row a route that occurs: `now`, how many leads it holds on the last date, then over all dates.

    `listed` gives the order; a route that is not in it comes last. Without dates `now` and `last_date` are null.
    """
    dated = stock["as_of"].notna().all() and len(stock) > 0
    last = stock[stock["as_of"] == stock["as_of"].max()] if dated else None
    rest = sorted(set(stock["route"]) - set(listed))
    rows = []
    for route in dict.fromkeys([*listed, *rest]):
        row = {"route": route, **outcome(stock[stock["route"] == route])}
        row["now"] = None if last is None else int((last["route"] == route).sum())
        if row["n"]:
            rows.append(row)
    return {"last_date": None if last is None else _day(stock["as_of"].max()), "rows": rows}


def demanded(stock: pd.DataFrame, required: Mapping[str, str] | None) -> dict[str, Any] | None:
    """What `bands.hot_requires` turned away: leads that would be hot but for it; None without a demand.

    `deals` are leads, each counted once.
    """
    if not required or "turned_away" not in stock:
        return None
    away = stock["turned_away"].to_numpy(bool)
    turned, hot = stock[away], stock[stock["band"] == "hot"]
    return {
        "required": dict(required),
        "turned_away": outcome(turned) | {"deals": _deals(turned)},
        "hot": outcome(hot) | {"deals": _deals(hot)},
    }


def _deals(frame: pd.DataFrame) -> int:
    return int(frame.loc[frame["won"] == 1.0, "lead_id"].nunique())


def _day(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d}"
