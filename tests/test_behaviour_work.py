"""Work in buckets of leads: pieces, runs that end early, and what may be kept of them.

Each was seen failing once: rows written to the places of others; pieces written over one another; an event's row
lost between the batches; a bucket's file left; nothing kept; what was kept not used; a digest without the last words
of a row, or none; a key without the snapshots, the catalogue, the rules' columns, or what they measure; an end of
progress that is not told.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from behaviour_worlds import (
    CARD,
    Row,
    World,
    assert_same_bits,
    crowd,
    empty_database,
    in_zone,
    learned_catalogue,
    numbers,
    prepared,
    room_for,
    seen,
)
from lead_propensity.config import EngineConfig
from lead_propensity.data.database import opened
from lead_propensity.data.workroom import Allowance
from lead_propensity.features import matrix
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard


@pytest.fixture(scope="module")
def learned() -> Catalogue:
    return learned_catalogue()


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    return empty_database()


@pytest.fixture
def work(tmp_path: Path) -> EngineConfig:
    return EngineConfig(threads=2, work_folder=str(tmp_path))


def pieces(
    con: duckdb.DuckDBPyConnection,
    learned: Catalogue,
    world: World,
    allowance: Allowance,
    card: Scorecard = CARD,
) -> Iterator[Dataset]:
    small = room_for(allowance, world, learned, buckets=5)
    return matrix.pieces(con, in_zone(learned, world.zone), card, allowance=small)


def computed(con: duckdb.DuckDBPyConnection, allowance: Allowance) -> set[str]:
    """The leads of the buckets whose events were taken; all others were kept, or are still to come."""
    assert allowance.folder is not None
    left = [int(path.stem.split("-")[1]) for path in (allowance.folder / "events").iterdir()]
    taken = f"SELECT lead_id FROM snapshots WHERE NOT list_contains({left}::INTEGER[], bucket)"
    return {row[0] for row in con.execute(taken).fetchall()}


def test_pieces_are_the_rows_of_the_whole_each_once(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    whole = seen(con, learned, world)
    with opened(work) as (other, allowance):
        prepared(other, world)
        parts = list(pieces(other, learned, world, allowance))
        leads = [set(part.keys["lead_id"]) for part in parts]
        assert len(parts) in (5, 6)
        assert sum(map(len, leads)) == len(set().union(*leads)), "a lead is in one piece"
        assert not list((allowance.folder / "events").iterdir()), "no bucket's file is left"
    for part in parts:
        assert part.keys["as_of"].is_monotonic_increasing
    keys = pd.concat([part.keys for part in parts]).sort_values(["as_of", "lead_id", "population"])
    pd.testing.assert_frame_equal(keys.reset_index(drop=True), whole.keys)
    together = pd.concat([numbers(part) for part in parts])
    assert_same_bits(together.loc[numbers(whole).index], numbers(whole))


def busy_crowd() -> World:
    """So many events that they, more than the results, decide what fits."""
    world = crowd()
    return replace(world, events=world.events * 8)


def test_a_matrix_put_together_from_buckets_is_the_whole(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, work: EngineConfig
) -> None:
    world = busy_crowd()
    whole = seen(con, learned, world)
    with opened(work) as (other, allowance):
        prepared(other, world)
        small = room_for(allowance, world, learned, buckets=4, whole=True)
        found = matrix.build(other, in_zone(learned, world.zone), CARD, allowance=small)
        assert other.execute("SELECT max(bucket) FROM snapshots").fetchall()[0][0] in (3, 4)
    pd.testing.assert_frame_equal(found.keys, whole.keys)
    assert_same_bits(numbers(found), numbers(whole))


@pytest.mark.parametrize("asked", [[], [("a", 5, "stock")]], ids=["no snapshot", "no event"])
def test_nothing_to_look_at_gives_a_matrix_without_rows_or_deeds(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, asked: list[tuple[str, int, str]]
) -> None:
    found = seen(con, learned, World("UTC", [], asked))
    assert len(found) == len(found.X) == len(found.rules) == len(asked)
    assert found.X["count_all"].tolist() == [0.0] * len(asked)
    assert found.X["days_since_event"].isna().all()


@pytest.mark.parametrize("buckets", [1, 4])
def test_progress_is_told_to_the_end(learned: Catalogue, work: EngineConfig, buckets: int) -> None:
    world, told = busy_crowd(), []
    with opened(work) as (con, allowance):
        prepared(con, world)
        if buckets > 1:
            allowance = room_for(allowance, world, learned, buckets, whole=True)
        matrix.build(con, learned, CARD, lambda *step: told.append(step), allowance)
    whole = [step for step in told if step[0] == "features"]
    total = whole[0][2]
    assert (total > 1) == (buckets > 1)
    assert whole == [("features", done, total) for done in range(total + 1)]


class StoppedError(Exception):
    """What ends a run early."""


def stopped(
    work: EngineConfig, learned: Catalogue, world: World, after: int, card: Scorecard = CARD
) -> set[str]:
    """A run that fails once it has been given so many pieces; the leads that it computed."""
    with pytest.raises(StoppedError), opened(work) as (con, allowance):
        prepared(con, world)
        found = pieces(con, learned, world, allowance, card)
        for _ in range(after):
            next(found)
        done = computed(con, allowance)
        raise StoppedError
    return done


def leads_of(world: World) -> set[str]:
    return {lead for lead, _, _ in world.asked}


def test_a_run_that_broke_off_goes_on_where_it_ended(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    expected = numbers(seen(con, learned, world))
    first = stopped(work, learned, world, after=2)
    assert set() < first < leads_of(world)
    shuffled = replace(world, events=world.events[::-1])
    with opened(work) as (other, allowance):
        prepared(other, shuffled)
        parts = [numbers(part) for part in pieces(other, learned, shuffled, allowance)]
        assert computed(other, allowance) == leads_of(world) - first
        assert_same_bits(pd.concat(parts).loc[expected.index], expected)


def test_where_all_buckets_are_kept_nothing_is_computed(
    learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    assert stopped(work, learned, world, after=5) == leads_of(world)
    assert stopped(work, learned, world, after=5) == set()


def with_event(world: World, change: Callable[[Row], Row]) -> World:
    """One event changed, the first that the last snapshot can see."""
    until = max(as_of for _, as_of, _ in world.asked)
    place = next(i for i, row in enumerate(world.events) if max(row[1], row[6]) < until)
    events = [*world.events]
    events[place] = change(events[place])
    return replace(world, events=events)


def unseen_event(world: World) -> World:
    until = max(as_of for _, as_of, _ in world.asked)
    events = [(*row[:5], 7.5, row[6]) if row[6] >= until else row for row in world.events]
    return replace(world, events=events)


def other_type(row: Row) -> Row:
    return (*row[:2], "price", *row[3:])


def other_value(row: Row) -> Row:
    return (*row[:5], 7.5, row[6])


def later_known(row: Row) -> Row:
    return (*row[:6], row[6] + 1)


def other_moment(world: World) -> World:
    (lead, as_of, population), *others = world.asked
    return replace(world, asked=[(lead, as_of + 1, population), *others])


def other_population(world: World) -> World:
    (lead, as_of, _), *others = world.asked
    return replace(world, asked=[(lead, as_of, "stock"), *others])


def other_zone(world: World) -> World:
    return replace(world, zone="Asia/Kolkata")


def same(world: World) -> World:
    return world


A_LINE_LESS = CARD.model_copy(update={"implicit": CARD.implicit[:-1]})
HARDLY_FASTER = CARD.model_copy(
    update={
        "implicit": tuple(
            line.model_copy(update={"half_life_days": 13.9999999})
            if line.half_life_days == 14
            else line
            for line in CARD.implicit
        )
    }
)
"""A column of the same name: half-lives are written with six digits."""
assert [row[1] for row in HARDLY_FASTER.lines()] == [row[1] for row in CARD.lines()]


@pytest.mark.parametrize("change", [other_type, other_value, later_known])
def test_a_bucket_is_computed_again_where_an_event_of_it_has_changed(
    learned: Catalogue, work: EngineConfig, change: Callable[[Row], Row]
) -> None:
    world = crowd()
    stopped(work, learned, world, after=5)
    other = with_event(world, change)
    (lead,) = {was[0] for was, now in zip(world.events, other.events, strict=True) if was != now}
    assert {lead} < stopped(work, learned, other, after=5) < leads_of(world)


def test_an_event_that_no_snapshot_can_see_changes_no_bucket(
    learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    stopped(work, learned, world, after=5)
    other = unseen_event(world)
    assert other.events != world.events
    assert stopped(work, learned, other, after=5) == set()


@pytest.mark.parametrize(
    ("change", "card"),
    [
        (other_moment, CARD),
        (other_population, CARD),
        (other_zone, CARD),
        (same, A_LINE_LESS),
        (same, HARDLY_FASTER),
    ],
    ids=["moment", "population", "zone", "a line less", "a line's half-life"],
)
def test_what_was_kept_is_not_used_for_anything_else(
    learned: Catalogue, work: EngineConfig, change: Callable[[World], World], card: Scorecard
) -> None:
    world = crowd()
    stopped(work, learned, world, after=5)
    assert stopped(work, learned, change(world), 5, card) == leads_of(world)
