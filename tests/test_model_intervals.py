"""Intervals that know that a lead's snapshots are not independent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_propensity.model.intervals import clustered_rate, mean_and_error, wilson

outcomes = st.lists(st.integers(0, 1), min_size=1, max_size=60)


def test_wilson_matches_the_textbook():
    # Newcombe (1998), table I: 81 of 263, method 3.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(outcomes)
def test_rows_of_their_own_cluster_have_no_design_effect(won):
    rate = clustered_rate(np.array(won, float), np.arange(len(won)))
    assert rate.deff == pytest.approx(1.0)
    assert (rate.lower, rate.upper) == pytest.approx(wilson(np.mean(won), len(won)))


@given(outcomes, st.integers(2, 5))
def test_copies_within_a_cluster_do_not_narrow_the_interval(won, copies):
    won = np.array(won, float)
    once = clustered_rate(won, np.arange(len(won)))
    often = clustered_rate(np.repeat(won, copies), np.repeat(np.arange(len(won)), copies))
    assert often.deff == pytest.approx(copies)
    assert (often.lower, often.upper) == pytest.approx((once.lower, once.upper))


@given(outcomes, st.integers(1, 8))
def test_the_interval_holds_the_rate_and_deff_is_at_least_one(won, clusters):
    rate = clustered_rate(np.array(won, float), np.arange(len(won)) % clusters)
    assert rate.deff >= 1.0
    assert 0.0 <= rate.lower <= rate.rate + 1e-12
    assert rate.rate - 1e-12 <= rate.upper <= 1.0


def test_no_row_leaves_everything_open():
    rate = clustered_rate(np.empty(0), np.empty(0))
    assert (rate.n, rate.lower, rate.upper) == (0, 0.0, 1.0)


def test_the_clustered_error_of_a_mean():
    values = np.array([1.0, 1.0, 3.0, 3.0])
    apart = mean_and_error(values, np.arange(4))[1]
    together = mean_and_error(values, np.array([0, 0, 1, 1]))[1]
    assert apart == pytest.approx(np.std(values, ddof=1) / 2)
    assert together == pytest.approx(1.0)
    assert mean_and_error(values, np.zeros(4))[1] == np.inf
