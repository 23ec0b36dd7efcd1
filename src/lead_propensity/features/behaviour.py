"""Implicit features: what a lead did, as SQL aggregates over the events before a snapshot.

Sums are integers in fixed point, so that no order of rows and no number of threads changes them.
"""

from dataclasses import dataclass
from typing import Any

from lead_propensity.features.catalogue import Direction, Feature
from lead_propensity.features.windows import DAY_US, ObservationWindow

ALL_TIME = ObservationWindow()
_FIXED = 2**40
_VALUE_FIXED = 1_000_000

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
ANY_TYPE = "e.is_positive"
"""SQL: an event of any type of the vocabulary but the negative ones."""


@dataclass(frozen=True)
class Aggregate:
    """SQL over `seen AS e` (one row for each event before a snapshot), and what a lead without events gets."""

    sql: str
    empty: str = "0"


def features(definition: dict[str, Any]) -> list[tuple[Feature, Aggregate]]:
    """Every implicit feature of a definition, in column order."""
    rows: list[tuple[Feature, Aggregate]] = []
    negative = set(definition["negative_events"])
    for number, event_type in enumerate(definition["event_types"]):
        if event_type in negative:
            rows += _of_negative_type(event_type, number)
        else:
            rows += _of_type(event_type, number, definition)
    if {*definition["event_types"], *definition["other_event_types"]} - negative:
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
    rows = [row for days in definition["windows_days"] for row in _of_window(days, definition)]
    rows.append(_count("count_all", ANY_TYPE, ALL_TIME, ALL_EVENTS))
    rows.append(_recency("days_since_event", ANY_TYPE, ALL_EVENTS))
    rows += [
        _decayed(f"decayed_{days}d", ANY_TYPE, days, ALL_EVENTS)
        for days in definition["half_lives_days"]
    ]
    return [*rows, _since_first()]


def _of_window(days: int, definition: dict[str, Any]) -> list[tuple[Feature, Aggregate]]:
    kinds = _breadth(f"event_types_{days}d", "e.type_id", days, "different kinds of event")
    rows = [
        _count(f"count_{days}d", ANY_TYPE, ObservationWindow(days), ALL_EVENTS),
        _active_days(days),
        kinds,
    ]
    if definition["channels"]:
        rows.append(_breadth(f"channels_{days}d", "e.channel_id", days, "different channels"))
    rows.append(_trend(days))
    if definition["has_value"]:
        rows.append(_value_sum(days))
    return rows


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


def _since_first() -> tuple[Feature, Aggregate]:
    name, meaning = "days_since_first_event", "days since the first event"
    feature = _feature(name, ALL_TIME.words, meaning, ALL_EVENTS, "not_in_interest")
    first = f"min(CASE WHEN {ANY_TYPE} THEN e.occurred_at END)"
    return feature, Aggregate(f"(max(e.as_of) - {first}) / {DAY_US}.0", "NULL")


def _active_days(days: int) -> tuple[Feature, Aggregate]:
    window = ObservationWindow(days)
    feature = _feature(
        f"active_days_{days}d",
        window.words,
        f"days with an event {_within(window)}",
        ALL_EVENTS,
        "up",
    )
    day = f"CASE WHEN {ANY_TYPE} AND {window.where('e', 'e')} THEN floor(e.occurred_at / {DAY_US}.0) END"
    return feature, Aggregate(f"count(DISTINCT {day})")


def _breadth(name: str, number: str, days: int, meaning: str) -> tuple[Feature, Aggregate]:
    """How many different numbers 0..62 occur: the bits of one integer."""
    window = ObservationWindow(days)
    counts = f"{ANY_TYPE} AND {window.where('e', 'e')} AND {number} IS NOT NULL"
    bit = f"CASE WHEN {counts} THEN 1::BIGINT << {number} ELSE 0 END"
    feature = _feature(name, window.words, f"{meaning} {_within(window)}", ALL_EVENTS, "up")
    return feature, Aggregate(f"bit_count(bit_or({bit}))")


def _trend(days: int) -> tuple[Feature, Aggregate]:
    recent, before = ObservationWindow(days), ObservationWindow(days, skip_days=days)
    step = f"CASE WHEN {recent.where('e', 'e')} THEN 1 WHEN {before.where('e', 'e')} THEN -1 ELSE 0 END"
    meaning = f"events in the last {days} days less those of the {days} days before"
    feature = _feature(
        f"trend_{days}d", f"last {2 * days} days", meaning, ALL_EVENTS, "not_in_interest"
    )
    return feature, Aggregate(f"sum(CASE WHEN {ANY_TYPE} THEN {step} ELSE 0 END)")


def _value_sum(days: int) -> tuple[Feature, Aggregate]:
    window = ObservationWindow(days)
    cents = f"CAST(round(e.value * {_VALUE_FIXED}.0) AS HUGEINT)"
    meaning = f"sum of the events' values {_within(window)}"
    feature = _feature(f"value_sum_{days}d", window.words, meaning, "value", "not_in_interest")
    return feature, Aggregate(
        f"sum(CASE WHEN {ANY_TYPE} AND {window.where('e', 'e')} THEN {cents} ELSE 0 END) / {_VALUE_FIXED}.0"
    )
