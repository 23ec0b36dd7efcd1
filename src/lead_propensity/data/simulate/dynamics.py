"""How one day changes an open lead, and how likely it is to end that day.

The world is a Markov chain in what is visible: attributes, age, calendar, the engagement (events
weighted by type, half-life 14 days, counted by date), the five criteria as known, and whether the
lead has unsubscribed. Nothing else matters (but for the `latent` option), so the chance to win
from any open day on is a function of the visible.

The chance of winning or losing on a day depends on the state at its first moment (midnight UTC);
at most one session and one change of a criterion happen on a day.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from lead_propensity.config import CRITERIA
from lead_propensity.data.simulate.sessions import SESSIONS, SLOTS, Flags, Floats, Ints

START = datetime(2024, 5, 10, tzinfo=UTC)
DAYS = 600
"""Length of the world: leads are created on days 0 .. DAYS - 1, the export follows."""
DAY_SECONDS = 86_400
WORKDAY = (7 * 3600, 19 * 3600)
"""Sessions, changes and closings fall evenly between these seconds of a day."""
HALF_LIFE_DAYS = 14

UNKNOWN, MET, NOT_MET = 0, 1, 2
PRIOR_MET = np.array([0.60, 0.55, 0.45, 0.50, 0.40])
"""Chance that a criterion turns out met, in the order of CRITERIA."""
# What a criterion does to the hazards: rows as CRITERIA, columns unknown, met, not met.
WIN_EFFECT = np.exp(
    [[0, 0.50, -0.9], [0, 0.40, -0.7], [0, 0.70, -1.0], [0, 0.35, -0.5], [0, 0.60, -0.7]]
)
LOST_EFFECT = np.tile([1.0, 0.93, 1.25], (len(CRITERIA), 1))
# Chance that the criterion touched on a day changes (each day touches one of the five).
REVEAL, REVEAL_IN_SESSION = 0.025, 0.25
CORRECT, CLEAR = 0.004, 0.002

WIN_BASE, LOST_BASE = 0.0023, 0.0118
DRIFT = -1.1
"""Log of what the drift option does to the hazard of winning, from the first day to the export."""
# Monday to Sunday.
SESSION_WEEKDAY = np.array([1.1, 1.2, 1.2, 1.15, 1.0, 0.35, 0.3])
CLOSE_WEEKDAY = np.array([1.3, 1.4, 1.35, 1.35, 1.3, 0.15, 0.15])


@dataclass
class State:
    """Open leads at the start of a day; arrays (leads, draws), criteria (leads, draws, 5)."""

    engagement: Floats
    unsubscribed: Flags
    criteria: npt.NDArray[np.int8]
    win_factor: Floats
    lost_factor: Floats

    @classmethod
    def of(cls, engagement: Floats, unsubscribed: Flags, criteria: npt.NDArray[np.int8]) -> "State":
        each = np.arange(len(CRITERIA))
        return cls(
            engagement,
            unsubscribed,
            criteria,
            WIN_EFFECT[each, criteria].prod(axis=-1),
            LOST_EFFECT[each, criteria].prod(axis=-1),
        )


@dataclass(frozen=True)
class Day:
    """What a day brings to each lead before its state is looked at; arrays (leads, 1)."""

    win: Floats
    lost: Floats
    sessions: Floats


@dataclass(frozen=True)
class Steps:
    """What happened on a day: flat positions into (leads, draws), and what."""

    session_at: Ints
    slot: Ints
    change_at: Ints
    criterion: Ints
    value: Ints


def on_day(day: Ints, created_day: Ints, appeal: Floats, drift: bool) -> Day:
    """The day's base hazards. `appeal` is what attributes do to the hazard of winning."""
    age = np.maximum(day - created_day, 0)
    begun = day > created_day
    closing = begun * CLOSE_WEEKDAY[_weekday(day)] * _quarter_end(day)
    slow_start = 1 - 0.85 * np.exp(-age / 12)
    win = WIN_BASE * closing * appeal * slow_start * np.exp(-age / 150)
    if drift:
        win = win * np.exp(DRIFT * day / DAYS)
    lost = LOST_BASE * closing * slow_start
    sessions = begun * SESSION_WEEKDAY[_weekday(day)] * (0.03 + 0.12 * np.exp(-age / 12))
    return Day(win[:, None], lost[:, None], sessions[:, None])


