"""Are the figures right, is the comparison fair, and does the verdict say what they say?"""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from factory_predictions import context, predictions
from lead_propensity.errors import DataError
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation import metrics
from lead_propensity.evaluation.compare import Contender, Field, compare
from lead_propensity.evaluation.promises import promise
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.verdict import winner

FAST = {"resamples": 60}


def field(won, group=None, volume=None):
    n = len(won)
    group = np.arange(n) if group is None else group
    volume = np.arange(n) < max(1, n // 5) if volume is None else volume
    return Field(np.asarray(won, float), group, np.arange(n), volume)


tied_scores = st.lists(
    st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=40
)


@given(tied_scores)
@settings(max_examples=150, deadline=None)
def test_weighted_figures_equal_scikit_learn_on_ties_and_weights(rows):
    score, won, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    probability = (score + 0.5) / 8
    measure = paired._Measure(Contender("a", probability, score), field(won))
    figures = {name: value[0] for name, value in measure(weight[:, None]).items()}
    seen = weight > 0
    if len(set(won[seen])) < 2:
        return
    args = {"y_true": won, "sample_weight": weight}
    assert figures["auc"] == pytest.approx(sk.roc_auc_score(y_score=score, **args))
    assert figures["average_precision"] == pytest.approx(
        sk.average_precision_score(y_score=score, **args)
    )
    assert figures["log_loss"] == pytest.approx(sk.log_loss(won, probability, sample_weight=weight))
    assert figures["brier"] == pytest.approx(sk.brier_score_loss(y_proba=probability, **args))


@given(tied_scores)
@settings(max_examples=100, deadline=None)
def test_weights_are_copies(rows):
    """Capture and conversion with weights equal those of a table where each row is repeated."""
    score, won, weight = (np.array(column, float) for column in zip(*rows, strict=True))
    copies = np.repeat(np.arange(len(won)), weight.astype(int))
    volume = won > 0
    measure = paired._Measure(
        Contender("a", np.full(len(won), 0.5), score), field(won, volume=volume)
    )
    figures = {name: value[0] for name, value in measure(weight[:, None]).items()}
    count = int((weight * volume).sum())
    if count == 0:
        return
    top = metrics.top(score[copies], count, copies)
    assert figures["capture"] == pytest.approx(won[copies][top].sum() / won[copies].sum())
    assert figures["conversion"] == pytest.approx(won[copies][top].mean())


def test_the_value_is_that_of_the_plain_figures():
    random = np.random.default_rng(0)
    score, won = random.normal(size=300).round(1), (random.random(300) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-score))
    shared = field(won)
    figures = compare([Contender("a", p, score)], shared, [], seed=1, resamples=20).figures["a"]
    assert figures["auc"].value == pytest.approx(metrics.auc(score, won))
    assert figures["average_precision"].value == pytest.approx(
        metrics.average_precision(score, won)
    )
    assert figures["log_loss"].value == pytest.approx(metrics.log_loss(p, won))
    assert figures["brier"].value == pytest.approx(metrics.brier(p, won))
    assert figures["capture"].value == pytest.approx(metrics.capture(score, won, 0.2, shared.tie))
    assert figures["conversion"].value == pytest.approx(
        metrics.conversion(score, won, 60, shared.tie)
    )
    assert figures["auc"].lower < figures["auc"].value < figures["auc"].upper


def test_figures_that_do_not_exist_are_nan():
    nobody, one_class = np.array([]), np.zeros(3)
    assert np.isnan(metrics.auc(np.arange(3), one_class))
    assert np.isnan(metrics.average_precision(np.arange(3), one_class))
    assert np.isnan(metrics.expected_to_observed(np.full(3, 0.1), one_class))
    assert np.isnan(metrics.log_loss(nobody, nobody))
    assert np.isnan(metrics.conversion(np.arange(3), one_class, 0))
    assert metrics.reliability(nobody, nobody, nobody) == []


def test_reliability_bins_hold_every_snapshot_once_and_keep_ties_together():
    p = np.repeat([0.1, 0.1, 0.1, 0.4, 0.9], 20)
    won = (np.arange(100) % 3 == 0).astype(float)
    bins = metrics.reliability(p, won, np.arange(100))
    assert [row.n for row in bins] == [60, 20, 20]
    assert [row.expected for row in bins] == pytest.approx([0.1, 0.4, 0.9])
    assert all(row.lower <= row.observed <= row.upper for row in bins)


def test_a_model_against_itself_differs_by_exactly_nothing():
    random = np.random.default_rng(3)
    score, won = random.normal(size=200), (random.random(200) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-score))
    twins = [Contender("a", p, score), Contender("b", p.copy(), score.copy())]
    gaps = compare(twins, field(won), [("a", "b")], seed=1).differences["a", "b"]
    assert set(gaps) == set(paired.METRICS)
    assert all((gap.value, gap.lower, gap.upper) == (0, 0, 0) for gap in gaps.values())


