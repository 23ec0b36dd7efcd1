"""The moments of scoring one by one: how many leads, how fresh, how much drift, and what happened since."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.data.moments import iso
from lead_propensity.evaluation.matured import judged
from lead_propensity.features.windows import DAY_US

OPEN, JUDGED = "open", "judged"
ODD = 2.0
"""Times the usual gap between two moments, or the usual number of leads, and more is told."""
USUAL = 3
"""From so many moments on there is a usual."""
LASTING_DAYS = 7
"""Drift that every moment of so many days sees: leads rest at weekends, and a tracker fails for a night."""


def moments(
    counts: Mapping[int, int], rows: pd.DataFrame, records: Sequence[Mapping[str, Any]], one_in: int
) -> list[dict[str, Any]]:
    """One entry a moment, the earliest first; `figures` only where its outcomes are final, else `judged_from`.

    `counts` are all scored leads by moment; `rows` one in `one_in` of them with `won` (NaN: not final),
    `left_out` and `matures_at`. Of the records the last one that was done tells of its moment.
    """
    done = {
        one["as_of"]: one for one in records if one.get("outcome") == "done" and one.get("as_of")
    }
    by_moment = {int(some["as_of"].iloc[0]): some for _, some in rows.groupby("as_of")}
    found, before = [], None
    for at, scored in sorted(counts.items()):
        some, record = by_moment.get(at, rows.iloc[:0]), done.get(iso(at))
        until = None if record is None else record.get("data_until")
        found.append(
            {
                "as_of": iso(at),
                "scored": scored,
                "model_id": _only(some["model_id"]),
                "gap_days": None if before is None else (at - before) / DAY_US,
                "data_until": until,
                "data_age_days": None if until is None else _days_between(until, at),
                "bands": some["band"].value_counts().sort_index().to_dict(),
                "drift": None if record is None else record.get("drift"),
                **_outcome(some),
            }
        )
        found[-1]["bands"] = {band: int(n) * one_in for band, n in found[-1]["bands"].items()}
        before = at
    return found


def lasting_drift(found: Sequence[Mapping[str, Any]], model_id: str) -> Mapping[str, Any] | None:
    """Of this model's moments in the LASTING_DAYS up to its last one the drift of the calmest; None: none tells."""
    told = [one for one in found if one["drift"] and one["model_id"] == model_id]
    if not told:
        return None
    since = pd.Timestamp(told[-1]["as_of"]) - pd.Timedelta(days=LASTING_DAYS)
    recent: list[Mapping[str, Any]] = [
        one["drift"] for one in told if pd.Timestamp(one["as_of"]) > since
    ]
    return min(recent, key=lambda drift: drift["called_share"])


def _outcome(some: pd.DataFrame) -> dict[str, Any]:
    ready = None if some.empty else iso(int(some["matures_at"].max()))
    left_out = {
        reason: int(n) for reason, n in some["left_out"].value_counts().sort_index().items()
    }
    told = {"judged_from": ready, "left_out": left_out}
    known = some[some["left_out"].isna()]
    if known.empty or known["won"].isna().any():
        return {**told, "state": OPEN, "figures": None}
    return {**told, "state": JUDGED, "figures": judged(known)}


def warnings(
    found: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]], now: int
) -> list[str]:
    """What is odd about volume and freshness, in words."""
    said = []
    gaps = [one["gap_days"] for one in found if one["gap_days"] is not None]
    usual = float(np.median(gaps)) if len(gaps) >= USUAL else None
    if usual:
        said += [
            f"No scores for {one['gap_days']:,.1f} days before {one['as_of'][:10]}; usual are {usual:,.1f}."
            for one in found
            if one["gap_days"] is not None and one["gap_days"] > ODD * usual
        ]
        waiting = _days_between(found[-1]["as_of"], now)
        if waiting > ODD * usual:
            said.append(f"The last scores are {waiting:,.1f} days old; usual are {usual:,.1f}.")
    if len(found) > USUAL:
        many = float(np.median([one["scored"] for one in found[:-1]]))
        last = found[-1]["scored"]
        if not many / ODD <= last <= many * ODD:
            said.append(f"The last run scored {last:,} leads; usual are {many:,.0f}.")
    said += [
        f"{one['as_of'][:10]}: the data ended {one['data_age_days']:,.1f} days before."
        for one in found
        if (one["data_age_days"] or 0.0) >= 1.0
    ]
    if records and records[-1].get("outcome", "done") != "done":
        # Not why: that may name a type of events, and what is said here goes to MLflow.
        said.append(
            f"The last run of score ended as {records[-1]['outcome']}; its record says why."
        )
    if not any(one["drift"] for one in found):
        said.append(
            "No record tells of drift: scores of an earlier version, or the records are elsewhere."
        )
    return said


def _only(models: pd.Series) -> str | None:
    names = models.unique()
    return str(names[0]) if len(names) == 1 else None


def _days_between(earlier: str, later: int) -> float:
    return round((later - pd.Timestamp(earlier).value // 1000) / DAY_US, 3)
