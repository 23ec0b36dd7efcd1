"""What happens to the bands after they were made: their promises month by month, flooding, inversion."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from lead_propensity.evaluation.compare import ENDS
from lead_propensity.evaluation.promises import outcome, promise, promise_words
from lead_propensity.evaluation.segments import holm, piece_of
from lead_propensity.model.bands import BANDS
from lead_propensity.model.intervals import clustered_rate

CALLED = ("hot", "warm")
ERROR = 0.025
"""Of the one-sided judgement that a promise is broken, as by the upper end of a 95% interval."""
TOLERANCE = 0.2
"""A share of hot leads further from the plan than this share of it is told."""


def watched(stock: pd.DataFrame, bands: Mapping[str, Any]) -> dict[str, Any]:
    """`months`, `hot_minus_warm`, `hot_share` and the `warnings` that follow from them, in words.

    `bands`: those of the scorecard, with the `promises` of the calibrate part and the table `stock`.
    """
    promised = {row["band"]: row["promised_lower"] for row in bands["stock"]}
    months = by_month(stock, promised)
    apart, share = hot_minus_warm(bands["stock"]), _hot_share(stock, bands)
    found = [_inverted(apart), _flooded(share), _broken(bands["stock"], months)]
    warnings = [warning for warning in found if warning is not None]
    return {"months": months, "hot_minus_warm": apart, "hot_share": share, "warnings": warnings}


def figures(bands: Mapping[str, Any]) -> dict[str, float | None]:
    """What is worth comparing from run to run."""
    apart, share = bands["hot_minus_warm"] or {}, bands["hot_share"] or {}
    flat = {f"hot_minus_warm{end}": apart.get(key) for end, key in ENDS}
    return flat | {"hot_share": share.get("share"), "hot_share_planned": share.get("planned")}


def by_month(stock: pd.DataFrame, promised: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """One row a calendar month (else a block of rows) and band, hot first; empty ones are left out."""
    rows = []
    for month, seen in stock.groupby(piece_of(stock), sort=True):
        for band in reversed(BANDS):
            row = outcome(seen[seen["band"] == band])
            if row["n"]:
                row |= {"month": str(month), "band": band, "promised_lower": promised.get(band)}
                row["promise"] = promise(row["promised_lower"], row["upper"])
                row["promise_words"] = promise_words(row)
                rows.append(row)
    return rows


def hot_minus_warm(table: list[dict[str, Any]]) -> dict[str, float] | None:
    """The difference of the two observed rates with its 95% interval; None where one is not known.

    From the two intervals, each clustered, by Newcombe's hybrid score method (1998, method 10). It takes the
    bands as independent; leads that stand in both make it wider than need be.
    """
    hot, warm = (next(row for row in table if row["band"] == band) for band in ("hot", "warm"))
    if hot["observed"] is None or warm["observed"] is None:
        return None
    value = hot["observed"] - warm["observed"]
    down = math.hypot(hot["observed"] - hot["lower"], warm["upper"] - warm["observed"])
    up = math.hypot(hot["upper"] - hot["observed"], warm["observed"] - warm["lower"])
    return {"value": value, "lower": value - down, "upper": value + up}


def _hot_share(stock: pd.DataFrame, bands: Mapping[str, Any]) -> dict[str, float] | None:
    """The share of the snapshots that are hot, and that of the calibrate part; None where nobody was hot."""
    counts = {row["band"]: row["n"] for row in bands["promises"]}
    if bands["hot_refused"] or not counts.get("hot") or set(counts) != set(BANDS) or stock.empty:
        return None
    hot = (stock["band"] == "hot").to_numpy(np.float64)
    found = clustered_rate(hot, stock["group_id"].to_numpy(object))
    planned = counts["hot"] / sum(counts.values())
    return {
        "share": found.rate,
        "lower": found.lower,
        "upper": found.upper,
        "planned": planned,
    }


def _flooded(share: Mapping[str, float] | None) -> dict[str, str] | None:
    """Where even the interval leaves the plan out, and the plan is missed by more than TOLERANCE."""
    if share is None:
        return None
    miss = share["share"] / share["planned"] - 1
    if abs(miss) <= TOLERANCE or share["lower"] <= share["planned"] <= share["upper"]:
        return None
    found = (
        f"{share['share']:.1%} of the open leads are hot (95% interval {share['lower']:.1%} to {share['upper']:.1%}) "
        f"where {share['planned']:.1%} were when the bands were made"
    )
    if miss > 0:
        return _warning(
            "flooding", f"Hot is flooding: {found}. Sales gets more calls than planned."
        )
    return _warning("drying up", f"Hot is drying up: {found}. Sales gets fewer calls than planned.")


def _inverted(apart: Mapping[str, float] | None) -> dict[str, str] | None:
    if apart is None or apart["lower"] > 0:
        return None
    found = (
        f"hot minus warm {100 * apart['value']:+.1f} points, 95% interval {100 * apart['lower']:+.1f} to "
        f"{100 * apart['upper']:+.1f}"
    )
    if apart["upper"] < 0:
        return _warning(
            "inversion",
            f"The bands are inverted: warm leads convert better than hot ones ({found}). Do not call by them.",
        )
    return _warning(
        "not apart", f"Hot leads are not shown to convert better than warm ones ({found})."
    )


def _broken(table: list[dict[str, Any]], months: list[dict[str, Any]]) -> dict[str, str] | None:
    """Of hot and warm: cold leads that convert less than promised harm nobody.

    A promise may break over all months where each is too short to show it. Months are many looks: one is
    named only where Holm's correction still says so, while the table judges each alone.
    """
    broken = [
        f"{row['band']} as a whole"
        for row in table
        if row["band"] in CALLED and row["promise"] == "broken"
    ]
    judged = [row for row in months if row["band"] in CALLED and row["promise"] != "none"]
    adjusted = holm([_below(row) for row in judged])
    broken += [
        f"{row['band']} in {row['month']}"
        for row, p_value in zip(judged, adjusted, strict=True)
        if p_value < ERROR
    ]
    if not broken:
        return None
    return _warning("broken", f"Promises broken: {', '.join(broken)}.")


def _below(row: Mapping[str, Any]) -> float:
    """One-sided p value, by the normal curve, of the promised lower bound being the true rate."""
    promised = row["promised_lower"]
    spread = math.sqrt(promised * (1 - promised) * row["deff"] / row["labelled"])
    short = promised - row["observed"]
    if spread <= 0:
        return float(short <= 0)
    return float(norm.sf(short / spread))


def _warning(kind: str, sentence: str) -> dict[str, str]:
    return {"kind": kind, "sentence": sentence}
