"""Time folds: nothing is learned from a label that was not known yet."""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from lead_propensity.model.folds import MIN_OF_EACH, sample_of_leads, stable_hash, time_folds


def keys(order: list[int], delay: list[int], won: list[int]) -> pd.DataFrame:
    known = np.array(order) + np.array(delay)
    return pd.DataFrame({"order": order, "label_known_at": known, "won": np.array(won, float)})


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


def test_an_ordinary_history_gives_three_folds_over_the_last_sixty_percent():
    frame = keys(list(range(1000)), [50] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert [fold.starts for fold in folds] == [400, 600, 800]
    assert folds[0].train.max() == 350
    assert folds[-1].valid.max() == 999


def test_a_long_label_delay_starts_the_folds_later():
    frame = keys(list(range(1000)), [600] * 1000, [0, 1] * 500)
    folds = time_folds(frame)
    assert folds
    assert folds[0].starts >= 600 + 0.1 * 1000 - 2


def test_a_history_shorter_than_the_delay_has_no_fold():
    assert time_folds(keys(list(range(1000)), [1000] * 1000, [0, 1] * 500)) == ()


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
