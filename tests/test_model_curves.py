"""One number as the columns of a cubic spline: true ones, level beyond the ends, and never a hole.

Each was seen failing once: with values that are not clipped or not bounded, another basis, a knot too many,
no logarithm, a missing number left as it is, a step that begins beyond its limit, steps as high as 1, and with
JSON that is taken as it comes.
"""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.interpolate import BSpline, make_interp_spline
from scipy.special import expit

from lead_propensity.model.curves import (
    DEGREE,
    FEW_VALUES,
    JUMP_HEIGHT,
    KNOTS,
    STEP_HEIGHT,
    STEPS,
    Curve,
)
from lead_propensity.model.lines import fit_line, line


def test_the_columns_are_those_of_scipys_cubic_b_splines():
    """Reckoned basis function by basis function, each a BSpline of its own, then standardised."""
    values = np.random.default_rng(0).normal(size=300)
    curve = Curve.fit(values)
    ends = np.quantile(values, np.linspace(0.0, 1.0, KNOTS))
    knots = np.concatenate([[ends[0]] * DEGREE, ends, [ends[-1]] * DEGREE])
    count = len(knots) - DEGREE - 1
    basis = [BSpline(knots, np.eye(count)[place], DEGREE)(values) for place in range(1, count)]
    raw = np.column_stack(basis)
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    assert curve.width == count - 1 == KNOTS + 1
    assert np.allclose(curve.columns(values), expected, atol=1e-12)


def test_a_cubic_between_the_ends_is_met_exactly():
    values = np.random.default_rng(1).uniform(-2.0, 2.0, 200)
    columns = np.column_stack([np.ones(200), Curve.fit(values).columns(values)])
    cubic = 3.0 - values + 0.5 * values**2 - 2.0 * values**3
    found, *_ = np.linalg.lstsq(columns, cubic)
    assert np.allclose(columns @ found, cubic, atol=1e-9)


def test_a_smooth_function_is_met_closely():
    """scipy's own spline through the same knots is as near."""
    values = np.sort(np.random.default_rng(1).uniform(0.0, 3.0, 400))
    columns = np.column_stack([np.ones(400), Curve.fit(values).columns(values)])
    found, *_ = np.linalg.lstsq(columns, np.sin(values))
    grid = np.linspace(values[0], values[-1], KNOTS)
    scipys = make_interp_spline(grid, np.sin(grid), k=DEGREE)(values)
    worst = np.abs(columns @ found - np.sin(values)).max()
    assert worst < np.abs(scipys - np.sin(values)).max()


def test_every_column_has_mean_nought_and_spread_one():
    values = np.random.default_rng(2).gamma(2.0, size=500)
    columns = Curve.fit(values).columns(values)
    assert np.allclose(columns.mean(axis=0), 0.0, atol=1e-12)
    assert np.allclose(columns.std(axis=0), 1.0, atol=1e-12)


@pytest.mark.parametrize(
    "fit",
    [
        np.random.default_rng(3).normal(size=100),
        np.exp(np.random.default_rng(3).normal(0.0, 3.0, 100)),
        np.tile([0.0, 1.0, 2.0], 20),
    ],
    ids=["spline", "logged", "straight"],
)
def test_beyond_the_ends_the_curve_stays_level(fit):
    curve = Curve.fit(fit)
    ends = curve.columns(np.array([fit.min(), fit.max()]))
    beyond = curve.columns(np.array([fit.min() - 1e-9, fit.max() + 1e9]))
    assert np.allclose(beyond, ends, atol=1e-6)
    assert np.array_equal(curve.columns(np.array([-1e300, 1e300])), ends)


def test_a_missing_number_is_the_mean_and_its_own_column():
    values = np.concatenate([np.random.default_rng(0).normal(size=50), [np.nan]])
    columns = Curve.fit(values).columns(np.array([np.nan, 0.1]))
    assert np.array_equal(columns[0, :-1], np.zeros(columns.shape[1] - 1))
    assert columns[:, -1].tolist() == [1.0, 0.0]


def test_a_number_that_is_not_finite_is_missing():
    values = np.concatenate([np.random.default_rng(0).normal(size=50), [np.inf]])
    columns = Curve.fit(values).columns(np.array([-np.inf, np.nan, 0.1]))
    assert columns.shape[1] == KNOTS + 2
    assert columns[:, -1].tolist() == [1.0, 1.0, 0.0]


def test_a_number_that_was_never_missing_has_no_column_for_it():
    values = np.random.default_rng(0).normal(size=50)
    curve = Curve.fit(values)
    assert curve.width == KNOTS + 1
    assert np.array_equal(curve.columns(np.array([np.nan, np.inf])), np.zeros((2, curve.width)))


