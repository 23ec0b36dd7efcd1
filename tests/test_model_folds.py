"""Time folds: nothing is learned from a label that was not known yet.

Where the history is too short for that, nothing is learned from a lead that is judged. The tests of those folds
were seen failing once: with leads on both sides, with a train that goes on after the start, without a call to
them or with one beside folds that have a purge, and with folds that lack wins. So were the folds of leads:
told apart by row, and with folds that lack wins.
"""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from lead_propensity.model.folds import (
    EARLIEST,
    FOLDS,
    LEAD_FOLDS,
    MIN_OF_EACH,
    lead_folds,
    sample_of_leads,
    stable_hash,
    time_folds,
)


def keys(order: list[int], delay: list[int], won: list[int]) -> pd.DataFrame:
    known = np.array(order) + np.array(delay)
    columns = {"order": order, "label_known_at": known, "won": np.array(won, float)}
    return pd.DataFrame({**columns, "group_id": [f"lead-{place}" for place in range(len(order))]})


@st.composite
def histories(draw) -> pd.DataFrame:
    """Few distinct times, so that labels often become known just when a fold starts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n = draw(st.integers(1, 300))
    order = rng.integers(0, draw(st.integers(1, 60)), n)
    delay = rng.integers(0, draw(st.integers(1, 25)), n)
    return keys(order, delay, rng.random(n) < 0.4)


@settings(max_examples=200, deadline=None)
@given(histories())
def test_no_training_label_is_known_after_its_validation_starts(frame):
    for fold in time_folds(frame):
        starts = frame["order"].iloc[fold.valid].min()
        assert frame["order"].iloc[fold.train].max() < starts
        if fold.known:
            assert frame["label_known_at"].iloc[fold.train].max() <= starts
        assert not set(fold.train) & set(fold.valid)


@settings(max_examples=100, deadline=None)
@given(histories())
def test_folds_expand_and_hold_both_classes(frame):
    folds = time_folds(frame)
    for earlier, later in itertools.pairwise(folds):
        assert set(earlier.train) <= set(later.train)
        assert not set(earlier.valid) & set(later.valid)
    for fold in folds:
        for side in (fold.train, fold.valid):
            assert frame["won"].iloc[side].value_counts().min() >= MIN_OF_EACH


def test_an_ordinary_history_gives_four_folds_over_the_last_sixty_percent():
    frame = keys(list(range(1000)), [50] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert [fold.starts for fold in folds] == [400, 550, 700, 850]
    assert folds[0].train.max() == 350
    assert folds[-1].valid.max() == 999


def test_a_long_label_delay_starts_the_folds_later():
    frame = keys(list(range(1000)), [600] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert folds
    assert folds[0].starts >= 600 + 0.1 * 1000 - 2


def test_a_history_shorter_than_the_delay_has_folds_of_other_leads_or_none():
    frame = keys(list(range(1000)), [1000] * 1000, [0, 1] * 500)
    assert [fold.known for fold in time_folds(frame)] == [False] * 4
    assert time_folds(frame.assign(group_id="the only one")) == ()


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(1, 200))
def test_a_sample_keeps_whole_leads_within_the_limit(numbers, limit):
    leads = pd.Series([f"lead-{number}" for number in numbers])
    chosen = sample_of_leads(leads, limit)
    assert chosen.sum() <= max(limit, 0)
    assert not set(leads[chosen]) & set(leads[~chosen])


def test_a_sample_does_not_depend_on_row_order():
    leads = pd.Series([f"lead-{number % 40}" for number in range(200)])
    mixed = leads.sample(frac=1.0, random_state=3)
    taken = set(leads[sample_of_leads(leads, 90)])
    assert taken == set(mixed[sample_of_leads(mixed, 90)])


def test_the_hash_is_the_same_in_another_process():
    code = (
        "import pandas as pd; from lead_propensity.model.folds import stable_hash; "
        "print(stable_hash(pd.Index(['a', 'é'])).tolist())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(stable_hash(pd.Index(["a", "é"])).tolist())


@st.composite
def short_histories(draw) -> pd.DataFrame:
    """No label is known before the end, and a lead has several snapshots."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n = draw(st.integers(1, 300))
    order = rng.integers(0, draw(st.integers(1, 60)), n)
    frame = keys(order, [1000] * n, rng.random(n) < draw(st.sampled_from([0.05, 0.4])))
    leads = draw(st.integers(1, 300))
    return frame.assign(group_id=[f"group-{number}" for number in rng.integers(0, leads, n)])


