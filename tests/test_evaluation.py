"""Are the figures right, is the comparison fair, and does the verdict say what they say?"""

import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from threadpoolctl import threadpool_limits

from factory_predictions import context, predictions
from lead_propensity.errors import DataError
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation import metrics
from lead_propensity.evaluation.again import computed_again
from lead_propensity.evaluation.compare import Contender, Field, compare
from lead_propensity.evaluation.context import base_rate
from lead_propensity.evaluation.promises import promise, promise_words
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.verdict import best_rules, capacity, winner
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import NO_RULES, Scorecard
from lead_propensity.model import rules
from lead_propensity.serving.judging import predictions_table

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
    top = metrics.best_first(score[copies], copies)[:count]
    assert figures["capture"] == pytest.approx(won[copies][top].sum() / won[copies].sum())
    assert figures["conversion"] == pytest.approx(won[copies][top].mean())


def test_the_value_is_that_of_the_plain_figures():
    random = np.random.default_rng(0)
    score, won = random.normal(size=300).round(1), (random.random(300) < 0.3).astype(float)
    p = 1 / (1 + np.exp(-score))
    shared = field(won)
    figures = compare([Contender("a", p, score)], shared, [], seed=1, resamples=20).figures["a"]
    found = won[np.lexsort((shared.tie, -score))][:60]
    plain = {
        "auc": sk.roc_auc_score(won, score),
        "average_precision": sk.average_precision_score(won, score),
        "log_loss": sk.log_loss(won, p),
        "brier": sk.brier_score_loss(won, p),
        "capture": found.sum() / won.sum(),
        "conversion": found.mean(),
    }
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(plain)
    assert figures["auc"].lower < figures["auc"].value < figures["auc"].upper


def test_figures_that_do_not_exist_are_nan():
    contender = Contender("a", np.full(3, 0.1), np.arange(3.0))
    nobody = field(np.zeros(3), volume=np.zeros(3, bool))
    found = compare([contender], nobody, [], seed=1, resamples=5).figures["a"]
    for name in ("auc", "average_precision", "capture", "conversion"):
        assert np.isnan(found[name].value)
    assert np.isfinite(found["log_loss"].value)
    empty = np.array([])
    assert metrics.reliability(empty, empty, empty) == []


@given(tied_scores)
@settings(max_examples=50, deadline=None)
def test_certain_and_wrong_costs_as_much_as_scikit_learn_says(rows):
    score, won, _ = (np.array(column, float) for column in zip(*rows, strict=True))
    sure = score / 6
    expected = sk.log_loss(won, sure, labels=[0, 1])
    assert metrics.losses(sure, won).mean() == pytest.approx(expected)


def test_the_number_of_threads_changes_no_bit():
    random = np.random.default_rng(6)
    score, won = random.normal(size=5000), (random.random(5000) < 0.3).astype(float)
    contender = Contender("a", 1 / (1 + np.exp(-score)), score)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            figures = compare([contender], field(won), [], seed=1, resamples=300).figures
            group = pd.Series(np.arange(5000))
            found.append((figures, paired.ratio(contender.probability, won, group, 1, 300)))
    assert found[0] == found[1] == found[2]


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
        (0.6, 0.6, "none", "Neither the model nor the rules is shown to be better"),
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


@pytest.mark.parametrize(
    ("best", "rules", "words"),
    [
        ("model", "model", "The model also beats these rules re-weighted"),
        ("model", "none", "The model beats these rules re-weighted"),
        ("none", "model", "These rules, re-weighted, are not shown to be worse than the model"),
        ("rules", "none", "These rules, re-weighted, beat the model"),
        ("unknown", "unknown", "Not enough evidence to compare the model"),
    ],
)
def test_the_reweighted_rules_get_the_words_that_the_interval_allows(best, rules, words):
    gap = {
        "model": {"value": 0.1, "lower": 0.05, "upper": 0.2},
        "none": {"value": 0.1, "lower": -0.05, "upper": 0.2},
        "rules": {"value": -0.1, "lower": -0.2, "upper": -0.05},
        "unknown": {"value": 0.0, "lower": None, "upper": None},
    }
    gaps = {"rules": {"auc": gap[rules]}, "rules_reweighted": {"auc": gap[best]}}
    told = best_rules({"comparison": {"volume": {"n": 0}, "differences": gaps}})
    assert told.startswith(words)


def test_an_interval_across_one_is_not_called_agreement():
    told = scorecard(predictions(300), context(), 7, **FAST)["verdict"]["calibration"]
    assert told.startswith("The percentages are not shown to be too high or too low")


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


