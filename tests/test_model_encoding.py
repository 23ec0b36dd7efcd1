"""The encoding: learned on the fit part, and calm about whatever comes later."""

import json

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lead_propensity.features.kept import FEWEST_LEADS
from lead_propensity.model.encoding import (
    CategoryColumn,
    Encoding,
    NumberColumn,
    factorized,
)
from model_world import CATALOGUE, FEATURES, matrix

X = matrix(400, 1, seed=3)
LEADS = pd.Series([f"lead-{row}" for row in range(400)])
ENCODING = Encoding.fit(X, LEADS, FEATURES)


def test_constant_columns_are_dropped():
    assert ENCODING.dropped == ("always_one",)
    assert "always_one" not in ENCODING.names


def test_levels_need_leads_not_rows():
    levels = pd.Series(["often"] * 30 + ["rare"] * 100, dtype=object)
    leads = pd.Series([f"o{row}" for row in range(30)] + ["one lead"] * 100)
    column = CategoryColumn.fit("level", levels, leads)
    assert column.levels == ("often",)
    assert FEWEST_LEADS == 20


def test_rare_unseen_and_missing_levels_have_their_places():
    column = CategoryColumn("level", ("a", "b"))
    codes = column.codes(pd.Series(["b", "never seen", None, "a"], dtype=object))
    assert np.array_equal(codes, [1.0, 2.0, np.nan, 0.0], equal_nan=True)
    hot = np.empty((4, column.width))
    column.write(codes, hot)
    assert hot.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]


@given(st.lists(st.sampled_from(["a", "b", "rare", None, float("nan")]), max_size=12))
def test_texts_read_once_have_the_same_codes(texts):
    column, values = CategoryColumn("level", ("a", "b")), pd.Series(texts, dtype=object)
    expected = [{"a": 0.0, "b": 1.0, "rare": 2.0}.get(text, np.nan) for text in texts]
    np.testing.assert_array_equal(column.codes(values), expected)
    np.testing.assert_array_equal(column.codes(factorized(values)), expected)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, 40, elements=st.floats(allow_infinity=True)),
    arrays(np.float64, 10, elements=st.floats(allow_infinity=True)),
)
def test_any_number_becomes_a_finite_one_near_the_fit_range(fit, later):
    column = NumberColumn.fit("number", fit)
    for values in (fit, later):
        into = np.empty((len(values), column.width))
        column.write(values, into)
        assert np.isfinite(into).all()
        assert (into[:, 0] >= min(column.low, 0.0)).all()
        assert (into[:, 0] <= max(column.high, 0.0)).all()


def test_missing_is_the_mean_and_its_own_column():
    column = NumberColumn.fit("number", np.array([1.0, 2.0, 3.0, np.nan]))
    into = np.empty((2, 2))
    column.write(np.array([np.nan, 2.0]), into)
    assert into.tolist() == [[0.0, 1.0], [0.0, 0.0]]


def test_heavy_tails_are_taken_as_logarithms():
    rng = np.random.default_rng(0)
    assert NumberColumn.fit("counts", np.exp(rng.normal(0, 2, 500)).round()).log
    assert not NumberColumn.fit("ages", rng.normal(40, 10, 500)).log


def test_both_views_name_their_columns():
    assert ENCODING.for_trees(X).shape == (400, len(ENCODING.names))
    assert ENCODING.for_linear(X).shape == (400, len(ENCODING.linear_owners))
    categories = [ENCODING.names[place] for place in ENCODING.categories]
    assert categories == ["channel_last", "industry"]


def test_a_column_that_is_all_missing_later_is_fine():
    gone = X.assign(**dict.fromkeys(CATALOGUE.names, np.nan))
    assert np.isfinite(ENCODING.for_linear(gone)).all()
    assert np.isnan(ENCODING.for_trees(gone)).all()


def test_an_encoding_survives_json():
    again = Encoding.from_json(json.loads(json.dumps(ENCODING.to_json())))
    assert again == ENCODING
    assert np.array_equal(again.for_linear(X), ENCODING.for_linear(X))
