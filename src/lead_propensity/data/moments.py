"""Moments: microseconds UTC in the database, words for people; and when the data ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb

from lead_propensity.config import DataConfig
from lead_propensity.errors import ConfigError

KNOWN_AT = {
    "leads": "created_at",
    "attributes": "known_at",
    "events": "coalesce(known_at, occurred_at)",
    "deals": "greatest(closed_at, known_at)",
}
"""SQL over a staged row: when it was known. A deal is not known before it is closed."""
_COLUMN = {
    "leads": "'created_at'",
    "attributes": "'known_at'",
    "events": "CASE WHEN known_at IS NULL THEN 'occurred_at' ELSE 'known_at' END",
    "deals": "CASE WHEN known_at > closed_at OR closed_at IS NULL THEN 'known_at' ELSE 'closed_at' END",
}
"""SQL over a staged row: which of our columns says so."""
LONELY_DAYS = 366
LONELY_SHARE = 0.001
"""So few times of all, after so many days in which nothing was known, are a mistake rather than the end."""


def words(moment: int) -> str:
    """A time in microseconds as ISO text, for people."""
    return datetime.fromtimestamp(moment / 1_000_000, tz=UTC).isoformat(timespec="seconds")


def iso(moment: int) -> str:
    """A time in microseconds as ISO text, exactly."""
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment)).isoformat()


def microseconds(moment: datetime, zone: str | None) -> int:
    """Microseconds UTC of a time; one that carries no zone is read in `zone`, else as UTC.

    Raises ConfigError where the time in UTC has left the calendar (years 1 to 9999).
    """
    local = ZoneInfo(zone) if zone else UTC
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=local)
    try:
        return (aware.astimezone(UTC) - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
    except OverflowError as error:
        raise ConfigError(
            f"{moment.isoformat()} is in UTC a time of no year from 1 to 9999. Give another time."
        ) from error


@dataclass(frozen=True)
class Ending:
    """When the data ends, and why then."""

    at: int
    """int64 microseconds UTC; -1 as exported, or where no time can be read."""
    why: str = ""
    """In words: what was declared, or whose time is the latest."""
    problem: str = ""
    """Why that can hardly be the end; empty where it can."""


def ending(con: duckdb.DuckDBPyConnection, data: DataConfig, tables: Sequence[str]) -> Ending:
    """The declared export time, else the latest time at which any row of the staged `tables` was known."""
    if data.exported is not None:
        return Ending(-1)
    if data.exported_at is not None:
        at = microseconds(data.exported_at, data.timezone)
        return Ending(at, "declared: data.exported_at")
    latest = [found for table in tables for found in _latest(con, table)]
    if not latest:
        return Ending(-1)
    at, lead, column = max(latest, key=lambda found: found[0])
    why = f"latest time seen: {column} of lead {lead!r}"
    return Ending(at, why, _lonely(con, tables, at, why))


def _latest(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[int, str, str]]:
    """The latest time at which a row was known, whose it is, and in which column; none without times."""
    return con.execute(f"""
        SELECT {KNOWN_AT[table]} AS known, left(lead_id, 80), '{table}.' || {_COLUMN[table]}
        FROM staged_{table} WHERE known IS NOT NULL ORDER BY known DESC, lead_id, 3 LIMIT 1""").fetchall()


def _lonely(con: duckdb.DuckDBPyConnection, tables: Sequence[str], at: int, why: str) -> str:
    since = at - LONELY_DAYS * 86_400_000_000
    ends, late, rest = [], 0, 0
    for table in tables:
        known = KNOWN_AT[table]
        before, there, others = con.execute(f"""
            SELECT max({known}) FILTER ({known} < {since}), count(*) FILTER ({known} >= {since}),
                   count(*) FILTER ({known} < {since}) FROM staged_{table}""").fetchall()[0]
        ends += [] if before is None else [before]
        late, rest = late + there, rest + others
    if rest == 0 or late > max(1, LONELY_SHARE * (late + rest)):
        return ""
    return (
        f"data.exported_at: the data would end at {words(at)} ({why}), but only {late} of {late + rest} times "
        f"lie in the {LONELY_DAYS} days before; the others end at {words(max(ends))}. "
        "Declare when the data was exported, e.g. data.exported_at: 2025-12-31T00:00:00Z; "
        "rows known later are set aside."
    )
