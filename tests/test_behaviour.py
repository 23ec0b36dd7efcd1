"""What is measured of events is what the SQL range join and plain Python say, however it is asked.

Each was seen failing once: an event enters at its own snapshot; the window's edge, closed as open, where
events enter, where they leave, in `windows.py`, or where the last of a kind is looked for; an event that was
known too late leaves a window that it never was in; sums that events do not leave; days, channels or the
reference of decayed sums kept from the lead before; worth that does not fade, fades at another half-life,
overflows, or is not lowered with its reference; a trend against the longer window; the last event instead of
the latest; days in UTC; values cut off instead of rounded, or judged by their sum; visits that end at 30
minutes; an event at the snapshot, or known at it, in a history; n - 1 in the spread; events until the first
snapshot only; excluded types counted; unknown types as the first one; rare types told apart; negative events as
activity, or as positive; a trend that speaks for interest.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import range_join
from behaviour_worlds import (
    CARD,
    HOUR,
    LEADS,
    MINUTE,
    POSITIVE,
    TOPICS,
    WINDOWS,
    Row,
    World,
    assert_close,
    assert_same_bits,
    at,
    crowd,
    empty_database,
    in_zone,
    learned_catalogue,
    numbers,
    prepared,
    quick,
    room_for,
    seen,
    worlds,
)
from lead_propensity.config import EngineConfig
from lead_propensity.data.database import opened
from lead_propensity.errors import DataError
from lead_propensity.features import matrix
from lead_propensity.features.behaviour import families
from lead_propensity.features.catalogue import Catalogue
from worlds import DAY, config

T = at("2024-05-05")


@pytest.fixture(scope="module")
def learned() -> Catalogue:
    return learned_catalogue()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return empty_database()


# The oracles.


@settings(quick, max_examples=40)
@given(world=worlds())
def test_the_sweep_is_the_range_join(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World
) -> None:
    got = numbers(seen(con, learned, world))
    expected = range_join.joined(con, in_zone(learned, world.zone), CARD)
    assert len(expected.columns) == 51
    assert_close(got, expected)


def test_a_crowd_is_measured_as_by_the_range_join(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    world = crowd(300)
    got = numbers(seen(con, learned, world))
    assert_close(got, range_join.joined(con, in_zone(learned, world.zone), CARD))


def visits(moments: list[int]) -> list[list[int]]:
    """Cut where more than 30 minutes lie between."""
    found: list[list[int]] = []
    for moment in moments:
        if found and moment - found[-1][-1] <= 30 * MINUTE:
            found[-1].append(moment)
        else:
            found.append([moment])
    return found


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def plain(world: World, lead: str, as_of: int) -> dict[str, float]:
    """The families that are not made by default, one by one in plain Python."""
    rows = [r for r in world.events if r[0] == lead and r[1] < as_of and r[6] < as_of]
    rows = sorted((row for row in rows if row[2] in POSITIVE), key=lambda row: row[1])
    moments = [row[1] for row in rows]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    local = [(epoch + timedelta(microseconds=m)).astimezone(ZoneInfo(world.zone)) for m in moments]
    of_visits = visits(moments)
    gaps = [b - a for a, b in pairwise(moments)]
    gap = mean(gaps)
    spread = math.sqrt(mean([(one - gap) ** 2 for one in gaps])) if gaps else math.nan
    last = of_visits[-1] if of_visits else []
    found = {
        "sessions_all": float(len(of_visits)),
        "last_session_events": len(last) or math.nan,
        "last_session_minutes": (last[-1] - last[0]) / MINUTE if last else math.nan,
        "share_weekend": mean([one.weekday() >= 5 for one in local]),
        "gap_mean_days": gap / DAY,
        "gap_variation": spread / gap if len(gaps) > 1 and gap else math.nan,
    }
    for part, name in enumerate(("night", "morning", "afternoon", "evening")):
        found[f"share_{name}"] = mean([one.hour // 6 == part for one in local])
    for name, days in (("all", 100_000), *((f"{days}d", days) for days in WINDOWS)):
        inside = [row for row in rows if row[1] >= as_of - days * DAY]
        began = [visit for visit in of_visits if visit[0] >= as_of - days * DAY]
        for topic in TOPICS:
            found[f"topic_{name}__{topic}"] = float(sum(row[4] == topic for row in inside))
        for kind in ("visit", "price"):
            worth = [row[5] for row in inside if row[2] == kind and row[5] is not None]
            found[f"value_mean_{name}__{kind}"] = mean([round(w * 1e6) / 1e6 for w in worth])
        if name != "all":
            found[f"topics_{name}"] = float(len({row[4] for row in inside} & set(TOPICS)))
            found[f"sessions_{name}"] = float(len(began))
            found[f"events_per_session_{name}"] = mean([len(visit) for visit in began])
    return found


def assert_plain(con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World) -> None:
    got = seen(con, learned, world).X
    keys = [(lead, as_of) for as_of, lead, _ in sorted((a, le, p) for le, a, p in world.asked)]
    expected = pd.DataFrame([plain(world, lead, as_of) for lead, as_of in keys])
    by_default = families.features(
        {**learned.definition, "families": list(config().features.families)}
    )
    others = set(got) - {feature.name for feature, _ in by_default} - {families.AGE.name}
    assert set(expected) == others
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], 1e-9, 1e-9, err_msg=name)


@settings(quick, max_examples=40)
@given(world=worlds())
def test_the_other_families_are_what_their_words_say(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World
) -> None:
    assert_plain(con, learned, world)


def test_a_crowd_is_measured_as_in_plain_python(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    assert_plain(con, learned, crowd())


def test_a_visit_goes_on_for_half_an_hour_and_no_microsecond_more(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    start = at("2024-05-01")
    times = {"a": [0, 30 * MINUTE, 60 * MINUTE], "b": [0, 30 * MINUTE + 1, 60 * MINUTE + 1]}
    events: list[Row] = [
        (lead, start + time, "visit", None, None, None, start)
        for lead, row in times.items()
        for time in row
    ]
    asked = [("a", start + DAY, "stock"), ("b", start + DAY, "stock")]
    found = seen(con, learned, World("UTC", events, asked)).X
    assert found["sessions_all"].tolist() == [1, 2]
    assert found["last_session_events"].tolist() == [3, 2]
    assert found["last_session_minutes"].tolist() == [60, 30]


# Nothing that comes later, is known later, or is asked beside it changes a row.


@quick
@given(world=worlds())
@pytest.mark.parametrize("place", [1, 6], ids=["occurred_at", "known_at"])
def test_what_comes_later_or_is_known_later_changes_no_bit(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, place: int, world: World
) -> None:
    for as_of in sorted({row[1] for row in world.asked}):
        asked = [row for row in world.asked if row[1] == as_of]
        before = [row for row in world.events if row[place] < as_of]
        assert_same_bits(
            numbers(seen(con, learned, World(world.zone, before, asked))),
            numbers(seen(con, learned, World(world.zone, world.events, asked))),
        )


@quick
@given(world=worlds())
def test_one_at_a_time_is_all_at_once(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World
) -> None:
    together = numbers(seen(con, learned, world))
    for row in world.asked:
        alone = numbers(seen(con, learned, World(world.zone, world.events, [row])))
        assert_same_bits(alone, together.loc[[row]])


@quick
@given(world=worlds(), order=st.randoms(use_true_random=False))
def test_order_threads_and_buckets_change_no_bit(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World, order: Any
) -> None:
    one = numbers(seen(con, learned, world))
    shuffled = list(world.events)
    order.shuffle(shuffled)
    with opened(EngineConfig(threads=2)) as (other, allowance):
        prepared(other, replace(world, events=shuffled))
        for buckets in (1, 2, 7):
            small = room_for(allowance, world, learned, buckets) if buckets > 1 else allowance
            parts = list(matrix.pieces(other, in_zone(learned, world.zone), CARD, allowance=small))
            assert (len(parts) >= buckets) and (len(parts) > 1) == (buckets > 1)
            together = pd.concat([numbers(part) for part in parts if len(part)])
            assert_same_bits(one, together.loc[one.index])


# Silence.


@quick
@given(world=worlds(), silence=st.sampled_from([1, HOUR, DAY, 7 * DAY, 30 * DAY, 400 * DAY]))
def test_silence_raises_no_interest_of_any_family(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, world: World, silence: int
) -> None:
    """A lead that does nothing more: no `up` goes up, no `down` goes down."""
    now = max(row[1] for row in world.asked)
    known = [row for row in world.events if row[1] < now and row[6] < now]
    asked = [(lead, when, "stock") for when in (now, now + silence) for lead in sorted(LEADS)]
    found = seen(con, learned, World(world.zone, known, asked)).X
    for feature in learned.features:
        before, after = np.split(found[feature.name].to_numpy(), 2)
        if feature.interest == "up":
            assert (after <= before).all(), feature.name
        elif feature.interest == "down":
            assert ((after >= before) | (np.isnan(before) & np.isnan(after))).all(), feature.name


def test_only_what_cannot_climb_in_silence_speaks_for_interest(learned: Catalogue) -> None:
    rows = families.features(learned.definition)
    directions = {
        direction: {one.what for feature, one in rows if feature.interest == direction}
        for direction in ("up", "down")
    }
    assert directions == {
        "up": {"count", "decayed", "active_days", "types", "channels", "topics", "sessions"},
        "down": {"days_since_last", "count"},
    }
    falling = [feature.name for feature, one in rows if feature.interest == "down"]
    negative = [name for name in falling if name.startswith("count")]
    assert negative == ["count_all__unsubscribe"], "over all time"


# Sums.


def valued(values: Sequence[float], when: int) -> World:
    """What one lead's visits were worth, a second apart."""
    events: list[Row] = [
        ("a", when - (place + 1) * 1_000_000, "visit", None, None, value, when - 90 * DAY)
        for place, value in enumerate(values)
    ]
    return World("UTC", events, [("a", when, "stock")])


