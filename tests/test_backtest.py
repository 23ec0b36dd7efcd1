"""Walking forward learns from nothing later; refitting is done where it helped, and says so.

Each test was seen failing once, by breaking what it speaks of in `evaluation/walking.py`,
`evaluation/backtest.py` or `model/refitting.py`.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.special import expit

from factory_predictions import context, predictions
from lead_propensity import pipeline
from lead_propensity.config import load
from lead_propensity.data import tables
from lead_propensity.data.database import opened
from lead_propensity.data.simulate import simulate, write
from lead_propensity.evaluation import walking
from lead_propensity.evaluation.backtest import backtest, decide_refit
from lead_propensity.evaluation.scorecard import scorecard
from lead_propensity.evaluation.walking import Walk, walk
from lead_propensity.features import dataset
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.calibration import Identity, Isotonic, Shift, Sigmoid
from lead_propensity.model.choosing import choose_again
from lead_propensity.model.fitting import mixed_in_words
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import (
    MOST_ROUNDS,
    anchored,
    more_rounds,
    refitted,
    start_of_test,
)
from lead_propensity.progress import silent
from lead_propensity.reporting.pictures import pictures
from lead_propensity.reporting.report import render
from model_world import CATALOGUE, WEEK, as_exported, config, keys_of, matrix

LEADS, WEEKS = 200, 40
LINE = {"min_wins_trees": 10_000}
"""The logistic model alone: these tests are about time, not about trees."""
STRETCH = range(8, 13)
"""Where one period is walked: the weeks between what the older model learned from and the period."""


def world(slope: Callable[[np.ndarray], np.ndarray], seed: int = 1) -> Dataset:
    """Weekly snapshots whose log-odds grow with visits by `slope` of the week."""
    X = matrix(LEADS, WEEKS, seed)
    week = np.repeat(np.arange(WEEKS), LEADS)
    score = -1.0 + slope(week) * (np.log1p(X["visits_30d"].to_numpy()) - 0.7)
    won = (np.random.default_rng(seed).random(len(X)) < expit(score)).astype(np.float64)
    keys = keys_of(week, won, [f"lead-{n}" for n in np.tile(np.arange(LEADS), WEEKS)], WEEKS)
    return Dataset(keys, X, pd.DataFrame(index=X.index), CATALOGUE)


def steady(week: np.ndarray) -> np.ndarray:
    return np.ones(len(week))


def relabelled(data: Dataset, rows: np.ndarray) -> Dataset:
    """The labels of `rows` turned round."""
    won = np.where(rows, 1.0 - data.won, data.won)
    return replace(data, keys=data.keys.assign(won=won))


@pytest.fixture(scope="module")
def still() -> Dataset:
    return world(steady)


@pytest.fixture(scope="module")
def model(still: Dataset) -> PropensityModel:
    return PropensityModel.fit(still, config(**LINE))


@pytest.fixture(scope="module")
def walked(still: Dataset, model: PropensityModel) -> Walk:
    return walk(still, model, config(**LINE))


def test_periods_follow_each_other_up_to_the_test_part(still: Dataset, walked: Walk) -> None:
    assert len(walked.periods) == 4
    starts, ends = zip(*((one.starts, one.ends) for one in walked.periods), strict=True)
    assert starts[1:] == ends[:-1]
    assert ends[-1] <= still.part("test").keys["order"].min()
    assert walked.rows["period"].is_monotonic_increasing
    late = still.keys[(still.keys["order"] >= starts[0]) & (still.keys["order"] < ends[-1])]
    assert len(walked.rows) == len(late)
    for place, period in enumerate(walked.periods):
        order = walked.rows.loc[walked.rows["period"] == place, "order"]
        assert period.starts <= order.min() <= order.max() < period.ends
        assert period.calibrated
        assert period.fitted_until is not None


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("later", [0, 1, WEEK])
def test_a_label_unknown_at_a_moment_changes_nothing_said_by_then(
    still: Dataset, model: PropensityModel, walked: Walk, place: int, later: int
) -> None:
    """At the period's start, a microsecond and a week later: for the model and for its level."""
    moment = walked.periods[place].starts + later
    unknown = (still.keys["label_known_at"] > moment).to_numpy()
    again = walk(relabelled(still, unknown), model, config(**LINE))
    columns = ["lead_id", "order", "raw_score", "probability_untracked", "probability", "refitted"]
    by_then = walked.rows["order"] <= moment
    assert by_then.sum() >= place
    pd.testing.assert_frame_equal(
        walked.rows.loc[by_then, columns], again.rows.loc[by_then, columns], check_exact=True
    )
    fitted = walked.rows["period"] == place
    for column in ("raw_score", "probability_untracked"):
        assert walked.rows.loc[fitted, column].equals(again.rows.loc[fitted, column])
    assert [p.constant for p in walked.periods[: place + 1]] == [
        p.constant for p in again.periods[: place + 1]
    ]


