"""Which snapshots exist, what their labels are, and that no part borrows from a later one.

Seen to fail once: `<` for `<=` at the purge, the horizon closed at its end, a won deal's late `known_at`
ignored, an immature snapshot labelled lost, `closed_at >= as_of` as `>` in the open condition.
"""

import itertools
import math
from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lead_propensity.errors import DataError
from lead_propensity.features import snapshots
from lead_propensity.features.windows import Horizon
from worlds import DAY, config, database

EXPORT = 19_500 * DAY
HORIZON = 10
LATE = 9 * DAY
"""How late some of the deals are recorded."""
SETTINGS = config(
    snapshots={"every_days": 3, "horizon_days": HORIZON, "max_age_days": 60},
    split={"calibrate_days": 20, "test_days": 15},
)
quick = settings(max_examples=50, deadline=None)


def made(leads: Sequence[tuple], deals: Sequence[tuple], settings_=SETTINGS) -> pd.DataFrame:
    con = database(leads, deals=deals)
    snapshots.make_training(con, settings_, EXPORT)
    return con.execute("SELECT * FROM snapshots ORDER BY snapshot_id").df()


# A lead is born some days before the export and closes at a boundary of the grid, a microsecond around it.
lives = st.lists(
    st.tuples(
        st.integers(0, 130),
        st.one_of(st.none(), st.tuples(
            st.integers(0, 60), st.sampled_from([-1, 0, 1]), st.booleans(), st.sampled_from([0, 1, LATE]),
        )),
    ),
    min_size=1, max_size=8,
)  # fmt: skip
EVERGREEN = [(f"always{born:03d}", EXPORT - born * DAY, "g") for born in range(1, 140, 2)]


def reporting_delay(deals: list[tuple]) -> int:
    """The lowest delay within which 95 of 100 won deals from before the test part are recorded."""
    before = EXPORT - (15 + HORIZON) * DAY
    delays = sorted(deal[4] - deal[1] for deal in deals if deal[2] and deal[1] < before)
    return delays[max(0, math.ceil(0.95 * len(delays)) - 1)] if delays else 0


def world(drawn: list[tuple]) -> tuple[list[tuple], list[tuple]]:
    leads, deals = list(EVERGREEN), []
    for number, (born, deal) in enumerate(drawn):
        created = EXPORT - born * DAY
        leads.append((f"l{number}", created, "g"))
        if deal is not None:
            after, step, won, late = deal
            closed = created + after * DAY + step
            known = closed + late
            if closed >= created and known <= EXPORT:
                deals.append((f"l{number}", closed, won, 10.0, known))
    return leads, deals


@quick
@given(drawn=lives)
def test_a_snapshot_is_an_open_lead_and_its_label_is_the_horizon(drawn: list[tuple]) -> None:
    leads, deals = world(drawn)
    rows = made(leads, deals)
    created = {lead: time for lead, time, _ in leads}
    deal_of = {deal[0]: deal for deal in deals}
    waits = reporting_delay(deals)
    for row in rows.itertuples():
        assert created[row.lead_id] < row.as_of <= created[row.lead_id] + 60 * DAY
        deal = deal_of.get(row.lead_id)
        assert deal is None or deal[1] >= row.as_of, "a closed lead has no snapshot"
        assert row.label_known_at == row.as_of + HORIZON * DAY + waits
        if row.label_known_at > EXPORT:
            assert row.part in ("immature", "burn_in")
            assert pd.isna(row.won), "an immature snapshot is not a lost one"
            continue
        if row.part == "burn_in":
            assert pd.isna(row.won), "there to tell who is newly hot, and to teach nothing"
            continue
        wins = deal is not None and deal[2] and row.as_of <= deal[1] < row.as_of + HORIZON * DAY
        assert row.won == float(wins and deal[4] < row.label_known_at)
        assert pd.isna(row.amount) == (row.won == 0)


@quick
@given(drawn=lives)
# Wins within the horizon of the last fit (calibrate) snapshots, reported after the next part began.
@example(drawn=[(born, (5, 0, True, 40 * DAY)) for born in range(60, 90)])
@example(drawn=[(born, (5, 0, True, 20 * DAY)) for born in range(30, 60)])
def test_every_label_of_a_part_was_known_when_the_next_part_began(drawn: list[tuple]) -> None:
    leads, deals = world(drawn)
    try:
        rows = made(leads, deals)
    except DataError:  # deals recorded very late leave no room for three parts
        return
    known = {deal[0]: deal[4] for deal in deals}
    for earlier, later in (("fit", "calibrate"), ("calibrate", "test"), ("fit", "test")):
        start = rows.loc[rows["part"] == later, "as_of"].min()
        before = rows[rows["part"] == earlier]
        assert (before["as_of"] + HORIZON * DAY <= start).all()
        won = before[before["won"] == 1]
        assert (won["lead_id"].map(known) < start).all(), "a win reported late teaches nobody early"