@settings(max_examples=200, deadline=None)
@given(short_histories())
def test_a_fold_without_a_purge_has_no_lead_on_both_sides(frame):
    for fold in time_folds(frame):
        assert not fold.known
        train, valid = frame.iloc[fold.train], frame.iloc[fold.valid]
        assert not set(train["group_id"]) & set(valid["group_id"])
        assert train["order"].max() < fold.starts == valid["order"].min()
        for side in (train, valid):
            assert side["won"].value_counts().reindex([0.0, 1.0]).min() >= MIN_OF_EACH


@settings(max_examples=100, deadline=None)
@given(short_histories())
def test_folds_of_leads_judge_each_row_at_most_once_by_all_other_leads(frame):
    folds = lead_folds(frame)
    judged = np.concatenate([fold.valid for fold in folds]) if folds else np.array([], int)
    assert len(judged) == len(set(judged))
    for fold in folds:
        train, valid = frame.iloc[fold.train], frame.iloc[fold.valid]
        assert not set(train["group_id"]) & set(valid["group_id"])
        assert len(train) + len(valid) == len(frame)
        assert fold.starts == valid["order"].min()
        for side in (train, valid):
            assert side["won"].value_counts().reindex([0.0, 1.0]).min() >= MIN_OF_EACH


def test_each_fold_of_leads_judges_about_a_fifth_of_them():
    frame = keys(list(range(500)), [0] * 500, [0, 1] * 250)
    judged = [len(fold.valid) for fold in lead_folds(frame)]
    assert len(judged) == LEAD_FOLDS
    assert np.allclose(judged, 500 / LEAD_FOLDS, rtol=0.3)


@settings(max_examples=100, deadline=None)
@given(short_histories())
def test_a_fold_without_a_purge_leaves_out_no_more_than_the_leads_it_is_judged_on(frame):
    folds = time_folds(frame)
    for fold in folds:
        judged = frame["group_id"].isin(set(frame["group_id"].iloc[fold.valid]))
        expected = np.flatnonzero((frame["order"] < fold.starts) & ~judged)
        assert np.array_equal(fold.train, expected)
    for earlier, later in itertools.pairwise(folds):
        assert frame["order"].iloc[earlier.valid].max() < later.starts


@settings(max_examples=200, deadline=None)
@given(histories())
def test_the_two_kinds_of_folds_are_never_mixed(frame):
    """One fold with a purge is enough: labels from the future are used only where there is none."""
    assert len({fold.known for fold in time_folds(frame)}) <= 1


def test_one_fold_with_a_purge_is_preferred_to_four_without():
    frame = keys(list(range(1000)), [850] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert [fold.known for fold in folds] == [True] * len(folds)
    assert folds[0].starts == 949, (
        "a tenth of the losses are known at 850 + 98, of the wins one later"
    )
    assert [fold.known for fold in time_folds(frame, 1)] == [True]
    later = frame.assign(label_known_at=frame["order"] + 950)
    assert [fold.known for fold in time_folds(later)] == [False] * FOLDS


def test_folds_without_a_purge_lie_over_the_last_sixty_percent():
    frame = keys(list(range(1000)), [1000] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert [fold.starts for fold in folds] == [400, 550, 700, 850]
    assert EARLIEST == 0.4
    assert folds[0].train.tolist() == list(range(400))
    assert folds[-1].valid.tolist() == list(range(850, 1000))


def test_a_lead_seen_before_and_after_teaches_nothing():
    """Every second lead comes back; only those that do not are learned from."""
    leads = [f"lead-{place % 500 if place % 2 else place}" for place in range(1000)]
    frame = keys(list(range(1000)), [1000] * 1000, [0, 0, 1, 1] * 250).assign(group_id=leads)
    folds = time_folds(frame)
    assert len(folds) == FOLDS
    assert folds[1].train.tolist() == [
        place for place in range(550) if place % 2 == 0 or not 50 <= place % 500 < 200
    ]


def test_no_rows_have_no_fold():
    assert time_folds(keys([], [], [])) == ()
    assert time_folds(keys([3], [1], [1])) == ()


def test_rows_of_one_moment_have_no_fold():
    """Nothing lies before it."""
    assert time_folds(keys([7] * 100, [1] * 100, [0, 1] * 50)) == ()


@settings(max_examples=50, deadline=None)
@given(short_histories(), st.integers(0, 2**20))
def test_folds_without_a_purge_do_not_depend_on_the_order_of_the_rows(frame, seed):
    place = np.random.default_rng(seed).permutation(len(frame))
    for fold, other in zip(time_folds(frame), time_folds(frame.iloc[place]), strict=True):
        assert fold.starts == other.starts
        assert sorted(place[other.train]) == fold.train.tolist()
        assert sorted(place[other.valid]) == fold.valid.tolist()
