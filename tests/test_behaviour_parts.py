"""The parts of the sweep alone: order, the events' way in, and local time.

Each was seen failing once: order not asserted, of events or of snapshots; missing values out of order; ties in
`known_at` left as they came; merged rows not put back; an insertion that gives up with a row in its hand; equal
moments exchanged; moments of entering out of order; days before 1970 truncated; one place for a day that begins
twice; the old offset at the very moment of a change; a change told a second late.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest

import range_join
from behaviour_worlds import (
    BASES,
    CARD,
    HOUR,
    MINUTE,
    NIGHTS,
    Row,
    World,
    assert_close,
    at,
    empty_database,
    in_zone,
    learned_catalogue,
    numbers,
    seen,
)
from lead_propensity.features.behaviour import families, kernel, program, sorting
from lead_propensity.features.behaviour.events import Events
from lead_propensity.features.behaviour.measuring import Asked, measure
from lead_propensity.features.behaviour.numbering import NOBODY, Numbers
from lead_propensity.features.behaviour.zone import offsets
from lead_propensity.features.catalogue import Catalogue
from worlds import DAY

T = at("2024-05-05")


@pytest.fixture(scope="module")
def learned() -> Catalogue:
    return learned_catalogue()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return empty_database()


def kernel_rows(times: Sequence[tuple[int, int]]) -> np.ndarray:
    """Events of lead 0, type 0 with (occurred_at, known_at)."""
    rows = np.zeros(len(times), sorting.EVENT)
    rows["channel_id"], rows["topic_id"], rows["value"] = -1, -1, np.nan
    if len(times):
        rows["occurred_at"], rows["known_at"] = np.array(times).T
    return rows


def measured(learned: Catalogue, rows: np.ndarray, as_of: Sequence[int]) -> np.ndarray:
    """All measures of one lead straight from the kernel, (snapshots, measures)."""
    measures = [one for _, one in families.features(learned.definition)]
    texts = program.texts_of(learned.definition, measures)
    compiled = program.compiled(learned.definition, list(enumerate(measures)), texts)
    n = len(as_of)
    asked = Asked(np.array([0, n]), np.array(as_of, np.int64), np.arange(n))
    out = np.empty((n, len(measures)))
    measure(compiled, Events(np.array([0, len(rows)]), rows), asked, 1, out)
    return out


def test_unsorted_delivery_is_noticed(learned: Catalogue) -> None:
    measured(learned, kernel_rows([(1, 1), (1, 1), (2, 1)]), [5, 5, 6])
    with pytest.raises(AssertionError, match="not in order"):
        measured(learned, kernel_rows([(1, 1), (3, 3), (2, 2)]), [5])
    with pytest.raises(AssertionError, match="not in order"):
        measured(learned, kernel_rows([(1, 1)]), [6, 5])


def random_rows(n: int, seed: int) -> np.ndarray:
    """Rows with many ties in each column, and missing values."""
    draw = np.random.default_rng(seed)
    rows = np.zeros(n, sorting.EVENT)
    for name in ("occurred_at", "known_at", "type_id", "channel_id", "topic_id"):
        rows[name] = draw.integers(-1, 3, n)
    rows["value"] = draw.choice([np.nan, -1.0, 0.5, 2.0], n)
    return rows


def key(row: np.void) -> tuple[Any, ...]:
    """The total order, in words."""
    front = [
        int(row[name]) for name in ("occurred_at", "type_id", "channel_id", "topic_id", "known_at")
    ]
    missing = bool(np.isnan(row["value"]))
    return (*front, missing, 0.0 if missing else float(row["value"]))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 64, 1000])
def test_insertion_and_merging_sort_alike(n: int) -> None:
    rows = random_rows(n, seed=n)
    expected = [key(row) for row in sorted(rows, key=key)]
    inserted, arranged = rows.copy(), rows.copy()
    assert sorting.insert_all(inserted, sorting.NO_LIMIT)
    sorting.arrange(np.array([0, n]), arranged, 0, 1)
    for found in (inserted, arranged, sorting.merged(rows)):
        assert [key(row) for row in found] == expected


def test_rows_far_out_of_order_are_merged_and_none_is_lost() -> None:
    rows = random_rows(500, seed=1)
    rows["occurred_at"] = np.arange(500)[::-1]
    given_up = rows.copy()
    assert not sorting.insert_all(given_up, 16 * 500)
    assert sorted(map(key, given_up)) == sorted(map(key, rows))
    two_leads = np.concatenate([rows, rows])
    sorting.arrange(np.array([0, 500, 1000]), two_leads, 0, 2)
    assert [key(row) for row in two_leads] == 2 * sorted(map(key, rows))


@pytest.mark.parametrize("how", ["prompt", "some late", "all known at once", "last known first"])
@pytest.mark.parametrize("n", [0, 1, 5, 600])
def test_events_enter_when_they_are_visible_ties_in_their_order(n: int, how: str) -> None:
    draw = np.random.default_rng(n)
    occurred = np.sort(draw.integers(0, 3 * n + 1, n))
    known = {
        "prompt": occurred - 5,
        "some late": occurred + draw.integers(0, 4, n),
        "all known at once": np.full(n, 4 * n),
        "last known first": 9 * n - occurred,
    }[how]
    order, visible = np.empty(n + 3, np.int64), np.empty(n + 3, np.int64)
    kernel.order_of_entering(occurred, known, order, visible)
    moments = np.maximum(occurred, known)
    expected = np.argsort(moments, kind="stable")
    assert order[:n].tolist() == expected.tolist()
    assert visible[:n].tolist() == moments[expected].tolist()


def test_many_late_events_enter_and_leave_as_few_do(
    con: duckdb.DuckDBPyConnection, learned: Catalogue
) -> None:
    """More than insertion is tried for, in both orders."""
    events: list[Row] = [
        ("a", T - step * HOUR, "visit", "web", "docs", 1.0, T - 40 * DAY + step * 2 * HOUR)
        for step in range(500)
    ]
    asked = [("a", T + day * DAY, "stock") for day in range(-30, 30, 3)]
    got = numbers(seen(con, learned, World("UTC", events, asked)))
    assert_close(got, range_join.joined(con, learned, CARD))


ZONES = [*NIGHTS, "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu"]


@pytest.mark.parametrize("name", ZONES)
def test_offsets_are_those_of_the_zone_around_each_change(name: str) -> None:
    """Apia left a day out, Troll moves by two hours, Casablanca changes four times a year."""
    since, added = offsets(name)
    zone, epoch = ZoneInfo(name), datetime(1970, 1, 1, tzinfo=UTC)
    assert since[0] == np.iinfo(np.int64).min
    assert (np.diff(since[1:]) > 0).all()
    assert (np.diff(added) != 0).all(), "each is a change"
    draw = np.random.default_rng(1)
    around = [int(s) + step for s in since[1:] for step in (-1, 0, 1, -HOUR, HOUR, -DAY, DAY)]
    anywhen = draw.integers(at("1900-01-02"), at("2099-12-30"), 2000).tolist()
    inside = [m for m in [*around, *anywhen] if at("1900-01-01") <= m < at("2100-01-01")]
    for moment in inside:
        place = np.searchsorted(since, moment, side="right") - 1
        local = (epoch + timedelta(microseconds=moment)).astimezone(zone)
        assert added[place] == local.utcoffset() // timedelta(microseconds=1), moment


@pytest.mark.parametrize("zone", NIGHTS)
def test_each_hour_of_a_night_that_is_changed_lies_on_its_day(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, zone: str
) -> None:
    """Every half hour of two days: the lead's active days are the calendar's, snapshot by snapshot."""
    for base in BASES[zone]:
        times = range(base - DAY, base + DAY, 30 * MINUTE)
        events: list[Row] = [("a", when, "visit", None, None, None, when) for when in times]
        asked = [("a", base + step * HOUR, "stock") for step in (-9, -1, 0, 1, 2, 20, 7 * 24 - 3)]
        got = numbers(seen(con, learned, World(zone, events, asked)))
        expected = range_join.joined(con, in_zone(learned, zone), CARD)
        assert_close(got[["active_days_7d"]], expected[["active_days_7d"]])


def test_leads_are_told_apart_also_where_their_hashes_want_one_place() -> None:
    """All of them want the last place of the table, and the search goes round its end."""
    hashes = np.array([(k << 40) | 0xFFFF for k in range(5)], np.uint64)
    numbers_ = Numbers(hashes, np.arange(5) * 7, "")
    strangers = np.array([0xFFFF | (9 << 40), 3, 0], np.uint64)
    found = numbers_.find(np.concatenate([hashes[::-1], strangers]))
    assert found.tolist() == [28, 21, 14, 7, 0, NOBODY, NOBODY, NOBODY]