def test_the_edge_of_a_part_does_not_sort_by_outcome() -> None:
    """Deals are recorded 20 days late: at the purge's edge won and lost leave together."""
    leads = [(f"l{n:03d}", EXPORT - (150 - n // 2) * DAY, "g") for n in range(300)]
    deals = [
        (lead, born + 9 * DAY, number % 3 == 0, 1.0, born + 29 * DAY)
        for number, (lead, born, _) in enumerate(leads)
        if born + 29 * DAY <= EXPORT
    ]
    rows = made(leads, deals)
    for part in ("fit", "calibrate", "test"):
        here = rows[(rows["part"] == part) & (rows["population"] == "training")]
        last = here[here["as_of"] == here["as_of"].max()]
        assert 0.1 < last["won"].mean() < 0.6, part


def test_a_lead_whose_deal_is_in_quarantine_is_not_open() -> None:
    con = database([("a", EXPORT - 40 * DAY, "a"), ("b", EXPORT - 40 * DAY, "b")])
    con.execute("INSERT INTO unclear_leads VALUES ('a')")
    snapshots.make_open(con, SETTINGS.snapshots, EXPORT)
    assert con.execute("SELECT lead_id FROM snapshots").fetchall() == [("b",)]


@quick
@given(drawn=lives, order=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_snapshot(drawn: list[tuple], order: object) -> None:
    leads, deals = world(drawn)
    before = made(leads, deals)
    order.shuffle(leads)  # type: ignore[attr-defined]
    order.shuffle(deals)  # type: ignore[attr-defined]
    pd.testing.assert_frame_equal(before, made(leads, deals))


@pytest.mark.parametrize(
    ("step", "label"), [(-1, None), (0, 1.0), (HORIZON * DAY - 1, 1.0), (HORIZON * DAY, 0.0)]
)
def test_a_deal_at_the_boundary_is_on_one_side_only(step: int, label: float | None) -> None:
    """A deal at `as_of` belongs to the label; one at the horizon's end to neither side."""
    as_of = EXPORT - 13 * DAY
    con = database([("a", as_of - DAY, "a")], deals=[("a", as_of + step, True, None, as_of + step)])
    candidates = f"SELECT 'a' AS lead_id, {as_of}::BIGINT AS as_of, 'training' AS population"
    snapshots._fill(con, candidates, SETTINGS.snapshots, Horizon(HORIZON, 1), EXPORT, "'fit'")
    rows = con.execute("SELECT won FROM snapshots").fetchall()
    assert rows == ([] if label is None else [(label,)])


def test_a_lead_created_at_the_snapshot_is_not_there_yet() -> None:
    as_of = EXPORT - 30 * DAY
    con = database([("at", as_of, "g"), ("before", as_of - 1, "g")])
    snapshots.make_open(con, SETTINGS.snapshots, as_of)
    assert con.execute("SELECT lead_id FROM snapshots").fetchall() == [("before",)]


def test_the_stock_is_every_open_lead_once_a_week() -> None:
    rows = made(EVERGREEN, [])
    stock = rows[rows["population"] == "stock"]
    assert set(stock["part"]) == {"burn_in", "calibrate", "test"}
    burn_in = stock.loc[stock["part"] == "burn_in", "as_of"].unique()
    assert list(burn_in) == [stock.loc[stock["part"] == "calibrate", "as_of"].min() - 7 * DAY]
    for as_of, here in stock.groupby("as_of"):
        open_now = {lead for lead, born, _ in EVERGREEN if born < as_of <= born + 60 * DAY}
        assert set(here["lead_id"]) == open_now
    days = sorted(stock.loc[stock["part"] == "test", "as_of"].unique())
    assert all(later - earlier == 7 * DAY for earlier, later in itertools.pairwise(days))


def test_lead_ages_take_the_place_of_the_grid() -> None:
    aged = SETTINGS.model_copy(
        update={"snapshots": SETTINGS.snapshots.model_copy(update={"ages_days": (1, 7)})}
    )
    rows = made(EVERGREEN, [], aged)
    training = rows[rows["population"] == "training"]
    assert set(training["age_days"]) == {1.0, 7.0}


def test_a_history_too_short_says_what_it_takes() -> None:
    with pytest.raises(
        DataError, match=r"the fit part holds no labelled snapshot.*two purges.*65 days"
    ):
        made([(f"l{n}", EXPORT - n * DAY, "g") for n in range(1, 50)], [])


def test_cohorts_know_only_deals_known_by_then() -> None:
    """What the level tracker may learn from at a moment: final labels of snapshots after the fit part."""
    moment = EXPORT - 20 * DAY
    late = [
        ("a", moment - 15 * DAY, True, 1.0, moment + DAY),
        ("b", moment - 15 * DAY, True, 1.0, moment - DAY),
    ]
    con = database([(name, moment - 40 * DAY, name) for name in "abc"], deals=late)
    after = moment - 30 * DAY
    snapshots.make_cohorts(con, SETTINGS.snapshots, moment, after, label_delay=(HORIZON + 1) * DAY)
    rows = con.execute("SELECT lead_id, as_of, won, label_known_at FROM snapshots").df()
    assert (rows["label_known_at"] == rows["as_of"] + (HORIZON + 1) * DAY).all()
    assert (rows["label_known_at"] <= moment).all()
    assert (rows["as_of"] > after).all()
    assert rows.loc[rows["lead_id"] == "a", "won"].sum() == 0, "reported after the moment"
    assert rows.loc[rows["lead_id"] == "b", "won"].sum() == 0, "reported after its label was final"


def test_of_too_many_cohort_snapshots_whole_leads_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = EXPORT - 20 * DAY
    con = database([(f"l{number}", moment - 40 * DAY, "g") for number in range(200)])
    snapshots.make_cohorts(con, SETTINGS.snapshots, moment, 0, HORIZON * DAY)
    everyone = con.execute("SELECT lead_id, as_of FROM snapshots").df()
    monkeypatch.setattr(snapshots, "COHORT_ROWS", len(everyone) // 4)
    snapshots.make_cohorts(con, SETTINGS.snapshots, moment, 0, HORIZON * DAY)
    kept = con.execute("SELECT lead_id, as_of FROM snapshots").df()
    assert 0.1 < len(kept) / len(everyone) < 0.4
    of_kept_leads = everyone[everyone["lead_id"].isin(kept["lead_id"])]
    assert len(of_kept_leads) == len(kept)
