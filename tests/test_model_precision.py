"""The policy `precision`: a promise that was chosen and tested on the same outcomes is still kept.

Seen to fail once: the row of tests going on after a failure, the observed rate for its bound, all looks at a
group, every date for the one that is drawn, ties left out of the foretold rate, the promise not the target.
"""

import numpy as np
import pytest
from scipy.stats import binom

from lead_propensity.config import BandsConfig
from lead_propensity.model.bands import Bands
from lead_propensity.model.precision import (
    Foretold,
    Proof,
    lower_bound,
    one_each,
    precision_cut,
    widest,
)
from lead_propensity.model.stock import Candidates, Stock

TARGET = 0.3
WORLDS = 1500
AT_MOST = 0.05 + 3 * np.sqrt(0.05 * 0.95 / WORLDS)
"""Of the worlds in which the promise may break, with three standard errors of the simulation."""


def stock_of(raw, won, group=None, order=None, weeks=None) -> Stock:
    n = len(raw)
    group = np.array([f"g{k}" for k in range(n)]) if group is None else group
    order = np.arange(n) if order is None else order
    leads = Candidates(1 / (1 + np.exp(-raw)), raw, group, np.full(n, 5.0), np.ones(n, dtype=bool))
    return Stock(leads, won, group, order, np.zeros(n, dtype=bool), weeks)


def rate_at(raw: np.ndarray) -> np.ndarray:
    """The true chance to win: just below the target for the upper half, so that luck may pass any limit."""
    return np.where(raw > 0, TARGET - 0.001, 0.1)


def foretold(seed: int, n: int = 2000) -> Foretold:
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=n)
    return Foretold.of(raw, (rng.random(n) < rate_at(raw)).astype(float))


def naive(raw: np.ndarray, won: np.ndarray, starts: np.ndarray) -> float | None:
    """The widest set whose bound reaches the target: each bound holds alone, the widest of many does not."""
    for start in starts[::-1]:
        reached = raw >= start
        if lower_bound(int(won[reached].sum()), int(reached.sum())) >= TARGET:
            return float(start)
    return None


def test_the_chance_of_a_broken_promise_is_five_percent_and_that_of_the_naive_choice_is_not():
    """Every set is a little worse than promised: to call anybody hot breaks the promise."""
    known = foretold(0)
    broken = {"ours": 0, "naive": 0}
    for world in range(WORLDS):
        rng = np.random.default_rng(world + 1)
        raw = rng.normal(size=600)
        won = (rng.random(600) < rate_at(raw)).astype(float)
        start, _ = widest(raw, won, known.sequence(raw, TARGET), TARGET)
        broken["ours"] += start is not None
        broken["naive"] += naive(raw, won, known.starts) is not None
    assert broken["ours"] / WORLDS <= AT_MOST
    assert broken["naive"] / WORLDS > 2 * AT_MOST


