"""Which implicit features there are, family by family, and how each is measured."""

from collections.abc import Callable, Iterator
from typing import Any, get_args

from lead_propensity.config import Family
from lead_propensity.features.behaviour.measures import POSITIVE, Measure, Those
from lead_propensity.features.catalogue import Direction, Feature
from lead_propensity.features.windows import ObservationWindow

ALL_TIME = ObservationWindow()
ALL_EVENTS = "events"
"""The topic of what counts all types together."""

AGE = Feature(
    "days_since_creation",
    "implicit",
    "number",
    "all time",
    "days since the lead was created",
    "age",
)
"""The one implicit feature that looks at no event; silence raises it, so it stays out of interest."""

Row = tuple[Feature, Measure]
DAY_PARTS = ("night", "morning", "afternoon", "evening")


def features(definition: dict[str, Any]) -> list[Row]:
    """Every implicit feature of a definition, in column order."""
    negative = set(definition["negative_events"])
    rows: list[Row] = []
    for event_type in definition["event_types"]:
        if event_type in negative:
            rows.append(_negative(event_type))
        else:
            rows += _chosen(_OF_TYPE, definition, event_type)
    if {*definition["event_types"], *definition["other_event_types"]} - negative:
        for topic in definition["topics"] if "topics" in definition["families"] else ():
            rows += _topic(definition, topic)
        rows += _chosen(_OF_ALL, definition, ALL_EVENTS)
    return rows


def _chosen(makers: "dict[Family, Maker]", definition: dict[str, Any], name: str) -> list[Row]:
    return [
        row
        for family in makers
        if family in definition["families"]
        for row in makers[family](definition, name)
    ]


Maker = Callable[[dict[str, Any], str], Iterator[Row]]


def _row(
    name: str, measure: Measure, meaning: str, topic: str, interest: Direction = "not_in_interest"
) -> Row:
    window = ALL_TIME
    if measure.days is not None and measure.what != "decayed":
        window = ObservationWindow(int(measure.days))
    return Feature(name, "implicit", "number", window.words, meaning, topic, interest), measure


def _negative(event_type: str) -> Row:
    """A negative type counts over all time: were it windowed, silence would heal it."""
    measure = Measure("count", Those("type", event_type))
    return _row(f"count_all__{event_type}", measure, f"{event_type} so far", event_type, "down")


def _those(name: str) -> Those:
    return POSITIVE if name == ALL_EVENTS else Those("type", name)


def _column(stem: str, name: str) -> str:
    return stem if name == ALL_EVENTS else f"{stem}__{name}"


def _counts(definition: dict[str, Any], name: str) -> Iterator[Row]:
    of = _those(name)
    for days in definition["windows_days"]:
        meaning = f"{name} in the last {days} days"
        yield _row(_column(f"count_{days}d", name), Measure("count", of, days), meaning, name, "up")
    yield _row(_column("count_all", name), Measure("count", of), f"{name} so far", name, "up")


def _recency(definition: dict[str, Any], name: str) -> Iterator[Row]:
    last = "days_since_event" if name == ALL_EVENTS else f"days_since__{name}"
    one = "event" if name == ALL_EVENTS else name
    measure = Measure("days_since_last", _those(name))
    yield _row(last, measure, f"days since the last {one}", name, "down")
    if name == ALL_EVENTS:
        measure = Measure("days_since_first")
        yield _row("days_since_first_event", measure, "days since the first event", name)


