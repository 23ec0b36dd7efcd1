"""Measures that look at a lead's whole history up to a snapshot: visits, times of day, rhythm.

They see nothing but the positive events that had occurred and were known before the snapshot.
"""

from typing import Any, NamedTuple

import numpy as np

from lead_propensity.features.behaviour.compiling import compiled
from lead_propensity.features.windows import DAY_US

OPERATIONS = (
    "sessions", "events_per_session", "last_session_events", "last_session_minutes",
    "day_part_share", "weekend_share", "gap_mean", "gap_variation",
)  # fmt: skip
SESSIONS, PER_SESSION, LAST_EVENTS, LAST_MINUTES, DAY_PART, WEEKEND, GAP_MEAN, GAP_VARIATION = (
    range(len(OPERATIONS))
)
SESSION_GAP_US = 30 * 60 * 1_000_000
"""After so long without an event the next one begins a new visit."""
MINUTE_US = 60_000_000
ALL_TIME = -1
THURSDAY = 3
"""1 January 1970 was one; Monday is 0."""


class Program(NamedTuple):
    """What to measure, as arrays."""

    measures: Any
    """(m, 4) int64: output column, operation, quarter of the day, window in microseconds or ALL_TIME."""
    is_positive: Any
    """(types,) bool."""
    zone_from: Any
    zone_offset: Any


@compiled
def begins_session(moments: Any, i: int) -> bool:
    return i == 0 or moments[i] - moments[i - 1] > SESSION_GAP_US


@compiled
def sessions(moments: Any, start: int) -> tuple[int, int]:
    """(visits that began at `start` or later, their events)."""
    n_sessions, n_events, counted = 0, 0, False
    for i in range(len(moments)):
        if begins_session(moments, i):
            counted = moments[i] >= start
            n_sessions += counted
        n_events += counted
    return n_sessions, n_events


@compiled
def last_session(moments: Any) -> tuple[int, float]:
    """(events, minutes) of the last visit; there is one."""
    first = len(moments) - 1
    while not begins_session(moments, first):
        first -= 1
    return len(moments) - first, (moments[-1] - moments[first]) / MINUTE_US


@compiled
def share_of_day_part(local: Any, part: int) -> float:
    inside = 0
    for moment in local:
        inside += moment % DAY_US // (DAY_US // 4) == part
    return inside / len(local)


@compiled
def share_of_weekend(local: Any) -> float:
    inside = 0
    for moment in local:
        inside += (moment // DAY_US + THURSDAY) % 7 >= 5
    return inside / len(local)


@compiled
def gap_variation(moments: Any) -> float:
    """Standard deviation of the gaps by their mean; there are at least two gaps, not all of length 0."""
    mean = (moments[-1] - moments[0]) / (len(moments) - 1)
    squares = 0.0
    for i in range(1, len(moments)):
        squares += (moments[i] - moments[i - 1] - mean) ** 2
    return np.sqrt(squares / (len(moments) - 1)) / mean


@compiled
def measured(moments: Any, local: Any, what: int, part: int, start: int) -> float:
    """One measure of the positive events at `moments`, at `local` time; `start` of its window."""
    n = len(moments)
    if what == SESSIONS:
        return sessions(moments, start)[0]
    if n == 0:
        return np.nan
    if what == PER_SESSION:
        n_sessions, n_events = sessions(moments, start)
        return n_events / n_sessions if n_sessions else np.nan
    if what == LAST_EVENTS:
        return last_session(moments)[0]
    if what == LAST_MINUTES:
        return last_session(moments)[1]
    if what == DAY_PART:
        return share_of_day_part(local, part)
    if what == WEEKEND:
        return share_of_weekend(local)
    if what == GAP_MEAN:
        return (moments[-1] - moments[0]) / (n - 1) / DAY_US if n > 1 else np.nan
    return gap_variation(moments) if n > 2 and moments[-1] > moments[0] else np.nan


@compiled
def local_times(program: Program, events: Any) -> Any:
    found = np.empty(len(events), np.int64)
    for i in range(len(events)):
        moment = events[i].occurred_at
        place = np.searchsorted(program.zone_from, moment, side="right") - 1
        found[i] = moment + program.zone_offset[place]
    return found


@compiled
def look_back(
    starts: Any,
    events: Any,
    snapshot_starts: Any,
    as_of: Any,
    rows: Any,
    program: Program,
    out: Any,
    first_lead: int,
    end_lead: int,
) -> None:
    """As `kernel.sweep`, which has seen to it that everything is in order."""
    measures = program.measures
    for lead in range(first_lead, end_lead):
        of_lead = events[starts[lead] : starts[lead + 1]]
        local = local_times(program, of_lead)
        moments, times = np.empty(len(of_lead), np.int64), np.empty(len(of_lead), np.int64)
        for s in range(snapshot_starts[lead], snapshot_starts[lead + 1]):
            now, n = as_of[s], 0
            for i in range(len(of_lead)):
                event = of_lead[i]
                if event.occurred_at >= now:
                    break
                if event.known_at < now and program.is_positive[event.type_id]:
                    moments[n], times[n] = event.occurred_at, local[i]
                    n += 1
            for m in range(len(measures)):
                column, what, part, window = measures[m]
                start = np.iinfo(np.int64).min if window == ALL_TIME else now - window
                out[rows[s], column] = measured(moments[:n], times[:n], what, part, start)