@pytest.mark.parametrize(
    ("observed", "upper", "words"),
    [
        (0.4, 0.5, "kept"),
        (0.3, 0.5, "kept"),
        (0.29, 0.3, "not contradicted (n=3)"),
        (0.1, 0.29, "broken"),
        (None, None, "none"),
    ],
)
def test_a_rate_below_the_promise_is_at_best_not_contradicted(observed, upper, words):
    row = {"observed": observed, "upper": upper, "labelled": 3, "promised_lower": 0.3}
    assert promise_words(row) == words


def test_a_hot_band_that_fell_short_is_called_so():
    table = predictions(300)
    judged = (table["population"] == "stock") & (table["band"] == "hot")
    leads = table.loc[judged, "lead_id"].unique()
    few = table[~judged | table["lead_id"].isin(leads[:3])].copy()
    few.loc[few["lead_id"].isin(leads[:3]), "won"] = 0.0
    few.loc[few["lead_id"] == leads[0], "won"] = 1.0
    bands = {**context()["bands"], "promises": [{"band": "hot", "n": 90, "lower": 0.7}]}
    card = scorecard(few, context(bands=bands), 7, **FAST)
    hot = card["bands"]["stock"][0]
    assert (hot["promise"], hot["observed"] < 0.7 < hot["upper"]) == ("kept", True)
    assert hot["promise_words"] == f"not contradicted (n={hot['labelled']})"
    assert hot["promise_words"] in card["verdict"]["hot"]
    assert ", kept" not in card["verdict"]["hot"]


def test_an_expectation_outside_the_interval_is_flagged():
    table = predictions(400)
    hot = table["band"] == "hot"
    table["probability"] = table["probability"].mask(hot, 0.95)
    card = scorecard(table, context(), 7, **FAST)
    first = card["bands"]["stock"][0]
    assert first["expected_outside"]
    assert "expected: 95.0%, outside the interval" in card["verdict"]["hot"]
    usual = scorecard(predictions(400), context(), 7, **FAST)
    assert not usual["bands"]["stock"][0]["expected_outside"]
    assert "outside" not in usual["verdict"]["hot"]
    nobody = scorecard(table[~hot], context(), 7, **FAST)["bands"]["stock"][0]
    assert nobody["expected_outside"] is None


@pytest.mark.parametrize(
    ("plan", "words"),
    [(None, None), (100, None), (83, "20.5% more"), (84, None), (125, None), (126, "20.6% fewer")],
)
def test_a_plan_missed_by_more_than_a_fifth_is_told(plan, words):
    card = {"weekly": {"plan": plan, "per_week": 100.0}, "bands": {"hot_refused": None}}
    told = capacity(card)
    assert (words is None) == (told is None)
    assert words is None or words in told


def test_the_constant_is_the_one_that_the_calibrate_part_gives():
    card = scorecard(predictions(200), context(base_rate_calibrate=0.11), 7, **FAST)
    won = predictions(200).query("population == 'training'")["won"]
    loss = card["comparison"]["models"]["constant"]["log_loss"]["value"]
    assert loss == pytest.approx(sk.log_loss(won, np.full(len(won), 0.11)))
    assert card["base_rate_calibrate"] == 0.11


def test_the_constant_comes_from_labelled_training_snapshots_of_the_calibrate_part():
    rows = [("fit", "training", 1.0)] * 9 + [("calibrate", "stock", 1.0)] * 5
    rows += [("calibrate", "training", won) for won in (1.0, 0.0, 0.0, 0.0, np.nan)]
    keys = pd.DataFrame(rows, columns=["part", "population", "won"])
    nothing = pd.DataFrame(index=keys.index)
    data = Dataset(keys, nothing, nothing, Catalogue((), {}))
    assert base_rate(data) == pytest.approx(1.5 / 5)


def test_the_scorecard_can_be_computed_again_from_what_a_run_leaves():
    table, told = predictions(200), context(base_rate_calibrate=1 / 7)
    told["bands"]["promises"][0]["lower"] = 1 / 3
    card = json.loads(json.dumps(scorecard(table, told, 7, **FAST)))
    left = pd.read_parquet(_parquet(table))
    assert computed_again(card, left) == card


def _parquet(table):
    file = io.BytesIO()
    pq.write_table(predictions_table(table), file)
    return file


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


def test_where_nobody_is_called_no_share_of_the_deals_is_found():
    table = predictions(300).assign(rules_band="cold", band="cold")
    comparison = scorecard(table, context(), 7, **FAST)["comparison"]
    assert comparison["volume"]["n"] == 0
    for figures in (*comparison["models"].values(), *comparison["differences"].values()):
        assert all(
            figures[name]["value"] is None for name in ("capture", "conversion") if name in figures
        )


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_outcomes_all_alike_show_no_knowledge(won):
    table = predictions(300).assign(won=won)
    said = scorecard(table, context(), 7, **FAST)["verdict"]["knowledge"]
    assert said.startswith("Not enough evidence")


