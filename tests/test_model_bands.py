"""Bands: the capacity is kept, and hot is a promise or it is not made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lead_propensity.config import BandsConfig
from lead_propensity.model.bands import Bands, Cut, Stock, cut_for
from lead_propensity.model.level import tracked

snapshots = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from([0.1, 0.2, 0.3, 0.300001, 0.9])),
    min_size=1,
    max_size=80,
)


def stock(n: int = 4000, weeks: int | None = 4, lift: float = 0.3, seed: int = 0) -> Stock:
    """Leads of four snapshots; the upper tenth is won `lift` more often than the rest."""
    rng = np.random.default_rng(seed)
    probability = rng.random(n)
    won = (rng.random(n) < 0.1 + lift * (probability > 0.9)).astype(float)
    lead = np.arange(n) // 4
    return Stock(probability, won, lead, lead, np.full(n, 5.0), np.zeros(n, dtype=bool), weeks)


def newly_hot(
    cut: Cut | None, lead: np.ndarray, probability: np.ndarray, earlier: np.ndarray
) -> int:
    """Leads that the bands call hot and did not call hot before."""
    if cut is None:
        return 0
    bands = Bands("capacity", cut.start, cut.ties, 0.0, None, 0.1, None, ())
    hot = bands.assign(probability, np.zeros(len(lead)), lead) == "hot"
    return len(set(lead[hot & ~earlier]) - set(lead[hot & earlier]))


@given(snapshots, st.integers(0, 25), st.randoms(use_true_random=False))
def test_capacity_is_never_overshot_and_ties_waste_none_of_it(rows, most, draw):
    """Few different probabilities: many leads stand at the cut, and some rose from it."""
    lead, probability = (np.array(column) for column in zip(*rows, strict=True))
    earlier = np.array([draw.random() < 0.3 for _ in rows])
    found = newly_hot(cut_for(probability, lead, earlier, most), lead, probability, earlier)
    assert found <= most
    if not earlier.any():
        assert found == min(most, len(set(lead)))


def test_leads_that_rise_from_a_tied_cut_count():
    lead = np.concatenate([np.arange(300), np.arange(300), np.arange(1000, 1400)])
    probability = np.repeat([0.2, 0.5, 0.2], [300, 300, 400])
    earlier = np.arange(1000) < 300
    cut = cut_for(probability, lead, earlier, most=310)
    assert newly_hot(cut, lead, probability, earlier) <= 310


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.5])
def test_leads_tied_at_the_cut_stay_tied_when_the_level_moves(shift):
    lead, probability = np.arange(1000), np.full(1000, 0.2)
    cut = cut_for(probability, lead, np.zeros(1000, dtype=bool), most=100)
    assert cut is not None
    bands = Bands("capacity", cut.start, cut.ties, 0.0, None, 0.1, None, ())
    moved = tracked(probability, np.full(1000, shift))
    assert (bands.assign(moved, np.zeros(1000), lead, np.full(1000, shift)) == "hot").sum() == 100


def test_ties_at_the_cut_are_broken_by_lead_and_not_by_row():
    lead, probability = np.array(list("abcdef")), np.full(6, 0.4)
    none = np.zeros(6, dtype=bool)
    cut, turned = (cut_for(probability, ids, none, 2) for ids in (lead, lead[::-1]))
    assert cut == turned
    assert newly_hot(cut, lead, probability, none) == 2


def test_so_many_hot_leads_a_week_over_all_weeks():
    world = stock()
    config = BandsConfig(policy="capacity", hot_per_week=20)
    bands = Bands.fit(config, world, oldest_age_days=None)
    assert bands.hot_from is not None
    hot = bands.assign(world.probability, world.age_days, world.lead_id) == "hot"
    assert len(set(world.lead_id[hot])) == 20 * 4


def test_as_exported_a_share_of_the_leads_is_hot():
    world = stock(weeks=None)
    config = BandsConfig(policy="capacity", hot_per_week=20, hot_share=0.05)
    bands = Bands.fit(config, world, oldest_age_days=None)
    hot = bands.assign(world.probability, world.age_days, world.lead_id) == "hot"
    assert len(set(world.lead_id[hot])) == 50


def test_hot_without_evidence_is_refused_in_words():
    bands = Bands.fit(BandsConfig(hot_share=0.1), stock(lift=0.0), oldest_age_days=None)
    assert bands.hot_from is None
    assert bands.hot_refused is not None
    assert "not enough evidence" in bands.hot_refused
    assert set(bands.assign(np.linspace(0, 1, 50), np.zeros(50), np.arange(50))) == {"cold", "warm"}


def test_copies_of_few_leads_are_no_evidence():
    lead = np.repeat(np.arange(8), 100)
    probability = np.where(lead < 2, 0.9, 0.1)
    won = np.isin(lead, [0, 2, 3]).astype(float)
    world = Stock(
        probability, won, lead, lead, np.zeros(len(lead)), np.zeros(len(lead), dtype=bool), None
    )
    assert Bands.fit(BandsConfig(hot_share=0.3), world, None).hot_from is None


def test_the_promises_count_every_labelled_snapshot_once():
    world = stock()
    world.won[:100] = np.nan
    bands = Bands.fit(BandsConfig(hot_share=0.1), world, oldest_age_days=None)
    assert [promise.band for promise in bands.promises] == ["cold", "warm", "hot"]
    assert sum(promise.n for promise in bands.promises) == len(world.won) - 100
    hot = bands.promises[-1]
    assert hot.observed is not None
    assert bands.base_rate < hot.lower <= hot.observed <= hot.upper
    assert hot.deff >= 1.0


def test_a_lead_older_than_any_in_training_is_never_hot():
    bands = Bands.fit(BandsConfig(hot_share=0.1), stock(), oldest_age_days=30.0)
    assert list(
        bands.assign(np.array([1.0] * 3), np.array([30.0, 30.1, np.nan]), np.arange(3))
    ) == [
        "hot",
        "warm",
        "hot",
    ]


def test_hot_pays_where_the_expected_value_covers_the_contact():
    config = BandsConfig(policy="value", cost_per_contact=85, value_per_win=100)
    bands = Bands.fit(config, stock(), oldest_age_days=None)
    assert bands.hot_from == pytest.approx(0.85)
    dear = BandsConfig(policy="value", cost_per_contact=50, value_per_win=40)
    assert "costs more" in str(Bands.fit(dear, stock(), None).hot_refused)


def test_warm_is_the_base_rate_and_never_above_hot():
    world = stock()
    low = Bands.fit(BandsConfig(policy="thresholds", hot=0.01), world, None)
    assert low.hot_from is None or low.warm_from <= low.hot_from
    usual = Bands.fit(BandsConfig(policy="thresholds", hot=0.9), world, None)
    assert usual.warm_from == pytest.approx(world.won.mean())


def test_bands_survive_json():
    bands = Bands.fit(BandsConfig(hot_share=0.1), stock(), oldest_age_days=30.0)
    assert Bands.from_json(bands.to_json()) == bands