@pytest.mark.parametrize("different", [2, FEW_VALUES])
def test_few_values_are_a_straight_line(different):
    values = np.tile(np.arange(different, dtype=np.float64), 30)
    curve = Curve.fit(values)
    assert curve.width == 1
    steps = np.diff(curve.columns(np.arange(different, dtype=np.float64))[:, 0])
    assert np.allclose(steps, 1.0 / values.std(), atol=1e-12)


def test_one_value_more_makes_a_curve():
    values = np.tile(np.arange(FEW_VALUES + 1, dtype=np.float64), 30)
    assert Curve.fit(values).width > 1


@pytest.mark.parametrize("seen", [[], [2.0] * 30, [np.inf, -np.inf]])
def test_a_number_that_does_not_vary_here_is_nought_and_finite(seen):
    """A field that nobody filled before the first fold judges, or all with the same."""
    curve = Curve.fit(np.array([*seen, np.nan]))
    columns = curve.columns(np.array([np.nan, 2.0, 7.0, -np.inf]))
    assert np.isfinite(columns).all()
    assert columns[:, 0].tolist()[:2] == [0.0, 0.0]
    assert columns[:, -1].tolist() == [1.0, 0.0, 0.0, 1.0]
    json.dumps(asdict(curve), allow_nan=False)


@pytest.mark.parametrize("at", [0.0, 5.0, 10.0], ids=["low end", "middle", "high end"])
def test_a_heavy_mass_at_one_value_leaves_a_curve(at):
    """The quantiles coincide there; in the middle one knot is left of them."""
    around = np.linspace(0.0, 10.0, 21)
    curve = Curve.fit(np.concatenate([np.full(979, at), around]))
    assert curve.knots
    columns = curve.columns(around)
    assert np.isfinite(columns).all()
    assert len(np.unique(columns.round(9), axis=0)) == 21
    assert (np.diff(np.unique(curve.knots)) > 0).all()


def test_a_number_far_above_its_median_is_taken_as_a_logarithm():
    counts = np.array([*range(1, 20), 10.0, 101.0])
    assert Curve.fit(counts).log
    assert not Curve.fit(np.array([*range(1, 20), 10.0, 100.0])).log
    assert not Curve.fit(counts - 2.0).log, "one of them lies below 0"
    most_are_nought = [0.0] * 50 + [1.0, 1.0]
    assert Curve.fit(np.array([*most_are_nought, 11.0])).log
    assert not Curve.fit(np.array([*most_are_nought, 9.0])).log, "the median is of those above 0"


def test_a_number_below_nought_is_no_trouble_for_a_logarithm():
    curve = Curve.fit(np.exp(np.random.default_rng(3).normal(0.0, 3.0, 100)))
    assert curve.log
    assert np.isfinite(curve.columns(np.array([-1.0, -1e9, 0.0]))).all()


def test_other_units_give_the_same_columns():
    values = np.random.default_rng(3).normal(5.0, 2.0, 300)
    one, other = Curve.fit(values), Curve.fit(1000.0 * values)
    assert not one.log
    assert np.allclose(other.columns(1000.0 * values), one.columns(values), atol=1e-9)


def with_steps(values: np.ndarray) -> Curve:
    return Curve.fit(values).stepped(values, ())


def test_a_step_is_passed_from_its_limit_on():
    values = np.arange(1.0, 101.0)
    curve = with_steps(values)
    assert curve.steps == pytest.approx(np.quantile(values, np.arange(1, STEPS) / STEPS))
    assert curve.width == KNOTS + 1 + len(curve.steps)
    limit = curve.steps[3]
    below, at = curve.columns(np.array([np.nextafter(limit, 0.0), limit]))[:, KNOTS + 1 :]
    assert below.tolist() == [STEP_HEIGHT] * 3 + [0.0] * (len(curve.steps) - 3)
    assert at.tolist() == [STEP_HEIGHT] * 4 + [0.0] * (len(curve.steps) - 4)


def test_a_missing_number_has_passed_no_step():
    values = np.append(np.arange(1.0, 101.0), np.nan)
    columns = with_steps(values).columns(np.array([np.nan]))
    assert columns.tolist() == [[0.0] * (columns.shape[1] - 1) + [1.0]]


def test_a_straight_line_has_no_steps():
    values = np.tile([0.0, 1.0, 2.0], 20)
    assert Curve.fit(values).stepped(values, ()).steps == ()
    assert Curve.fit(values).stepped(values, (1.0,)).steps == ()


