"""Intervals that know that a lead's snapshots are not independent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

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
    assert often.deff >= copies - 1e-9
    assert often.lower <= once.lower + 1e-9
    assert often.upper >= once.upper - 1e-9


def test_one_lead_seen_often_tells_next_to_nothing():
    rate = clustered_rate(np.array([1.0, 0.0] * 50), np.zeros(100))
    assert rate.lower < 0.1
    assert rate.upper > 0.9


def test_few_clusters_that_agree_by_chance_are_still_few():
    won, cluster = np.array([1.0, 0.0] * 60), np.repeat(np.arange(4), 30)
    rate = clustered_rate(won, cluster)
    assert (rate.lower, rate.upper) == pytest.approx(wilson(0.5, 4))
    assert rate.deff == pytest.approx(30)


def test_the_interval_of_few_clusters_covers_the_truth():
    """Six leads of twenty snapshots, each lead with its own rate: 95% intervals hold the mean."""
    random, covered = np.random.default_rng(1), 0
    cluster = np.repeat(np.arange(6), 20)
    for _ in range(300):
        won = (random.random(120) < random.beta(2, 2, 6)[cluster]).astype(float)
        rate = clustered_rate(won, cluster)
        covered += rate.lower <= 0.5 <= rate.upper
    assert covered >= 279  # 93%


def test_the_number_of_threads_changes_no_bit():
    random = np.random.default_rng(2)
    values, cluster = random.normal(size=300_000), np.arange(300_000)
    won = (values > 0.3).astype(float)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append((mean_and_error(values, cluster), clustered_rate(won, cluster // 3)))
    assert found[0] == found[1] == found[2]


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
