"""From stage to stage of the funnel, per band: how many of the open leads went further within the horizon."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation.promises import outcome
from lead_propensity.model.bands import BANDS
from lead_propensity.model.intervals import clustered_rate

NONE_YET = "none yet"


def stages(stock: pd.DataFrame, listed: Sequence[str] | None) -> list[dict[str, Any]] | None:
    """One row a stage and band (hot, warm, cold, then `all`); None where no stages are declared.

    `further`: the share of the labelled snapshots at that stage which reached a later one within the
    horizon, with its clustered 95% interval; null at the last stage. `observed`: the share won.
    """
    if not listed or "stage" not in stock:
        return None
    rank = {stage: place for place, stage in enumerate([NONE_YET, *listed])}
    at = stock["stage"].fillna(NONE_YET).map(rank).to_numpy()
    reached = stock["next_stage"].fillna(NONE_YET).map(rank).to_numpy()
    frame = stock.assign(at=at, further=(reached > at).astype(np.float64))
    rows = []
    for stage, place in rank.items():
        here = frame[frame["at"] == place]
        for band in (*reversed(BANDS), "all"):
            some = here if band == "all" else here[here["band"] == band]
            if len(some):
                last = place == len(listed)
                rows.append({"stage": stage, "band": band, **outcome(some), **_further(some, last)})
    return rows


def _further(frame: pd.DataFrame, last: bool) -> dict[str, float | None]:
    """Where there is a later stage and an outcome is known; null otherwise."""
    seen = frame[frame["won"].notna()]
    if last or seen.empty:
        return dict.fromkeys(("further", "further_lower", "further_upper"))
    rate = clustered_rate(seen["further"].to_numpy(), seen["group_id"].to_numpy(object))
    return {"further": rate.rate, "further_lower": rate.lower, "further_upper": rate.upper}
