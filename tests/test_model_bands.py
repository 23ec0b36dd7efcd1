"""Bands: the capacity is kept, ties are broken alike everywhere, hot is a promise or it is not made."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lead_propensity.config import BandsConfig
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import Isotonic
from lead_propensity.model.cuts import Cut, cut_for
from lead_propensity.model.level import tracked
from lead_propensity.model.stock import Candidates, Stock

snapshots = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from([0.1, 0.2, 0.3, 0.300001, 0.9])),
    min_size=1,
    max_size=80,
)


def leads_of(probability, lead_id, raw_score=None, age_days=5.0, meets=True) -> Candidates:
    n = len(probability)
    raw = np.zeros(n) if raw_score is None else np.asarray(raw_score, float)
    age, shown = np.full(n, age_days), np.full(n, meets)
    return Candidates(np.asarray(probability, float), raw, np.asarray(lead_id), age, shown)


def now(n: int) -> np.ndarray:
    return np.zeros(n, dtype=bool)


def stock(n: int = 4000, weeks: int | None = 4, lift: float = 0.3, seed: int = 0) -> Stock:
    """Leads of four snapshots; the upper tenth is won `lift` more often than the rest."""
    rng = np.random.default_rng(seed)
    probability = rng.random(n)
    won = (rng.random(n) < 0.1 + lift * (probability > 0.9)).astype(float)
    lead = np.arange(n) // 4
    return Stock(leads_of(probability, lead), won, lead, np.arange(n) % 4, now(n), weeks)


def newly_hot(cut: Cut | None, leads: Candidates, earlier: np.ndarray) -> int:
    """Leads that the bands call hot and did not call hot before."""
    if cut is None:
        return 0
    hot = of_cut(cut).assign(leads) == "hot"
    return len(set(leads.lead_id[hot & ~earlier]) - set(leads.lead_id[hot & earlier]))


def of_cut(cut: Cut) -> Bands:
    return Bands("capacity", cut.start, cut.ties, 0.0, None, 0.1, None, (), cut.raw_from)


@given(snapshots, st.integers(0, 25), st.randoms(use_true_random=False))
def test_capacity_is_never_overshot_and_ties_waste_none_of_it(rows, most, draw):
    """Few different probabilities and raw scores: many leads stand at the cut, and some rose from it."""
    lead, probability = (np.array(column) for column in zip(*rows, strict=True))
    earlier = np.array([draw.random() < 0.3 for _ in rows])
    rank = np.unique(probability, return_inverse=True)[1]  # a calibrator never falls
    raw = rank + np.array([draw.choice([0.0, 0.0, 0.5]) for _ in rows])
    leads = leads_of(probability, lead, raw)
    found = newly_hot(cut_for(leads, earlier, most), leads, earlier)
    assert found <= most
    if not earlier.any():
        assert found == min(most, len(set(lead)))


def test_leads_that_rise_from_a_tied_cut_count():
    lead = np.concatenate([np.arange(300), np.arange(300), np.arange(1000, 1400)])
    leads = leads_of(np.repeat([0.2, 0.5, 0.2], [300, 300, 400]), lead)
    earlier = np.arange(1000) < 300
    assert newly_hot(cut_for(leads, earlier, most=310), leads, earlier) <= 310


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.5])
def test_leads_tied_at_the_cut_stay_tied_when_the_level_moves(shift):
    leads = leads_of(np.full(1000, 0.2), np.arange(1000))
    cut = cut_for(leads, now(1000), most=100)
    moved = leads_of(tracked(leads.probability, np.full(1000, shift)), leads.lead_id)
    assert (of_cut(cut).assign(moved) == "hot").sum() == 100


def test_ties_at_the_cut_are_broken_by_lead_and_not_by_row():
    leads, turned = (leads_of(np.full(6, 0.4), np.array(list(ids))) for ids in ("abcdef", "fedcba"))
    cut = cut_for(leads, now(6), 2)
    assert cut == cut_for(turned, now(6), 2)
    assert newly_hot(cut, leads, now(6)) == newly_hot(cut, turned, now(6)) == 2


@pytest.mark.parametrize("shift", [0.0, 0.3])
@given(st.randoms(use_true_random=False))
def test_where_a_calibrator_ties_the_raw_score_decides_and_then_the_lead(shift, draw):
    """An isotonic calibrator gives its upper leads one probability; rows come in any order."""
    rng = np.random.default_rng(draw.randrange(1000))
    raw = np.round(rng.normal(size=400), 2)  # some raw scores are tied, too
    won = (rng.random(400) < 0.1 + 0.5 * (raw > 0.8)).astype(float)
    probability = Isotonic.fit(raw, won).predict(raw)
    lead = np.arange(400)
    tied = int((probability == probability.max()).sum())
    assume(tied > 1)
    most = draw.randrange(1, tied)
    cut = cut_for(leads_of(probability, lead, raw), now(400), most)
    mixed = rng.permutation(400)
    assert cut == cut_for(leads_of(probability[mixed], lead[mixed], raw[mixed]), now(400), most)
    moved = tracked(probability, np.full(400, shift))
    hot = of_cut(cut).assign(leads_of(moved, lead, raw)) == "hot"
    assert hot.sum() == most
    assert raw[hot].min() >= raw[~hot].max()


def test_a_cut_without_ties_is_one_of_probability_alone():
    leads = leads_of([0.9, 0.8, 0.1], np.arange(3), raw_score=[3.0, 2.0, 1.0])
    assert cut_for(leads, now(3), 2) == Cut(0.8)


def test_so_many_hot_leads_a_week_over_all_weeks():
    world = stock()
    config = BandsConfig(policy="capacity", hot_per_week=20)
    bands = Bands.fit(config, world, oldest_age_days=None)
    assert bands.hot_from is not None
    hot = bands.assign(world.leads) == "hot"
    assert len(set(world.leads.lead_id[hot])) == 20 * 4


def test_as_exported_a_share_of_the_leads_is_hot():
    world = stock(weeks=None)
    config = BandsConfig(policy="capacity", hot_per_week=20, hot_share=0.05)
    bands = Bands.fit(config, world, oldest_age_days=None)
    hot = bands.assign(world.leads) == "hot"
    assert len(set(world.leads.lead_id[hot])) == 50


def test_hot_without_evidence_is_refused_in_words():
    bands = Bands.fit(BandsConfig(hot_share=0.1), stock(lift=0.0), oldest_age_days=None)
    assert bands.hot_from is None
    assert bands.hot_refused is not None
    assert "not enough evidence" in bands.hot_refused
    assert set(bands.assign(leads_of(np.linspace(0, 1, 50), np.arange(50)))) == {"cold", "warm"}


def test_copies_of_few_leads_are_no_evidence():
    lead = np.repeat(np.arange(8), 100)
    probability = np.where(lead < 2, 0.9, 0.1)
    won = np.isin(lead, [0, 2, 3]).astype(float)
    n = len(lead)
    world = Stock(leads_of(probability, lead), won, lead, np.arange(n), now(n), None)
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
    ages = np.array([30.0, 30.1, np.nan])
    band = bands.assign(leads_of([1.0] * 3, np.arange(3), age_days=ages))
    assert band.tolist() == ["hot", "warm", "hot"]


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