def chances(state: State, day: Day) -> tuple[Floats, Floats]:
    """Chances to be won and to be lost on this day."""
    squared = state.engagement**2
    eager = 0.1 + 6.0 * squared / (squared + 130)
    quiet = 1.7 - 1.4 * state.engagement / (state.engagement + 4)
    win = day.win * state.win_factor * eager * np.where(state.unsubscribed, 0.45, 1.0)
    lost = day.lost * state.lost_factor * quiet * np.where(state.unsubscribed, 1.4, 1.0)
    return np.minimum(win, 0.4), np.minimum(lost, 0.4)


def step(state: State, day: Day, draws: tuple[Floats, Floats], rest: Floats | float = 1.0) -> Steps:
    """Moves `state` to the next midnight and says what happened.

    `draws` are uniform numbers in [0, 1), (leads, draws) each; `rest` is the share of the workday
    still to come, given that no session came before.
    """
    session_at, slot = _sessions(state, day, draws[0], rest)
    limit = np.full(state.engagement.shape, REVEAL)
    limit.flat[session_at] = REVEAL_IN_SESSION
    change_at, criterion, value = _changes(state, draws[1], limit * rest)
    state.engagement.flat[session_at] += SESSIONS.engagement[slot]
    state.unsubscribed.flat[session_at] |= SESSIONS.unsubscribes[slot]
    state.engagement *= 0.5 ** (1 / HALF_LIFE_DAYS)
    return Steps(session_at, slot, change_at, criterion, value)


def _sessions(state: State, day: Day, draw: Floats, rest: Floats | float) -> tuple[Ints, Ints]:
    """Interest feeds on itself: the more engaged, the sooner the next session and its mix later."""
    warmth = state.engagement / (state.engagement + 9)
    chance = np.minimum(day.sessions + (day.sessions > 0) * 0.31 * warmth, 0.9)
    chance = chance * rest / (1 - chance * (1 - rest))
    at = np.flatnonzero(draw < chance)
    left, late = draw.flat[at] / chance.flat[at], 0.8 * warmth.flat[at]
    in_late = left < late
    left = np.where(in_late, left / np.maximum(late, 1e-12), (left - late) / (1 - late))
    slot = np.minimum((left * SLOTS).astype(np.int64), SLOTS - 1) + SLOTS * in_late
    kept = ~(state.unsubscribed.flat[at] & SESSIONS.by_mail[slot])
    return at[kept], slot[kept]


def _changes(state: State, draw: Floats, limit: Floats) -> tuple[Ints, Ints, Ints]:
    """Applies the day's changes of criteria: turned out met or not, corrected, cleared."""
    spread = draw * len(CRITERIA)
    at = np.flatnonzero(spread % 1 < limit)
    criterion = spread.flat[at].astype(np.int64)
    left, chance = spread.flat[at] % 1, limit.flat[at]
    criteria = state.criteria.reshape(-1, len(CRITERIA))
    old = criteria[at, criterion].astype(np.int64)
    revealed = np.where(left < chance * PRIOR_MET[criterion], MET, NOT_MET)
    rest = np.minimum(chance / REVEAL, 1)  # known criteria change no more often in a session
    revised = np.where(left < CORRECT * rest, MET + NOT_MET - old, old)
    revised = np.where(
        (left >= CORRECT * rest) & (left < (CORRECT + CLEAR) * rest), UNKNOWN, revised
    )
    new = np.where(old == UNKNOWN, revealed, revised)
    moved = new != old
    at, criterion, old, new = at[moved], criterion[moved], old[moved], new[moved]
    criteria[at, criterion] = new
    state.win_factor.flat[at] *= WIN_EFFECT[criterion, new] / WIN_EFFECT[criterion, old]
    state.lost_factor.flat[at] *= LOST_EFFECT[criterion, new] / LOST_EFFECT[criterion, old]
    return at, criterion, new


def _weekday(day: Ints) -> Ints:
    return (day + START.weekday()) % 7


def _quarter_end(day: Ints) -> Floats:
    """Deals hurry a little in the last weeks of a quarter."""
    days_to_go = (51 - day) % 91  # the first quarter of the world ends on its day 51
    return np.where(days_to_go < 14, 1.2, 1.0)
