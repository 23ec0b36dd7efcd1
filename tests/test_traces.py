"""What stands around the closings, in the raw tables: every boundary of time, and nothing of the test part.

Each was seen failing once: with `>` for `>=` at the hour before and at the closing, `<=` at the end of the hour,
deals of the test part counted, dates taken for times, leads that nobody looked at counted, losses for winners.
"""

import pandas as pd
import pytest

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.dataset import Plan
from lead_propensity.features.points import NO_RULES
from lead_propensity.features.sampling import Sample
from lead_propensity.features.timeline import SHAPE, TimeLine
from lead_propensity.features.traces import Traces, traces
from worlds import DAY, config, database

HOUR = DAY // 24
TEST_FROM = 100 * DAY
CLOSED = 50 * DAY + 7 * HOUR
CLOCKS = (0, 1, 2, 3)
"""Four leads that close at different times of day: their times are no dates."""


def closed_at(lead: int) -> int:
    return CLOSED + lead * (DAY + HOUR)


def found(
    events: list[tuple[int, str]] = (),
    versions: list[tuple[int, str]] = (),
    closings: tuple[int, ...] = tuple(closed_at(lead) for lead in CLOCKS),
    known: int | None = None,
    looked_at: str = "calibrate",
    dates: bool = False,
    **features: object,
) -> Traces:
    """Of leads `0, 1 ...` that close at `closings`, all but the first won; each has every event and version once.

    An event is (microseconds from the closing, type); with `dates` at midnight before.
    """
    leads = [(f"L{k}", 0, f"L{k}") for k in range(len(closings))]
    deals = [
        (f"L{k}", at, k > 0, None, at if known is None else known) for k, at in enumerate(closings)
    ]
    times = [
        (f"L{k}", at + after - (at + after) % DAY * dates, kind)
        for k, at in enumerate(closings)
        for after, kind in events
    ]
    rows = [(lead, time, kind, None, None, None, time) for lead, time, kind in times]
    said = [
        (f"L{k}", name, "x", at + after)
        for k, at in enumerate(closings)
        for after, name in versions
    ]
    own = pd.DataFrame({"lead_id": [lead[0] for lead in leads], "note": ["x", None] * 2})
    con = database(leads, rows, deals, said, own)
    con.execute(SHAPE)
    con.execute(
        "INSERT INTO snapshots BY NAME SELECT lead_id, 'training' AS population, ? AS part, 1.0 AS won FROM leads",
        [looked_at],
    )
    return traces(con, config(features=features), plan({kind for _, kind in events}, versions))


def plan(kinds: set[str], versions: list[tuple[int, str]]) -> Plan:
    definition = {
        "event_types": sorted(kinds),
        "other_event_types": [],
        "origins": {"note": "lead column"} | {name: "versions" for _, name in versions},
    }
    line = TimeLine(40 * DAY, 45 * DAY, 90 * DAY, TEST_FROM, 120 * DAY, 5 * DAY)
    return Plan(Catalogue((), definition), NO_RULES, line, {}, (), Sample.all_of(4))


def only(frame: pd.DataFrame) -> dict[str, object]:
    (row,) = frame.to_dict("records")
    return row


@pytest.mark.parametrize(
    ("after", "late", "stands", "earlier"),
    [
        (-HOUR - 1, 0, 0, 4),
        (-HOUR, 4, 0, 4),
        (-1, 4, 0, 4),
        (0, 4, 4, 0),
        (HOUR - 1, 4, 4, 0),
        (HOUR, 4, 0, 0),
    ],
)
def test_the_closing_is_the_hour_from_its_instant_on(after, late, stands, earlier):
    for given in ({"events": [(after, "signed")]}, {"versions": [(after, "signed")]}):
        row = only(found(**given).endings)
        assert (row["leads"], row["won"]) == (4, 3)
        assert (row["late"], row["stands"], row["earlier"]) == (late, stands, earlier)
        assert row["moment_hours"] == 1.0


def test_the_first_tells_what_is_late_and_the_last_what_stands_at_the_closing():
    row = only(found([(-9 * DAY, "check"), (0, "check")]).endings)
    assert (row["late"], row["stands"], row["earlier"]) == (0, 4, 4)


@pytest.mark.parametrize(("after", "late"), [(-DAY, 4), (-DAY - 1, 0)])
def test_where_closings_are_dates_the_closing_is_a_day(after, late):
    days = tuple((50 + k) * DAY for k in range(4))
    row = only(found([(after, "signed")], closings=days).endings)
    assert (row["late"], row["moment_hours"]) == (late, 24.0)


def test_an_event_that_carries_dates_alone_is_told_by_the_day():
    """It lies at midnight of the day of the closing: hours before it, and yet no step on the way."""
    row = only(found([(0, "signed")], dates=True).endings)
    assert (row["late"], row["earlier"], row["moment_hours"]) == (4, 4, 24.0)


@pytest.mark.parametrize(("known", "leads"), [(TEST_FROM - 1, 4), (TEST_FROM, 0)])
def test_a_deal_known_from_the_test_part_on_is_not_looked_at(known, leads):
    left = found([(0, "signed")], known=known)
    assert left.endings["leads"].sum() == leads
    assert only(left.fills)["filled_won"] == (1 if leads else 0)


def test_leads_that_only_the_test_part_looks_at_are_not_counted():
    left = found([(0, "signed")], looked_at="test")
    assert left.endings.empty
    assert only(left.fills)["filled"] == 0


def test_who_has_a_column_filled_in_and_won():
    assert only(found().fills) == {
        "column": "note",
        "filled": 2,
        "filled_won": 1,
        "empty": 2,
        "empty_won": 2,
    }


def test_attributes_that_no_feature_may_use_are_not_looked_at():
    assert found(versions=[(0, "budget")], explicit=["note"]).endings.empty
    assert found(versions=[(0, "budget")], sensitive=["note"]).fills.empty


def test_rows_as_exported_have_no_closings():
    con = database(
        [("L0", 0, "L0")], lead_attributes=pd.DataFrame({"lead_id": ["L0"], "tag": ["x"]})
    )
    con.execute(SHAPE)
    con.execute("INSERT INTO snapshots BY NAME SELECT 'L0' AS lead_id, 'fit' AS part, 1.0 AS won")
    exported = Config.model_validate(
        {"name": "test", "data": {"exported": {"path": "x.csv", "outcome": "y", "won": "1"}}}
    )
    made = plan(set(), [])
    made.catalogue.definition["origins"] = {"tag": "lead column"}
    left = traces(con, exported, made)
    assert left.endings.empty
    assert only(left.fills) == {
        "column": "tag",
        "filled": 1,
        "filled_won": 1,
        "empty": 0,
        "empty_won": 0,
    }
