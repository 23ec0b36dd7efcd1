"""Implicit features: what a lead did, as one range join between snapshots and events.

Sums are integers in fixed point, so that no order of rows and no number of threads changes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from lead_propensity.config import FeaturesConfig
from lead_propensity.features.catalogue import Direction, Feature
from lead_propensity.features.windows import DAY_US, ObservationWindow, known_before

ALL_TIME = ObservationWindow()
MOST_OWN_TYPES = 40
LEADS_FOR_OWN_TYPE = 10
MOST_CHANNELS = 60
_FIXED = 2**40
_VALUE_FIXED = 1_000_000


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

AGE = Feature(
    "days_since_creation",
    "implicit",
    "number",
    "all time",
    "days since the lead was created",
    "age",
)
"""The one implicit feature that is no aggregate of events; silence raises it, so it stays out of interest."""


ALL_EVENTS = "events"
"""The topic of what counts all types together."""


@dataclass(frozen=True)
class Aggregate:
    """SQL over `seen AS e` (one row for each event before a snapshot), and what a lead without events gets."""

    sql: str
    empty: str = "0"


def learn(con: duckdb.DuckDBPyConnection, config: FeaturesConfig, fit_until: int) -> dict[str, Any]:
    """The event types and channels seen before `fit_until`, and whether events carry values.

    Types of fewer than LEADS_FOR_OWN_TYPE leads count in the totals only.
    """
    allowed = "" if config.implicit == "all" else "AND list_contains(?::VARCHAR[], event_type)"
    parameters = [list(config.exclude_events)] + (
        [] if config.implicit == "all" else [list(config.implicit)]
    )
    seen = con.execute(
        f"""SELECT event_type, count(DISTINCT lead_id) AS leads, count(value) AS valued FROM events AS e
            WHERE {known_before("e", str(fit_until))} AND NOT list_contains(?::VARCHAR[], event_type) {allowed}
            GROUP BY event_type ORDER BY leads DESC, event_type""",
        parameters,
    ).fetchall()
    own = [name for name, leads, _ in seen if leads >= LEADS_FOR_OWN_TYPE][:MOST_OWN_TYPES]
    channels = con.execute(
        f"""SELECT channel FROM events AS e WHERE channel IS NOT NULL AND {known_before("e", str(fit_until))}
            AND list_contains(?::VARCHAR[], event_type)
            GROUP BY channel ORDER BY count(*) DESC, channel LIMIT {MOST_CHANNELS}""",
        [[name for name, _, _ in seen]],
    ).fetchall()
    return {
        "event_types": own,
        "other_event_types": sorted(name for name, _, _ in seen if name not in own),
        "negative_events": sorted({name for name, _, _ in seen} & set(config.negative_events)),
        "exclude_events": sorted(config.exclude_events),
        "channels": [channel for (channel,) in channels],
        "has_value": any(valued for _, _, valued in seen),
        "windows_days": list(config.windows_days),
        "half_lives_days": list(config.half_lives_days),
    }


def features(definition: dict[str, Any]) -> list[tuple[Feature, Aggregate]]:
    """Every implicit feature of a definition, in column order."""
    rows: list[tuple[Feature, Aggregate]] = []
    negative = set(definition["negative_events"])
    for number, event_type in enumerate(definition["event_types"]):
        if event_type in negative:
            rows += _of_negative_type(event_type, number)
        else:
            rows += _of_type(event_type, number, definition)
    if definition["event_types"] or definition["other_event_types"]:
        rows += _of_all(definition)
    return rows


def _of_type(
    event_type: str, number: int, definition: dict[str, Any]
) -> list[tuple[Feature, Aggregate]]:
    is_type = f"e.type_id = {number}"
    counted = [
        _count(f"count_{days}d__{event_type}", is_type, ObservationWindow(days), event_type)
        for days in definition["windows_days"]
    ]
    decayed = [
        _decayed(f"decayed_{days}d__{event_type}", is_type, days, event_type)
        for days in definition["half_lives_days"]
    ]
    total = _count(f"count_all__{event_type}", is_type, ALL_TIME, event_type)
    return [*counted, total, _recency(f"days_since__{event_type}", is_type, event_type), *decayed]


def _of_negative_type(event_type: str, number: int) -> list[tuple[Feature, Aggregate]]:
    """A negative type counts over all time: were it windowed, silence would heal it."""
    feature, aggregate = _count(
        f"count_all__{event_type}", f"e.type_id = {number}", ALL_TIME, event_type, interest="down"
    )
    return [(feature, aggregate)]


def _of_all(definition: dict[str, Any]) -> list[tuple[Feature, Aggregate]]:
    """Totals over all types but the negative ones."""
    any_type = "e.is_positive"
    rows = []
    for days in definition["windows_days"]:
        window = ObservationWindow(days)
        rows.append(_count(f"count_{days}d", any_type, window, ALL_EVENTS))
        rows.append(_active_days(days, any_type))
        rows.append(
            _breadth(
                f"event_types_{days}d", "e.type_id", any_type, days, "different kinds of event"
            )
        )
        if definition["channels"]:
            rows.append(
                _breadth(f"channels_{days}d", "e.channel_id", any_type, days, "different channels")
            )
        rows.append(_trend(days, any_type))
        if definition["has_value"]:
            rows.append(_value_sum(days, any_type))
    rows.append(_count("count_all", any_type, ALL_TIME, ALL_EVENTS))
    rows.append(_recency("days_since_event", any_type, ALL_EVENTS))
    rows += [
        _decayed(f"decayed_{days}d", any_type, days, ALL_EVENTS)
        for days in definition["half_lives_days"]
    ]
    first = _feature(
        "days_since_first_event",
        ALL_TIME.words,
        "days since the first event",
        ALL_EVENTS,
        "not_in_interest",
    )
    since = f"(max(e.as_of) - min(CASE WHEN {any_type} THEN e.occurred_at END)) / {DAY_US}.0"
    return [*rows, (first, Aggregate(since, "NULL"))]


def _feature(name: str, window: str, meaning: str, topic: str, interest: Direction) -> Feature:
    return Feature(name, "implicit", "number", window, meaning, topic, interest)


def _within(window: ObservationWindow) -> str:
    return "so far" if window.days is None else f"in the {window.words}"


def _one(topic: str) -> str:
    return "event" if topic == ALL_EVENTS else topic


def _count(
    name: str, condition: str, window: ObservationWindow, topic: str, interest: Direction = "up"
) -> tuple[Feature, Aggregate]:
    feature = _feature(name, window.words, f"{topic} {_within(window)}", topic, interest)
    return feature, Aggregate(
        f"count(CASE WHEN {condition} AND {window.where('e', 'e')} THEN 1 END)"
    )


def _recency(name: str, condition: str, topic: str) -> tuple[Feature, Aggregate]:
    feature = _feature(name, ALL_TIME.words, f"days since the last {_one(topic)}", topic, "down")
    last = f"max(CASE WHEN {condition} THEN e.occurred_at END)"
    return feature, Aggregate(f"(max(e.as_of) - {last}) / {DAY_US}.0", "NULL")


def _decayed(
    name: str, condition: str, half_life_days: int, topic: str
) -> tuple[Feature, Aggregate]:
    meaning = f"{topic}, each fading by half every {half_life_days} days"
    feature = _feature(name, ALL_TIME.words, meaning, topic, "up")
    return feature, Aggregate(decayed_sum(condition, half_life_days))


def decayed_sum(condition: str, half_life_days: float) -> str:
    """SQL aggregate: the events for which `condition` holds, each worth 2^(-age / half-life).

    Each worth is a fixed-point integer of 40 bits, so that the sum has no order.
    """
    worth = f"pow(2.0, -(e.as_of - e.occurred_at) / {half_life_days * DAY_US})"
    units = f"CAST(round({worth} * {_FIXED}) AS BIGINT)"
    return f"sum(CASE WHEN {condition} THEN {units} ELSE 0 END) / {_FIXED}.0"


def _active_days(days: int, condition: str) -> tuple[Feature, Aggregate]:
    window = ObservationWindow(days)
    feature = _feature(
        f"active_days_{days}d",
        window.words,
        f"days with an event {_within(window)}",
        ALL_EVENTS,
        "up",
    )
    day = f"CASE WHEN {condition} AND {window.where('e', 'e')} THEN floor(e.occurred_at / {DAY_US}.0) END"
    return feature, Aggregate(f"count(DISTINCT {day})")


def _breadth(
    name: str, number: str, condition: str, days: int, meaning: str
) -> tuple[Feature, Aggregate]:
    """How many different numbers 0..62 occur: the bits of one integer."""
    window = ObservationWindow(days)
    counts = f"{condition} AND {window.where('e', 'e')} AND {number} IS NOT NULL"
    bit = f"CASE WHEN {counts} THEN 1::BIGINT << {number} ELSE 0 END"
    feature = _feature(name, window.words, f"{meaning} {_within(window)}", ALL_EVENTS, "up")
    return feature, Aggregate(f"bit_count(bit_or({bit}))")


def _trend(days: int, condition: str) -> tuple[Feature, Aggregate]:
    recent, before = ObservationWindow(days), ObservationWindow(days, skip_days=days)
    step = f"CASE WHEN {recent.where('e', 'e')} THEN 1 WHEN {before.where('e', 'e')} THEN -1 ELSE 0 END"
    meaning = f"events in the last {days} days less those of the {days} days before"
    feature = _feature(
        f"trend_{days}d", f"last {2 * days} days", meaning, ALL_EVENTS, "not_in_interest"
    )
    return feature, Aggregate(f"sum(CASE WHEN {condition} THEN {step} ELSE 0 END)")


def _value_sum(days: int, condition: str) -> tuple[Feature, Aggregate]:
    window = ObservationWindow(days)
    cents = f"CAST(round(e.value * {_VALUE_FIXED}.0) AS HUGEINT)"
    meaning = f"sum of the events' values {_within(window)}"
    feature = _feature(f"value_sum_{days}d", window.words, meaning, "value", "not_in_interest")
    return feature, Aggregate(
        f"sum(CASE WHEN {condition} AND {window.where('e', 'e')} THEN {cents} ELSE 0 END) / {_VALUE_FIXED}.0"
    )


def number_events(
    con: duckdb.DuckDBPyConnection, definition: dict[str, Any], rule_types: Sequence[str]
) -> None:
    """Create `numbered_events`: the events of the vocabulary and of the rules, their texts as numbers.

    `type_id` is the place among the features' own types, one more for all others of the vocabulary,
    and NULL for types that only the rules look at; `rule_id` is the place in `rule_types`.
    """
    own, others = definition["event_types"], definition["other_event_types"]
    names = sorted({*own, *others, *rule_types})
    seen, negative = {*own, *others}, set(definition["negative_events"])
    con.execute("""
        CREATE OR REPLACE TABLE type_numbers (
            event_type VARCHAR, type_id INTEGER, rule_id INTEGER, is_positive BOOLEAN)""")
    rows = [
        (
            name,
            own.index(name) if name in own else len(own) if name in seen else None,
            rule_types.index(name) if name in rule_types else None,
            name in seen and name not in negative,
        )
        for name in names
    ]
    if rows:
        con.executemany("INSERT INTO type_numbers VALUES (?, ?, ?, ?)", rows)
    con.execute(
        """CREATE OR REPLACE TABLE numbered_events AS
           SELECT e.lead_id, e.occurred_at, e.known_at, e.value, t.type_id, t.rule_id, t.is_positive,
                  list_position(?::VARCHAR[], e.channel) - 1 AS channel_id
           FROM events AS e JOIN type_numbers AS t USING (event_type)""",
        [definition["channels"]],
    )
