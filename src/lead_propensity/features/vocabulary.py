"""The event types and channels that the fit part taught, and the events by their numbers."""

from collections.abc import Sequence
from typing import Any

import duckdb

from lead_propensity.config import FeaturesConfig
from lead_propensity.features.windows import known_before

MOST_OWN_TYPES = 40
LEADS_FOR_OWN_TYPE = 10
MOST_CHANNELS = 60

NOTHING: dict[str, Any] = {
    "event_types": [],
    "other_event_types": [],
    "negative_events": [],
    "exclude_events": [],
    "channels": [],
    "has_value": False,
    "windows_days": [],
    "half_lives_days": [],
}
"""The definition where there are no events (as exported)."""


def event_types(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Every event type of the data, of all times."""
    rows = con.execute("SELECT DISTINCT event_type FROM events ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def learn(con: duckdb.DuckDBPyConnection, config: FeaturesConfig, fit_until: int) -> dict[str, Any]:
    """The event types and channels seen before `fit_until`, and whether events carry values.

    Types of fewer than LEADS_FOR_OWN_TYPE leads count in the totals only.
    """
    seen = _seen(con, config, fit_until)
    own = [name for name, leads, _ in seen if leads >= LEADS_FOR_OWN_TYPE][:MOST_OWN_TYPES]
    return {
        "event_types": own,
        "other_event_types": sorted(name for name, _, _ in seen if name not in own),
        "negative_events": sorted(set(config.negative_events)),
        "exclude_events": sorted(set(config.exclude_events)),
        "channels": _channels(con, [name for name, _, _ in seen], fit_until),
        "has_value": any(valued for _, _, valued in seen),
        "windows_days": list(config.windows_days),
        "half_lives_days": list(config.half_lives_days),
    }


def _seen(
    con: duckdb.DuckDBPyConnection, config: FeaturesConfig, fit_until: int
) -> list[tuple[str, int, int]]:
    """(event type, its leads, its rows with a value) that features may use, the most common first."""
    rows = con.execute(
        f"""SELECT event_type, count(DISTINCT lead_id) AS leads, count(value) AS valued FROM events AS e
            WHERE {known_before("e", str(fit_until))}
            GROUP BY event_type ORDER BY leads DESC, event_type"""
    ).fetchall()
    return [
        (name, leads, valued)
        for name, leads, valued in rows
        if name not in config.exclude_events
        and (config.implicit == "all" or name in config.implicit)
    ]


def _channels(con: duckdb.DuckDBPyConnection, types: list[str], fit_until: int) -> list[str]:
    rows = con.execute(
        f"""SELECT channel FROM events AS e WHERE channel IS NOT NULL AND {known_before("e", str(fit_until))}
            AND list_contains(?::VARCHAR[], event_type)
            GROUP BY channel ORDER BY count(*) DESC, channel LIMIT {MOST_CHANNELS}""",
        [types],
    ).fetchall()
    return [row[0] for row in rows]


def number_events(
    con: duckdb.DuckDBPyConnection, definition: dict[str, Any], rule_types: Sequence[str]
) -> None:
    """Create `numbered_events`: the events that are not excluded, their texts as numbers.

    `type_id` is the place among the features' own types, one more for all others of the vocabulary,
    and NULL for types that the model does not see; `rule_id` is the place in `rule_types`.
    `is_positive`: speaks for interest in the model's vocabulary. `is_activity`: not negative, whatever
    the model may see; the rules' silence is measured by it.
    """
    _number_types(con, definition, rule_types)
    con.execute(
        """CREATE OR REPLACE TABLE numbered_events AS
           SELECT e.lead_id, e.occurred_at, e.known_at, e.value,
                  t.type_id, t.rule_id, t.is_positive, t.is_activity,
                  list_position(?::VARCHAR[], e.channel) - 1 AS channel_id
           FROM events AS e JOIN type_numbers AS t USING (event_type)""",
        [definition["channels"]],
    )


def _number_types(
    con: duckdb.DuckDBPyConnection, definition: dict[str, Any], rule_types: Sequence[str]
) -> None:
    lists = {
        "own": definition["event_types"],
        "others": definition["other_event_types"],
        "negative": definition["negative_events"],
        "excluded": definition["exclude_events"],
        "rule_types": list(rule_types),
    }
    con.execute(
        """CREATE OR REPLACE TABLE type_numbers AS
           SELECT event_type, list_position($rule_types::VARCHAR[], event_type) - 1 AS rule_id,
                  CASE WHEN list_contains($others::VARCHAR[], event_type) THEN len($own::VARCHAR[])
                       ELSE list_position($own::VARCHAR[], event_type) - 1 END AS type_id,
                  NOT list_contains($negative::VARCHAR[], event_type) AS is_activity,
                  is_activity AND type_id IS NOT NULL AS is_positive
           FROM (SELECT DISTINCT event_type FROM events)
           WHERE NOT list_contains($excluded::VARCHAR[], event_type)""",
        lists,
    )