def test_a_label_known_exactly_at_a_periods_start_is_learned_from(
    still: Dataset, model: PropensityModel, walked: Walk
) -> None:
    first = walked.periods[0]
    known_then = (still.keys["label_known_at"] == first.starts).to_numpy()
    assert known_then.any()
    again = walk(relabelled(still, known_then), model, config(**LINE))
    assert again.periods[0].constant != first.constant
    here = walked.rows["period"] == 0
    assert (again.rows.loc[here, "refitted"] != walked.rows.loc[here, "refitted"]).any()


def test_test_rows_change_nothing(still: Dataset, model: PropensityModel, walked: Walk) -> None:
    test = (still.keys["part"] == "test").to_numpy()
    other = replace(
        relabelled(still, test), X=still.X.assign(visits_30d=still.X["visits_30d"] + 9 * test)
    )
    again = walk(other, model, config(**LINE))
    pd.testing.assert_frame_equal(walked.rows, again.rows, check_exact=True)
    assert walked.periods == again.periods


def test_the_number_of_threads_changes_no_bit(
    still: Dataset, model: PropensityModel, walked: Walk
) -> None:
    again = walk(still, model, config(**LINE, threads=3))
    pd.testing.assert_frame_equal(walked.rows, again.rows, check_exact=True)


def test_a_random_split_keeps_a_lead_on_one_side(
    still: Dataset, model: PropensityModel, walked: Walk
) -> None:
    """A lead's own labels tell nothing about it: turned round, its promise stays."""
    lead = walked.rows["lead_id"].iloc[0]
    again = walk(
        relabelled(still, (still.keys["lead_id"] == lead).to_numpy()), model, config(**LINE)
    )
    own = walked.rows["lead_id"] == lead
    assert walked.rows.loc[own, "random_split"].equals(again.rows.loc[own, "random_split"])
    assert not walked.rows["random_split"].equals(again.rows["random_split"])


def test_a_random_split_promises_too_much_where_the_world_changes(model: PropensityModel) -> None:
    def told(slope: Callable[[np.ndarray], np.ndarray]) -> dict:
        rows = walk(world(slope), model, config(**LINE, refit="never"))
        return backtest(rows, "", False, 7)["random_split"]

    moving = told(lambda week: 1.5 - week / 10)
    assert moving["warn"]
    assert moving["auc"]["random"] > moving["auc"]["walked"]
    assert f"{moving['auc']['walked']:.3f}" in moving["sentence"]
    assert not told(steady)["warn"]


@pytest.mark.parametrize("stays", [True, False])
def test_refitting_is_chosen_where_a_change_stays_and_not_where_it_passes(
    model: PropensityModel, stays: bool
) -> None:
    """The sign turns in the weeks that only the refitted model knows, for good or for these alone."""

    def slope(week: np.ndarray) -> np.ndarray:
        turned = week >= STRETCH[0] if stays else np.isin(week, STRETCH)
        return np.where(turned, -1.0, 1.0)

    data = world(slope)
    walked = walk(data, model, config(**LINE, backtest_periods=1))
    (period,) = walked.periods
    assert period.starts == (STRETCH[-1] + 4) * WEEK, "the stretch's labels are known then"
    assert period.fitted_until == (STRETCH[0] - 4) * WEEK
    found = decide_refit(walked, "auto")
    assert found.refitted == stays
    assert found.saved is not None
    assert found.error is not None
    assert abs(found.saved) > 2 * found.error