def test_more_snapshots_of_the_same_leads_do_not_narrow_the_interval():
    random = np.random.default_rng(4)
    score, won = random.normal(size=150), (random.random(150) < 0.4).astype(float)
    p, lead = 1 / (1 + np.exp(-score)), np.arange(150)

    def width(times, group):
        volume = np.tile(np.arange(150) < 30, times)
        shared = field(
            np.tile(won, times), np.tile(group, times) if group is lead else group, volume
        )
        contender = Contender("a", np.tile(p, times), np.tile(score, times))
        figure = compare([contender], shared, [], seed=1).figures["a"]["auc"]
        return figure.upper - figure.lower

    assert width(5, lead) == pytest.approx(width(1, lead))
    assert width(5, np.arange(750)) < 0.6 * width(1, lead)


def test_intervals_cover_a_known_truth():
    """The AUC of two normals one apart is 0.7602; 95% intervals should hold it nearly always."""
    random, covered = np.random.default_rng(5), 0
    for world in range(60):
        won = (random.random(250) < 0.4).astype(float)
        score = random.normal(won)
        p = np.full(250, 0.4)
        auc = compare([Contender("a", p, score)], field(won), [], world, 200).figures["a"]["auc"]
        covered += auc.lower <= 0.7602 <= auc.upper
    assert covered >= 52


def test_one_group_gives_no_interval():
    won = np.array([1.0, 0, 0, 1])
    one = field(won, group=np.zeros(4, int))
    auc = compare([Contender("a", won / 2, np.arange(4.0))], one, [], seed=1).figures["a"]["auc"]
    assert np.isfinite(auc.value)
    assert np.isnan([auc.lower, auc.upper]).all()


def test_the_model_calls_as_many_as_the_rules_and_the_rules_call_their_own():
    won = np.array([1.0, 1, 0, 0, 1, 0, 0, 0])
    hot = np.array([False, False, True, True, True, False, False, False])
    model = Contender("model", np.full(8, 0.5), -np.arange(8.0))
    rules = Contender("rules", np.full(8, 0.5), np.zeros(8), hot)
    found = compare([model, rules], field(won, volume=hot), [], seed=1, resamples=10).figures
    assert found["model"]["capture"].value == pytest.approx(2 / 3)
    assert found["model"]["conversion"].value == pytest.approx(2 / 3)
    assert found["rules"]["capture"].value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("lower", "upper", "who"),
    [
        (0.01, 0.2, "model"),
        (-0.2, -0.01, "rules"),
        (-0.1, 0.1, "none"),
        (0.0, 0.1, "none"),
        (-0.1, 0.0, "none"),
        (None, None, "unknown"),
    ],
)
def test_the_winner_needs_an_interval_that_leaves_zero_out(lower, upper, who):
    assert winner({"value": 0.0, "lower": lower, "upper": upper}) == who


@pytest.mark.parametrize(
    ("knows", "rules_know", "who", "words"),
    [
        (1.0, 0.1, "model", "Use the model."),
        (0.1, 1.0, "rules", "Keep the rules."),
        (0.6, 0.6, "none", "No significant difference"),
    ],
)
def test_the_first_sentence_names_the_winner(knows, rules_know, who, words):
    table = predictions(1500, model_knows=knows, rules_know=rules_know)
    table["rules_band"] = np.where(table["rules_points"] >= 35, "hot", "cold")
    found = scorecard(table, context(), 7)["verdict"]
    assert found["winner"] == who
    assert words in f"{found['sentence']} {found['recommendation']}"
    assert "95% interval" in found["sentence"]
    assert who == "model" or "Keep the rules" in found["recommendation"]


def test_rules_that_know_the_first_calls_only_are_kept_for_these():
    """As good at their own volume, worse beyond: the advice says so instead of dropping the model."""
    table = predictions(3000, model_knows=1.0)
    top = table["raw_score"] >= table["raw_score"].quantile(0.9)
    noise = np.random.default_rng(2).normal(size=len(table))
    table["rules_points"] = np.where(top, 100.0, noise)
    table["rules_band"] = np.where(top, "hot", "cold")
    found = scorecard(table, context(), 7)["verdict"]
    assert found["winner"] == "none"
    assert "the model puts leads into a better order" in found["overall"]
    assert found["recommendation"].startswith("Call the rules' hot leads as before")


@pytest.mark.parametrize(
    ("promised", "upper", "expected"),
    [
        (0.3, 0.31, "kept"),
        (0.3, 0.3, "kept"),
        (0.3, 0.29, "broken"),
        (None, 0.5, "none"),
        (0.3, None, "none"),
    ],
)
def test_a_promise_is_kept_where_the_interval_reaches_its_lower_bound(promised, upper, expected):
    assert promise(promised, upper) == expected


def test_promises_speak_of_the_stock():
    bands = scorecard(predictions(300), context(), 7, **FAST)["bands"]
    assert [row["promise"] for row in bands["stock"]] == ["kept", "kept", "none"]
    assert {row["promise"] for row in bands["training"]} == {"none"}
    assert sum(row["n"] for row in bands["training"]) == 300


