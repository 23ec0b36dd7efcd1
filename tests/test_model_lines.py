"""What a line learns from: snapshots, and beside them each deal once.

Each was seen failing once: with the first row of a lead instead of its last, with the plain fit alone, with
the told-once fit alone where every row is a lead, and with rows cut without their leads.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from lead_propensity.model import choosing
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import time_folds
from lead_propensity.model.lines import STRENGTHS, Lesson, LessonTwice, fit_line, told_once
from model_world import FEATURES, dataset

KINDS, AHEAD, BASE = 12, 8, -4.0
"""Attributes of a lead, each met or not; looks that the horizon spans; log-odds of a deal per look."""
TRUTH = np.linspace(-1.0, 1.0, KINDS)


def looks(seed: int, leads: int = 1_500) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attributes, labels and leads: each lead is looked at until it is won, by a look's own odds, or 12 times."""
    rng = np.random.default_rng(seed)
    attributes = (rng.random((leads, KINDS)) < 0.4).astype(np.float64)
    chance = 1.0 / (1.0 + np.exp(-(BASE + attributes @ TRUTH)))
    won_at = rng.geometric(chance)
    at, lead = np.meshgrid(np.arange(12), np.arange(leads), indexing="ij")
    at, lead = at.ravel(), lead.ravel()
    seen = at < won_at[lead]
    at, lead = at[seen], lead[seen]
    return attributes[lead], (won_at[lead] <= at + AHEAD).astype(np.float64), lead


def off(coefficients: np.ndarray) -> float:
    """The share of the true effects that these do not tell, in whatever unit."""
    return 1.0 - float(np.corrcoef(coefficients, TRUTH)[0, 1]) ** 2


def test_each_lead_tells_of_its_deal_at_its_last_row():
    leads = pd.Series(["a", "b", "a", "c", "b", "a"])
    won = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    assert told_once(leads, won).tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]


def test_what_leads_are_is_learned_better_from_deals_told_once_as_well():
    """A lead won late was looked at often: its few attributes would count several times."""
    everything = np.ones(KINDS, dtype=bool)
    plain, twice = [], []
    for seed in range(16):
        matrix, won, leads = looks(seed)
        plain.append(off(Lesson(matrix, won).fit(1.0)[1]))
        twice.append(off(LessonTwice(matrix, won, leads, everything).fit(1.0)[1]))
    assert np.mean(twice) < 0.9 * np.mean(plain)


def test_of_the_told_once_direction_the_snapshots_choose_the_size():
    """So a deal told once is no rarer a deal: as many are expected as came."""
    matrix, won, leads = looks(7)
    bias, found = LessonTwice(matrix, won, leads, np.ones(KINDS, dtype=bool)).fit(1.0)
    expected = 1.0 / (1.0 + np.exp(-(bias + matrix @ found)))
    assert expected.mean() == pytest.approx(won.mean(), rel=0.02)


def test_where_no_lead_is_won_at_its_last_row_all_its_rows_tell():
    leads, won = np.array(["a", "a", "b"]), np.array([1.0, 0.0, 0.0])
    assert told_once(leads, won).tolist() == won.tolist()


def test_where_every_row_is_a_lead_there_is_one_lesson():
    matrix, won, _ = looks(1)
    lesson = LessonTwice(matrix, won, np.arange(len(won)), np.ones(KINDS, dtype=bool))
    bias, found = lesson.fit(0.1)
    assert (bias, found.tolist()) == (
        fit_line(matrix, won, 0.1)[0],
        Lesson(matrix, won).fit(0.1)[1].tolist(),
    )


def test_what_leads_do_is_learned_from_every_look():
    """Of columns that nobody says there is one lesson."""
    matrix, won, leads = looks(2)
    lesson = LessonTwice(matrix, won, leads, np.zeros(KINDS, dtype=bool))
    assert lesson.fit(0.1)[1].tolist() == Lesson(matrix, won).fit(0.1)[1].tolist()


def test_some_rows_keep_their_leads():
    matrix, won, leads = looks(3)
    said = np.arange(KINDS) < 6
    chosen = np.flatnonzero(leads % 3 > 0)
    part = LessonTwice(matrix, won, leads, said).rows(chosen)
    again = LessonTwice(matrix[chosen], won[chosen], leads[chosen], said)
    assert part.fit(0.1)[1].tolist() == again.fit(0.1)[1].tolist()


def test_a_fold_encodes_by_what_it_knew():
    data = dataset(leads=300, seed=4).part("fit")
    encoding = Encoding.fit(data.X, data.keys["lead_id"], FEATURES)
    first, *_, last = time_folds(data.keys)
    known = np.isin(np.arange(len(data)), first.train)
    keys = data.keys.assign(won=np.where(known, data.won, 1 - data.won))
    X = data.X.assign(visits_30d=np.where(known, data.X["visits_30d"], 99.0))
    later = replace(data, keys=keys, X=X)
    one, other, wide = (
        choosing._smooth_of(fold, rows, encoding).matrix[known]
        for fold, rows in ((first, data), (first, later), (last, data))
    )
    assert np.array_equal(one, other)
    assert not np.array_equal(one, wide)


@pytest.mark.parametrize("twice", [False, True])
def test_fits_along_strengths_are_those_of_each_alone(twice):
    """Where a fit begins, and how it is found, does not matter to where it ends."""
    rng = np.random.default_rng(8)
    matrix = rng.normal(size=(600, 5))
    won = (rng.random(600) < expit(matrix[:, 0] - 1.0)).astype(np.float64)
    leads, said = np.repeat(np.arange(200), 3), np.array([True, True, False, False, False])
    lesson = LessonTwice(matrix, won, leads, said) if twice else Lesson(matrix, won)
    for strength, (bias, found) in zip(STRENGTHS, lesson.along(STRENGTHS), strict=True):
        alone_bias, alone = lesson.fit(strength)
        assert bias == pytest.approx(alone_bias, abs=1e-4)
        assert found == pytest.approx(alone, abs=1e-4)
        if not twice:
            other = LogisticRegression(C=strength, tol=1e-8).fit(matrix, won)
            assert found == pytest.approx(other.coef_[0], abs=1e-4)