@pytest.mark.parametrize(("gain", "chosen"), [(-0.0103, False), (-0.0098, True), (0.0001, True)])
def test_only_harm_of_one_standard_error_speaks_against_refitting(
    gain: float, chosen: bool
) -> None:
    """A hundred leads, all won, said to be even; refitted a gain of log loss each, give or take .1."""
    gains = gain + np.tile([-0.1, 0.1], 50)
    rows = pd.DataFrame(
        {"won": 1.0, "probability": 0.5, "refitted": 0.5 * np.exp(gains), "group_id": range(100)}
    ).assign(period=0)
    found = decide_refit(Walk((), rows), "auto")
    assert (found.saved, found.error) == pytest.approx((gain, 0.1 / np.sqrt(99)))
    assert found.refitted == chosen


def test_a_policy_overrules_what_was_found(walked: Walk) -> None:
    assert decide_refit(walked, "always").refitted
    assert not decide_refit(walked, "never").refitted
    assert decide_refit(Walk((), pd.DataFrame(), "too short"), "auto").refitted


def test_a_history_too_short_is_not_walked_and_says_so(
    still: Dataset, model: PropensityModel
) -> None:
    late = replace(still, keys=still.keys.assign(label_known_at=still.keys["order"] + 90 * WEEK))
    found = walk(late, model, config(**LINE))
    assert found.periods == ()
    assert "too short" in (found.why_not or "")
    none = walk(still, model, config(**LINE, backtest_periods=0))
    assert none.why_not == "No walk forward: model.backtest_periods is 0."
    told = backtest(none, "", False, 7)
    assert told["periods"] == []
    assert told["random_split"] is None
    card = scorecard(predictions(), context(backtest=told), 7, resamples=50)
    assert card["backtest"]["level_error"]["expected_to_observed"] is None
    assert "backtest" not in pictures(card)
    assert none.why_not in render(card)


@pytest.mark.parametrize(
    ("wins", "walks"), [(walking.MIN_WINS - 1, False), (walking.MIN_WINS, True)]
)
def test_a_period_with_few_wins_is_skipped_and_says_so(
    still: Dataset, model: PropensityModel, walked: Walk, wins: int, walks: bool
) -> None:
    second = walked.periods[1]
    order = still.keys["order"].to_numpy()
    inside = (order >= second.starts) & (order < second.ends) & (still.won == 1.0)
    surplus = inside & (np.cumsum(inside) > wins)
    found = walk(relabelled(still, surplus), model, config(**LINE)).periods[1]
    assert (found.skipped is None) == walks
    assert walks or found.skipped == f"it holds {wins} won snapshots, at least 20 are needed"


def test_rows_as_exported_are_walked_in_blocks() -> None:
    data = as_exported()
    fitted = PropensityModel.fit(data, config(**LINE))
    found = walk(data, fitted, config(**LINE))
    told = backtest(found, "", True, 7)
    assert len(told["periods"]) == 4
    assert told["periods"][0]["from"].startswith("row ")
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(
    "shape",
    [Identity(), Shift(0.4), Sigmoid(0.6, 0.2), Isotonic((-3.0, -1.0, 0.5), (0.05, 0.2, 0.6))],
    ids=lambda shape: shape.kind,
)
@pytest.mark.parametrize("level", [-2.0, 0.0, 1.5])
def test_an_anchored_calibrator_expects_what_came(shape, level: float) -> None:
    rng = np.random.default_rng(3)
    score = rng.normal(-1.0, 1.0, 2000)
    won = (rng.random(2000) < expit(score + level)).astype(np.float64)
    found = anchored(shape, score, won)
    assert found.predict(score).sum() == pytest.approx(won.sum(), abs=0.5)
    rising = np.argsort(score)
    assert (np.diff(found.predict(score)[rising]) >= 0).all()


