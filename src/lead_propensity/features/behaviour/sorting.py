"""The total order of a lead's events: time, type, channel, topic, known, value. The order of arrival is gone."""

from typing import Any

import numpy as np

from lead_propensity.features.behaviour.compiling import compiled

EVENT = np.dtype(
    [
        ("occurred_at", np.int64),
        ("known_at", np.int64),
        ("value", np.float64),
        ("type_id", np.int32),
        ("channel_id", np.int32),
        ("topic_id", np.int32),
        ("lead_no", np.int32),
    ],
    align=True,
)
"""One event: 40 bytes side by side, so that each is fetched from memory once."""

EVENT_WORDS = EVENT.itemsize // 8
_ODD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: a multiplier that spreads neighbouring numbers."""

NO_LIMIT = np.iinfo(np.int64).max


@compiled
def count(lead: Any, pile_of: Any, counts: Any) -> None:
    """Add to `counts` (piles,) how many rows belong to the pile of their lead; -1 is no lead of ours."""
    for row in range(len(lead)):
        if lead[row] >= 0:
            counts[pile_of[lead[row]]] += 1


@compiled
def number_rows(pile: Any, free: Any, rows: Any) -> None:
    """Put the number of each row at the next free place of its pile; `free` (piles,) moves on."""
    for row in range(len(pile)):
        rows[free[pile[row]]] = row
        free[pile[row]] += 1


@compiled
def scatter(columns: tuple[Any, ...], pile_of: Any, free: Any, events: Any) -> None:
    """Put each row at the next free place of its lead's pile; `free` (piles,) moves on.

    `columns`: lead number, occurred_at, known_at, type, channel, topic, value; the last three may be
    empty where nothing is made of them.
    """
    lead, occurred, known, kind, channel, topic, value = columns
    for row in range(len(lead)):
        if lead[row] < 0:
            continue
        pile = pile_of[lead[row]]
        event = events[free[pile]]
        free[pile] += 1
        event.lead_no = lead[row]
        event.occurred_at = occurred[row]
        event.known_at = known[row]
        event.type_id = kind[row]
        event.channel_id = channel[row] if len(channel) else -1
        event.topic_id = topic[row] if len(topic) else -1
        event.value = value[row] if len(value) else np.nan


@compiled
def move(source: Any, first_lead: int, free: Any, events: Any) -> None:
    """The same for rows that are events already; a pile a lead, the first one of `first_lead`."""
    for row in range(len(source)):
        pile = source[row].lead_no - first_lead
        events[free[pile]] = source[row]
        free[pile] += 1


@compiled
def add_digests(words: Any, ends: Any, digests: Any) -> None:
    """Add to `digests` (piles,) uint64 a hash of each event of the pile: the same in any order of the events.

    `words`: the events as (rows, EVENT_WORDS) uint64; those of pile p are the rows ends[p]:ends[p + 1].
    """
    for pile in range(len(digests)):
        for row in range(ends[pile], ends[pile + 1]):
            mixed = _ODD
            for place in range(words.shape[1]):
                mixed = (mixed ^ words[row, place]) * _ODD
                mixed ^= mixed >> np.uint64(32)
            digests[pile] += mixed


@compiled
def comes_before(a: Any, b: Any) -> bool:
    """Strictly, in the total order; a missing value comes last."""
    if a.occurred_at != b.occurred_at:
        return a.occurred_at < b.occurred_at
    if a.type_id != b.type_id:
        return a.type_id < b.type_id
    if a.channel_id != b.channel_id:
        return a.channel_id < b.channel_id
    if a.topic_id != b.topic_id:
        return a.topic_id < b.topic_id
    if a.known_at != b.known_at:
        return a.known_at < b.known_at
    return a.value < b.value or (np.isnan(b.value) and not np.isnan(a.value))


@compiled
def insert_all(events: Any, most_steps: int) -> bool:
    """Sort in place by insertion; False where it gave up after `most_steps` moves (nothing is lost then)."""
    steps = 0
    moved = np.empty(1, events.dtype)
    for i in range(1, len(events)):
        if not comes_before(events[i], events[i - 1]):
            continue
        moved[0] = events[i]
        j = i
        while j > 0 and comes_before(moved[0], events[j - 1]):
            events[j] = events[j - 1]
            j -= 1
        events[j] = moved[0]
        steps += i - j
        if steps > most_steps:
            return False
    return True


@compiled
def arrange(starts: Any, events: Any, first_lead: int, end_lead: int) -> None:
    """Sort the events of each lead: by insertion, since exports are nearly in order, else by merging."""
    for lead in range(first_lead, end_lead):
        of_lead = events[starts[lead] : starts[lead + 1]]
        if not insert_all(of_lead, 16 * len(of_lead) + 64):
            of_lead[:] = merged(of_lead)


@compiled
def merged(events: Any) -> Any:
    """A sorted copy, by merging ever longer runs."""
    n = len(events)
    source, target = events.copy(), np.empty(n, events.dtype)
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            middle, high = min(low + width, n), min(low + 2 * width, n)
            i, j = low, middle
            for k in range(low, high):
                if i < middle and (j >= high or not comes_before(source[j], source[i])):
                    target[k] = source[i]
                    i += 1
                else:
                    target[k] = source[j]
                    j += 1
        source, target = target, source
        width *= 2
    return source
