"""Routes, criteria and what hot demands: where a lead goes, when, and what is missing.

Seen to fail once: a timeline that has come counted as later, the follow-up reckoned backwards, or given to every
route, `known` taken for `met`, a lead hot without what is demanded, an amount counted once a snapshot.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lead_propensity.config import BandsConfig, RoutesConfig
from lead_propensity.errors import ConfigError, DataError
from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.windows import DAY_US
from lead_propensity.model import criteria, routes
from lead_propensity.model.banding import agreed
from lead_propensity.model.bands import Bands
from lead_propensity.model.stock import Candidates, Stock
from model_world import CATALOGUE, dataset

NAN = float("nan")
SAID = pd.DataFrame({
    "criterion__budget": [1.0, NAN, 0.0, 1.0],
    "criterion__timeline": [1.0, 1.0, 0.0, NAN],
    "days_since_event": [1.0, 2.0, 3.0, 4.0],
})  # fmt: skip
DATED = "days_since__start"
HOT = np.array(["hot"] * 4, dtype=object)


def dated(days: list[float]) -> pd.DataFrame:
    """A timeline that holds a date is no word for `met`: the criterion alone would always say later."""
    return pd.DataFrame({"criterion__timeline": [0.0] * len(days), DATED: days})


def test_which_criteria_must_be_asked_first_is_the_companys():
    assert routes.assign(HOT, SAID, RoutesConfig()).tolist() == [
        "sales", "qualify", "follow_up", "qualify",
    ]  # fmt: skip
    budget = RoutesConfig(qualify_first=("budget",))
    assert routes.assign(HOT, SAID, budget).tolist()[3] == "sales"
    assert "qualify" not in routes.assign(HOT, SAID, RoutesConfig(qualify_first=()))


def test_routes_have_the_companys_names_and_two_may_share_one():
    config = RoutesConfig(names={"re-engage": "Marketing", "nurture": "Marketing"})
    named = routes.named(np.array(["sales", "nurture", "re-engage"], dtype=object), config)
    assert named.tolist() == ["sales", "Marketing", "Marketing"]
    with pytest.raises(ValidationError, match="names"):
        RoutesConfig(names={"reengage": "Marketing"})


def test_a_lead_comes_back_on_the_date_of_its_timeline():
    as_of = np.array([20_000 * DAY_US] * 4)
    X = dated([-10.25, -0.5, 0.0, 3.0])
    route = routes.assign(HOT, X, RoutesConfig(), DATED)
    assert route.tolist() == ["follow_up", "follow_up", "sales", "sales"]
    on = routes.follow_up_on(route, X, as_of, RoutesConfig(), DATED)
    assert (on[:2] - as_of[:2]).tolist() == [10.25 * DAY_US, 0.5 * DAY_US]
    assert (on[2:] == routes.NO_DATE).all()


def test_without_a_date_a_lead_comes_back_after_some_days_and_others_have_no_date():
    as_of = np.full(4, 20_000 * DAY_US)
    config = RoutesConfig(follow_up_days=14)
    route = routes.assign(HOT, SAID, config)
    on = routes.follow_up_on(route, SAID, as_of, config)
    assert ((on - as_of) / DAY_US)[2] == 14
    assert (on[[0, 1, 3]] == routes.NO_DATE).all()
    no_time = routes.follow_up_on(route, SAID, np.full(4, -1), config)
    assert (no_time == routes.NO_DATE).all()


@given(st.integers(0, 30_000 * DAY_US), st.integers(1, 3000 * DAY_US))
def test_the_follow_up_is_the_date_to_the_microsecond(as_of, ahead):
    X = dated([-ahead / DAY_US])
    on = routes.follow_up_on(np.array(["follow_up"]), X, np.array([as_of]), RoutesConfig(), DATED)
    assert abs(int(on[0]) - (as_of + ahead)) <= 1


def test_missing_criteria_are_named_where_somebody_asks():
    asked = np.array([True, True, True, False])
    assert criteria.missing(SAID, None, asked).tolist() == [
        "", "budget (unknown)", "budget (not met), timeline (not met)", None,
    ]  # fmt: skip
    assert criteria.missing(dated([-1.0, 1.0, NAN]), DATED, np.ones(3, bool)).tolist() == [
        "timeline (not met)", "", "timeline (unknown)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("required", "shown"),
    [
        ({}, [True] * 4),
        ({"budget": "met"}, [True, False, False, True]),
        ({"budget": "known"}, [True, False, True, True]),
        ({"budget": "met", "timeline": "known"}, [True, False, False, False]),
    ],
)
def test_met_is_more_than_known(required, shown):
    assert criteria.meets(SAID, required).tolist() == shown


def test_the_feature_of_a_timelines_date_is_found_in_the_catalogue():
    feature = Feature(DATED, "explicit", "number", "as known", "days since start", "start")
    said = {"criteria": {"timeline": "start"}}
    assert criteria.date_of_timeline(Catalogue((feature,), said)) == DATED
    assert criteria.date_of_timeline(Catalogue((), said)) is None
    assert criteria.date_of_timeline(Catalogue((feature,), {"criteria": {}})) is None


def test_a_demand_that_nobody_records_stops_the_training():
    train = dataset(leads=20).part("fit")
    with pytest.raises(ConfigError, match=r"hot_requires demands budget.*recorded: none"):
        agreed(BandsConfig(hot_requires={"budget": "met"}), train, train)


def test_a_lead_that_fails_a_demand_is_warm_and_leaves_its_place_to_another():
    """Capacity is filled by those who meet the demand; the promise is that of the leads who do."""
    rng = np.random.default_rng(3)
    n = 2000
    probability = rng.random(n)
    meets = rng.random(n) < 0.5
    won = (rng.random(n) < np.where(meets, probability, 0.0)).astype(float)
    lead = np.arange(n)
    leads = Candidates(probability, probability, lead, np.full(n, 5.0), meets)
    rows = Stock(leads, won, lead, np.zeros(n), np.zeros(n, dtype=bool), 4)
    config = BandsConfig(hot_per_week=50, hot_requires={"budget": "met"})
    bands = Bands.fit(config, rows, None)
    band = bands.assign(leads)
    assert (band == "hot").sum() == 200
    assert meets[band == "hot"].all()
    away = bands.reached(leads) & ~meets
    assert away.sum() > 100
    assert set(band[away]) == {"warm"}
    hot = bands.promises[-1]
    assert hot.observed == pytest.approx(won[band == "hot"].mean())
    assert Bands.from_json(bands.to_json()) == bands


def test_a_win_is_worth_the_mean_amount_where_nobody_said_what():
    data = dataset(leads=80)
    keys = data.keys.assign(
        amount=np.where(data.won == 1, 100.0 + data.keys["lead_id"].str.len(), NAN)
    )
    train, calibrate = (
        type(data)(keys, data.X, data.rules, data.catalogue).part(part)
        for part in ("fit", "calibrate")
    )
    config = BandsConfig(policy="value", cost_per_contact=30)
    known = pd.concat([train.keys, calibrate.keys])
    each = known[known["won"] == 1].drop_duplicates("lead_id")["amount"]
    found = agreed(config, train, calibrate)
    assert found.config.value_per_win == pytest.approx(each.mean())
    assert f"{len(each)} of the {len(each)} won deals" in found.notes[0]
    given_ = config.model_copy(update={"value_per_win": 5.0})
    assert agreed(given_, train, calibrate).config.value_per_win == 5.0
    assert agreed(given_, train, calibrate).notes == ()


def test_a_value_that_nobody_knows_is_refused():
    data = dataset(leads=20)
    train = type(data)(data.keys.assign(amount=NAN), data.X, data.rules, CATALOGUE).part("fit")
    with pytest.raises(DataError, match=r"none has an amount above 0. Give bands.value_per_win"):
        agreed(BandsConfig(policy="value", cost_per_contact=30), train, train)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"policy": "precision"}, "needs `target`"),
        ({"policy": "value"}, "needs `cost_per_contact`"),
        ({"policy": "thresholds"}, "needs `hot`"),
        ({"hot_requires": {"budget": "yes"}}, "met"),
        ({"hot_requires": {"money": "met"}}, "hot_requires"),
    ],
)
def test_a_policy_that_lacks_its_figure_is_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        BandsConfig(**keys)
