"""Whether there is enough to judge by, and if not, when there will be."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from lead_propensity.config import GateConfig


@dataclass(frozen=True)
class Pace:
    """How fast leads mature."""

    ready_from: int
    """When the first snapshot that neither model learned from has matured; if it has, the end of the data.
    Microseconds UTC."""
    wins_per_day: float
    leads_per_day: float


def evidence(judged: pd.DataFrame, pace: Pace | None, limits: GateConfig) -> dict[str, Any]:
    """`snapshots`, `leads` and `wins` (won leads), whether they are `enough`, else `not_before` (a date) or None.

    `judged` has `lead_id` and `won` of labelled snapshots.
    """
    leads = int(judged["lead_id"].nunique())
    wins = int(judged.loc[judged["won"] == 1, "lead_id"].nunique())
    enough = wins >= limits.min_wins and leads >= limits.min_leads
    day = None if enough else _ready_on(limits.min_wins - wins, limits.min_leads - leads, pace)
    return {
        "snapshots": len(judged),
        "leads": leads,
        "wins": wins,
        "enough": enough,
        "not_before": None if day is None else f"{day:%Y-%m-%d}",
        "sentence": _sentence(leads, wins, enough, day, limits),
    }


@dataclass(frozen=True)
class TwoParts:
    """Whether an earlier and a later part both hold enough, and in words what they hold."""

    enough: bool
    sentence: str


def of_two_parts(
    earlier: pd.DataFrame, later: pd.DataFrame, pace: Pace | None, limits: GateConfig
) -> TwoParts:
    """As `evidence`, of two parts between which the time is cut in halves: each must hold enough by itself.

    A day more lengthens each of them by half a day, so the date is twice as far.
    """
    parts = {"earlier": evidence(earlier, None, limits), "later": evidence(later, None, limits)}
    missing = [
        max(limit - part[name] for part in parts.values())
        for name, limit in (("wins", limits.min_wins), ("leads", limits.min_leads))
    ]
    enough = all(part["enough"] for part in parts.values())
    day = None if enough else _ready_on(2 * missing[0], 2 * missing[1], pace)
    when = "" if day is None else f" until about {day:%Y-%m-%d}, at last year's pace"
    held = ", ".join(
        f"{part['wins']:,} won of {part['leads']:,} leads in the {name} part"
        for name, part in parts.items()
    )
    told = "To fit on and to judge by" if enough else f"Not enough evidence{when}"
    return TwoParts(
        enough,
        f"{told}: of what matured after the last label that was learned, {held}; needed in each: "
        f"{limits.min_wins:,} won (gate.min_wins) of {limits.min_leads:,} leads (gate.min_leads).",
    )


def _ready_on(wins: int, leads: int, pace: Pace | None) -> datetime | None:
    """When so many more won leads and leads will have matured, at the pace of the last year."""
    if pace is None:
        return None
    days = 0.0
    for missing, per_day in ((wins, pace.wins_per_day), (leads, pace.leads_per_day)):
        if missing > 0:
            days = max(days, missing / per_day) if per_day > 0 else math.inf
    if not days < 36_500:
        return None
    start = datetime.fromtimestamp(pace.ready_from / 1_000_000, UTC)
    return start + timedelta(days=math.ceil(days))


def _sentence(leads: int, wins: int, enough: bool, day: datetime | None, limits: GateConfig) -> str:
    seen = f"{wins:,} won of {leads:,} leads, looked at after the last label that was learned"
    if enough:
        return f"Judged on {seen}."
    need = f"{limits.min_wins:,} won and {limits.min_leads:,} leads are needed"
    when = "" if day is None else f" until about {day:%Y-%m-%d}, at last year's pace"
    return f"Not enough evidence{when}: {seen}; {need}."