def test_where_it_jumps_is_known_there_are_high_steps_and_no_others():
    values = np.append(np.arange(1.0, 101.0), np.nan)
    curve = Curve.fit(values).stepped(values, (10.0, 50.0))
    found = curve.columns(np.array([9.0, 10.0, 50.0, np.nan]))[:, KNOTS + 1 : -1]
    assert found.tolist() == [[0.0, 0.0], [JUMP_HEIGHT, 0.0], [JUMP_HEIGHT] * 2, [0.0, 0.0]]


def off(values: np.ndarray, truth: np.ndarray, seed: int, stepped: bool) -> float:
    """Squared distance of a fitted curve's log-odds from the true ones."""
    won = np.random.default_rng(seed).random(len(values)) < expit(truth)
    matrix = (with_steps(values) if stepped else Curve.fit(values)).columns(values)
    found = line(matrix, *fit_line(matrix, won.astype(np.float64), 0.1))
    return float(np.mean((found - truth) ** 2))


def test_many_leads_find_a_jump():
    values = np.random.default_rng(4).uniform(0.0, 1.0, 40_000)
    truth = -2.0 + 1.5 * (values > 0.5)
    assert off(values, truth, 5, stepped=True) < 0.6 * off(values, truth, 5, stepped=False)


def test_few_leads_without_a_jump_lose_nothing_by_the_search_for_one():
    values = np.random.default_rng(4).uniform(0.0, 1.0, 2_000)
    found, without = (
        np.mean([off(values, 1.5 * values - 2.0, seed, stepped) for seed in range(8)])
        for stepped in (True, False)
    )
    assert found < 1.05 * without


FLOATS = st.floats(-1e100, 1e100) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0])


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, 30, elements=FLOATS), arrays(np.float64, 10, elements=FLOATS))
def test_any_number_becomes_finite_columns(fit, later):
    curve = with_steps(fit)
    for values in (fit, later):
        assert np.isfinite(curve.columns(values)).all()
    json.dumps(asdict(curve), allow_nan=False)


@pytest.mark.parametrize(
    "fit",
    [
        [-1.7e308, -1.0, 0.0, 1.0, 2.0, 1.7e308],
        [1e308, 1.7e308],
        [0.0, 5e-324, 1e-323, 2e-323, 1.0],
    ],
)
def test_the_largest_and_the_smallest_numbers_leave_no_hole(fit):
    curve = with_steps(np.array(fit))
    assert np.isfinite(curve.columns(np.array([*fit, 1e308, -1e308]))).all()


CURVE = asdict(Curve.fit(np.random.default_rng(0).normal(size=50)))
STRAIGHT = asdict(Curve.fit(np.tile([0.0, 1.0, 2.0], 20)))


def read(fields: dict) -> Curve:
    return Curve.from_json(json.loads(json.dumps(fields)))


def test_a_whole_curve_is_read():
    for fields in (CURVE, STRAIGHT, {**CURVE, "steps": (0.5, 1.5)}):
        assert asdict(read(fields)) == fields


@pytest.mark.parametrize(
    "damage",
    [
        {"means": [0.0]},
        {"scales": [1.0] * 4},
        {"scales": [1.0, 1.0, 0.0, 1.0, 1.0]},
        {"scales": [1.0, 1.0, -1.0, 1.0, 1.0]},
        {"knots": CURVE["knots"][::-1]},
        {"knots": [1.0] * KNOTS},
        {"knots": [0.0, 1.0, 1.0, 2.0]},
        {"knots": CURVE["knots"][:-1]},
        {"knots": []},
        {"knots": [0.0], "means": [0.0] * 2, "scales": [1.0] * 2},
        {"knots": "0123"},
        {"curved": False},
        {"log": 1},
        {"log": None},
        {"missing": "no"},
        {"steps": [2.0, 1.0]},
        {"steps": [1.0, 1.0]},
        {"steps": "01"},
        {"steps": None},
        {"step_height": 0.0},
        {"step_height": "0.15"},
        {"means": ["0"] * 5},
    ],
    ids=str,
)
def test_a_damaged_curve_is_refused(damage):
    """Not at the first lead that is scored: when it is read."""
    with pytest.raises(ValueError, match=r"not whole|Curve"):
        read({**CURVE, **damage})


@pytest.mark.parametrize(
    "damage", [{"curved": True}, {"knots": [2.0, 0.0]}, {"knots": []}, {"scales": []}], ids=str
)
def test_a_damaged_straight_line_is_refused(damage):
    with pytest.raises(ValueError, match=r"not whole|Curve"):
        read({**STRAIGHT, **damage})


@pytest.mark.parametrize("name", list(CURVE))
def test_a_curve_that_lacks_a_field_is_refused(name):
    with pytest.raises(ValueError, match=name):
        read({key: value for key, value in CURVE.items() if key != name})
