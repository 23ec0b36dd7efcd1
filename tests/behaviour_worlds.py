"""Small worlds full of boundaries, to see what is measured of events: strategies, tables, comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import get_args
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lead_propensity.config import Family
from lead_propensity.data.workroom import IN_MEMORY, Allowance
from lead_propensity.features import kept, matrix, timeline
from lead_propensity.features.behaviour.events import EVENT_BYTES
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.features.work import COPIES, FILLED, KEY_BYTES
from worlds import DAY, config, database

MINUTE = 60_000_000
HOUR = 60 * MINUTE
WINDOWS, HALF_LIVES = (7, 30), (3, 14)
LEADS = ("a", "b", "silent one")
"""The last one never does anything."""
OWN, OTHER = ("visit", "price", "unsubscribe"), ("rare a", "rare b", "bounce")
LATER = ("new", "new to the rules")
"""Types that come up after the fit part; a rule counts one of them."""
TYPES = (*OWN, *OTHER, "hidden", *LATER)
POSITIVE = ("visit", "price", "rare a", "rare b")
CHANNELS, TOPICS = ("web", "mail"), ("prices", "docs")
SETTINGS = config(
    features={
        "families": get_args(Family),
        "windows_days": WINDOWS,
        "half_lives_days": HALF_LIVES,
        "negative_events": ["unsubscribe", "bounce"],
        "exclude_events": ["hidden"],
    }
)
CARD = Scorecard.model_validate({
    "name": "test", "thresholds": {"warm": 1, "hot": 2},
    "implicit": [
        {"event": "visit", "days": 5, "points": 1, "why": "w"},
        {"event": "new", "points": 1, "why": "w"},
        {"event": "rare a", "half_life_days": 0.3, "points": 1, "why": "w"},
        {"event": "unsubscribe", "half_life_days": 14, "points": -1, "why": "w"},
        {"event": "bounce", "days": 30, "points": -1, "why": "w"},
        {"event": "of no row", "points": 1, "why": "w"},
        {"silent_days": 7, "points": -1, "why": "w"},
    ],
})  # fmt: skip


def at(text: str, zone: str = "UTC") -> int:
    """Microseconds UTC of a local time."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


NIGHTS = {
    "UTC": ["1970-01-01T00:00", "1965-03-01T00:00", "2024-02-29T00:00", "2024-03-01T00:00"],
    "Europe/Berlin": ["2023-03-26T03:00", "2023-10-29T00:00", "2023-10-29T03:00"],
    "America/Sao_Paulo": ["2018-02-18T00:00", "2018-02-17T23:00", "2018-11-04T01:00"],
    "Asia/Beirut": ["2021-10-31T00:00", "2021-10-30T23:00", "2021-03-28T01:00"],
    "Australia/Lord_Howe": ["2022-04-03T02:00", "2022-10-02T02:30", "2022-04-03T00:00"],
    "America/St_Johns": ["2010-11-07T00:00", "2010-11-06T23:01", "2010-11-08T00:00"],
    "Asia/Kolkata": ["2024-03-01T00:00", "1969-12-31T00:00"],
    "America/New_York": ["1967-10-29T00:00", "1968-02-29T00:00"],
}
"""Local times at which a day begins, a clock is changed, or a count of days may be one off. At St. John's
the clock went back at a minute past midnight: a day began, gave way to the one before, and began once more."""
BASES = {zone: [at(text, zone) for text in texts] for zone, texts in NIGHTS.items()}
STEPS = (0, 0, -1, 1, -HOUR, HOUR, -30 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1, -DAY, DAY)
EDGES = (0, 0, 5, 7, 14, 30, 60)

Row = tuple[str, int, str, str | None, str | None, float | None, int]
"""An event: lead, occurred_at, type, channel, topic, value, known_at."""


@dataclass(frozen=True)
class World:
    """What leads did, in which zone it is looked at, and from which moments."""

    zone: str
    events: list[Row]
    asked: list[tuple[str, int, str]]
    """(lead, as_of, population)"""