def test_a_lead_is_newly_hot_once():
    table = predictions(300)
    table["band"] = "hot"
    weekly = scorecard(table, context(), 7, **FAST)["weekly"]
    stock = table[table["population"] == "stock"]
    assert sum(week["newly_hot"] for week in weekly["weeks"]) == stock["lead_id"].nunique()
    assert weekly["newly_hot"]["n"] == stock["lead_id"].nunique()
    assert [week["backlog"] for week in weekly["weeks"]] == [True] + [False] * 8


def test_immature_stock_is_counted_but_not_judged():
    table = predictions(300)
    in_stock = table["population"] == "stock"
    late = in_stock & (table["as_of"] == table.loc[in_stock, "as_of"].max())
    assert late.any()
    table.loc[late, "won"] = np.nan
    rows = scorecard(table, context(), 7, **FAST)["bands"]["stock"]
    stock = int(in_stock.sum())
    assert sum(row["n"] for row in rows) == stock
    assert sum(row["labelled"] for row in rows) == stock - late.sum()


def test_the_row_order_and_the_form_of_time_change_nothing():
    table = predictions(200)
    expected = scorecard(table, context(), 7, **FAST)
    shuffled = table.sample(frac=1, random_state=1)
    as_of = pd.to_datetime(shuffled["as_of"], unit="us", utc=True)
    assert scorecard(shuffled.assign(as_of=as_of), context(), 7, **FAST) == expected


def test_the_row_order_changes_nothing_where_rows_carry_no_time():
    table, told = predictions(200, dated=False), context(shape="as exported")
    shuffled = table.sample(frac=1, random_state=1)
    assert scorecard(shuffled, told, 7, **FAST) == scorecard(table, told, 7, **FAST)


def test_the_seed_reaches_every_interval():
    cards = [scorecard(predictions(200), context(), seed, **FAST)["headline"] for seed in (7, 8)]
    for figure in ("auc", "expected_to_observed"):
        assert cards[0][figure]["value"] == cards[1][figure]["value"]
        assert cards[0][figure]["lower"] != cards[1][figure]["lower"]


def nobody_won_in_one_month(table):
    month = pd.to_datetime(table["as_of"], unit="us").dt.month == 12
    return table.assign(won=table["won"].mask(month, 0.0))


DEGENERATE = {
    "no rules hot": (lambda t: t.assign(rules_band="cold"), {}),
    "nobody hot": (lambda t: t.assign(rules_band="cold", band="cold"), {}),
    "no rules": (lambda t: t.assign(rules_band=None, rules_points=np.nan), {"rules": None}),
    "no rules columns": (lambda t: t.drop(columns=["rules_band", "rules_points"]), {"rules": None}),
    "a month without wins": (nobody_won_in_one_month, {}),
    "nobody won": (lambda t: t.assign(won=0.0), {}),
    "all won": (lambda t: t.assign(won=1.0), {}),
    "two leads": (lambda t: t[t["lead_id"].isin(["lead-00000", "lead-00001"])], {}),
    "one lead": (lambda t: t[t["lead_id"] == "lead-00000"], {}),
    "stock empty": (lambda t: t[t["population"] == "training"], {}),
    "constant model": (lambda t: t.assign(probability=0.2, raw_score=-1.4), {}),
    "certain model": (lambda t: t.assign(probability=t["won"]), {}),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_a_scorecard_of_little_is_plain_json(case):
    change, changes = DEGENERATE[case]
    card = scorecard(change(predictions(120)), context(**changes), 7, **FAST)
    json.dumps(card, allow_nan=False)
    assert card["verdict"]["sentence"].endswith(".")


def test_as_exported_rows_serve_as_stock_and_have_no_weeks():
    table, bands = predictions(200, dated=False), {**context()["bands"], "hot_share": 0.1}
    card = scorecard(table, context(shape="as exported", horizon_days=None, bands=bands), 7, **FAST)
    json.dumps(card, allow_nan=False)
    assert card["weekly"] is None
    assert sum(row["n"] for row in card["bands"]["stock"]) == 200
    assert len(card["periods"]) == 6
    assert sum(row["n"] for row in card["periods"]) == 200


def test_rules_that_call_nobody_are_compared_at_the_models_volume():
    table = predictions(300).assign(rules_band="cold")
    card = scorecard(table, context(), 7, **FAST)
    assert card["comparison"]["volume"]["source"] == "model"
    assert "the rules call nobody hot" in card["verdict"]["sentence"]


def test_without_rules_there_is_nothing_to_beat():
    card = scorecard(predictions(200), context(rules=None), 7, **FAST)
    assert card["verdict"]["winner"] == "no_rules"
    assert "nothing to beat" in card["verdict"]["sentence"]
    assert set(card["comparison"]["models"]) == {"model", "logistic", "constant"}


def test_a_test_part_without_outcomes_is_refused():
    with pytest.raises(DataError, match="none with a known outcome"):
        scorecard(predictions(50).assign(won=np.nan), context(), 7, **FAST)
