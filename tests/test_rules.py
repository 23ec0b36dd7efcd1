"""The points of today: added up as written, on the same half-open time."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_propensity.config import RoutesConfig
from lead_propensity.errors import ConfigError
from lead_propensity.features import dataset, matrix, points, snapshots
from lead_propensity.features.points import Scorecard
from lead_propensity.model import routes, rules
from lead_propensity.model.rules import RulesProbability
from worlds import DAY, config, database

T = 19_000 * DAY
CARD = Scorecard.model_validate({
    "name": "test",
    "thresholds": {"warm": 10, "hot": 20},
    "explicit": [
        {"attribute": "industry", "in": ["Software"], "points": 5, "why": "w"},
        {"attribute": "employees", "at_least": 100, "below": 500, "points": 7, "why": "w"},
        {"attribute": "industry", "missing": True, "points": -1, "why": "w"},
    ],
    "implicit": [
        {"event": "price", "points": 8, "cap": 20, "why": "w"},
        {"event": "visit", "points": 1, "half_life_days": 10, "why": "w"},
        {"event": "visit", "points": 2, "days": 7, "why": "w"},
        {"silent_days": 30, "points": -4, "why": "w"},
    ],
    "criteria": [{"criterion": "budget", "points": 3, "why": "w"}],
    "disqualify": [{"attribute": "role", "in": ["student"], "why": "w"}],
})  # fmt: skip


def scored(events: list[tuple]) -> rules.RulesScore:
    leads = [(name, T - 90 * DAY, name) for name in "abc"]
    own = pd.DataFrame({
        "lead_id": list("abc"), "industry": ["software", None, "software"], "employees": ["100", "500", "200"],
        "role": ["buyer", None, "student"], "budget": ["Yes", "no", "yes"],
    })  # fmt: skip
    con = database(leads, events, lead_attributes=own)
    snapshots.make_open(con, config().snapshots, T)
    found = matrix.build(con, matrix.learn(con, config(), T).catalogue, CARD)
    return rules.score(CARD, found.rules)


def event(lead: str, days_ago: float, kind: str) -> tuple:
    at = T - int(days_ago * DAY)
    return (lead, at, kind, None, None, None, at)


def test_points_add_up_as_the_card_says() -> None:
    events = [event("a", 40, "price")] * 3 + [event("a", 10, "visit"), event("b", 0, "price")]
    got = scored(events)
    # a: 5 + 7 + 20 (capped from 24) + 0.5 (halved once) + 3;  b: -1 (no industry), -4: an event at T is not seen
    assert got.points[0] == pytest.approx(5 + 7 + 20 + 0.5 + 3)
    assert got.points[1] == pytest.approx(-1 - 4)
    assert got.band.tolist()[:2] == ["hot", "cold"]


def test_a_disqualified_lead_is_cold_and_stands_last() -> None:
    got = scored([event("c", 1, "price")] * 9)
    assert got.band[2] == "cold"
    assert got.points[2] < min(got.points[:2])


def test_windows_are_half_open() -> None:
    just_in, just_out = (
        event("a", 7, "visit"),
        ("a", T - 7 * DAY - 1, "visit", None, None, None, T - 8 * DAY),
    )
    decayed = 2.0**-0.7
    assert scored([just_in]).points[0] == pytest.approx(15 + decayed + 2)
    assert scored([just_out]).points[0] == pytest.approx(15 + decayed, abs=1e-6)


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=60))
def test_the_worth_of_points_never_falls_and_promises_no_certainty(rows: list[tuple]) -> None:
    levels, won = (
        np.array([row[0] for row in rows], float),
        np.array([row[1] for row in rows], float),
    )
    worth = RulesProbability.fit(levels, won).predict(np.arange(-9.0, 9.0, 0.5))
    assert (np.diff(worth) >= 0).all()
    assert (worth > 0).all()
    assert (worth < 1).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{event: a, attribute: b, points: 1, why: w}", "exactly one of attribute"),
        ("{attribute: b, points: 1, why: w}", "needs a condition"),
        ("{attribute: b, in: [yes], points: 1, why: w}", "put it in quotes"),
        ("{attribute: b, at_least: 1, cap: 3, points: 1, why: w}", "belong to an event"),
        ("{event: a, days: 3, half_life_days: 3, points: 1, why: w}", "not both"),
        ("{event: a, points: 1}", "why"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(f"name: x\nthresholds: {{warm: 1, hot: 2}}\nimplicit:\n  - {line}\n")
    with pytest.raises(ConfigError, match=message):
        points.load(path)


def test_the_route_follows_band_criteria_and_silence() -> None:
    X = pd.DataFrame({
        "criterion__budget": [1.0, np.nan, 1, 0, 0, 0, 0, 0],
        "criterion__timeline": [1.0, 1, 0, 0, 0, 0, 0, 0],
        "days_since_event": [1.0, 1, 1, 1, 70, np.nan, 200, 1],
    })  # fmt: skip
    band = np.array(["hot", "hot", "hot", "warm", "warm", "cold", "cold", "cold"], dtype=object)
    assert routes.assign(band, X, RoutesConfig()).tolist() == [
        "sales", "qualify", "follow_up", "nurture", "re-engage", "casual", "release", "nurture",
    ]  # fmt: skip


FEATURES = [
    {},
    {"explicit": []},
    {"implicit": []},
    {"implicit": ["visit"], "explicit": ["role"]},
    {"implicit": ["unsubscribe"]},
]


@pytest.mark.parametrize("fit_until", [T, T - 20 * DAY])
def test_the_rules_do_not_change_with_what_the_model_may_see(fit_until: int) -> None:
    """Silence is broken by any event but negative and excluded ones, also by types new since the fit part."""
    card = Scorecard.model_validate({
        "name": "x", "thresholds": {"warm": 1, "hot": 2},
        "explicit": [{"attribute": "industry", "in": ["software"], "points": 1, "why": "w"}],
        "implicit": [
            {"silent_days": 30, "points": -4, "why": "w"},
            {"event": "price", "points": 1, "why": "w"},
            {"event": "unsubscribe", "points": -1, "why": "w"},
        ],
        "criteria": [{"criterion": "budget", "points": 3, "why": "w"}],
    })  # fmt: skip
    kinds = {"a": "price", "b": "unsubscribe", "c": "new", "d": "closing", "e": "visit"}
    events = [event(lead, 5, kind) for lead, kind in kinds.items()]
    events += [
        event(f"o{n}", 60, kind) for n in range(20) for kind in ("visit", "price", "closing")
    ]
    leads = [(name, T - 90 * DAY, name) for name in [*kinds, "f", *(f"o{n}" for n in range(20))]]
    own = pd.DataFrame({
        "lead_id": [lead[0] for lead in leads], "industry": ["software", "steel"] * 13,
        "role": ["buyer", "owner"] * 13, "money": (["yes", "no", None] * 9)[:26],
    })  # fmt: skip
    con = database(leads, events, lead_attributes=own)
    snapshots.make_open(con, config().snapshots, T)
    same = {"exclude_events": ["closing"], "criteria": {"budget": "money"}}
    found = [
        matrix.build(con, matrix.learn(con, config(features=one | same), fit_until).catalogue, card)
        for one in FEATURES
    ]
    silent = [name for name in found[0].rules if "no_event" in name]
    first = found[0].rules.assign(lead=found[0].keys["lead_id"]).set_index("lead")
    assert first[silent[0]].loc[list("abcdef")].tolist() == [0, 1, 0, 1, 0, 1]
    assert first.filter(like="budget").sum().item() == 9
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0].rules, other.rules)


@pytest.mark.parametrize(
    ("section", "line", "says"),
    [
        ("explicit", {"attribute": "industri", "in": ["x"]}, "'industri'.*did you mean 'industry'"),
        ("disqualify", {"attribute": "rolle", "in": ["x"]}, "'rolle'.*did you mean 'role'"),
        ("criteria", {"criterion": "budget"}, "'budget'.*there are: 'industry', 'role'"),
    ],
)
def test_rules_on_an_attribute_that_no_table_has_stop_the_training(
    tmp_path: Path, section: str, line: dict, says: str
) -> None:
    card = {"name": "x", "thresholds": {"warm": 1, "hot": 2}}
    (tmp_path / "r.yaml").write_text(json.dumps({**card, section: [{**line, "why": "w"}]}))
    leads = [(f"l{n:03d}", T - n * DAY, f"l{n:03d}") for n in range(1, 120)]
    own = pd.DataFrame({"lead_id": [lead[0] for lead in leads], "industry": "a", "role": "b"})
    con = database(leads, lead_attributes=own)
    short = config(
        snapshots={"every_days": 7, "horizon_days": 10},
        split={"calibrate_days": 20, "test_days": 20},
        rules=str(tmp_path / "r.yaml"),
    )
    with pytest.raises(ConfigError, match=says):
        dataset.plan(con, short, T)


def test_where_nothing_is_recorded_of_what_leads_do_nobody_is_casual() -> None:
    X = pd.DataFrame({"industry": ["a", "b"], "criterion__budget": [0.0, np.nan]})
    band = np.array(["cold", "cold"], dtype=object)
    assert routes.assign(band, X, RoutesConfig()).tolist() == ["nurture", "nurture"]
