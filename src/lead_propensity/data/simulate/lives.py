"""The lives of all leads, day by day: sessions, changes of criteria, endings."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lead_propensity.config import CRITERIA
from lead_propensity.data.simulate.dynamics import (
    DAYS,
    HALF_LIFE_DAYS,
    MET,
    NOT_MET,
    PRIOR_MET,
    WORKDAY,
    State,
    chances,
    on_day,
    step,
)
from lead_propensity.data.simulate.people import People
from lead_propensity.data.simulate.sessions import SESSIONS, Floats, Ints, slots_of
from lead_propensity.progress import Progress

ENTRY = {
    "website": ("download", "browse", "pricing", "demo"),
    "referral": ("question", "demo", "browse"),
    "event": ("webinar",),
    "search_ad": ("browse", "download"),
    "social": ("browse", "webinar"),
    "list": ("mail",),
}
"""The session in which a lead of each source leaves its address."""


@dataclass(frozen=True)
class Log:
    """Things that happened: whose (row of the lead), when, and what."""

    lead: Ints
    day: Ints
    second: Ints
    what: Ints
    """Sessions: the slot. Changes: 10 x criterion + value."""

    def sorted(self) -> "Log":
        order = np.lexsort((self.second, self.day, self.lead))
        return Log(self.lead[order], self.day[order], self.second[order], self.what[order])


@dataclass(frozen=True)
class Lives:
    """Sessions and changes in order of lead and time, and the endings."""

    sessions: Log
    changes: Log
    closed_day: Ints
    """DAYS for leads still open at the export."""
    closed_second: Ints
    won: npt.NDArray[np.bool_]


def live(
    people: People, draw: np.random.Generator, options: tuple[bool, bool], progress: Progress
) -> Lives:
    """Simulates every lead until it closes or the world ends. `options`: latent, drift."""
    sessions, changes = [_before(people, draw), _entry(people, draw)], [_told_at_once(people, draw)]
    state = _state_at_entry(people, sessions, changes[0])
    count = len(people.created_day)
    closed_day, won = np.full(count, DAYS), np.zeros(count, dtype=bool)
    intent = draw.normal(0, 1, count) if options[0] else np.zeros(count)
    for today in range(1, DAYS):
        open_now = np.flatnonzero((people.created_day < today) & (closed_day == DAYS))
        part, hidden = _take(state, open_now), np.exp(0.7 * intent[open_now])
        appeal = people.appeal[open_now] * hidden
        day = on_day(np.array([today]), people.created_day[open_now], appeal, options[1])
        win, lost = chances(part, day)
        dice = draw.random((3, len(open_now), 1))
        closed = (dice[2] < win + lost)[:, 0]
        closed_day[open_now[closed]], won[open_now] = today, (dice[2] < win)[:, 0]
        steps = step(part, day, (dice[0], dice[1]))
        _put(state, open_now, part)
        sessions.append(_log(open_now[steps.session_at], today, steps.slot, draw))
        changes.append(
            _log(open_now[steps.change_at], today, 10 * steps.criterion + steps.value, draw)
        )
        if options[0]:  # latent intent rises and cools by itself, a month long
            intent = 0.97 * intent + np.sqrt(1 - 0.97**2) * draw.normal(0, 1, count)
        if (today + 1) % 50 == 0:
            progress("simulate", today + 1, DAYS)
    second = draw.integers(*WORKDAY, count)
    return Lives(_joined(sessions), _joined(changes), closed_day, second, won)


def decayed(engagement: Floats, days: Ints) -> Floats:
    """What is left of an engagement after whole days."""
    return engagement * 0.5 ** (days / HALF_LIFE_DAYS)


def _before(people: People, draw: np.random.Generator) -> Log:
    """Up to three anonymous visits in the three weeks before the lead leaves its address."""
    count = len(people.created_day)
    came = draw.random((count, 3)) < draw.choice([0.0, 0.3, 0.8], count)[:, None]
    lead, visit = np.nonzero(came)
    days_before = 1 + 7 * visit + draw.integers(0, 7, len(lead))
    slots = draw.choice(slots_of("browse", "pricing"), len(lead))
    return Log(
        lead, people.created_day[lead] - days_before, draw.integers(*WORKDAY, len(lead)), slots
    )


def _entry(people: People, draw: np.random.Generator) -> Log:
    source = people.frame["source"].to_numpy()
    slot = np.zeros(len(source), dtype=np.int64)
    for name, kinds in ENTRY.items():
        rows = np.flatnonzero(source == name)
        slot[rows] = draw.choice(slots_of(*kinds), len(rows))
    second = people.created_second + draw.integers(30, 900, len(source))
    return Log(np.arange(len(source)), people.created_day, second, slot)


def _told_at_once(people: People, draw: np.random.Generator) -> Log:
    """One lead in five states one of the criteria on its first form."""
    lead = np.flatnonzero(draw.random(len(people.created_day)) < 0.2)
    criterion = draw.integers(0, len(CRITERIA), len(lead))
    value = np.where(draw.random(len(lead)) < PRIOR_MET[criterion], MET, NOT_MET)
    second = people.created_second[lead] + 60
    return Log(lead, people.created_day[lead], second, 10 * criterion + value)


def _state_at_entry(people: People, sessions: list[Log], told: Log) -> State:
    """The states at the midnight after creation."""
    count = len(people.created_day)
    engagement, criteria = np.zeros((count, 1)), np.zeros((count, 1, len(CRITERIA)), dtype=np.int8)
    for log in sessions:
        left = decayed(SESSIONS.engagement[log.what], people.created_day[log.lead] + 1 - log.day)
        engagement[:, 0] += np.bincount(log.lead, left, minlength=count)
    criteria[told.lead, 0, told.what // 10] = told.what % 10
    return State.of(engagement, np.zeros((count, 1), dtype=bool), criteria)


def _take(state: State, rows: Ints) -> State:
    return State(
        state.engagement[rows],
        state.unsubscribed[rows],
        state.criteria[rows],
        state.win_factor[rows],
        state.lost_factor[rows],
    )


def _put(state: State, rows: Ints, part: State) -> None:
    state.engagement[rows] = part.engagement
    state.unsubscribed[rows] = part.unsubscribed
    state.criteria[rows] = part.criteria
    state.win_factor[rows] = part.win_factor
    state.lost_factor[rows] = part.lost_factor


def _log(lead: Ints, day: int, what: Ints, draw: np.random.Generator) -> Log:
    return Log(lead, np.full(len(lead), day), draw.integers(*WORKDAY, len(lead)), what)


def _joined(logs: list[Log]) -> Log:
    parts = [(log.lead, log.day, log.second, log.what) for log in logs]
    return Log(*(np.concatenate(column) for column in zip(*parts, strict=True))).sorted()