@st.composite
def worlds(draw: st.DrawFn, zones: Sequence[str] = tuple(NIGHTS)) -> World:
    """All times come from a few, moved by the edge of a window and a step: they meet, and miss by a microsecond."""
    zone = draw(st.sampled_from(zones))
    anchors = draw(
        st.lists(
            st.builds(int.__add__, st.sampled_from(BASES[zone]), st.sampled_from(STEPS)),
            min_size=1, max_size=3,
        )
    )  # fmt: skip
    looks = st.sampled_from(anchors)
    moments = st.builds(
        lambda anchor, days, step: anchor - days * DAY + step,
        looks, st.sampled_from(EDGES), st.sampled_from(STEPS),
    )  # fmt: skip
    row = st.tuples(
        st.sampled_from(LEADS[:2]),
        moments,
        st.sampled_from([*POSITIVE, *TYPES]),
        st.sampled_from(["web", "mail", "fair", "fax", None]),
        st.sampled_from(["prices", "docs", "rare topic", None]),
        st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)),
        moments,
    )
    rows = draw(st.lists(row, max_size=25))
    prompt = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    events = [(*r[:6], r[1] if now else r[6]) for r, now in zip(rows, prompt, strict=True)]
    copies = draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    look = st.tuples(
        st.sampled_from(LEADS),
        st.builds(int.__add__, looks, st.sampled_from([0, 0, 1, 7 * DAY, 23 * DAY, 30 * DAY])),
        st.sampled_from(["training", "stock"]),
    )
    asked = draw(st.lists(look, min_size=1, max_size=10, unique=True))
    return World(zone, [*events, *copies], asked)


quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@lru_cache
def learned_catalogue() -> Catalogue:
    """Every family, from leads that did what leads do."""
    when = at("2020-01-01")
    events = [
        (f"l{n}", when, name, channel, topic, 1.5, when)
        for n in range(20)
        for name, channel, topic in zip(OWN, ("web", "mail", "web"), (*TOPICS, None), strict=True)
    ]
    events += [("l0", when, name, "fair", "rare topic", None, when) for name in OTHER]
    events += [("l0", when + 9 * DAY, name, None, None, None, when) for name in ("hidden", "new")]
    con = database([(f"l{n}", when - DAY, f"l{n}") for n in range(20)], events)
    found = matrix.learn(con, SETTINGS, when + DAY).catalogue
    assert sorted(found.definition["event_types"]) == sorted(OWN)
    marked = [kept.mark("event_type", name) for name in ("rare a", "rare b")]
    assert sorted(found.definition["other_event_types"]) == sorted(["bounce", *marked])
    assert found.definition["channels"] == [*CHANNELS, kept.mark("channel", "fair")]
    assert sorted(found.definition["topics"]) == sorted(TOPICS)
    return found


def in_zone(catalogue: Catalogue, zone: str) -> Catalogue:
    return Catalogue(catalogue.features, {**catalogue.definition, "reporting_zone": zone})


def empty_database() -> duckdb.DuckDBPyConnection:
    """One database for many worlds: `fill` puts each in the place of the last."""
    return database([(lead, at("1950-01-01"), lead) for lead in LEADS])


