"""The tables that a CRM would export of these lives."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lead_propensity.config import CRITERIA
from lead_propensity.data.simulate.dynamics import DAY_SECONDS, DAYS, MET, NOT_MET, START, UNKNOWN
from lead_propensity.data.simulate.lives import Lives
from lead_propensity.data.simulate.people import People
from lead_propensity.data.simulate.sessions import (
    EVENT_TYPES,
    SESSIONS,
    TYPE_NAMES,
    Flags,
    Floats,
    Ints,
)

EXPORTED_AT = pd.Timestamp(START) + pd.Timedelta(days=DAYS)
TOPICS = ("integration", "security", "reporting", "automation", "support")
NIGHTLY_IMPORT = 23 * 3600 + 1800
"""Newsletter and survey tools report at this second of the day."""
DWELL_SECONDS = {"page_view": 35.0, "pricing_page_view": 70.0}


def events(people: People, lives: Lives, draw: np.random.Generator) -> pd.DataFrame:
    """One row an event, in no particular order of time."""
    log = lives.sessions
    length = SESSIONS.length[log.what]
    session = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(session)) - np.repeat(np.cumsum(length) - length, length)
    kind = SESSIONS.types[SESSIONS.first[log.what][session] + place]
    gap = np.where(place == 0, 0, 5 + draw.exponential(55, len(session)).astype(np.int64))
    passed = np.cumsum(gap)
    passed -= passed[place == 0][session]
    lead, day = log.lead[session], log.day[session]
    second = log.second[session] + passed
    occurred = day * DAY_SECONDS + second
    # A closed lead does nothing more that concerns its deal.
    kept = occurred < (lives.closed_day * DAY_SECONDS + lives.closed_second)[lead]
    lead, kind, occurred = lead[kept], kind[kept], occurred[kept]
    return pd.DataFrame(
        {
            "lead_id": _ids(people, lead),
            "occurred_at": _times(occurred),
            "event_type": _category(TYPE_NAMES, kind),
            "channel": _channels(kind),
            "topic": _topics(lead, kind, len(people.frame), draw),
            "value": _values(kind, draw),
            "known_at": _times(_known(people, lead, kind, occurred, draw)),
        }
    )


def attributes(people: People, lives: Lives, draw: np.random.Generator) -> pd.DataFrame:
    """The criteria as they became known, and what sales wrote down after the end."""
    log = lives.changes
    known = log.day * DAY_SECONDS + log.second
    value = np.array(["", "", ""], dtype=object)
    value[[UNKNOWN, MET, NOT_MET]] = [None, "met", "not_met"]
    kept = known < (lives.closed_day * DAY_SECONDS + lives.closed_second)[log.lead]
    criteria = pd.DataFrame(
        {
            "lead_id": _ids(people, log.lead[kept]),
            "attribute": np.array(CRITERIA, dtype=object)[log.what[kept] // 10],
            "value": value[log.what[kept] % 10],
            "known_at": _times(known[kept]),
        }
    )
    both = pd.concat([criteria, *_after_the_fact(people, lives, draw)], ignore_index=True)
    return both[both["known_at"] < EXPORTED_AT].reset_index(drop=True)


def deals(people: People, lives: Lives, draw: np.random.Generator) -> pd.DataFrame:
    """The deals known before the export; known one to three days late for three in ten."""
    lead = np.flatnonzero(lives.closed_day < DAYS)
    closed = (lives.closed_day * DAY_SECONDS + lives.closed_second)[lead]
    late = (draw.random(len(lead)) < 0.3) * draw.integers(1, 4, len(lead)) * DAY_SECONDS
    won = lives.won[lead]
    size = np.maximum(people.employees[lead], 1) / 50
    amount = np.round(np.exp(draw.normal(9.2, 0.6, len(lead))) * size**0.35, -1)
    amount[~won & (draw.random(len(lead)) < 0.5)] = np.nan
    frame = pd.DataFrame(
        {
            "lead_id": _ids(people, lead),
            "closed_at": _times(closed),
            "outcome": np.where(won, "won", "lost"),
            "amount": amount,
            "known_at": _times(closed + late),
        }
    )
    return frame[frame["known_at"] < EXPORTED_AT].reset_index(drop=True)


def _after_the_fact(people: People, lives: Lives, draw: np.random.Generator) -> list[pd.DataFrame]:
    """Leaks for the unwary: they tell the outcome, and are known only once it is there."""
    lead = np.flatnonzero(lives.closed_day < DAYS)
    closed = (lives.closed_day * DAY_SECONDS + lives.closed_second)[lead]
    quality = np.where(
        lives.won[lead], draw.integers(4, 6, len(lead)), draw.integers(1, 4, len(lead))
    )
    touch = np.where(lives.won[lead], "contract signed", "no further interest")
    values = {"sales_note_quality": quality.astype(str), "last_sales_touch": touch}
    delays = {"sales_note_quality": 3 * DAY_SECONDS, "last_sales_touch": 7200}
    return [
        pd.DataFrame(
            {
                "lead_id": _ids(people, lead),
                "attribute": name,
                "value": values[name].astype(object),
                "known_at": _times(closed + draw.integers(0, delays[name], len(lead))),
            }
        )
        for name in values
    ]


def _known(
    people: People, lead: Ints, kind: Ints, occurred: Ints, draw: np.random.Generator
) -> Ints:
    """Imports know of an event in the night, calendars know of a meeting days ahead."""
    nightly = _is(kind, "newsletter_read", "survey_answer")
    known = np.where(nightly, occurred - occurred % DAY_SECONDS + NIGHTLY_IMPORT, occurred)
    created = (people.created_day * DAY_SECONDS + people.created_second)[lead]
    booked = occurred - draw.integers(2 * 3600, 6 * DAY_SECONDS, len(kind))
    return np.where(_is(kind, "meeting_booked"), np.maximum(booked, created), known)


def _channels(kind: Ints) -> pd.Series:
    channel = [EVENT_TYPES[name].channel for name in TYPE_NAMES]
    names = sorted(set(channel))
    return _category(names, np.array([names.index(name) for name in channel])[kind])


def _topics(lead: Ints, kind: Ints, leads: int, draw: np.random.Generator) -> pd.Series:
    """Each lead has its subject, and strays from it sometimes; mail opens and calls have none."""
    subject = draw.integers(0, len(TOPICS), leads)[lead]
    strays = draw.random(len(lead)) < 0.3
    topic = np.where(strays, draw.integers(0, len(TOPICS), len(lead)), subject)
    bare = _is(kind, "email_open", "call", "meeting_booked", "unsubscribe")
    return _category(TOPICS, np.where(bare, -1, topic))


def _values(kind: Ints, draw: np.random.Generator) -> Floats:
    """Seconds on a page, minutes of a call, points of a survey; nothing for the rest."""
    value = np.full(len(kind), np.nan)
    spread = np.exp(draw.normal(0, 0.8, len(kind)))
    for name, typical in {**DWELL_SECONDS, "call": 9.0}.items():
        value = np.where(_is(kind, name), np.ceil(typical * spread), value)
    return np.where(_is(kind, "survey_answer"), draw.integers(1, 11, len(kind)), value)


def _is(kind: Ints, *names: str) -> Flags:
    return np.isin(kind, [TYPE_NAMES.index(name) for name in names])


def _category(names: Sequence[str], codes: Ints) -> pd.Series:
    dtype = pd.CategoricalDtype(list(names))
    return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))


def _ids(people: People, lead: Ints) -> pd.Series:
    ids: pd.Series = people.frame["lead_id"].take(lead).reset_index(drop=True)
    return ids


def _times(seconds: Ints) -> pd.Series:
    start = np.datetime64(START.replace(tzinfo=None), "us")
    times = pd.DatetimeIndex(start + seconds * np.timedelta64(1_000_000, "us"), tz="UTC")
    return pd.Series(times)
