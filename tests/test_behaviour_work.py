"""Work in buckets of leads: pieces, runs that end early, and what may be kept of them.

Each was seen failing once: rows written to the places of others; pieces written over one another; an event's row
lost between the batches; a bucket's file left; nothing kept; what was kept not used; a key without the events, the
snapshots, the catalogue, the rules' columns, or what they measure; an end of progress that is not told.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from behaviour_worlds import (
    CARD,
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


def computed(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The leads whose events were asked for; all others came from kept buckets."""
    if not con.execute(
        "SELECT 1 FROM duckdb_tables() WHERE table_name = 'numbered_leads'"
    ).fetchall():
        return set()
    return {row[0] for row in con.execute("SELECT lead_id FROM numbered_leads").fetchall()}


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
    """A run that fails once it has been given so many pieces; the leads whose events it asked for."""
    with pytest.raises(StoppedError), opened(work) as (con, allowance):
        prepared(con, world)
        found = pieces(con, learned, world, allowance, card)
        for _ in range(after):
            next(found)
        asked_for = computed(con)
        raise StoppedError
    return asked_for


def test_a_run_that_broke_off_goes_on_where_it_ended(
    con: duckdb.DuckDBPyConnection, learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    expected = numbers(seen(con, learned, world))
    assert stopped(work, learned, world, after=2) == {lead for lead, _, _ in world.asked}
    shuffled = replace(world, events=world.events[::-1])
    with opened(work) as (other, allowance):
        prepared(other, shuffled)
        parts = [numbers(part) for part in pieces(other, learned, shuffled, allowance)]
        finished = {lead for part in parts[:2] for lead in part.index.get_level_values(0)}
        assert computed(other) == {lead for lead, _, _ in world.asked} - finished
        assert_same_bits(pd.concat(parts).loc[expected.index], expected)


def test_where_all_buckets_are_kept_no_event_is_read(
    learned: Catalogue, work: EngineConfig
) -> None:
    world = crowd()
    stopped(work, learned, world, after=5)
    assert stopped(work, learned, world, after=5) == set()


def other_event(world: World) -> World:
    return replace(world, events=[*world.events[1:], world.events[1]])


def other_value(world: World) -> World:
    (*front, _, known), *others = world.events
    return replace(world, events=[(*front, 7.5, known), *others])


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


@pytest.mark.parametrize(
    ("change", "card"),
    [
        (other_event, CARD),
        (other_value, CARD),
        (other_moment, CARD),
        (other_population, CARD),
        (other_zone, CARD),
        (same, A_LINE_LESS),
        (same, HARDLY_FASTER),
    ],
    ids=["event", "value", "moment", "population", "zone", "a line less", "a line's half-life"],
)
def test_what_was_kept_is_not_used_for_anything_else(
    learned: Catalogue, work: EngineConfig, change: Callable[[World], World], card: Scorecard
) -> None:
    world = crowd()
    stopped(work, learned, world, after=5)
    other = change(world)
    assert stopped(work, learned, other, 1, card) == {lead for lead, _, _ in world.asked}