def fill(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """The events as they lie, and a snapshot of each moment asked for."""
    columns = list(zip(*world.events, strict=True)) or [()] * 7
    kinds = (pa.string(), pa.int64(), *[pa.string()] * 3, pa.float64(), pa.int64())
    given = pa.table(
        [pa.array(c, kind) for c, kind in zip(columns, kinds, strict=True)],
        ["lead_id", "occurred_at", "event_type", "channel", "topic", "value", "known_at"],
    )
    rows = sorted(world.asked, key=lambda row: (row[1], row[0], row[2]))
    asked = pa.table(
        {
            "number": range(len(rows)),
            "lead_id": [row[0] for row in rows],
            "as_of": pa.array([row[1] for row in rows], pa.int64()),
            "population": [row[2] for row in rows],
        }
    )
    con.register("given_events", given)
    con.register("given_asked", asked)
    con.execute("CREATE OR REPLACE TABLE events AS SELECT * FROM given_events")
    con.execute(timeline.SHAPE)
    con.execute("""
        INSERT INTO snapshots SELECT number, lead_id, lead_id, as_of, as_of, as_of, population, 'scoring', 1, NULL,
               NULL, 0 FROM given_asked""")


def prepared(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """The tables of `world` in a new database."""
    leads = sorted({lead for lead, _, _ in world.asked})
    for name, columns in (
        ("leads", "lead_id VARCHAR, created_at BIGINT, group_id VARCHAR"),
        ("attributes", "lead_id VARCHAR, attribute VARCHAR, value VARCHAR, known_at BIGINT"),
        ("lead_attributes", "lead_id VARCHAR"),
    ):
        con.execute(f"CREATE TABLE {name} ({columns})")
    con.executemany("INSERT INTO leads VALUES (?, 0, ?)", [(lead, lead) for lead in leads])
    con.executemany("INSERT INTO lead_attributes VALUES (?)", [(lead,) for lead in leads])
    fill(con, world)


def seen(
    con: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    world: World,
    allowance: Allowance = IN_MEMORY,
) -> Dataset:
    fill(con, world)
    return matrix.build(con, in_zone(catalogue, world.zone), CARD, allowance=allowance)


def numbers(data: Dataset) -> pd.DataFrame:
    """All columns, by lead, moment and population."""
    keys = [data.keys[name] for name in ("lead_id", "as_of", "population")]
    return pd.concat([data.X, data.rules], axis=1).set_index(keys)


def assert_same_bits(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert list(one) == list(other)
    assert one.index.equals(other.index)
    differ = one.to_numpy().view(np.int64) != other.to_numpy().view(np.int64)
    assert not differ.any(), [
        name for name, wrong in zip(one, differ.any(axis=0), strict=True) if wrong
    ]


def assert_close(got: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Floats to nine digits; what has faded below 1e-150 is nothing."""
    for name in expected:
        np.testing.assert_allclose(
            got[name].to_numpy(), expected[name].to_numpy(), 1e-9, 1e-150, err_msg=name
        )


def room_for(
    allowance: Allowance, world: World, learned: Catalogue, buckets: int, whole: bool = False
) -> Allowance:
    """So small that the work is cut into so many buckets, or one more."""
    keys = KEY_BYTES * len(world.asked)
    results = 8 * len(world.asked) * (len(learned.features) + len(CARD.lines()))
    part = (COPIES * results + EVENT_BYTES * len(world.events)) / buckets / FILLED
    return replace(allowance, array_bytes=int(keys + whole * results + part) + 1)


def crowd(n: int = 60) -> World:
    """Leads with a few events and snapshots each, all different; half of the times lie at an edge."""
    draw, start, days = np.random.default_rng(3), at("2023-01-01"), range(0, 120, 30)
    leads = [f"lead {number:03d}" for number in range(n)]
    looks = [start + day * DAY + 1 for day in days]

    def moment() -> int:
        if draw.random() < 0.5:
            return start + int(draw.integers(0, 120 * DAY))
        edge = int(draw.choice(looks)) - int(draw.choice(EDGES)) * DAY
        return edge + int(draw.integers(-1, 2))

    def event(lead: str) -> Row:
        occurred, value = moment(), float(draw.normal())
        kind, channel, topic = (
            str(draw.choice(texts)) for texts in (TYPES, ["web", "mail", "fax"], TOPICS)
        )
        known = moment() if draw.random() < 0.5 else occurred
        return (lead, occurred, kind, channel, topic, value, known)

    events = [event(lead) for lead in leads for _ in range(int(draw.integers(0, 30)))]
    asked = [(lead, look, "training") for lead in leads for look in looks]
    asked += [(lead, looks[-1], "stock") for lead in leads[::2]]
    return World("Europe/Berlin", events, asked)
