"""The arrays that the sweep works on: what to measure, and what it knows of a lead so far."""

from typing import Any, NamedTuple

OPERATIONS = (
    "count", "silent", "trend", "value_sum", "value_mean", "days_since_last", "days_since_first", "decayed",
    "active_days", "types", "channels", "topics",
)  # fmt: skip
"""What the sweep measures, in the order of `Program.begins`."""
(
    COUNT,
    SILENT,
    TREND,
    VALUE_SUM,
    VALUE_MEAN,
    SINCE_LAST,
    SINCE_FIRST,
    DECAYED,
    ACTIVE_DAYS,
    TYPES,
    CHANNELS,
    TOPICS,
) = range(len(OPERATIONS))


class Program(NamedTuple):
    """What to measure, as arrays. A group is a set of events; a slot is one of the kinds that are told apart."""

    groups_of_type: Any
    """(types, most groups of one type) int64: the groups that an event is in; -1 none."""
    group_of_topic: Any
    """(topics,) int64: the group of a positive event about a topic; -1 none."""
    slots: tuple[Any, Any, Any]
    """(types,), (channels,), (topics,) int64: the slot of each; -1 none. How many slots: `n_slots`."""
    n_slots: Any
    is_positive: Any
    """(types,) bool."""
    windows: Any
    """(w,) int64 microseconds, ascending. The place w means all time."""
    half_lives: Any
    """(h,) float64 microseconds."""
    valued: Any
    """(groups,) int64: the place of a group whose values are added up; -1 they are not."""
    decayed: Any
    """(groups,) int64: the place of a group whose decayed sum is carried; -1 it is not."""
    zone_from: Any
    """(z,) int64: from when on `zone_offset` (z,) is added to make local time; the first is LONG_AGO."""
    zone_offset: Any
    begins: Any
    """(operations + 1,) int64: operation o is measured by the rows begins[o]:begins[o + 1] of `measures`."""
    measures: Any
    """(m, 4) int64: output column, group, place of the window or half-life, place of the second window."""


class State(NamedTuple):
    """What is known of one lead at the snapshot that the sweep has come to."""

    count: Any
    sums: Any
    sized: Any
    worth: Any
    reference: Any
    power: Any
    first: Any
    last: Any
    last_of_slot: tuple[Any, Any, Any]
    active: Any
    inside: Any
    left: Any
    order: Any
    visible: Any
    entered: Any
    days: Any
    day_of: Any
    day_count: Any
