"""Categories of many levels as numbers: as they stood at each moment, and by all labels where leads are scored.

Each was seen failing once: with labels that were not known yet, with a lead that counts once a row, without the
prior, with a base rate of all times, with shifts mixed up, and with a limit of fewer levels.
"""

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from lead_propensity.features.catalogue import Catalogue, Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.choosing import encoded
from lead_propensity.model.encoding import MAX_LEVELS, Encoding, LevelColumn
from lead_propensity.model.levels import Counts, _prior, _shifts, many_levels, told
from lead_propensity.model.propensity import PropensityModel
from model_world import CATALOGUE, config, dataset

CITY = Feature("city", "explicit", "category", "as known", "city", "city")
SIZE = Feature("size", "explicit", "number", "as known", "size", "size")
CITIES = MAX_LEVELS + 50


def world(rows: int = 12_000, seed: int = 1, strength: float = 1.0) -> tuple[Dataset, np.ndarray]:
    """Leads one after another, each of one city, and the cities' true log-odds; a label comes 500 leads later."""
    rng = np.random.default_rng(seed)
    effect = rng.normal(0.0, strength, CITIES)
    city = rng.integers(0, CITIES, rows)
    won = (rng.random(rows) < expit(effect[city] - 1.5)).astype(np.float64)
    names = np.array([f"city {place:03}" for place in range(CITIES)], dtype=object)
    place = np.arange(rows)
    lead = [f"lead {row}" for row in place]
    keys = pd.DataFrame(
        {
            "lead_id": lead,
            "group_id": lead,
            "order": place,
            "label_known_at": place + 500,
            "won": won,
        }
    )
    X = pd.DataFrame({"city": pd.Series(names[city], dtype=object), "size": rng.normal(size=rows)})
    empty = pd.DataFrame(index=X.index)
    return Dataset(keys, X, empty, Catalogue((CITY, SIZE), {})), effect


WORLD, EFFECT = world()
(COLUMN,) = many_levels(WORLD)


def small(seed: int, rows: int = 60) -> Dataset:
    """Some snapshots of few leads, whose city may change; moments and labels meet at the same times."""
    rng = np.random.default_rng(seed)
    order = np.sort(rng.integers(0, 12, rows))
    keys = pd.DataFrame(
        {
            "lead_id": [f"lead {number}" for number in rng.integers(0, 20, rows)],
            "order": order,
            "label_known_at": order + 4,
            "won": (rng.random(rows) < 0.4).astype(np.float64),
        }
    )
    texts = rng.choice(np.array(["a", "b", "c", None], dtype=object), rows)
    X = pd.DataFrame({"city": pd.Series(texts, dtype=object)})
    return Dataset(keys, X, pd.DataFrame(index=X.index), Catalogue((CITY,), {}))


LEVELS = (LevelColumn(replace(COLUMN.category, levels=("a", "b")), (0.0,) * 4, 1.0),)


def known_then(data: Dataset, row: int, city: str | None) -> tuple[int, int]:
    """Leads and deals of a city that were known at the moment of the row; a lead counts once a city."""
    keys = data.keys.assign(city=data.X["city"].to_numpy())
    same = keys["city"].isna() if city is None else keys["city"] == city
    before = keys[same & (keys["label_known_at"] <= keys["order"][row])]
    return before["lead_id"].nunique(), before[before["won"] == 1.0]["lead_id"].nunique()


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_is_told_by_what_was_known_at_its_moment(seed):
    data = small(seed)
    found = told(data, LEVELS).X["city"].to_numpy(np.float64)
    codes = data.X["city"].map({"a": 0, "b": 1, "c": 2}).fillna(3).to_numpy(np.int64)
    prior = _prior(Counts.of(codes, data.keys))
    for row, city in enumerate(data.X["city"]):
        everyone = [known_then(data, row, one) for one in ("a", "b", "c", None)]
        leads, won = (sum(counts) for counts in zip(*everyone, strict=True))
        rate = (won + 0.5) / (leads + 1.0)
        leads, won = known_then(data, row, city)
        assert found[row] == pytest.approx(
            logit((won + prior * rate) / (leads + prior)) - logit(rate)
        )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 59))
def test_no_label_that_comes_later_moves_a_shift(seed, row):
    """Nor its own, which is not known yet. (How strong the prior is, is told by all labels.)"""
    data = small(seed)
    moment, known_at = data.keys["order"][row], data.keys["label_known_at"]
    turned = data.keys.assign(won=np.where(known_at > moment, 1.0 - data.won, data.won))
    level = data.X["city"].map({"a": 0, "b": 1, "c": 2}).fillna(3).to_numpy(np.int64)
    order = data.keys["order"].to_numpy(np.int64)
    one, two = (_shifts(Counts.of(level, keys), level, order, 10.0) for keys in (data.keys, turned))
    assert np.array_equal(one[order <= moment], two[order <= moment])


def test_the_first_leads_say_nothing():
    shifts = told(WORLD, (COLUMN,)).X["city"].to_numpy()
    assert not shifts[:500].any()
    assert np.mean(shifts[3000:] != 0.0) > 0.99


def test_leads_to_score_are_told_by_all_labels():
    won = pd.Series(WORLD.won).groupby(WORLD.X["city"].to_numpy()).agg(["sum", "size"])
    rate = (WORLD.won.sum() + 0.5) / (len(WORLD) + 1.0)
    level = np.searchsorted(COLUMN.category.levels, WORLD.X["city"].to_numpy(str))
    prior = _prior(Counts.of(level, WORLD.keys))
    expected = logit((won["sum"] + prior * rate) / (won["size"] + prior)) - logit(rate)
    assert COLUMN.shifts[:-2] == pytest.approx(expected.to_numpy())
    assert COLUMN.shifts[-2:] == (0.0, 0.0), "no lead shows another city, or none"