def test_sums_of_many_values_have_the_same_bits_in_any_order(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    draw = np.random.default_rng(5)
    values = draw.normal(size=3000) * 10.0 ** draw.integers(-6, 7, 3000)
    world = valued([float(value) for value in values], T)
    one = numbers(seen(con, learned, world))
    shuffled = [world.events[place] for place in draw.permutation(3000)]
    assert_same_bits(one, numbers(seen(con, learned, replace(world, events=shuffled))))
    exact = sum(round(float(value) * 1e6) for value in values) / 1e6
    assert one["value_sum_7d"].item() == exact


def test_values_add_up_exactly_to_what_fits_and_no_further(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    """Judged by their sizes: no part of the sum may overflow, whatever the order."""
    found = seen(con, learned, valued([4.5e12, -4.5e12, 0.25], T)).X
    assert found["value_sum_7d"].item() == 0.25
    for values in ([1e13], [-1e13], [5e12, -5e12], [5e12, None, 5e12]):
        with pytest.raises(DataError, match=r"values of lead 'a' add up to more than 9\.2e12"):
            seen(con, learned, valued(values, T))


def test_a_decayed_sum_over_a_century_neither_overflows_nor_is_lost(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    first, last = at("1924-05-05"), at("2024-05-05")
    events: list[Row] = [("a", first, "price", None, None, None, first)] * 3
    events += [("a", last, "visit", None, None, None, last)]
    asked = [("a", when, "stock") for when in (first + 14 * DAY, last + 14 * DAY, last + 900 * DAY)]
    found = seen(con, learned, World("UTC", events, asked)).X
    late = 2.0 ** (-900 / 14)
    np.testing.assert_allclose(found["decayed_14d"], [1.5, 0.5, late], 1e-12)
    np.testing.assert_allclose(found["decayed_14d__visit"], [0, 0.5, late], 1e-12)
    np.testing.assert_allclose(found["decayed_14d__price"], [1.5, 0, 0], 1e-12, 1e-150)