def test_the_promise_is_kept_where_the_rate_crosses_the_target():
    """The usual case: the upper leads are well above the target, and somewhere the set is too wide."""

    def rate(raw):
        return 1 / (1 + np.exp(-(1.5 * raw - 1.0)))

    rng = np.random.default_rng(7)
    many = rng.normal(size=200_000)
    past = rng.normal(size=3000)
    known = Foretold.of(past, (rng.random(3000) < rate(past)).astype(float))
    broken, made = 0, 0
    for world in range(WORLDS // 3):
        rng = np.random.default_rng(world + 1)
        raw = rng.normal(size=800)
        won = (rng.random(800) < rate(raw)).astype(float)
        cut, tested = precision_cut(stock_of(raw, won), np.ones(800, bool), known, 0.5)
        assert tested.passed == (cut is not None)
        if cut is not None:
            made += 1
            reached = 1 / (1 + np.exp(-many)) >= cut.start
            broken += float(rate(many[reached]).mean()) < 0.5
    assert made > 0.9 * WORLDS // 3
    assert broken / made <= AT_MOST


@pytest.mark.parametrize(("wins", "n"), [(0, 20), (3, 20), (19, 20), (20, 20)])
def test_the_bound_is_the_rate_at_which_so_many_wins_come_in_one_of_twenty_samples(wins, n):
    bound = lower_bound(wins, n)
    if wins == 0:
        assert bound == 0
    else:
        assert binom.sf(wins - 1, n, bound) == pytest.approx(0.05)


def test_the_first_failure_ends_the_row():
    """A wider set that would pass again was reached over one that failed: it does not count."""
    raw = np.repeat([3.0, 2.0, 1.0], [100, 100, 1000])
    won = np.concatenate([np.ones(60), np.zeros(40), np.zeros(100), np.ones(900), np.zeros(100)])
    start, tested = widest(raw, won, np.array([3.0, 2.0, 1.0]), 0.5)
    assert (start, tested.n, tested.wins) == (3.0, 100, 60)
    start, tested = widest(raw, won, np.array([2.0, 1.0]), 0.5)
    assert start is None
    assert not tested.passed


def test_the_limits_only_widen_from_the_one_that_is_likeliest_to_pass():
    known = Foretold(np.array([4.0, 3.0, 2.0, 1.0]), np.array([0.9, 0.8, 0.7, 0.2]))
    few, many = np.array([4.0, 2.5, 2.5, 2.0]), np.repeat([3.5, 1.5], [100, 10])
    assert known.sequence(few, TARGET).tolist() == [2.0, 1.0]
    assert known.sequence(many, TARGET).tolist() == [3.0, 2.0, 1.0]


def test_the_foretold_rate_counts_every_snapshot_from_the_limit_on():
    score = np.array([1.0, 2.0, 2.0, 3.0])
    known = Foretold.of(score, np.array([0.0, 1.0, 0.0, 1.0]))
    assert dict(zip(known.starts, known.rate, strict=True)) == pytest.approx(
        {3.0: 1.0, 2.0: 2 / 3, 1.0: 0.5}
    )


def test_each_group_is_looked_at_once_and_the_row_order_does_not_matter():
    rng = np.random.default_rng(0)
    group = np.array([f"g{k}" for k in rng.integers(0, 50, 1000)])
    order = rng.integers(0, 6, 1000)
    rows = stock_of(rng.normal(size=1000), np.zeros(1000), group, order, weeks=6)
    looked = one_each(rows)
    assert len(set(group[looked])) == len(looked)
    mixed = rng.permutation(1000)
    again = stock_of(rows.leads.raw_score[mixed], np.zeros(1000), group[mixed], order[mixed], 6)
    pairs = {(group[row], order[row]) for row in looked}
    assert pairs == {(group[mixed][row], order[mixed][row]) for row in one_each(again)}


def test_a_lead_that_is_open_for_long_weighs_as_much_as_in_the_stock():
    """Half of the leads are open on one of ten dates, half on all: a date is drawn for each lead."""
    short = [(f"s{k}", k % 10) for k in range(5000)]
    long = [(f"l{k}", date) for k in range(5000) for date in range(10)]
    group, order = (np.array(column) for column in zip(*short, *long, strict=True))
    rows = stock_of(np.zeros(len(group)), np.zeros(len(group)), group, order, weeks=10)
    share = np.mean([name.startswith("l") for name in group[one_each(rows)]])
    assert share == pytest.approx(10 / 11, abs=0.01)


def test_rows_without_time_are_each_groups_one_row():
    group = np.repeat([f"g{k}" for k in range(30)], 3)
    looked = one_each(stock_of(np.zeros(90), np.zeros(90), group))
    assert sorted(set(group[looked])) == sorted(set(group))
    assert len(looked) == 30


def test_without_evidence_nobody_is_hot_and_it_says_what_was_reached():
    rng = np.random.default_rng(2)
    raw = rng.normal(size=400)
    won = (rng.random(400) < 0.1).astype(float)
    bands = Bands.fit(
        BandsConfig(policy="precision", target=TARGET), stock_of(raw, won), None, foretold(0)
    )
    assert bands.hot_from is None
    assert "not enough evidence" in str(bands.hot_refused)
    assert "the target is 30.0%" in str(bands.hot_refused)


def test_the_promise_of_hot_is_the_target_and_survives_json():
    rng = np.random.default_rng(2)
    raw = rng.normal(size=3000)
    won = (rng.random(3000) < 1 / (1 + np.exp(-(2 * raw - 2)))).astype(float)
    known = Foretold.of(raw[:1500], won[:1500])
    rows = stock_of(raw[1500:], won[1500:])
    bands = Bands.fit(BandsConfig(policy="precision", target=0.4), rows, None, known)
    hot = bands.promises[-1]
    assert (hot.band, hot.lower) == ("hot", 0.4)
    assert isinstance(bands.tested, Proof)
    assert bands.tested.lower >= 0.4
    assert (bands.assign(rows.leads) == "hot").sum() == hot.n == bands.tested.n
    assert Bands.from_json(bands.to_json()) == bands
