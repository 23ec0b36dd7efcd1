"""What the fit part taught of the events: their types, channels and topics, and which carry values."""

from dataclasses import dataclass
from typing import Any

import duckdb

from lead_propensity.config import Config, FeaturesConfig
from lead_propensity.features import kept
from lead_propensity.features.windows import ObservationWindow, known_before

MOST_OWN_TYPES = 40
MOST_CHANNELS = 60
MOST_TOPICS = 20

NOTHING: dict[str, Any] = {
    "event_types": [],
    "other_event_types": [],
    "negative_events": [],
    "exclude_events": [],
    "channels": [],
    "topics": [],
    "valued_types": [],
    "windows_days": [],
    "half_lives_days": [],
    "families": [],
    "reporting_zone": "UTC",
}
"""The definition where there are no events (as exported)."""


def event_types(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Every event type of the data, of all times."""
    rows = con.execute("SELECT DISTINCT event_type FROM events ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def learn(con: duckdb.DuckDBPyConnection, config: Config, fit_until: int) -> dict[str, Any]:
    """The event types, channels and topics seen before `fit_until`, and which types carry values.

    Types that a model may not name, see `kept`, count in the totals only, and stand there as marks; so do channels.
    Topics that it may not name count in none.
    """
    features = config.features
    seen = _seen(con, features, fit_until)
    types = [name for name, _, _ in seen]
    named = kept.named("event_type", {name: leads for name, leads, _ in seen}, _declared(features))
    own = [name for name, leads, _ in seen if leads >= kept.FEWEST_LEADS and named[name] == name]
    own = own[:MOST_OWN_TYPES]
    channels = dict(_common(con, "channel", types, fit_until))
    return {
        "event_types": own,
        "other_event_types": sorted(named[name] for name in types if name not in own),
        "negative_events": sorted(set(features.negative_events)),
        "exclude_events": sorted(set(features.exclude_events)),
        "channels": list(kept.named("channel", channels).values()),
        "topics": [
            name
            for name, leads in _common(con, "topic", types, fit_until)
            if kept.may_be_kept(name, leads) and "topics" in features.families
        ][:MOST_TOPICS],
        "valued_types": sorted(named[name] for name, _, valued in seen if valued),
        "windows_days": list(features.windows_days),
        "half_lives_days": list(features.half_lives_days),
        "families": sorted(set(features.families)),
        "reporting_zone": features.timezone or config.data.timezone or "UTC",
    }


def _declared(features: FeaturesConfig) -> set[str]:
    listed = () if features.implicit == "all" else features.implicit
    return {*features.negative_events, *listed}


@dataclass(frozen=True)
class Counted:
    """Events by whether a definition knows their type."""

    events: int
    unknown: dict[str, int]


def counted(
    con: duckdb.DuckDBPyConnection, config: FeaturesConfig, definition: dict[str, Any], as_of: int
) -> Counted:
    """Of the events in the longest window before `as_of` those whose type the `definition` does not know.

    Types that the config or the definition leaves out count for neither; nor does anything where the
    definition knows no type at all.
    """
    known = {*definition["event_types"], *definition["other_event_types"]}
    if not known or not definition["windows_days"]:
        return Counted(0, {})
    window = ObservationWindow(days=max(definition["windows_days"]))
    rows = con.execute(
        f"""SELECT event_type, count(*) FROM events AS e CROSS JOIN (SELECT {as_of}::BIGINT AS as_of) AS s
            WHERE {window.where("e", "s")} GROUP BY event_type ORDER BY event_type"""
    ).fetchall()
    out = {*definition["exclude_events"], *config.exclude_events}
    types = {
        name: int(count)
        for name, count in rows
        if name not in out and (config.implicit == "all" or name in config.implicit)
    }
    known |= set(definition["negative_events"])
    unknown = {
        name: count
        for name, count in types.items()
        if not {name, kept.mark("event_type", name)} & known
    }
    return Counted(sum(types.values()), unknown)


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


def _common(
    con: duckdb.DuckDBPyConnection, column: str, types: list[str], fit_until: int
) -> list[tuple[str, int]]:
    """(text, its leads) of `column` in the events of these types, the most frequent first."""
    return con.execute(
        f"""SELECT {column}, count(DISTINCT lead_id) FROM events AS e
            WHERE {column} IS NOT NULL AND {known_before("e", str(fit_until))}
            AND list_contains(?::VARCHAR[], event_type)
            GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT {MOST_CHANNELS}""",
        [types],
    ).fetchall()
