"""P(won within the horizon | what is visible), by re-simulating each lead from what is visible.

The state of an open lead at `as_of` is visible (see dynamics.py), so its future needs no guess
about the past: sessions still to come and criteria not yet known are drawn with their known laws,
and along each drawn path the daily chances to win are added up exactly, weighted with the chance
to be still open. Each snapshot has its own counter-based random numbers, so its truth depends on
the seed, the lead and the time only, not on what else is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lead_propensity.config import CRITERIA
from lead_propensity.data.simulate.dynamics import (
    DAY_SECONDS,
    START,
    WORKDAY,
    State,
    chances,
    on_day,
    step,
)
from lead_propensity.data.simulate.lives import Lives, Log, decayed
from lead_propensity.data.simulate.people import People
from lead_propensity.data.simulate.sessions import SESSIONS, Flags, Floats, Ints

DRAWS = 96
CHUNK_NUMBERS = 128 * DRAWS
"""Snapshots x draws at once: so many numbers stay in the processor's cache."""
START_SECONDS = int(START.timestamp())
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Snapshots:
    """Rows of leads, and when they are looked at."""

    lead: Ints
    day: Ints
    second: Floats
    """Of that day."""


@dataclass(frozen=True)
class Truth:
    """What must be known of a world to tell its true probabilities."""

    people: People
    lives: Lives
    drift: bool
    seed: int

    def probability(
        self, lead: Ints, as_of: Ints, horizon_days: int, draws: int
    ) -> tuple[Floats, Floats]:
        """Means and standard errors, see World.true_probability_with_error; `lead` are row numbers."""
        seconds = as_of / 1e6 - START_SECONDS
        day = np.floor(seconds / DAY_SECONDS).astype(np.int64)
        at = Snapshots(lead, day, seconds - day * DAY_SECONDS)
        mean, error = np.full(len(lead), np.nan), np.full(len(lead), np.nan)
        rows = np.flatnonzero(self._open(at))
        for part in _chunks(rows, max(1, CHUNK_NUMBERS // draws)):
            chunk = Snapshots(at.lead[part], at.day[part], at.second[part])
            key = _mix(
                as_of[part].astype(np.uint64) ^ (lead[part].astype(np.uint64) << np.uint64(40))
            )
            futures = self._walk(chunk, horizon_days, _keys(key, self.seed, draws))
            mean[part] = futures.mean(axis=1)
            error[part] = futures.std(axis=1, ddof=1) / np.sqrt(draws)
        return mean, error

    def _open(self, at: Snapshots) -> Flags:
        lives, people = self.lives, self.people
        created = _moment(people.created_day[at.lead], people.created_second[at.lead])
        closed = _moment(lives.closed_day[at.lead], lives.closed_second[at.lead])
        now = _moment(at.day, at.second)
        return np.asarray((created < now) & (now <= closed), dtype=np.bool_)

    def _walk(self, at: Snapshots, horizon_days: int, keys: Words) -> Floats:
        """The chance to be won before the horizon ends along each future (snapshots, draws)."""
        state, rest = self._state(at, keys.shape[1])
        passed = _workday_share(at.second)[:, None]
        created, appeal = self.people.created_day[at.lead], self.people.appeal[at.lead]
        won, still_open = np.zeros(keys.shape), np.ones(keys.shape)
        for ahead in range(horizon_days + 1):
            day = on_day(at.day + ahead, created, appeal, self.drift)
            win, lost = chances(state, day)
            if ahead == horizon_days:  # of the last day only the part before the horizon's end
                win = win * passed
            elif ahead == 0:  # of the first day only the rest, given that the lead is still open
                left = (1 - passed) / (1 - (win + lost) * passed)
                win, lost = win * left, lost * left
            won += still_open * win
            still_open *= 1 - win - lost
            keys = keys + np.uint64(0x9E3779B97F4A7C15)
            step(state, day, _uniforms(_mix(keys)), rest if ahead == 0 else 1.0)
        return won

    def _state(self, at: Snapshots, draws: int) -> tuple[State, Floats]:
        """The visible states at the first moment of the day, and the share of the day to come.

        What was seen since midnight is already in it: it will be there at the next midnight.
        The one step that this brings forward, a part of a day, is the only approximation.
        """
        sessions, changes = self.lives.sessions, self.lives.changes
        count = len(at.lead)
        query, row = _seen(sessions, at)
        left = decayed(SESSIONS.engagement[sessions.what[row]], at.day[query] - sessions.day[row])
        engagement = np.bincount(query, left, minlength=count)
        unsubscribed = np.zeros(count, dtype=bool)
        unsubscribed[query[SESSIONS.unsubscribes[sessions.what[row]]]] = True
        came_today = np.bincount(query, sessions.day[row] == at.day[query], minlength=count) > 0
        rest = np.where(came_today, 0, 1 - _workday_share(at.second))
        query, row = _seen(changes, at)
        criteria = np.zeros((count, len(CRITERIA)), dtype=np.int8)
        # Rows are in order of time, and of repeated places numpy keeps the last.
        criteria[query, changes.what[row] // 10] = changes.what[row] % 10
        columns = (engagement[:, None], unsubscribed[:, None], criteria[:, None, :])
        return State.of(*(np.repeat(column, draws, axis=1) for column in columns)), rest[:, None]


def _seen(log: Log, at: Snapshots) -> tuple[Ints, Ints]:
    """(snapshot, row of the log) for each thing that lies before its snapshot."""
    first = np.searchsorted(log.lead, at.lead, side="left")
    length = np.searchsorted(log.lead, at.lead, side="right") - first
    query = np.repeat(np.arange(len(at.lead)), length)
    row = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length - first, length)
    before = _moment(log.day[row], log.second[row]) < _moment(at.day[query], at.second[query])
    return query[before], row[before]


def _moment(day: Ints, second: Ints | Floats) -> Floats:
    return np.asarray(day * float(DAY_SECONDS) + second)


def _workday_share(second: Floats) -> Floats:
    """Share of the workday that is over."""
    return np.clip((second - WORKDAY[0]) / (WORKDAY[1] - WORKDAY[0]), 0.0, 1.0)


def _chunks(rows: Ints, size: int) -> Iterator[Ints]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


def _keys(snapshot: Words, seed: int, draws: int) -> Words:
    """One random-number counter for each (snapshot, draw); more draws begin with the fewer."""
    draw = _mix(np.arange(draws, dtype=np.uint64) + np.uint64(seed) * np.uint64(1 << 20))
    return _mix(snapshot[:, None] ^ draw[None, :])


def _mix(word: Words) -> Words:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _uniforms(word: Words) -> tuple[Floats, Floats]:
    """Two uniform numbers in [0, 1) from one word's halves."""
    low = (word & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return (word >> np.uint64(32)).astype(np.float64) / 2**32, low / 2**32
