"""Where a curve jumps is found, and nothing where none does.

Each was seen failing once: with no doubt at all, without the curve or the steps found before among what is known,
and with steps that begin one limit later.
"""

import numpy as np
import pytest
from scipy.special import expit

from lead_propensity.model.curves import Curve
from lead_propensity.model.jumps import BEYOND_DOUBT, GROUPS, MOST, jumps
from lead_propensity.model.lines import fit_line, line


def found_in(values: np.ndarray, truth: np.ndarray, seed: int) -> tuple[float, ...]:
    """`truth` (n,) log-odds of which outcomes are drawn."""
    won = (np.random.default_rng(seed).random(len(values)) < expit(truth)).astype(np.float64)
    curve = Curve.fit(values)
    columns = curve.columns(values)
    chance = expit(line(columns, *fit_line(columns, won, 1.0)))
    return jumps(curve, values, won - chance, chance * (1.0 - chance))


def evenly(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).uniform(0.0, 1.0, count)


@pytest.mark.parametrize("seed", range(5))
def test_one_jump_is_found_where_it_is(seed):
    values = evenly(40_000)
    found = found_in(values, -2.0 + values + 1.0 * (values >= 0.3), seed)
    assert len(found) == 1
    assert found[0] == pytest.approx(0.3, abs=1.5 / GROUPS)


def test_a_jump_begins_with_the_first_number_that_is_over_it():
    values = np.random.default_rng(2).integers(0, 50, 40_000).astype(np.float64)
    assert found_in(values, -2.0 + 1.0 * (values >= 20), 3) == (20.0,)


def test_every_jump_of_several_is_found():
    """A way up and down again in small numbers: 10, 50, 200 and 1000 employees."""
    values = np.round(np.exp(np.random.default_rng(1).normal(4.2, 1.6, 300_000)))
    heights = np.array([-0.6, -0.1, 0.25, 0.55, 0.0])
    limits = [10, 50, 200, 1000]
    found = np.array(
        found_in(values, heights[np.searchsorted(limits, values, side="right")] - 3, 2)
    )
    nearest = [found[np.argmin(np.abs(np.log(found / limit)))] for limit in limits]
    assert nearest == pytest.approx(limits, rel=0.12)
    assert len(found) <= MOST


def test_a_smooth_curve_has_none():
    values = evenly(20_000)
    hits = [found_in(values, np.sin(3.0 * values) - 2.0, seed) for seed in range(40)]
    assert sum(map(len, hits)) == 0


def test_few_leads_are_not_believed():
    values = evenly(300)
    assert found_in(values, -2.0 + 1.0 * (values >= 0.3), 3) == ()


def test_a_straight_line_has_none():
    values = np.tile([0.0, 1.0, 2.0], 10_000)
    assert found_in(values, 3.0 * (values >= 1.0) - 2.0, 4) == ()


def test_missing_numbers_change_nothing():
    values = evenly(40_000)
    found = found_in(values, -2.0 + 1.0 * (values >= 0.3), 5)
    curve, chance = Curve.fit(values), np.full(50_000, 0.2)
    won = (np.random.default_rng(5).random(40_000) < expit(-2.0 + (values >= 0.3))) * 1.0
    columns = curve.columns(values)
    chance[:40_000] = expit(line(columns, *fit_line(columns, won, 1.0)))
    holes = np.append(values, np.full(10_000, np.nan))
    residual = np.append(won, np.ones(10_000)) - chance
    assert jumps(curve, holes, residual, chance * (1.0 - chance)) == found != ()


def test_the_evidence_is_what_the_likelihood_gains():
    """Twice the gain of one step, by a fit of both models, lies near the score test's own limit."""
    values = evenly(20_000)
    columns = Curve.fit(values).columns(values)
    step, clear = (values >= 0.3).astype(np.float64), set()
    for height in np.linspace(0.2, 1.2, 6):
        won = (np.random.default_rng(6).random(20_000) < expit(height * step - 2.0)) * 1.0
        losses = []
        for matrix in (columns, np.column_stack([columns, step])):
            score = line(matrix, *fit_line(matrix, won, 100.0))
            losses.append(np.sum(np.logaddexp(0.0, score) - won * score))
        gain = 2.0 * (losses[0] - losses[1])
        if not 0.5 * BEYOND_DOUBT <= gain <= 1.3 * BEYOND_DOUBT:
            believed = gain > BEYOND_DOUBT
            clear.add(believed)
            assert bool(found_in(values, height * step - 2.0, 6)) == believed
    assert clear == {True, False}
