"""Calibrators: rising, inside (0, 1), and chosen only when they are better."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from threadpoolctl import threadpool_limits

from lead_propensity.model.calibration import (
    KINDS,
    Calibrator,
    Identity,
    Isotonic,
    Sigmoid,
    choose_calibrator,
    fit_calibrator,
)

labelled = st.lists(
    st.tuples(st.floats(-30, 30, allow_subnormal=False), st.integers(0, 1)),
    min_size=1,
    max_size=60,
)


def drawn(n: int, slope: float, shift: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    score = rng.normal(-1.0, 1.5, n)
    return score, (rng.random(n) < expit(slope * score + shift)).astype(float)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(labelled)
def test_every_kind_rises_and_stays_inside(kind, rows):
    score, won = (np.array(column, float) for column in zip(*rows, strict=True))
    calibrator = KINDS[kind].fit(score, won)
    grid = np.sort(np.concatenate([score, np.linspace(-800, 800, 101)]))
    probability = calibrator.predict(grid)
    assert np.all(np.diff(probability) >= 0.0)
    assert np.all((probability > 0.0) & (probability < 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_json(kind):
    score, won = drawn(500, 0.7, 0.3)
    calibrator = KINDS[kind].fit(score, won)
    again = Calibrator.from_json(calibrator.to_json())
    assert again == calibrator
    assert np.array_equal(again.predict(score), calibrator.predict(score))


@pytest.mark.parametrize("kind", ["shift", "sigmoid", "isotonic"])
def test_expected_wins_match_those_that_came(kind):
    score, won = drawn(20_000, 1.0, 0.8)
    expected = KINDS[kind].fit(score, won).predict(score).sum()
    assert expected / won.sum() == pytest.approx(1.0, abs=0.02)


def test_isotonic_follows_a_bend_that_a_sigmoid_cannot():
    rng = np.random.default_rng(0)
    score = rng.uniform(-3, 3, 50_000)
    truth = np.where(score < 0, 0.1, 0.6)
    won = (rng.random(len(score)) < truth).astype(float)
    found = Isotonic.fit(score, won).predict(np.array([-2.0, 2.0]))
    assert found == pytest.approx([0.1, 0.6], abs=0.03)


def test_the_identity_stays_where_the_scores_are_right():
    score, won = drawn(3000, 1.0, 0.0)
    assert choose_calibrator(score, won, groups(3000)).kind == "identity"


def test_a_wrong_slope_is_mended():
    score, won = drawn(5000, 0.5, -0.5)
    choice = choose_calibrator(score, won, groups(5000))
    assert choice.kind in {"sigmoid", "isotonic"}
    assert choice.losses[choice.kind] < choice.losses["identity"]


@pytest.mark.parametrize("seed", [5, 10, 16])
def test_a_small_gain_is_not_enough_and_copies_of_leads_do_not_make_it_so(seed):
    score, won = drawn(600, 0.85, 0.0, seed)
    once = choose_calibrator(score, won, groups(600))
    assert min(once.losses.values()) < once.losses["identity"]
    assert once.kind == "identity"
    copied = choose_calibrator(np.tile(score, 20), np.tile(won, 20), groups(600, copies=20))
    assert copied.kind == "identity"
    assert copied.losses == pytest.approx(once.losses, rel=0.05)


def test_few_wins_keep_the_identity():
    score, won = drawn(400, 0.2, -4.0)
    assert won.sum() < 20
    assert isinstance(fit_calibrator("isotonic", score, won, groups(400)), Identity)
    assert choose_calibrator(score, won, groups(400)).kind == "identity"


def test_many_snapshots_of_few_won_leads_are_few_wins():
    score, won = drawn(100, 0.2, -2.0)
    assert 5 <= won.sum() < 20
    copies = np.tile(score, 20), np.tile(won, 20)
    assert isinstance(fit_calibrator("isotonic", *copies, groups(100, copies=20)), Identity)
    assert choose_calibrator(*copies, groups(100, copies=20)).losses == {}
    assert isinstance(fit_calibrator("isotonic", *copies, groups(2000)), Isotonic)


def test_the_number_of_threads_changes_no_bit():
    score, won = drawn(60_000, 0.6, 0.2)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append(Sigmoid.fit(score, won))
    assert found[0] == found[1] == found[2]


def groups(count: int, copies: int = 1) -> pd.Series:
    return pd.Series([f"g{number}" for number in np.tile(np.arange(count), copies)])