def _decay(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["half_lives_days"]:
        meaning = f"{name}, each fading by half every {days} days"
        measure = Measure("decayed", _those(name), days)
        yield _row(_column(f"decayed_{days}d", name), measure, meaning, name, "up")


def _active_days(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"]:
        meaning = f"days with an event in the last {days} days"
        yield _row(f"active_days_{days}d", Measure("active_days", days=days), meaning, name, "up")


def _breadth(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"]:
        meaning = f"different kinds of event in the last {days} days"
        yield _row(f"event_types_{days}d", Measure("types", days=days), meaning, name, "up")
    for days in definition["windows_days"] if definition["channels"] else ():
        meaning = f"different channels in the last {days} days"
        yield _row(f"channels_{days}d", Measure("channels", days=days), meaning, name, "up")


def _trend(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"]:
        meaning = f"events in the last {days} days less those of the {days} days before"
        feature, measure = _row(f"trend_{days}d", Measure("trend", days=days), meaning, name)
        yield Feature(**{**vars(feature), "window": f"last {2 * days} days"}), measure


def _values(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"] if definition["valued_types"] else ():
        meaning = f"sum of the events' values in the last {days} days"
        yield _row(f"value_sum_{days}d", Measure("value_sum", days=days), meaning, "value")


def _dwell(definition: dict[str, Any], name: str) -> Iterator[Row]:
    """What an event's value tells of it, such as the seconds spent on a page, or the pages of a visit."""
    if name not in definition["valued_types"]:
        return
    for days in definition["windows_days"]:
        measure = Measure("value_mean", _those(name), days)
        meaning = f"mean value of {name} in the last {days} days"
        yield _row(f"value_mean_{days}d__{name}", measure, meaning, name)
    measure = Measure("value_mean", _those(name))
    yield _row(f"value_mean_all__{name}", measure, f"mean value of {name} so far", name)


def _topic(definition: dict[str, Any], topic: str) -> Iterator[Row]:
    of, about = Those("topic", topic), f"topic {topic}"
    for days in definition["windows_days"]:
        meaning = f"events about {topic} in the last {days} days"
        yield _row(f"topic_{days}d__{topic}", Measure("count", of, days), meaning, about, "up")
    yield _row(
        f"topic_all__{topic}", Measure("count", of), f"events about {topic} so far", about, "up"
    )


def _topics(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"] if definition["topics"] else ():
        meaning = f"different topics in the last {days} days"
        yield _row(f"topics_{days}d", Measure("topics", days=days), meaning, name, "up")


def _sessions(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for days in definition["windows_days"]:
        meaning = f"visits that began in the last {days} days"
        yield _row(f"sessions_{days}d", Measure("sessions", days=days), meaning, "visits", "up")
    yield _row("sessions_all", Measure("sessions"), "visits so far", "visits", "up")
    for days in definition["windows_days"]:
        meaning = f"events for each visit that began in the last {days} days"
        measure = Measure("events_per_session", days=days)
        yield _row(f"events_per_session_{days}d", measure, meaning, "visits")
    measure = Measure("last_session_events")
    yield _row("last_session_events", measure, "events of the last visit", "visits")
    measure = Measure("last_session_minutes")
    yield _row("last_session_minutes", measure, "minutes of the last visit", "visits")


def _clock(definition: dict[str, Any], name: str) -> Iterator[Row]:
    for part, words in enumerate(DAY_PARTS):
        measure = Measure("day_part_share", part=part)
        meaning = f"share of events from {6 * part} to {6 * part + 6} o'clock"
        yield _row(f"share_{words}", measure, meaning, "time of day")
    measure = Measure("weekend_share")
    yield _row("share_weekend", measure, "share of events on Saturday or Sunday", "time of day")


def _rhythm(definition: dict[str, Any], name: str) -> Iterator[Row]:
    yield _row("gap_mean_days", Measure("gap_mean"), "mean days between two events", "rhythm")
    meaning = "how irregular the time between two events is: its standard deviation by its mean"
    yield _row("gap_variation", Measure("gap_variation"), meaning, "rhythm")


_OF_TYPE: dict[Family, Maker] = {
    "counts": _counts,
    "recency": _recency,
    "decay": _decay,
    "dwell": _dwell,
}
_OF_ALL: dict[Family, Maker] = {
    "counts": _counts,
    "active_days": _active_days,
    "breadth": _breadth,
    "trend": _trend,
    "values": _values,
    "recency": _recency,
    "decay": _decay,
    "topics": _topics,
    "sessions": _sessions,
    "clock": _clock,
    "rhythm": _rhythm,
}
assert {*_OF_TYPE, *_OF_ALL} == set(get_args(Family))