def test_shifts_come_near_to_the_truth():
    learned = np.array(COLUMN.shifts[:-2])
    assert COLUMN.category.levels[0] == "city 000"
    assert np.corrcoef(learned, EFFECT)[0, 1] > 0.9
    slope = np.cov(learned, EFFECT)[0, 1] / np.var(learned)
    assert slope == pytest.approx(1.0, abs=0.2), "a shift means as much as it says"


@pytest.mark.parametrize("seed", range(5))
def test_levels_that_are_all_alike_have_next_to_no_shift(seed):
    """In some of these worlds they differ by less than chance would have it."""
    alike, _ = world(seed=seed, strength=0.0)
    (column,) = many_levels(alike)
    assert np.std(column.shifts) < 0.1
    assert np.std(column.shifts) < 0.1 * np.std(COLUMN.shifts)


def test_a_lead_that_is_looked_at_often_counts_once():
    """Twenty rows of each lead tell what one of them does."""
    often = np.repeat(np.arange(len(WORLD)), 20)
    data = replace(WORLD, keys=WORLD.keys.iloc[often], X=WORLD.X.iloc[often])
    (column,) = many_levels(data)
    assert column.shifts == pytest.approx(COLUMN.shifts)


def test_few_levels_stay_levels():
    few = WORLD.rows((WORLD.X["city"] < f"city {MAX_LEVELS:03}").to_numpy())
    assert few.X["city"].nunique() == MAX_LEVELS
    assert many_levels(few) == ()
    assert told(few, ()) is few
    rare = few.X.assign(city=few.X["city"].where(np.arange(len(few)) >= 19, "rare"))
    assert many_levels(replace(few, X=rare)) == (), "a text of 19 leads is no level"
    one_more = WORLD.rows((WORLD.X["city"] <= f"city {MAX_LEVELS:03}").to_numpy())
    assert len(many_levels(one_more)) == 1


def test_unseen_and_missing_texts_have_a_shift_of_their_own():
    texts = pd.Series(["city 003", "never seen", None], dtype=object)
    assert COLUMN.numbers(texts).tolist() == [COLUMN.shifts[3], *COLUMN.shifts[-2:]]
    assert COLUMN.numbers(texts.astype("category")).tolist() == COLUMN.numbers(texts).tolist()


def test_to_the_members_it_is_one_number():
    lesson, encoding = encoded(WORLD)
    assert encoding.categories == []
    assert encoding.levels == (COLUMN,)
    assert [column.name for column in encoding.texts] == ["city"]
    trees, lines = encoding.for_trees(lesson.X), encoding.for_linear(WORLD.X)
    assert trees.shape == lines.shape == (len(WORLD), 2)
    assert np.array_equal(trees[:, 0], lesson.X["city"])
    assert lines[:, 0].std() == pytest.approx(1.0)


def test_it_survives_json_to_the_last_bit():
    _, encoding = encoded(WORLD)
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding


@pytest.mark.parametrize("damage", [{"shifts": [0.0]}, {"scale": 0.0}, {"category": None}], ids=str)
def test_a_damaged_column_is_refused(damage):
    row = {"kind": "levels", **asdict(COLUMN), **damage}
    tree = json.loads(json.dumps({"columns": [row], "dropped": []}))
    with pytest.raises(ValueError, match=r"shift|Column"):
        Encoding.from_json(tree)


@pytest.fixture(scope="module")
def known_truth() -> tuple[PropensityModel, Dataset, np.ndarray]:
    """The small world of the other tests, where the city of a lead matters as well."""
    data = dataset(leads=3000, weeks=24)
    rng = np.random.default_rng(5)
    number = data.keys["lead_id"].str.removeprefix("lead-").astype(int).to_numpy()
    city = rng.integers(0, CITIES, 3000)[number]
    effect = rng.normal(0.0, 1.5, CITIES)[city]
    won = (rng.random(len(data)) < expit(effect - 2.0)).astype(np.float64)
    texts = pd.Series([f"city {one:03}" for one in city], dtype=object)
    features = tuple(feature for feature in CATALOGUE.features if feature.name != "always_one")
    both = Dataset(
        data.keys.assign(won=np.where(data.keys["won"].isna(), np.nan, won)),
        data.X.assign(city=texts),
        data.rules,
        Catalogue((*features, CITY), CATALOGUE.definition),
    )
    return PropensityModel.fit(both, config(trials=1)), both, effect


def test_a_model_learns_from_many_levels_and_is_the_same_from_its_folder(known_truth, tmp_path):
    model, data, effect = known_truth
    test = (data.keys["part"] == "test").to_numpy()
    later = data.rows(test)
    found = model.predict(later.X, data.catalogue.fingerprint)
    assert np.corrcoef(found.raw_score, effect[test])[0, 1] > 0.6
    model.save(tmp_path / "model")
    again = PropensityModel.load(tmp_path / "model").predict(later.X, data.catalogue.fingerprint)
    assert np.array_equal(again.raw_score, found.raw_score)
    assert np.array_equal(again.fit, found.fit)


def test_its_part_of_the_score_belongs_to_the_category(known_truth):
    model, data, effect = known_truth
    later = (data.keys["part"] == "test").to_numpy()
    X = data.X[later].reset_index(drop=True)
    parts = model.main.contributions(X)
    assert parts.sum(axis=1) == pytest.approx(model.main.raw_score(X))
    own = parts[:, model.main.names.index("city")]
    assert np.corrcoef(own, effect[later])[0, 1] > 0.6