def test_without_rules_there_is_nothing_to_beat():
    card = scorecard(predictions(200), context(rules=None), 7, **FAST)
    assert card["verdict"]["winner"] == "no_rules"
    assert "nothing to beat" in card["verdict"]["sentence"]
    odoo = {"odoo", "odoo_generous", "odoo_calibrated"}
    assert set(card["comparison"]["models"]) == {"model", "logistic", *odoo, "constant"}
    assert card["verdict"]["hybrid"] is None


def test_a_test_part_without_outcomes_is_refused():
    with pytest.raises(DataError, match="none with a known outcome"):
        scorecard(predictions(50).assign(won=np.nan), context(), 7, **FAST)


CARD = Scorecard.model_validate(
    {
        "name": "test",
        "thresholds": {"warm": 10, "hot": 20},
        "explicit": [
            {"attribute": "industry", "in": ["software"], "points": 10, "why": "w"},
            {"attribute": "noise", "in": ["x"], "points": 2, "why": "w"},
        ],
        "implicit": [
            {"event": "visit", "points": 5, "cap": 15, "why": "w"},
            {"silent_days": 30, "points": -5, "why": "w"},
        ],
        "disqualify": [{"attribute": "role", "in": ["student"], "why": "w"}],
    }
)


def ruled(leads, seed, noise_helps=0.0):
    """Leads whose truth is the points as the card means them: visits count up to the cap, no more."""
    random = np.random.default_rng(seed)
    software, noise, silent, student = random.random((4, leads)) < [[0.4], [0.5], [0.3], [0.1]]
    visits = np.round(random.pareto(0.7, leads) * 2)
    seen = np.column_stack([software, noise, visits, silent, student]).astype(float)
    columns = pd.DataFrame(seen, columns=[column for _, column, _ in CARD.lines()])
    points = 10 * software + np.minimum(5 * visits, 15) - 5 * silent - 60 * student
    chance = 1 / (1 + np.exp(2.5 - points / 8 - noise_helps * noise))
    keys = pd.DataFrame({"won": (random.random(leads) < chance).astype(float)})
    return Dataset(keys, pd.DataFrame(index=keys.index), columns, Catalogue((), {}))


@pytest.mark.parametrize(("leads", "seed"), [(60, 1), (200, 2), (3000, 3)])
def test_reweighted_rules_are_not_worse_than_the_rules_where_these_are_right(leads, seed):
    fit, calibrate, test = ruled(leads, seed), ruled(leads, seed + 10), ruled(4000, seed + 20)
    best = rules.reweighted(CARD, fit, calibrate, test)
    as_they_are = sk.roc_auc_score(test.won, rules.score(CARD, test.rules).points)
    assert sk.roc_auc_score(test.won, best) > as_they_are - 0.01


def test_no_weight_turns_the_sign_of_a_line():
    """A line for which the fit part speaks against its own points counts for nothing."""
    fit, calibrate = ruled(3000, 1, noise_helps=-3.0), ruled(500, 2)
    one = ruled(1, 3)
    rows = pd.DataFrame(np.repeat(one.rules.to_numpy() * 0, 6, axis=0), columns=one.rules.columns)
    for place in range(5):
        rows.iloc[place + 1, place] = 1.0
    test = Dataset(pd.DataFrame({"won": np.zeros(6)}), rows[[]], rows, one.catalogue)
    nothing, software, noise, visit, silent, student = rules.reweighted(CARD, fit, calibrate, test)
    assert noise == nothing
    assert software > nothing < visit
    assert silent < nothing > student


def test_visits_beyond_the_cap_change_no_reweighted_probability():
    fit, calibrate, test = ruled(500, 1), ruled(500, 2), ruled(500, 3)
    more = test.rules.copy()
    more.iloc[:, 2] = np.where(more.iloc[:, 2] >= 3, more.iloc[:, 2] * 50, more.iloc[:, 2])
    again = Dataset(test.keys, test.X, more, test.catalogue)
    assert np.array_equal(
        rules.reweighted(CARD, fit, calibrate, test), rules.reweighted(CARD, fit, calibrate, again)
    )


def test_reweighted_rules_are_the_same_on_any_number_of_threads():
    fit, calibrate, test = ruled(40_000, 1), ruled(500, 2), ruled(500, 3)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(rules.reweighted(CARD, fit, calibrate, test))
    assert np.array_equal(*found)


def test_without_a_line_or_a_loser_the_reweighted_rules_are_the_base_rate():
    fit, calibrate, test = ruled(100, 1), ruled(100, 2), ruled(10, 3)
    expected = np.full(10, (calibrate.won.sum() + 0.5) / 101)
    nothing = NO_RULES, fit, calibrate, test
    assert np.array_equal(rules.reweighted(*nothing), expected)
    all_won = Dataset(fit.keys.assign(won=1.0), fit.X, fit.rules, fit.catalogue)
    assert np.array_equal(rules.reweighted(CARD, all_won, calibrate, test), expected)