def test_more_rows_get_more_rounds_up_to_a_cap() -> None:
    choices = {"trees": [{"rounds": 100, "parameters": {}}, {"rounds": 10, "parameters": {}}]}
    found = [
        [one["rounds"] for one in more_rounds(choices, grown)["trees"]]
        for grown in (0.5, 1.0, 1.2, 9.0)
    ]
    most = round(100 * MOST_ROUNDS)
    assert found == [[100, 10], [100, 10], [120, 12], [most, most // 10]]
    assert more_rounds({"learner": "logistic"}, 1.2) == {"learner": "logistic"}


def test_a_refitted_model_knows_all_labels_and_keeps_its_bands(
    still: Dataset, model: PropensityModel
) -> None:
    again = refitted(model, still, config(**LINE))
    known = still.part("fit", "purged", "calibrate", "test")
    assert again.level.after == known.keys["order"].max()
    assert not again.level.may_speak(known.keys).any()
    assert again.labels_until == known.keys["label_known_at"].max()
    assert again.bands == model.bands
    grade = again.predict(still.part("calibrate").X, CATALOGUE.fingerprint).fit_grade
    assert pd.Series(grade).value_counts(normalize=True).between(0.2, 0.3).all()
    latest = known.rows((known.keys["order"] > model.level.after).to_numpy())
    expected = again.predict(latest.X, CATALOGUE.fingerprint).probability_untracked.sum()
    assert expected == pytest.approx(latest.won.sum(), abs=0.5)
    assert again.model_id != model.model_id
    assert again.model_id == refitted(model, still, config(**LINE, threads=3)).model_id
    assert PropensityModel.from_files(again.to_files()).model_id == again.model_id


def test_what_the_folds_choose_is_chosen_again_from_all_that_was_known(still: Dataset) -> None:
    """The trees' settings stay; strengths, rounds and mix are those of the folds of the known rows."""
    settings = config(trials=2)
    model = PropensityModel.fit(still, settings)
    moment = start_of_test(still)
    found = refitted(model, still, settings, until=moment)
    keys = still.keys
    known = still.rows(((keys["label_known_at"] <= moment) & (keys["order"] < moment)).to_numpy())
    before, now = model.choices, found.choices
    assert (before["fitted_on"], now["fitted_on"]) == (len(still.part("fit")), len(known))
    assert [one["parameters"] for one in now["trees"]] == [
        one["parameters"] for one in before["trees"]
    ]
    assert now["tuning_rows"] == len(known)
    assert now["line_losses"] != before["line_losses"]
    assert now["blend_losses"] != before["blend_losses"]
    assert choose_again(known, now, settings).items() <= now.items()
    assert mixed_in_words(now) in found.notes
    deployed = refitted(found, still, settings)
    assert deployed.choices["line_losses"] == now["line_losses"]
    assert deployed.choices["fitted_on"] == int(np.sum(~np.isnan(still.won)))


def test_a_limit_in_raw_scores_keeps_its_rank_among_the_new_ones(
    still: Dataset, model: PropensityModel
) -> None:
    calibrate = still.part("calibrate")
    before = model.main.raw_score(calibrate.X)
    limit = float(np.sort(before)[-50])
    tied = replace(model, bands=replace(model.bands, hot_from=0.5, hot_raw_from=limit))
    again = refitted(tied, still, config(**LINE))
    now = again.main.raw_score(calibrate.X)
    assert (now >= again.bands.hot_raw_from).sum() == (before >= limit).sum() == 50
    assert refitted(model, still, config(**LINE)).bands.hot_raw_from == model.bands.hot_raw_from


def test_a_base_rate_has_nothing_to_choose_again(still: Dataset) -> None:
    constant = {"learner": "base_rate", "fitted_on": 3}
    assert choose_again(still, constant, config()) == constant


def test_the_walk_judges_what_refitting_would_have_deployed_then(
    still: Dataset, model: PropensityModel
) -> None:
    """Its period's start taken for the end of the data; the level not tracked."""
    off = replace(model.level, label_delay=10**18)  # no cohort ever closes
    walked = walk(still, replace(model, calibrator=Identity(), level=off), config(**LINE))
    period, rows = walked.periods[1], walked.rows[walked.rows["period"] == 1]
    order = still.keys["order"]
    known = (still.keys["label_known_at"] <= period.starts) & (order < period.starts)
    part = np.where(order <= (period.fitted_until or 0), "fit", "calibrate")
    then = replace(still, keys=still.keys.assign(part=part)).rows(known.to_numpy())
    level = replace(off, after=period.fitted_until or 0)
    deployed = refitted(replace(model, calibrator=Identity(), level=level), then, config(**LINE))
    judged = still.X[(order >= period.starts) & (order < period.ends)]
    found = deployed.predict(judged, CATALOGUE.fingerprint).probability_untracked
    np.testing.assert_array_equal(found, rows["refitted"])


def test_the_test_part_is_the_last_period_of_the_table(walked: Walk) -> None:
    told = backtest(walked, "tracked", False, 7)
    card = scorecard(predictions(), context(backtest=told), 7, resamples=50)
    *earlier, last = card["backtest"]["periods"]
    assert [row["part"] for row in earlier] == ["walk"] * 4
    assert last["part"] == "test"
    assert last["expected_to_observed"] == card["headline"]["expected_to_observed"]
    assert last["log_loss_constant"] == card["headline"]["log_loss_constant"]["value"]
    ratios = [row["expected_to_observed"]["value"] for row in card["backtest"]["periods"]]
    error = card["backtest"]["level_error"]["expected_to_observed"]
    assert error == pytest.approx(np.mean(np.abs(np.log(ratios))))
    assert card["figures"]["backtest_level_error"] == error
    html = render(card)
    assert "Would it have held before?" in html
    assert told["random_split"]["sentence"] in html
    assert f"from {earlier[0]['from']}" in pictures(card)["backtest"].alt


def test_the_figures_speak_of_the_evaluated_model_and_the_folder_holds_the_deployed_one(
    tmp_path,
) -> None:
    """Refitted, the one knows no label of the test part, the other one all of them."""
    write(simulate(1500, seed=5), tmp_path / "crm")
    few = ["trials=1", "min_wins_trees=10000", "backtest_periods=0", "refit=always"]
    asked = ["snapshots.every_days=28", *(f"model.{one}" for one in few)]
    told = load(tmp_path / "crm" / "config.yaml", asked)
    card = pipeline.train(told, tmp_path / "run").scorecard
    deployed = pipeline.load_model(tmp_path / "run")
    assert card["deployed"]["refitted"]
    assert deployed.model_id == card["model_id"] != card["evaluated_model_id"]
    starts = next(row["from"] for row in card["parts"] if row["part"] == "test")
    assert card["deployed"]["figures_until"] < starts < card["deployed"]["deployed_until"]
    with opened(told.engine) as (con, _):
        found = tables.check(con, told)
        data = dataset.training(con, dataset.plan(con, told, found.exported_at), silent)
    test = data.rows((data.keys["part"] == "test").to_numpy())
    judged = pq.read_table(tmp_path / "run" / "test_predictions.parquet")["raw_score"].to_numpy()
    said = deployed.predict(test.X, test.catalogue.fingerprint).raw_score
    assert len(said) == len(judged)
    assert not np.allclose(said, judged, atol=1e-3)
    sentence = card["deployed"]["sentence"]
    html = (tmp_path / "run" / "report.html").read_text()
    assert html.index(sentence) < html.index("<main")


@pytest.mark.parametrize("later", [0, 1])
def test_refitted_until_a_moment_a_model_knows_no_label_of_later(
    still: Dataset, model: PropensityModel, later: int
) -> None:
    moment = start_of_test(still) + later
    unknown = (still.keys["label_known_at"] > moment).to_numpy()
    found = refitted(model, still, config(**LINE), until=moment)
    assert found.labels_until <= moment
    other = refitted(model, relabelled(still, unknown), config(**LINE), until=moment)
    assert found.model_id == other.model_id
