"""Against the rules: the same calls for all, money counted once a lead, and advice that the intervals allow.

Each test was seen failing once, by breaking what it speaks of in `evaluation/against.py`, `volumes.py`,
`money.py`, `replay.py`, `verdict.py` or `reporting/against.py`.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_predictions import context, predictions
from lead_propensity.evaluation import against
from lead_propensity.evaluation.compare import Contender, Field, compare
from lead_propensity.evaluation.money import Worth, money
from lead_propensity.evaluation.replay import planned_share, replay, with_test_part
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.verdict import verdict
from lead_propensity.evaluation.volumes import benefit, gain
from lead_propensity.evaluation.walking import Period, Walk
from lead_propensity.model.bands import Bands, Promise
from lead_propensity.model.peers import hybrid
from lead_propensity.reporting.pictures import pictures
from lead_propensity.reporting.report import render

FAST = {"resamples": 60}
DRAWS = (7, 60)
NOTHING = {"cost_per_contact": None, "value_per_win": None}


def table(won, **columns) -> pd.DataFrame:
    """Labelled test snapshots, one lead each unless told otherwise, as `scorecard` has them."""
    n = len(won)
    plain = {"lead_id": [f"lead-{k}" for k in range(n)], "amount": np.nan, "weight": 1.0}
    frame = pd.DataFrame({**plain, "won": np.asarray(won, float), "tie": np.arange(n), **columns})
    return frame.assign(group_id=frame["lead_id"])


def field(won, calls=None) -> Field:
    calls = np.zeros(len(won), bool) if calls is None else np.asarray(calls, bool)
    return Field(np.asarray(won, float), np.arange(len(won)), np.arange(len(won)), calls)


outcomes = st.lists(st.booleans(), min_size=2, max_size=60).filter(any)


@given(outcomes)
@settings(max_examples=60, deadline=None)
def test_a_perfect_model_finds_a_deal_with_each_call_until_there_are_no_more(won: list) -> None:
    won = np.array(won, float)
    curve = gain([Contender("model", won, won)], field(won))
    expected = np.minimum(1.0, np.round(np.array(curve["share"]) * len(won)) / won.sum())
    assert curve["model"] == pytest.approx(expected)
    assert curve["rules"] is None


@given(outcomes, st.floats(0.001, 0.95))
@settings(max_examples=100, deadline=None)
def test_net_benefit_is_what_the_formula_says(won: list, threshold: float) -> None:
    """Everybody: base rate less the others at the odds; nobody 0; who knows all: the base rate."""
    won = np.array(won, float)
    base, odds = won.mean(), threshold / (1 - threshold)
    everybody = benefit(np.ones(len(won)), won, threshold).mean()
    assert everybody == pytest.approx(base - (1 - base) * odds)
    assert benefit(np.zeros(len(won)), won, threshold).mean() == 0
    assert benefit(won, won, threshold).mean() == pytest.approx(base)


def test_who_stands_exactly_at_the_threshold_is_called() -> None:
    p, won = np.array([0.2, 0.2 - 1e-12]), np.ones(2)
    assert benefit(p, won, 0.2).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("bands", "threshold", "why"),
    [
        ({"cost_per_contact": 30.0, "value_per_win": 200.0}, 0.15, "break_even"),
        ({"cost_per_contact": 300.0, "value_per_win": 200.0}, 0.4, "hot"),
        ({}, 0.4, "hot"),
        ({"hot_from": None}, 0.24, "base_rate"),
    ],
)
def test_the_threshold_is_where_a_call_pays_else_where_hot_begins(bands, threshold, why) -> None:
    told = context(bands={**context()["bands"], **bands})
    curve = scorecard(predictions(200), told, 7, **FAST)["net_benefit"]
    assert (curve["at"]["threshold"], curve["at"]["why"]) == (pytest.approx(threshold), why)
    gap = curve["at"]["differences"]["rules"]
    assert gap["lower"] <= gap["value"] <= gap["upper"]
    models = curve["at"]["models"]
    assert gap["value"] == pytest.approx(models["model"]["value"] - models["rules"]["value"])
    assert f"{100 * threshold:.1f}%" in curve["sentence"]


def test_money_counts_each_lead_and_its_deal_once() -> None:
    """One lead looked at three times and won at 300, one looked at once and lost; a call costs 10."""
    looks = table([1, 1, 1, 0], lead_id=["a", "a", "a", "b"], amount=[300.0, 300.0, 300.0, np.nan])
    looks["group_id"] = looks["lead_id"]
    score = np.array([4.0, 3.0, 2.0, 1.0])
    hot = np.array([True, True, True, False])
    bands = {"cost_per_contact": 10.0, "value_per_win": None}
    told = money(looks, [Contender("model", score / 5, score)], hot, bands, DRAWS)
    assert told is not None
    net = dict(zip(np.round(told["share"], 2), told["curves"]["model"], strict=True))
    assert net[0.0] == 0
    assert net[0.5] == pytest.approx(290)
    assert net[1.0] == pytest.approx(280)
    assert told["leads"] == pytest.approx(2)
    assert told["at"]["calls"] == pytest.approx(1)
    assert told["at"]["models"]["model"]["value"] == pytest.approx(290)
    once = money(
        looks.iloc[2:], [Contender("model", score[2:] / 5, score[2:])], hot[2:], bands, DRAWS
    )
    assert once is not None
    assert once["curves"]["model"] == pytest.approx(told["curves"]["model"])


@pytest.mark.parametrize(
    ("amounts", "usual", "values", "source", "filled"),
    [
        ([100.0, 300.0, 5.0], None, [100, 300, 0], "amount", 0),
        ([100.0, np.nan, 5.0], None, [100, 100, 0], "amount", 1),
        ([100.0, np.nan, 5.0], 40.0, [100, 40, 0], "amount", 1),
        ([np.nan, np.nan, 5.0], 40.0, [40, 40, 0], "value_per_win", 2),
    ],
)
def test_a_deal_without_an_amount_counts_as_the_usual_one(amounts, usual, values, source, filled):
    """The third is lost: what it would have brought counts for nothing."""
    found = Worth.of(table([1, 1, 0], amount=amounts), {"value_per_win": usual})
    assert found is not None
    assert found.value.tolist() == values
    assert (found.source, found.filled) == (source, filled)


def test_without_amounts_or_a_value_there_is_no_money() -> None:
    assert Worth.of(table([1, 0]), NOTHING) is None
    card = scorecard(predictions(200), context(), 7, **FAST)
    assert card["money"] is None
    assert "money" not in pictures(card)


def test_money_at_equal_calls_has_the_sign_of_deals_found() -> None:
    """All deals worth the same: more deals in as many calls are more money."""
    bands = {**context()["bands"], "value_per_win": 500.0, "cost_per_contact": 20.0}
    rows = predictions(1500)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    card = scorecard(rows, context(bands=bands), 7)
    gap = card["money"]["at"]["differences"]["rules"]
    found = card["comparison"]["differences"]["rules"]["capture"]["value"]
    assert gap["value"] == pytest.approx(found * card["headline"]["wins"] * 500)
    assert gap["lower"] < gap["value"] < gap["upper"]
    assert card["figures"]["money_model_minus_rules"] == gap["value"]
    assert f"{gap['value']:+,.0f}" in card["money"]["sentence"]


def test_the_rules_are_judged_by_whom_they_call_and_not_by_the_order_of_their_points() -> None:
    rows = predictions(400)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    bands = {**context()["bands"], "value_per_win": 1.0}
    card = scorecard(rows.assign(rules_points=0.0), context(bands=bands), 7, **FAST)
    judged = rows[rows["population"] == "training"]
    found = judged.loc[judged["rules_band"] == "hot", "won"].sum()
    capture = card["comparison"]["models"]["rules"]["capture"]["value"]
    assert capture == pytest.approx(found / judged["won"].sum())
    assert card["money"]["at"]["models"]["rules"]["value"] == pytest.approx(found)


def with_hybrid(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(hybrid_score=hybrid(rows))


def test_the_hybrid_finds_what_the_rules_find_in_the_rules_calls() -> None:
    rows = predictions(800)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    models = scorecard(with_hybrid(rows), context(), 7, **FAST)["comparison"]["models"]
    assert models["hybrid"]["capture"] == models["rules"]["capture"]
    assert set(models["hybrid"]) == {"auc", "average_precision", "capture", "conversion"}


def test_all_who_are_compared_make_as_many_calls() -> None:
    card = scorecard(predictions(400), context(), 7, **FAST)
    models, volume = card["comparison"]["models"], card["comparison"]["volume"]["n"]
    wins = card["headline"]["wins"]
    for name, row in models.items():
        if name != "constant":
            found = row["capture"]["value"] * wins
            assert found / volume == pytest.approx(row["conversion"]["value"])
    assert list(models) == list(card["comparison"]["labels"]) == list(against.LABELS)


def test_a_run_without_a_peers_column_is_compared_without_it() -> None:
    rows = predictions(200).drop(columns=["odoo_probability", "hybrid_score"])
    card = scorecard(rows, context(), 7, **FAST)
    assert {"odoo", "hybrid"} & set(card["comparison"]["models"]) == set()
    assert card["verdict"]["hybrid"] is None
    render(card)


def two_sources(leads: int, knows: str) -> pd.DataFrame:
    """Wins of two kinds. The rules see the one and call it hot, the model the other, or both."""
    random = np.random.default_rng(3)
    rows = predictions(leads)
    kind = random.integers(0, 5, leads)
    won = pd.Series(np.where(kind == 0, random.random(leads) < 0.9, kind == 1), dtype=float)
    by_lead = pd.Series(won.to_numpy(), index=[f"lead-{k:05d}" for k in range(leads)])
    kinds = pd.Series(kind, index=by_lead.index)
    seen = kinds.isin([1] if knows == "the other" else [0, 1]).astype(float)
    lead = rows["lead_id"]
    rows["won"] = lead.map(by_lead)
    noise = pd.Series(random.normal(0, 0.5, leads), index=by_lead.index)
    rows["raw_score"] = lead.map(2 * seen + noise)
    rows["probability"] = 1 / (1 + np.exp(-rows["raw_score"] + 1))
    rows["rules_points"] = lead.map((kinds == 0) * 50.0 + noise)
    rows["rules_band"] = np.where(rows["rules_points"] >= 25, "hot", "cold")
    return with_hybrid(rows)


@pytest.mark.parametrize(
    ("knows", "advised"), [("the other", True), ("both", False)], ids=["apart", "model knows both"]
)
def test_the_hybrid_is_recommended_only_where_it_beats_both(knows: str, advised: bool) -> None:
    found = scorecard(two_sources(900, knows), context(), 7)["verdict"]
    assert ("either alone" in found["recommendation"]) == advised
    if advised:
        assert "shown better than the rules" in found["hybrid"]
        assert "and shown better than the model" in found["hybrid"]


def test_rules_that_win_are_recommended_by_the_page_too() -> None:
    rows = predictions(1500, model_knows=0.1, rules_know=1.0)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    card = scorecard(with_hybrid(rows), context(), 7)
    assert card["verdict"]["winner"] == "rules"
    html = render(card)
    assert "Keep the rules." in html
    assert html.index("The rules are better than the model") < html.index("<main")
    assert "hybrid" in card["comparison"]["models"]
    assert "either alone" not in card["verdict"]["recommendation"]


GAPS = {
    "more": {"value": 0.1, "lower": 0.05, "upper": 0.2},
    "same": {"value": 0.0, "lower": -0.1, "upper": 0.1},
    "less": {"value": -0.1, "lower": -0.2, "upper": -0.05},
    "none": {"value": 0.0, "lower": None, "upper": None},
}


@pytest.mark.parametrize(
    ("calls", "order", "hybrid_rules", "model_hybrid", "advice"),
    [
        ("more", "more", "more", "less", "Use the model."),
        ("same", "more", "more", "same", "Call the rules' hot leads as before"),
        ("same", "more", "more", "less", "Call the rules' hot leads first and go on by the model"),
        ("less", "less", "more", "less", "Call the rules' hot leads first and go on by the model"),
        ("less", "less", "same", "less", "Keep the rules."),
        ("less", "less", "more", "same", "Keep the rules."),
        ("same", "same", "more", "same", "Keep the rules: the model is not shown"),
        ("none", "more", "more", "less", "Keep the rules until"),
    ],
)
def test_the_advice_follows_from_the_intervals(calls, order, hybrid_rules, model_hybrid, advice):
    card = scorecard(predictions(300), context(), 7, **FAST)
    differences = card["comparison"]["differences"]
    differences["rules"] |= {"capture": GAPS[calls], "auc": GAPS[order]}
    differences["hybrid"]["auc"] = GAPS[model_hybrid]
    card["comparison"]["hybrid_minus_rules"]["auc"] = GAPS[hybrid_rules]
    assert verdict(card)["recommendation"].startswith(advice)


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (
            "more",
            "The model beats Odoo's algorithm in its strongest form here, with all features (",
        ),
        ("same", "strongest form here, with all features, is not shown to be worse than the model"),
        ("less", "strongest form here, with all features, beats the model"),
        ("none", "Not enough evidence to compare the model with Odoo's"),
    ],
)
def test_odoo_gets_the_words_that_the_interval_allows(gap: str, words: str) -> None:
    card = scorecard(predictions(200), context(), 7, **FAST)
    card["comparison"]["differences"]["odoo_generous"]["capture"] = GAPS[gap]
    card["comparison"]["models"]["odoo_generous"]["capture"] = {"value": 0.9}
    assert words in verdict(card)["odoo"]


def walked(periods: dict[int, list], **changes) -> Walk:
    """`periods`: for each, its leads as (won, model's place, points, rules' hot)."""
    rows = [
        {"period": period, "won": won, "raw_score": -place, "rules_points": points, "rules_hot": h}
        for period, leads in periods.items()
        for won, place, points, h in leads
    ]
    frame = pd.DataFrame(rows).assign(order=np.arange(len(rows)), **changes)
    frame["lead_id"] = frame["group_id"] = [f"lead-{k}" for k in range(len(frame))]
    spans = tuple(Period(10 * k, 10 * k + 9) for k in range(1 + max(periods)))
    return Walk(spans, frame.astype({"won": float, "raw_score": float}))


FIRST = [(1, 1, 9, True), (1, 2, 1, False), (0, 3, 8, True), (0, 4, 0, False), (1, 5, 2, False)]


def test_both_make_as_many_calls_as_the_rules_call_hot_in_the_period() -> None:
    """Two calls: the rules find one of three deals, the model two."""
    told = replay(walked({0: FIRST}), 0.0, True, 7)
    assert told is not None
    (row,) = told["periods"]
    assert row["volume"] == {"source": "rules", "n": 2, "share": 0.4}
    assert row["found"] == {"model": 2, "rules": 1}
    assert row["model"]["value"] == pytest.approx(2 / 3)
    assert row["difference"]["value"] == pytest.approx(1 / 3)
    assert (row["n"], row["wins"], row["part"]) == (5, 3, "walk")


def test_in_the_replay_too_the_rules_are_judged_by_whom_they_call() -> None:
    """The one that they call has the fewest points: a condition outweighs them."""
    told = replay(walked({0: [(1, 3, 0, True), (0, 1, 9, False), (0, 2, 5, False)]}), 0.0, True, 7)
    assert told is not None
    assert told["periods"][0]["found"] == {"model": 0, "rules": 1}


def test_a_period_in_which_both_find_as_many_is_won_by_neither() -> None:
    even = [(1, 1, 9, True), (0, 2, 1, False), (1, 3, 0, False)]
    told = replay(walked({0: even, 1: even, 2: FIRST}), 0.0, True, 7)
    comparison = {"volume": {"n": 0}, "models": {}}
    found = with_test_part(told, comparison, pd.DataFrame(), context())
    assert found is not None
    assert found["won"] == {"model": 1, "rules": 0, "of": 3}
    assert found["sentence"].startswith(
        "In 1 of 3 periods the model found more deals than the rules"
    )


def test_where_the_rules_call_nobody_the_models_plan_is_the_volume() -> None:
    calm = [(won, place, points, False) for won, place, points, _ in FIRST]
    told = replay(walked({0: calm, 2: FIRST}), 0.2, True, 7)
    assert told is not None
    first, second = told["periods"]
    assert first["volume"] == {"source": "model", "n": 1, "share": 0.2}
    assert first["found"] == {"model": 1, "rules": 1}
    assert second["volume"]["source"] == "rules"
    only = replay(walked({0: calm, 2: FIRST}), 0.0, True, 7)
    assert only is not None
    assert [row["volume"]["source"] for row in only["periods"]] == ["rules"]


@pytest.mark.parametrize(("hot_from", "share"), [(0.5, 0.2), (None, 0.0)])
def test_the_plan_is_what_was_hot_in_the_calibrate_part(hot_from, share) -> None:
    held = [Promise(band, n, None, None, 0.0, 1.0, 1.0) for band, n in (("hot", 20), ("cold", 80))]
    bands = Bands("capacity", hot_from, 1.0, 0.1, None, 0.1, None, tuple(held))
    assert planned_share(bands) == share


def test_without_rules_or_a_walk_nothing_is_replayed() -> None:
    assert replay(Walk((), pd.DataFrame(), "too short"), 0.0, True, 7) is None
    assert replay(walked({0: FIRST}), None, True, 7) is None
    card = scorecard(predictions(200), context(), 7, **FAST)
    assert card["replay"] is None
    assert "replay" not in pictures(card)
    assert "replay_periods" not in card["figures"]


def test_the_test_part_is_the_last_period_however_often_it_is_judged() -> None:
    told = replay(walked({0: FIRST, 1: FIRST}), 0.0, True, 7)
    rows = predictions(300)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    card = scorecard(rows, context(replay=told), 7, **FAST)
    again = scorecard(rows, context(replay=json.loads(json.dumps(card["replay"]))), 7, **FAST)
    assert again["replay"] == card["replay"]
    *earlier, last = card["replay"]["periods"]
    assert [row["part"] for row in (*earlier, last)] == ["walk", "walk", "test"]
    assert last["model"] == card["comparison"]["models"]["model"]["capture"]
    assert last["found"]["model"] == round(last["model"]["value"] * last["wins"])
    won = card["replay"]["won"]
    assert won["of"] == 3
    assert won["model"] == 2 + (last["found"]["model"] > last["found"]["rules"])
    opening = f"In {won['model']} of 3 periods, the test part among them, the model found more"
    assert card["replay"]["sentence"].startswith(opening)
    assert card["figures"]["replay_model_found_more"] == won["model"]
    html = re.sub(r"\s+", " ", render(card))
    assert "Period by period" in html
    assert card["replay"]["sentence"] in html
    assert "replay" in pictures(card)


def test_no_earlier_period_is_no_replay() -> None:
    card = scorecard(predictions(200), context(), 7, **FAST)
    empty = {"resamples": 200, "periods": []}
    test = predictions(200).query("population == 'training'")
    assert with_test_part(empty, card["comparison"], test, context()) is None


def test_the_page_marks_the_rules_own_volume_and_names_every_curve() -> None:
    rows = predictions(400)
    rows["rules_band"] = np.where(rows["rules_points"] >= 35, "hot", "cold")
    card = scorecard(with_hybrid(rows), context(), 7, **FAST)
    drawn = pictures(card)
    share = card["comparison"]["volume"]["share"]
    assert f"rules&#39; hot volume: {share:.1%}" in drawn["gain"].svg.replace("'", "&#39;")
    for name in ("model", "rules", "rules, then model", "logistic", "Odoo"):
        assert name in drawn["gain"].alt
        assert f">{name}<" in drawn["gain"].svg
    capture = card["comparison"]["models"]["rules"]["capture"]["value"]
    place = int(np.argmin(np.abs(np.array(card["gain"]["share"]) - share)))
    assert card["gain"]["rules"][place] == pytest.approx(capture, abs=0.02)


def test_of_odoos_two_curves_the_better_one_is_drawn() -> None:
    rows = predictions(400)
    worse = rows["odoo_probability"].rank(pct=True)
    for better, column in (("odoo", "odoo_calibrated"), ("odoo_calibrated", "odoo")):
        turned = rows.assign(**{f"{column}_probability": 1 - worse})
        card = scorecard(turned, context(), 7, **FAST)
        share = card["comparison"]["volume"]["share"]
        place = int(np.argmin(np.abs(np.array(card["gain"]["share"]) - share)))
        assert card["gain"][better][place] > card["gain"][column][place]
        alt = pictures(card)["gain"].alt
        assert alt.count("Odoo") == 1
        assert f"Odoo {card['gain'][better][place]:.0%}" in alt


def test_one_contender_more_changes_no_figure_of_the_others() -> None:
    """All see the same resamples."""
    random = np.random.default_rng(1)
    won, score = (random.random(200) < 0.3).astype(float), random.normal(size=200)
    calls = np.arange(200) < 30
    one, two = Contender("a", score=score), Contender("b", np.full(200, 0.3), -score)
    alone = compare([one], field(won, calls), [], 1, 50).figures["a"]
    assert compare([two, one], field(won, calls), [], 1, 50).figures["a"] == alone
