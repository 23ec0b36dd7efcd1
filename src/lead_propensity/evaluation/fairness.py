"""Who is scored unfairly: calls, deals and calibration by group of the declared sensitive columns.

The population is that of the daily run (stock; as exported, all rows), for it is called. Of several kinds
of fairness that exclude each other (Kleinberg, Mullainathan and Raghavan, "Inherent Trade-Offs in the Fair
Determination of Risk Scores", 2016) calibration within groups is judged; hot shares are shown beside it.
A group is off where its expected to observed deals differ from those of all together (`whole`): a level that is
wrong for everybody is no unfairness between groups.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation.promises import outcome
from lead_propensity.evaluation.segments import by_level, pooled, with_verdicts
from lead_propensity.features.segments import SENSITIVE, columns
from lead_propensity.model.intervals import clustered_rate

FOUR_FIFTHS = 0.8
"""Of the highest hot share: below it US guidelines on hiring (29 CFR 1607.4) look closer."""


def fairness(stock: pd.DataFrame) -> list[dict[str, Any]]:
    """For each declared column its `column` and its `rows`, one a group: calls, deals, and whether it is off.

    Empty where none was declared.
    """
    found: list[dict[str, Any]] = []
    whole = outcome(stock)
    ratio = whole["expected"] / whole["observed"] if whole["observed"] else None
    for name in columns(stock, SENSITIVE):
        level = pooled(stock[name], stock["lead_id"])
        rows = [
            {**row, **_hot(row, stock[level == row["level"]])}
            for row in by_level(stock, name, ratio or 1.0)
        ]
        found.append(
            {"column": name.removeprefix(SENSITIVE), "whole": ratio, "rows": _compared(rows)}
        )
    with_verdicts([row for one in found for row in one["rows"]])
    return found


def _hot(row: Mapping[str, Any], cell: pd.DataFrame) -> dict[str, float | None]:
    """The share of snapshots that are hot, with its clustered interval; None where leads are too few."""
    if row["few"]:
        return dict.fromkeys(("hot_share", "hot_lower", "hot_upper"))
    hot = (cell["band"] == "hot").to_numpy(np.float64)
    rate = clustered_rate(hot, cell["group_id"].to_numpy(object))
    return {"hot_share": rate.rate, "hot_lower": rate.lower, "hot_upper": rate.upper}


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds `hot_ratio` to the highest share, and `fewer_calls`: below four fifths, intervals apart."""
    shown = [row for row in rows if row["hot_share"] is not None]
    most = max(shown, key=lambda row: row["hot_share"], default=None)
    for row in rows:
        row |= {"hot_ratio": None, "fewer_calls": False}
        if most is not None and most["hot_share"] > 0 and row["hot_share"] is not None:
            row["hot_ratio"] = row["hot_share"] / most["hot_share"]
            apart = row["hot_upper"] < most["hot_lower"]
            row["fewer_calls"] = bool(row["hot_ratio"] < FOUR_FIFTHS and apart)
    return rows
