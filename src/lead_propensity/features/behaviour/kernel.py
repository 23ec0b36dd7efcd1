"""The sweep: one pass over a lead's events in time; one pointer enters them, one a window leaves them.

Times are int64 microseconds UTC. An event enters at the first snapshot after it occurred and was known,
and leaves a window at the first snapshot for which it is too old: the half-open time of
`features/windows.py`, to which tests hold this file. So a snapshot comes before an event of its instant.

No number depends on which other snapshots are asked for: counts and sums are integers. A decayed sum adds
up 2^((t - reference) / half-life) from event to event and is only read at a snapshot. Its reference is the
first event's time and moves on by STEP half-lives before a power overflows: a product with a power of two,
which is exact.
"""

from typing import Any

import numpy as np

from lead_propensity.features.behaviour.compiling import compiled, in_loop, without_memory
from lead_propensity.features.behaviour.shapes import (
    ACTIVE_DAYS,
    COUNT,
    DECAYED,
    SILENT,
    SINCE_FIRST,
    SINCE_LAST,
    TREND,
    TYPES,
    VALUE_MEAN,
    VALUE_SUM,
    Program,
    State,
)
from lead_propensity.features.windows import DAY_US

NEVER = np.iinfo(np.int64).max
LONG_AGO = np.iinfo(np.int64).min
VALUE_UNITS = 1_000_000
"""Values are added up as integers of so many units."""
LARGEST_SUM = 9.2e18
"""In units: what an int64 holds, and a little less."""

STEP = 512.0
"""Half-lives; 2^STEP and its square are numbers that a float holds."""

DONE, UNSORTED, TOO_LARGE = range(3)
"""How a sweep ends."""


