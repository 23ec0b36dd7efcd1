"""Drift: called where something changed, at most as rarely as promised where nothing did, and not for a trifle.

Broken on purpose, seen red: snapshots taken for leads; p values not adjusted; no least index; the index of
sampling not taken off; a sample that depends on the pieces; a rare level named; the AUC of rows that the model has
learned from.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lead_propensity.config import MonitorConfig
from lead_propensity.errors import ModelError
from lead_propensity.evaluation import drift
from lead_propensity.evaluation.auc import auc_gap
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import reference as reference_module
from lead_propensity.model.cells import Cells, effective_rows
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.ranking import auc_and_error
from lead_propensity.model.reference import Reference
from lead_propensity.model.refitting import refitted
from lead_propensity.model.stock import stock_of
from lead_propensity.serving.drifting import Watched
from model_world import CATALOGUE, config, dataset

LIMITS = MonitorConfig()
DATA = dataset()


@pytest.fixture(scope="module")
def model() -> PropensityModel:
    return PropensityModel.fit(DATA, config())


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def numbers(values: np.ndarray, group: np.ndarray | None = None) -> Cells:
    return Cells.of_numbers("x", values, alone(len(values)) if group is None else group)


def night(model: PropensityModel, data: Dataset, most: int = 50_000, pieces: int = 1) -> dict:
    """What a scoring run would record of `data`."""
    watched = Watched(model, most)
    for rows in np.array_split(np.arange(len(data)), pieces):
        mask = np.isin(np.arange(len(data)), rows)
        piece = data.rows(mask)
        said = model.predict(piece.X, CATALOGUE.fingerprint)
        scores = reference_module.scores_of(
            piece, said.raw_score, said.probability_untracked, model.bands
        )
        watched.see(piece, pd.DataFrame(scores, index=piece.keys.index))
    found = watched.figures(LIMITS)
    assert found is not None
    return found


def other(seed: int = 5, leads: int = 400) -> Dataset:
    """New leads of the same world, each seen once."""
    data = dataset(leads=leads, seed=seed)
    return data.rows((data.keys["order"] == data.keys["order"].max()).to_numpy())


# Cells


def test_a_value_on_an_edge_lies_below_it_and_what_is_missing_is_a_cell():
    cells = numbers(np.array([0.0, 0, 0, 0, 0, 0, 1, 2, 3, np.nan]))
    assert cells.edges == (0.0, 1.0, 2.0, 3.0)
    assert cells.counts == (6, 1, 1, 1, 0, 1)
    assert cells.codes(np.array([-np.inf, 0.0, 0.5, np.inf, np.nan])).tolist() == [0, 0, 1, 4, 5]


def test_a_level_of_few_leads_is_not_named():
    texts = pd.Series(["steel"] * 20 + ["Ann Archer"] * 19 + [None] * 3, dtype=object)
    cells = Cells.of_texts("x", texts, alone(42), alone(42))
    assert (cells.levels, cells.counts) == (("steel",), (20, 19, 3))
    again = Cells.of_texts("x", texts, np.repeat("one lead", 42), alone(42))
    assert again.levels == ()


def test_leads_that_come_back_are_worth_one_row_each():
    rng = np.random.default_rng(1)
    cell, lead = rng.integers(0, 4, 500), alone(500)
    assert effective_rows(cell, lead) == 500
    assert effective_rows(np.tile(cell, 6), np.tile(lead, 6)) == pytest.approx(500, rel=0.02)
    fresh = rng.integers(0, 4, 3000)
    assert effective_rows(fresh, np.tile(lead, 6)) > 2500


# The index and the test


def worlds(changed: float, runs: int = 200, n: int = 400, features: int = 12) -> np.ndarray:
    """How many features are called in each of many worlds whose leads come back three times."""
    rng, called = np.random.default_rng(3), []
    for _ in range(runs):
        then, now = [], []
        for place in range(features):
            x = np.repeat(rng.normal(size=n), 3)
            cells = numbers(x, np.repeat(alone(n), 3))
            y = rng.normal(changed if place == 0 else 0.0, 1, n)
            then.append(replace(cells, name=f"x{place}"))
            now.append(replace(then[-1].filled(y, alone(n)), name=f"x{place}"))
        called.append(drift.drift(then, now, features, {}, LIMITS)["called"])
    return np.array(called)


def test_where_nothing_changed_hardly_a_world_alarms():
    assert np.mean(worlds(0.0) > 0) <= LIMITS.error


def test_the_test_keeps_its_rate_without_the_least_index():
    """12 features a world, leads that came back three times: about 5% of the worlds alarm, not half of them."""
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(300):
        then = [numbers(np.repeat(rng.normal(size=300), 3), np.repeat(alone(300), 3))] * 12
        now = [one.filled(rng.normal(size=300), alone(300)) for one in then]
        alarms += drift.drift(then, now, 12, {}, MonitorConfig(min_psi=1e-9))["called"] > 0
    assert 1 <= alarms <= 30


def test_what_sampling_brings_is_what_is_taken_off():
    rng = np.random.default_rng(5)
    excess = []
    for _ in range(300):
        then = numbers(rng.normal(size=1000))
        excess.append(drift.compared(then, then.filled(rng.normal(size=500), alone(500))).excess)
    assert np.mean(excess) == pytest.approx(0.0, abs=0.003)


def test_planted_drift_is_found():
    assert np.mean(worlds(0.8, runs=50) >= 1) > 0.9


def test_a_trifle_in_a_million_leads_is_not_called():
    rng, n = np.random.default_rng(6), 1_000_000
    then = numbers(rng.normal(size=n))
    now = then.filled(rng.normal(0.02, 1, n), alone(n))
    assert drift.compared(then, now).p_value < 1e-9
    assert drift.drift([then], [now], 1, {}, LIMITS)["called"] == 0


def test_a_new_level_and_a_column_gone_missing_are_drift():
    texts = pd.Series(["a", "b"] * 300, dtype=object)
    then = Cells.of_texts("x", texts, alone(600), alone(600))
    for changed, words in (
        (texts.replace("b", "new"), "b: 50.0%"),
        (texts.mask(texts == "b"), "b"),
    ):
        found = drift.compared(then, then.filled(changed, alone(600)))
        assert found.p_value < 1e-6
        assert found.excess > 1
        assert found.change.startswith(words)


def test_too_few_rows_say_nothing():
    then = numbers(np.arange(100.0))
    found = drift.compared(then, then.filled(np.full(20, 1e9), alone(20)))
    assert (found.psi, found.p_value) == (0.0, 1.0)


# The model's reference


def test_the_reference_counts_the_stock_of_the_calibrate_part(model):
    stock = stock_of(DATA)
    told = model.reference
    assert [one.name for one in told.features] == CATALOGUE.names
    assert {one.rows for one in (*told.features, *told.scores)} == {len(stock)}
    assert told.leads == stock.keys["lead_id"].nunique()
    industry = next(one for one in told.features if one.name == "industry")
    assert dict(zip(industry.levels, industry.counts, strict=False)) == (
        stock.X["industry"].value_counts().to_dict()
    )
    bands = next(one for one in told.scores if one.name == "band")
    assert bands.counts[:3] == tuple(round(row.n) for row in model.bands.promises)


def test_it_is_told_from_a_sample_of_whole_leads_where_the_stock_is_large(model, monkeypatch):
    monkeypatch.setattr(reference_module, "MOST_ROWS", 100)
    small = Reference.of(stock_of(DATA), model.main, model.calibrator, model.bands)
    per_lead = stock_of(DATA).keys.groupby("lead_id").size()
    assert 60 < small.rows <= 100
    assert small.rows % per_lead.iloc[0] == 0


def test_fitted_again_it_speaks_of_the_new_scores_and_keeps_the_honest_auc(model):
    again = refitted(model, DATA, config())
    assert again.reference.features == model.reference.features
    assert again.reference.auc == model.reference.auc
    stock = stock_of(DATA)
    raw = again.reference.scores[0]
    assert raw == raw.filled(again.main.raw_score(stock.X), stock.keys["group_id"].to_numpy())


def test_the_auc_and_its_error_are_those_of_the_gap_to_chance():
    rng = np.random.default_rng(7)
    won, group = rng.integers(0, 2, 400).astype(float), np.repeat(alone(100), 4)
    score = rng.normal(size=400) + won
    auc, error = auc_and_error(score, won, group)
    assert (auc - 0.5, error) == pytest.approx(auc_gap(score, np.zeros(400), won, group))


def test_a_reference_that_does_not_add_up_is_refused(model):
    files = model.to_files()
    for old, new in ((b'"effective": ', b'"effective": 9'), (b'"raw_score"', b'"another"')):
        with pytest.raises(ModelError, match="damaged"):
            PropensityModel.from_files(
                {**files, "reference.json": files["reference.json"].replace(old, new)}
            )


# What a night sees


def test_a_night_of_the_same_world_is_quiet_and_of_another_one_is_not(model):
    quiet = night(model, other())
    assert (quiet["called"], quiet["rows"]) == (0, 400)
    data = other()
    shifted = replace(data, X=data.X.assign(visits_30d=data.X["visits_30d"] + 3))
    loud = night(model, shifted)
    assert loud["top"][0]["name"] == "visits_30d"
    assert loud["called"] == 1
    assert loud["called_share"] > 0.1
    assert loud["scores"]["raw_score"]["called"]
    assert loud["scores"]["band"]["psi"] > quiet["scores"]["band"]["psi"]


def test_the_sample_of_a_night_does_not_depend_on_its_pieces(model):
    data = other(leads=1000)
    whole = night(model, data, most=300)
    assert night(model, data, most=300, pieces=7) == whole
    assert 150 < whole["rows"] <= 300
