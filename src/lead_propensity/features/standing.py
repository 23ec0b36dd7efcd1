"""How each lead stands at the moment of scoring: open, or why it gets no score, and when it last did something."""

from collections.abc import Sequence

import duckdb

from lead_propensity.config import SnapshotsConfig
from lead_propensity.features.windows import ObservationWindow, has_closed, not_created, too_old

WON, LOST = "closed: won", "closed: lost"
NOT_CREATED, TOO_OLD = "not created yet", "too old"
UNCLEAR = "deal in quarantine"
REASONS = (WON, LOST, *(NOT_CREATED, TOO_OLD, UNCLEAR))
LISTED = (NOT_CREATED, TOO_OLD, UNCLEAR)
"""Reasons for which a lead is listed by name; closed ones are only counted."""


def make(con: duckdb.DuckDBPyConnection, config: SnapshotsConfig, as_of: int) -> None:
    """Create `unscored(lead_id, reason)`: the leads of the clean table that are not open at `as_of`."""
    con.execute(f"""
        CREATE OR REPLACE TABLE unscored AS
        WITH standing AS (
            SELECT l.lead_id, CASE
                WHEN {not_created("l", "s")} THEN '{NOT_CREATED}'
                WHEN {has_closed("d", "s")} THEN CASE WHEN d.won THEN '{WON}' ELSE '{LOST}' END
                WHEN l.lead_id IN (SELECT lead_id FROM unclear_leads) THEN '{UNCLEAR}'
                WHEN {too_old("l", "s", config.max_age_days)} THEN '{TOO_OLD}' END AS reason
            FROM leads AS l CROSS JOIN (SELECT {as_of}::BIGINT AS as_of) AS s LEFT JOIN deals AS d USING (lead_id)
        )
        SELECT * FROM standing WHERE reason IS NOT NULL""")


def make_exported(con: duckdb.DuckDBPyConnection, every_row: bool) -> None:
    """The same of rows as exported: those with an outcome have closed, unless every row is scored.

    Creates `last_events`, too: there are no events.
    """
    con.execute(f"""
        CREATE OR REPLACE TABLE unscored AS
        SELECT lead_id, CASE WHEN won::BOOLEAN THEN '{WON}' ELSE '{LOST}' END AS reason FROM exported
        WHERE won IS NOT NULL AND NOT {every_row}""")
    con.execute("CREATE OR REPLACE TABLE last_events (lead_id VARCHAR, last_event_at BIGINT)")


def make_last_events(con: duckdb.DuckDBPyConnection, excluded: Sequence[str], as_of: int) -> None:
    """Create `last_events(lead_id, last_event_at)`: of the leads of `snapshots`, as known before `as_of`.

    Events of the `excluded` types count for nothing, as in the features.
    """
    con.execute(
        f"""CREATE OR REPLACE TABLE last_events AS
            SELECT e.lead_id, max(e.occurred_at) AS last_event_at
            FROM events AS e CROSS JOIN (SELECT {as_of}::BIGINT AS as_of) AS s
            WHERE {ObservationWindow().where("e", "s")} AND NOT list_contains(?::VARCHAR[], e.event_type)
              AND e.lead_id IN (SELECT lead_id FROM snapshots)
            GROUP BY e.lead_id""",
        [list(excluded)],
    )


def counts(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Reason -> how many leads, by the table `unscored`."""
    rows = con.execute("SELECT reason, count(*) FROM unscored GROUP BY 1 ORDER BY 1").fetchall()
    return {reason: int(count) for reason, count in rows}