@compiled
def new_state(program: Program, most: int) -> State:
    """Room for a lead with up to `most` events."""
    n_groups, n_windows = len(program.valued), len(program.windows)
    n_valued, n_decayed = program.valued.max() + 1, program.decayed.max() + 1
    n_slots = program.n_slots
    return State(
        np.zeros((n_groups, n_windows + 1), np.int64),
        np.zeros((n_valued, n_windows + 1), np.int64),
        np.zeros((n_valued, n_windows + 1), np.int64),
        np.zeros((n_decayed, len(program.half_lives)), np.float64),
        np.zeros(len(program.half_lives), np.float64),
        np.zeros(len(program.half_lives), np.float64),
        np.empty(n_groups, np.int64),
        np.empty(n_groups, np.int64),
        (
            np.empty(n_slots[0], np.int64),
            np.empty(n_slots[1], np.int64),
            np.empty(n_slots[2], np.int64),
        ),
        np.zeros(n_windows, np.int64),
        np.zeros(n_windows, np.int64),
        np.zeros(n_windows, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty((most, n_windows), np.int64),  # cleared for as many days as a lead has
    )


@in_loop
def clear(state: State) -> None:
    state.count[:] = 0
    state.sums[:] = 0
    state.sized[:] = 0
    state.worth[:] = 0.0
    state.reference[:] = np.nan
    state.first[:] = NEVER
    state.last[:] = LONG_AGO
    state.last_of_slot[0][:] = LONG_AGO
    state.last_of_slot[1][:] = LONG_AGO
    state.last_of_slot[2][:] = LONG_AGO
    state.active[:] = 0
    state.inside[:] = 0
    state.left[:] = 0


@in_loop
def look_over(program: Program, events: Any, state: State) -> bool:
    """Number the local days of a lead's events. False where they are not in order."""
    zone_from, zone_offset = program.zone_from, program.zone_offset
    span_from, span_until, offset = NEVER, LONG_AGO, zone_offset[0]
    n_days = 0
    for i in range(len(events)):
        moment = events[i].occurred_at
        if i > 0 and moment < events[i - 1].occurred_at:
            return False
        state.entered[i] = NEVER
        if not span_from <= moment < span_until:
            place = np.searchsorted(zone_from, moment, side="right") - 1
            span_from, offset = zone_from[place], zone_offset[place]
            span_until = zone_from[place + 1] if place + 1 < len(zone_from) else NEVER
        day = (moment + offset) // DAY_US  # rounds down, also before 1970
        # A clock that is turned back across midnight brings the day before once more: hence two places.
        if n_days > 0 and state.days[n_days - 1] == day:
            state.day_of[i] = n_days - 1
        elif n_days > 1 and state.days[n_days - 2] == day:
            state.day_of[i] = n_days - 2
        else:
            state.days[n_days] = day
            state.day_of[i] = n_days
            n_days += 1
    state.day_count[:n_days] = 0
    return True


@in_loop
def units_of(value: float) -> Any:
    return np.int64(np.rint(value * VALUE_UNITS))


@in_loop
def enter(program: Program, state: State, event: Any, i: int, now: int) -> None:
    """Count event `i` in all windows that it still lies in."""
    windows, moment, kind = program.windows, event.occurred_at, event.type_id
    n_windows = len(windows)
    state.entered[i] = now
    narrowest = n_windows
    while narrowest > 0 and moment >= now - windows[narrowest - 1]:
        narrowest -= 1
    for w in range(narrowest, n_windows):
        state.inside[w] += 1
    raise_powers(program, state, moment)
    for place in range(program.groups_of_type.shape[1]):
        group = program.groups_of_type[kind, place]
        if group < 0:
            break
        enter_group(program, state, event, group, narrowest)
    if not program.is_positive[kind]:
        return
    if event.topic_id >= 0 and program.group_of_topic[event.topic_id] >= 0:
        enter_group(program, state, event, program.group_of_topic[event.topic_id], narrowest)
    notice(program.slots[0], state.last_of_slot[0], kind, moment)
    if event.channel_id >= 0:
        notice(program.slots[1], state.last_of_slot[1], event.channel_id, moment)
    if event.topic_id >= 0:
        notice(program.slots[2], state.last_of_slot[2], event.topic_id, moment)
    day_count = state.day_count[state.day_of[i]]
    for w in range(narrowest, n_windows):
        state.active[w] += day_count[w] == 0
        day_count[w] += 1


@in_loop
def enter_group(program: Program, state: State, event: Any, group: int, narrowest: int) -> None:
    moment = event.occurred_at
    count = state.count[group]
    for w in range(narrowest, len(count)):
        count[w] += 1
    state.first[group] = min(state.first[group], moment)
    state.last[group] = max(state.last[group], moment)
    v = program.valued[group]
    if v >= 0 and not np.isnan(event.value):
        units = units_of(event.value)
        for w in range(narrowest, len(count)):
            state.sums[v, w] += units
            state.sized[v, w] += 1
    d = program.decayed[group]
    if d >= 0:
        for h in range(len(state.power)):
            state.worth[d, h] += state.power[h]


@in_loop
def raise_powers(program: Program, state: State, moment: int) -> None:
    """What an event of this moment adds to each decayed sum."""
    for h in range(len(program.half_lives)):
        if np.isnan(state.reference[h]):
            state.reference[h] = moment
        half_lives = (moment - state.reference[h]) / program.half_lives[h]
        while half_lives > STEP:
            for d in range(len(state.worth)):
                state.worth[d, h] *= 2.0**-STEP
            state.reference[h] += STEP * program.half_lives[h]
            half_lives = (moment - state.reference[h]) / program.half_lives[h]
        state.power[h] = np.exp2(half_lives)


@in_loop
def notice(slots: Any, last: Any, what: int, moment: int) -> None:
    slot = slots[what]
    if slot >= 0:
        last[slot] = max(last[slot], moment)


@in_loop
def leave(program: Program, state: State, event: Any, i: int, w: int) -> None:
    """Take event `i` out of window `w`; one that had entered too late for it was never in it."""
    entered, moment, kind = state.entered[i], event.occurred_at, event.type_id
    if entered == NEVER or moment < entered - program.windows[w]:
        return
    state.inside[w] -= 1
    for place in range(program.groups_of_type.shape[1]):
        group = program.groups_of_type[kind, place]
        if group < 0:
            break
        leave_group(program, state, event, group, w)
    if not program.is_positive[kind]:
        return
    if event.topic_id >= 0 and program.group_of_topic[event.topic_id] >= 0:
        leave_group(program, state, event, program.group_of_topic[event.topic_id], w)
    day = state.day_of[i]
    state.day_count[day, w] -= 1
    state.active[w] -= state.day_count[day, w] == 0


@in_loop
def leave_group(program: Program, state: State, event: Any, group: int, w: int) -> None:
    state.count[group, w] -= 1
    v = program.valued[group]
    if v >= 0 and not np.isnan(event.value):
        state.sums[v, w] -= units_of(event.value)
        state.sized[v, w] -= 1


@in_loop
def tell(program: Program, state: State, now: int, out: Any) -> None:
    """Write every measure at `now` to its column of `out` (columns,)."""
    begins, measures = program.begins, program.measures
    for m in range(begins[COUNT], begins[COUNT + 1]):
        out[measures[m, 0]] = state.count[measures[m, 1], measures[m, 2]]
    for m in range(begins[SILENT], begins[SILENT + 1]):
        out[measures[m, 0]] = state.count[measures[m, 1], measures[m, 2]] == 0
    for m in range(begins[TREND], begins[TREND + 1]):
        count = state.count[measures[m, 1]]
        out[measures[m, 0]] = 2 * count[measures[m, 2]] - count[measures[m, 3]]
    for m in range(begins[VALUE_SUM], begins[VALUE_SUM + 1]):
        out[measures[m, 0]] = (
            state.sums[program.valued[measures[m, 1]], measures[m, 2]] / VALUE_UNITS
        )
    for m in range(begins[VALUE_MEAN], begins[VALUE_MEAN + 1]):
        v, w = program.valued[measures[m, 1]], measures[m, 2]
        sized = state.sized[v, w]
        out[measures[m, 0]] = state.sums[v, w] / VALUE_UNITS / sized if sized else np.nan
    for m in range(begins[SINCE_LAST], begins[SINCE_LAST + 1]):
        last = state.last[measures[m, 1]]
        out[measures[m, 0]] = np.nan if last == LONG_AGO else (now - last) / DAY_US
    for m in range(begins[SINCE_FIRST], begins[SINCE_FIRST + 1]):
        first = state.first[measures[m, 1]]
        out[measures[m, 0]] = np.nan if first == NEVER else (now - first) / DAY_US
    if begins[DECAYED] < begins[DECAYED + 1]:
        lower_powers(program, state, now)
    for m in range(begins[DECAYED], begins[DECAYED + 1]):
        h = measures[m, 2]
        out[measures[m, 0]] = state.worth[program.decayed[measures[m, 1]], h] * state.power[h]
    for m in range(begins[ACTIVE_DAYS], begins[ACTIVE_DAYS + 1]):
        out[measures[m, 0]] = state.active[measures[m, 2]]
    for o in range(3):
        for m in range(begins[TYPES + o], begins[TYPES + o + 1]):
            out[measures[m, 0]] = recent(
                state.last_of_slot[o], now - program.windows[measures[m, 2]]
            )


@in_loop
def lower_powers(program: Program, state: State, now: int) -> None:
    """What each decayed sum is to be multiplied with at a snapshot; without an event there is no sum."""
    for h in range(len(program.half_lives)):
        reference = state.reference[h]
        state.power[h] = (
            0.0 if np.isnan(reference) else np.exp2(-(now - reference) / program.half_lives[h])
        )


@in_loop
def recent(last: Any, start: int) -> int:
    """How many were last seen at `start` or later."""
    different = 0
    for slot in range(len(last)):
        different += last[slot] >= start
    return different


@in_loop
def too_large(events: Any) -> bool:
    """Whether an integer could not hold the sum of a lead's values."""
    size = 0.0
    for i in range(len(events)):
        if not np.isnan(events[i].value):
            size += abs(events[i].value) * VALUE_UNITS
    return size > LARGEST_SUM


@compiled
def order_of_entering(occurred: Any, known: Any, order: Any, visible: Any) -> None:
    """Write to `order` the n events by when they became visible, to `visible` when that was.

    Both have room for n or more. Events that become visible together keep their place.
    """
    n = len(occurred)
    steps = 0
    for i in range(n):
        moment = max(occurred[i], known[i])
        j = i
        while j > 0 and visible[j - 1] > moment:
            visible[j] = visible[j - 1]
            order[j] = order[j - 1]
            j -= 1
        visible[j] = moment
        order[j] = i
        steps += i - j
        if steps > 16 * n + 64:
            moments = np.maximum(occurred, known)
            order[:n] = np.argsort(moments, kind="mergesort")
            visible[:n] = moments[order[:n]]
            return


@in_loop
def first_from(events: Any, low: int, start: int) -> int:
    """The first event at `start` or later, none before place `low`."""
    high = len(events)
    while low < high:
        middle = (low + high) // 2
        if events[middle].occurred_at < start:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def sweep(
    starts: Any,
    events: Any,
    snapshot_starts: Any,
    as_of: Any,
    rows: Any,
    program: Program,
    out: Any,
    first_lead: int,
    end_lead: int,
) -> tuple[int, int]:
    """Write every measure of the snapshots of the leads `first_lead` to `end_lead` - 1 to `out`.

    `events` is a record array (`sorting.EVENT`) sorted by lead and in total order, those of lead k at
    `starts[k]:starts[k + 1]`. Its snapshots lie at `snapshot_starts[k]:snapshot_starts[k + 1]`: `as_of`,
    ascending, and the row of `out`, float64 (rows, columns), that each is written to. Returns how it
    ended, and at which lead.
    """
    most = 0
    for lead in range(first_lead, end_lead):
        most = max(most, starts[lead + 1] - starts[lead])
    state = new_state(program, most)
    for lead in range(first_lead, end_lead):
        of_lead = events[starts[lead] : starts[lead + 1]]
        known = of_lead["known_at"]
        order_of_entering(of_lead["occurred_at"], known, state.order, state.visible)
        snapshots = (snapshot_starts[lead], snapshot_starts[lead + 1])
        ended = sweep_lead(program, state, of_lead, snapshots, as_of, rows, out)
        if ended != DONE:
            return ended, lead
    return DONE, -1


@without_memory()
def sweep_lead(
    program: Program,
    state: State,
    events: Any,
    snapshots: tuple[int, int],
    as_of: Any,
    rows: Any,
    out: Any,
) -> int:
    clear(state)
    if not look_over(program, events, state):
        return UNSORTED
    if len(state.sums) and too_large(events):
        return TOO_LARGE
    entered = 0
    for s in range(snapshots[0], snapshots[1]):
        now = as_of[s]
        if s > snapshots[0] and now < as_of[s - 1]:
            return UNSORTED
        while entered < len(events) and state.visible[entered] < now:
            i = state.order[entered]
            enter(program, state, events[i], i, now)
            entered += 1
        for w in range(len(program.windows)):
            left, start = state.left[w], now - program.windows[w]
            while state.inside[w] and events[left].occurred_at < start:
                leave(program, state, events[left], left, w)
                left += 1
            state.left[w] = left if state.inside[w] else first_from(events, left, start)
        tell(program, state, now, out[rows[s]])
    return DONE
