"""What the outcome leaves in the raw tables: columns that it fills, events and fields written when it is there.

A snapshot sees none of what comes at or after the closing. That it stands there at all tells what kind of
column it is: a record of the outcome, safe only as long as every time in it is right. Nothing known from the
beginning of the test part on is looked at.
"""

from dataclasses import dataclass

import duckdb
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.data.engine import identifier, literal
from lead_propensity.features import kept
from lead_propensity.features.dataset import Plan
from lead_propensity.features.windows import (
    DAY_US,
    HOUR_US,
    at_or_after_ending,
    at_the_ending,
    before_ending,
    deal_known,
    known_before,
    version_known_by,
)

FEW_CLOCK_TIMES = 2
"""So many different times of day at most: the column holds dates (two, where summer time moves midnight)."""


@dataclass(frozen=True)
class Traces:
    """One row a column.

    `fills`: `column`, `filled`, `filled_won`, `empty`, `empty_won`: leads, by whether the lead's own column
    holds a value. `endings`: `source` (`event` or `attribute`), `column`, and the leads with a known deal
    that have it: `leads`, `won`, `late` (it first came at the closing, just before it, or later), `stands`
    (it last came at the very closing), `earlier` (some of it came before the closing), `moment_hours` (how
    wide the closing is: an hour, or a day where times are dates).
    """

    fills: pd.DataFrame
    endings: pd.DataFrame


def traces(con: duckdb.DuckDBPyConnection, config: Config, made: Plan) -> Traces:
    """Of the leads that the planned snapshots before the test part look at."""
    definition, exported = made.catalogue.definition, config.data.exported is not None
    until = made.line.test_from
    names = _looked_at(config, definition["origins"])
    own = [name for name in names if definition["origins"][name] != "versions"]
    fills = _fills(con, own, _outcomes(until, exported))
    if exported:
        return Traces(fills, _endings_frame([]))
    named = [*definition["event_types"], *definition["other_event_types"]]
    types = sorted(kept.meant(con, "event_type", named))
    versioned = [name for name in names if definition["origins"][name] != "lead column"]
    rows = _endings(con, "event", _EVENTS.format(known=known_before("e", str(until))), types, until)
    rows += _endings(
        con,
        "attribute",
        _VERSIONS.format(known=version_known_by("v", str(until))),
        versioned,
        until,
    )
    return Traces(fills, _endings_frame(rows))


def _looked_at(config: Config, origins: dict[str, str]) -> list[str]:
    """The attributes that features may be made of, also those that their values make unusable."""
    features = config.features
    named = [] if features.explicit == "all" else [*features.explicit]
    if config.data.exported is not None and features.implicit != "all":
        named += features.implicit if features.explicit != "all" else ()
    chosen = origins if features.explicit == "all" else named
    return [name for name in origins if name in chosen and name not in features.sensitive]


def _outcomes(until: int, exported: bool) -> str:
    """SQL: (lead_id, won) of the leads looked at before the test part, as known when it begins."""
    if exported:
        return "SELECT lead_id, won = 1 AS won FROM snapshots WHERE part IN ('fit', 'calibrate')"
    return f"""
        SELECT s.lead_id, coalesce(d.won AND {deal_known("d", str(until))}, false) AS won
        FROM ({_LOOKED}) AS s LEFT JOIN deals AS d USING (lead_id)"""


_LOOKED = """SELECT DISTINCT lead_id FROM snapshots
    WHERE population = 'training' AND part IN ('fit', 'purged', 'calibrate')"""
_EVENTS = "SELECT lead_id, event_type AS name, occurred_at AS time FROM events AS e WHERE {known}"
_VERSIONS = """SELECT lead_id, attribute AS name, known_at AS time FROM attributes AS v
    WHERE value IS NOT NULL AND {known}"""


def _fills(con: duckdb.DuckDBPyConnection, names: list[str], outcomes: str) -> pd.DataFrame:
    columns = ["column", "filled", "filled_won", "empty", "empty_won"]
    if not names:
        return pd.DataFrame(columns=columns)
    counts = ", ".join(
        f"count(a.{identifier(name)}), count(*) FILTER (o.won AND a.{identifier(name)} IS NOT NULL)"
        for name in names
    )
    n, won, *found = con.execute(f"""
        WITH outcome AS ({outcomes})
        SELECT count(*), count(*) FILTER (o.won), {counts}
        FROM outcome AS o JOIN lead_attributes AS a USING (lead_id)""").fetchall()[0]
    rows = [
        (name, filled, filled_won, n - filled, won - filled_won)
        for name, filled, filled_won in zip(names, found[::2], found[1::2], strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def _endings(
    con: duckdb.DuckDBPyConnection, source: str, rows: str, names: list[str], until: int
) -> list[tuple[object, ...]]:
    """Per name of `rows` (lead_id, name, time) how it lies around the closings known before `until`."""
    if not names:
        return []
    listed = ", ".join(literal(name) for name in names)
    found = con.execute(f"""
        WITH ending AS (
            SELECT d.lead_id, d.closed_at, d.won FROM deals AS d JOIN ({_LOOKED}) USING (lead_id)
            WHERE {deal_known("d", str(until))}
        ), width AS (
            SELECT count(DISTINCT closed_at % {DAY_US}) <= {FEW_CLOCK_TIMES} AS dates FROM ending
        ), written AS (
            SELECT lead_id, name, time FROM ({rows}) WHERE name IN ({listed})
        ), precision AS (
            SELECT name, CASE WHEN (SELECT dates FROM width) OR count(DISTINCT time % {DAY_US}) <= {FEW_CLOCK_TIMES}
                         THEN {DAY_US} ELSE {HOUR_US} END AS moment
            FROM written GROUP BY name
        ), lead_with_it AS (
            SELECT w.name, d.won, d.closed_at, p.moment, min(w.time) AS first, max(w.time) AS latest
            FROM written AS w JOIN ending AS d USING (lead_id) JOIN precision AS p USING (name)
            GROUP BY w.name, d.lead_id, d.won, d.closed_at, p.moment
        )
        SELECT name, count(*), count(*) FILTER (won), count(*) FILTER ({at_or_after_ending("first", "l")}),
               count(*) FILTER ({at_the_ending("latest", "l")}), count(*) FILTER ({before_ending("first", "l")}),
               any_value(moment) / {HOUR_US}
        FROM lead_with_it AS l GROUP BY name ORDER BY name""").fetchall()
    return [(source, *row) for row in found]


def _endings_frame(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["source", "column", "leads", "won", "late", "stands", "earlier", "moment_hours"]
    return pd.DataFrame(rows, columns=columns)
