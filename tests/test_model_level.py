"""The level tracker: moves with the cohorts that closed, and hears of no other."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from lead_propensity.model.level import (
    WAYS,
    Calendar,
    Earlier,
    LevelTracker,
    Scored,
    decide,
    shy,
    tracked,
)
from model_world import WEEK

CALENDAR = Calendar.of(as_exported=False, rows=0)
DELAY = 3 * WEEK
ON = LevelTracker(tuple(shy()), CALENDAR, 1.0, 0, DELAY, "on")


def scored(weeks: int, shift: float, per_week: int = 400, drift: float = 0.0) -> Scored:
    """Weekly rows whose true log-odds lie `shift` (+ `drift` a week) above the probability's."""
    rng = np.random.default_rng(5)
    week = np.repeat(np.arange(weeks), per_week)
    score = rng.normal(-1.5, 1.0, len(week))
    won = (rng.random(len(week)) < expit(score + shift + drift * week)).astype(float)
    order = CALENDAR.origin + week * WEEK
    return Scored(order, expit(score), won, np.arange(len(week)))


@pytest.mark.parametrize("shift", [-0.8, 0.0, 0.8])
def test_the_filter_finds_the_shift(shift):
    rows = scored(20, shift)
    found, _ = ON.shift(np.array([rows.order.max() + WEEK + DELAY]), ON.cohorts(rows))
    assert found[0] == pytest.approx(shift, abs=0.15)
    expected = tracked(rows.probability, np.full(len(rows.won), found[0])).sum()
    assert expected / rows.won.sum() == pytest.approx(1.0, abs=0.1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 25), st.integers(-1, 1))
def test_labels_not_yet_known_change_nothing(week, edge):
    rows = scored(20, 0.5, per_week=50)
    as_of = np.array([CALENDAR.origin + week * WEEK + edge])
    known = rows.order + DELAY <= as_of[0]
    other = replace(rows, won=np.where(known, rows.won, 1.0 - rows.won))
    fewer = Scored(rows.order[known], rows.probability[known], rows.won[known], rows.cluster[known])
    before = ON.shift(as_of, ON.cohorts(rows))
    for changed in (other, fewer):
        after = ON.shift(as_of, ON.cohorts(changed))
        assert before[0][0] == after[0][0]
        assert before[1][0] == after[1][0] <= as_of[0]


def test_fewer_than_three_closed_cohorts_shift_nothing():
    rows = scored(10, 2.0)
    moments = CALENDAR.origin + np.array([5, 6]) * WEEK
    found, until = ON.shift(moments, ON.cohorts(rows))
    assert found[0] == 0.0
    assert until[0] == -1
    assert found[1] > 0.5
    assert until[1] == moments[1]


def test_a_cohort_closes_when_its_week_is_over_and_its_labels_known():
    found = ON.cohorts(scored(6, 0.0))
    assert (found.known_at == found.order + WEEK + DELAY).all()


def test_only_later_rows_with_a_label_of_the_training_population_speak():
    keys = pd.DataFrame({
        "order": [5, 6, 6, 6], "population": ["training", "training", "stock", "training"],
        "won": [1.0, 1.0, 1.0, np.nan],
    })  # fmt: skip
    assert replace(ON, after=5).may_speak(keys).tolist() == [False, True, False, False]


def believed(tracker: LevelTracker) -> np.ndarray:
    """The mean standard deviations: of the level at first, of a step, of a swing."""
    shares = np.exp(tracker.log_weights)
    found: np.ndarray = np.sqrt(shares @ WAYS / shares.sum())
    return found


def test_it_learns_how_levels_moved_before():
    first, step, swing = believed(decide([Earlier(0, scored(40, 0.0))], CALENDAR, 0, DELAY))
    assert max(first, step, swing) < 0.08
    first, step, _ = believed(
        decide([Earlier(0, scored(40, -0.5, drift=0.06))], CALENDAR, 0, DELAY)
    )
    assert step > 0.04
    off = [Earlier(0, scored(12, shift)) for shift in (-0.8, 0.7, 0.9, -0.6)]
    first, step, _ = believed(decide(off, CALENDAR, 0, DELAY))
    assert first > 0.4
    assert step < 0.08


def test_a_level_that_stayed_is_hardly_moved_and_one_that_swings_is_not_followed():
    calm = decide([Earlier(0, scored(60, 0.0))], CALENDAR, 0, DELAY)
    rows = scored(20, 0.0)
    end = np.array([rows.order.max() + WEEK + DELAY])
    assert abs(calm.shift(end, calm.cohorts(rows))[0][0]) < 0.03
    assert abs(ON.shift(end, ON.cohorts(rows))[0][0]) < 0.1


def test_one_that_knows_a_calm_past_still_follows_a_jump():
    calm = decide([Earlier(0, scored(60, 0.0))], CALENDAR, 0, DELAY)
    rows = scored(8, 1.2)
    end = np.array([rows.order.max() + WEEK + DELAY])
    assert calm.shift(end, calm.cohorts(rows))[0][0] > 0.9


def test_without_any_earlier_row_it_is_shy():
    tracker = decide([], CALENDAR, 0, DELAY)
    assert tracker.log_weights == pytest.approx(tuple(shy() - shy().max()))


def test_the_error_shrinks_as_cohorts_close_and_grows_while_none_does():
    rows = scored(20, 0.5)
    closed = ON.cohorts(rows)
    early, late, later = (ON.error(CALENDAR.origin + week * WEEK, closed) for week in (4, 24, 200))
    assert 0 < late < early
    assert late < later
    truth = 0.5
    found = ON.shift(np.array([CALENDAR.origin + 24 * WEEK]), closed)[0][0]
    assert abs(found - truth) < 3 * late


def test_weeks_begin_on_monday_and_rows_in_blocks():
    monday = np.datetime64("2025-06-02", "us").astype(np.int64)
    assert np.diff(CALENDAR.number(np.array([monday - 1, monday, monday + WEEK - 1]))).tolist() == [
        1,
        0,
    ]
    assert Calendar.of(as_exported=True, rows=5000) == Calendar(100, 0)


def test_no_shift_leaves_every_bit():
    probability = np.random.default_rng(0).random(1000)
    assert np.array_equal(tracked(probability, np.zeros(1000)), probability)
    assert logit(tracked(np.array([0.3]), np.array([1.0])))[0] == pytest.approx(logit(0.3) + 1)


def test_a_tracker_survives_json():
    assert LevelTracker.from_json(ON.to_json()) == ON
