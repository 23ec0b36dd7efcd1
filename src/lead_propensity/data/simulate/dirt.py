"""Dirty rows as real exports have them, planted and counted.

Every dirty row is an extra row: the clean world stays whole beneath it, and each kind is
disjoint from the others, so that the counts can be compared with the quarantine's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lead_propensity.data.simulate.export import EXPORTED_AT

SHARE = 0.003
"""Dirty rows of a table, all kinds together; at least one of each kind."""
BAD_TIMES = ("not a date", "2025-02-31T10:00:00Z", "31.31.2025")
TIMES = {
    "leads": ("created_at",),
    "attributes": ("known_at",),
    "events": ("occurred_at", "known_at"),
    "deals": ("closed_at", "known_at"),
}
"""The first of these is where a bad time is planted; it becomes text for that."""

Tables = dict[str, pd.DataFrame]
Plant = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


@dataclass(frozen=True)
class Kind:
    """One kind of dirty row: how the rows picked to copy are spoiled, and which are picked."""

    spoil: Plant
    pool: str = "own"
    """`own`: rows of the table. `open`: made up for leads without a deal, each lead used once."""


def soil(tables: Tables, draw: np.random.Generator) -> tuple[Tables, dict[str, int]]:
    """The tables with dirty rows among the others, and the count of each `table.kind`."""
    planted: dict[str, int] = {}
    soiled = {}
    for name, table in tables.items():
        extra = _extra(name, tables, draw)
        planted |= {f"{name}.{kind}": len(rows) for kind, rows in extra.items()}
        order = draw.permutation(len(table) + sum(len(rows) for rows in extra.values()))
        rows = [table, *(part for part in extra.values() if len(part))]
        text = [_as_text(part, TIMES[name][0]) for part in rows]
        soiled[name] = pd.concat(text, ignore_index=True).take(order).reset_index(drop=True)
    return soiled, planted


def _extra(name: str, tables: Tables, draw: np.random.Generator) -> Tables:
    table, kinds = tables[name], KINDS[name]
    each = max(1, round(SHARE * len(table) / len(kinds)))
    own = [kind for kind in kinds if kinds[kind].pool == "own"]
    made = [kind for kind in kinds if kinds[kind].pool == "open"]
    # No row is copied twice: a copy of a copy would be counted under two kinds.
    parts = _picked(table, own, each, draw)
    if made:
        parts |= _picked(_deals_of_open_leads(tables), made, each, draw)
    return {kind: kinds[kind].spoil(rows, draw) for kind, rows in parts.items()}


def _picked(
    rows: pd.DataFrame, kinds: list[str], each: int, draw: np.random.Generator
) -> dict[str, pd.DataFrame]:
    each = min(each, len(rows) // len(kinds))
    at = draw.choice(len(rows), size=each * len(kinds), replace=False)
    return {
        kind: rows.take(at[place * each : (place + 1) * each]).reset_index(drop=True)
        for place, kind in enumerate(kinds)
    }


def _deals_of_open_leads(tables: Tables) -> pd.DataFrame:
    leads = tables["leads"]
    still_open = leads[~leads["lead_id"].isin(tables["deals"]["lead_id"])]
    closed = (still_open["created_at"] + pd.Timedelta(hours=1)).reset_index(drop=True)
    return pd.DataFrame(
        {
            "lead_id": still_open["lead_id"].reset_index(drop=True),
            "closed_at": closed,
            "outcome": "lost",
            "amount": 5000.0,
            "known_at": closed,
        }
    )


def _as_text(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    if not isinstance(rows[column].dtype, pd.DatetimeTZDtype):
        return rows
    return rows.assign(**{column: iso(rows[column])})


def iso(times: pd.Series) -> pd.Series:
    """Times as ISO text with Z; all of ours are whole seconds."""
    plain = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
    return pd.Series(np.datetime_as_string(plain, timezone="UTC"), index=times.index).astype("str")


def _bad_time(column: str) -> Plant:
    def spoil(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        return rows.assign(**{column: draw.choice(BAD_TIMES, len(rows))})

    return spoil


def _new_leads(spoil: Plant) -> Plant:
    """Under new names, so that no event or deal of a real lead loses its lead."""

    def renamed(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        return spoil(rows.assign(lead_id=rows["lead_id"] + "X"), draw)

    return renamed


def _orphan(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    return rows.assign(lead_id="gone-" + rows["lead_id"])


def _same(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    return rows


def _conflicting(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Entered again some hours later, from another source: the earlier row is the true one."""
    later = pd.to_timedelta(draw.integers(1, 5, len(rows)), unit="h")
    return rows.assign(created_at=rows["created_at"] + later, source="partner")


def _after_export(*columns: str) -> Plant:
    def spoil(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
        hours = pd.Series(pd.to_timedelta(draw.integers(1, 500, len(rows)), unit="h"))
        return rows.assign(**dict.fromkeys(columns, (EXPORTED_AT + hours).dt.as_unit("us")))

    return spoil


def _before_creation(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    closed = rows["closed_at"] - pd.Timedelta(days=30)
    return rows.assign(closed_at=closed, known_at=closed)


def _negative(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    return rows.assign(amount=-rows["amount"])


def _unknown_outcome(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    return rows.assign(outcome="pending?")


def _second(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Closed again an hour later, the other way round."""
    hour = pd.Timedelta(hours=1)
    other = np.where(rows["outcome"] == "won", "lost", "won")
    closed, known = rows["closed_at"] + hour, rows["known_at"] + hour
    return rows.assign(closed_at=closed, known_at=known, outcome=other, amount=1000.0)


KINDS = {
    "leads": {
        "bad_time": Kind(_new_leads(_bad_time("created_at"))),
        "exact_duplicate": Kind(_same),
        "conflicting_duplicate": Kind(_conflicting),
        "after_export": Kind(_new_leads(_after_export("created_at"))),
    },
    "attributes": {
        "bad_time": Kind(_bad_time("known_at")),
        "orphan": Kind(_orphan),
        "exact_duplicate": Kind(_same),
        "after_export": Kind(_after_export("known_at")),
    },
    "events": {
        "bad_time": Kind(_bad_time("occurred_at")),
        "orphan": Kind(_orphan),
        "exact_duplicate": Kind(_same),
        "after_export": Kind(_after_export("occurred_at", "known_at")),
    },
    "deals": {
        "orphan": Kind(_orphan),
        "exact_duplicate": Kind(_same),
        "second_deal": Kind(_second),
        "bad_time": Kind(_bad_time("closed_at"), "open"),
        "deal_before_creation": Kind(_before_creation, "open"),
        "negative_amount": Kind(_negative, "open"),
        "unknown_outcome": Kind(_unknown_outcome, "open"),
        "after_export": Kind(_after_export("closed_at", "known_at"), "open"),
    },
}
