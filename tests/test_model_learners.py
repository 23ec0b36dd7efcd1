"""Members: what they say a lead's score is made of adds up to it."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lead_propensity.model import learners
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import time_folds
from lead_propensity.model.learners import (
    FEW_FEATURES,
    BaseRate,
    Blend,
    BoostedTrees,
    Logistic,
    binned,
    tree_parameters,
)
from lead_propensity.model.lines import STRENGTHS, Lesson, tune_line
from lead_propensity.model.smooth import SmoothEncoding
from model_world import FEATURES, dataset

DATA = dataset(leads=120, seed=4).part("fit")
ENCODING = Encoding.fit(DATA.X, DATA.keys["lead_id"], FEATURES)
SETTINGS = tree_parameters(1, {"num_iterations": 20, "num_leaves": 7})


def trees(threads: int = 1) -> BoostedTrees:
    data = binned(ENCODING.for_trees(DATA.X), DATA.won, ENCODING.categories)
    return BoostedTrees.fit(ENCODING, data, {**SETTINGS, "num_threads": threads})


LOGISTIC = Logistic.fit(ENCODING, Lesson(ENCODING.for_linear(DATA.X), DATA.won), 0.1)
TREES = trees()
SMOOTH_ENCODING = SmoothEncoding.fit(
    DATA.X, DATA.keys["lead_id"], DATA.won, [f for f in FEATURES if f.name in ENCODING.names]
)
SMOOTH = Logistic.fit(SMOOTH_ENCODING, Lesson(SMOOTH_ENCODING.for_linear(DATA.X), DATA.won), 0.1)
LEARNERS = {
    "base_rate": BaseRate.fit(DATA.won),
    "logistic": LOGISTIC,
    "smooth": SMOOTH,
    "trees": TREES,
    "blend": Blend((LOGISTIC, SMOOTH, TREES), (0.25, 0.125, 0.5), -0.3),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_contributions_add_up_to_the_score(name):
    learner = LEARNERS[name]
    parts = learner.contributions(DATA.X)
    assert parts.shape == (len(DATA), len(learner.names) + 1)
    assert np.abs(parts.sum(axis=1) - learner.raw_score(DATA.X)).max() < 1e-6


@pytest.mark.parametrize("name", LEARNERS)
def test_weights_are_shares(name):
    weights = LEARNERS[name].weights()
    assert len(weights) == len(LEARNERS[name].names)
    assert weights.sum() == pytest.approx(1.0 if len(weights) else 0.0)


@pytest.mark.parametrize("name", LEARNERS)
def test_unseen_levels_and_rows_without_any_value_get_a_finite_score(name):
    odd = DATA.X.head(3).copy()
    odd["industry"] = pd.Series(["never", None, ""], dtype=object)
    empty = odd.assign(**{feature.name: np.nan for feature in FEATURES})
    for X in (odd, empty):
        assert np.isfinite(LEARNERS[name].raw_score(X)).all()


def test_the_blend_mixes_its_members_in_log_odds():
    line, smooth, wood = (one.raw_score(DATA.X) for one in (LOGISTIC, SMOOTH, TREES))
    mixed = -0.3 + 0.25 * line + 0.125 * smooth + 0.5 * wood
    assert np.allclose(LEARNERS["blend"].raw_score(DATA.X), mixed)


@pytest.mark.parametrize(
    ("members", "weights", "offset"),
    [
        ((LOGISTIC, TREES), (0.5, 0.6), 0.0),
        ((LOGISTIC, TREES), (-0.1, 0.6), 0.0),
        ((LOGISTIC, TREES), (0.0, 0.0), 0.0),
        ((LOGISTIC, TREES), (1.0,), 0.0),
        ((TREES, LOGISTIC), (0.5, 0.5), 0.0),
        ((LOGISTIC, TREES), (0.5, 0.5), float("nan")),
    ],
)
def test_weights_that_are_no_shares_are_refused(members, weights, offset):
    with pytest.raises(ValueError, match=r"weight|offset"):
        Blend(members, weights, offset)


def test_a_member_with_a_feature_that_the_line_lacks_is_refused():
    few = Encoding(ENCODING.columns[1:], ENCODING.dropped)
    line = Logistic.fit(few, Lesson(few.for_linear(DATA.X), DATA.won), 0.1)
    with pytest.raises(ValueError, match=repr(ENCODING.names[0])):
        Blend((line, TREES), (0.5, 0.5), 0.0)


def test_trees_are_the_same_text_on_any_number_of_threads():
    assert trees(threads=2).text == TREES.text
    assert "num_threads" not in TREES.text


@pytest.mark.parametrize("share", [0.3, FEW_FEATURES])
def test_trees_that_use_few_features_are_the_same_however_lightgbm_counts(share: float):
    settings = tree_parameters(1, {"num_iterations": 20, "feature_fraction": share})
    assert settings.pop("force_col_wise")
    found = []
    for layout in ("force_col_wise", "force_row_wise"):
        data = binned(ENCODING.for_trees(DATA.X), DATA.won, ENCODING.categories)
        grown = BoostedTrees.fit(ENCODING, data, {**settings, layout: True})
        found.append(grown.text.partition("\nparameters:")[0])
    assert found[0] == found[1]
    assert "force_row_wise" in tree_parameters(1, {"feature_fraction": FEW_FEATURES + 0.01})


def test_hostile_names_stay_out_of_the_trees():
    assert "hostile" not in TREES.text
    assert FEATURES[6].name not in TREES.text
    assert FEATURES[6].name in TREES.names


def test_the_logistic_finds_what_matters_first():
    weights = dict(zip(LOGISTIC.names, LOGISTIC.weights(), strict=True))
    assert max(weights, key=lambda name: weights[name]) in {"visits_30d", "silent_days", "industry"}


def test_out_of_fold_scores_cover_the_validation_rows_only():
    folds = time_folds(DATA.keys)
    lesson = Lesson(ENCODING.for_linear(DATA.X), DATA.won)
    tuned = tune_line(lambda fold: lesson, DATA.won, folds, STRENGTHS, 1)
    judged = np.unique(np.concatenate([fold.valid for fold in folds]))
    assert np.array_equal(np.flatnonzero(~np.isnan(tuned.score)), judged)
    on_threads = tune_line(lambda fold: lesson, DATA.won, folds, STRENGTHS, 4)
    assert (on_threads.strength, on_threads.losses) == (tuned.strength, tuned.losses)
    assert on_threads.score.tobytes() == tuned.score.tobytes()


# --- a damaged text -------------------------------------------------------------------------------

DAMAGED = """
import random, sys
from lightgbm.basic import LightGBMError
from test_model_learners import DATA, ENCODING, TREES, BoostedTrees
chance, rows = random.Random(int(sys.argv[1])), DATA.X.head(20)
for _ in range(int(sys.argv[2])):
    text = list(TREES.text)
    start, length = chance.randrange(len(text)), chance.randrange(1, 60)
    damage = chance.choice(["end", "hole", "repeat", "signs"])
    if damage == "end":
        del text[start:]
    elif damage == "hole":
        del text[start : start + length]
    elif damage == "repeat":
        text[start:start] = text[start : start + length]
    else:
        for place in range(start, min(start + chance.choice([1, 1, 3]), len(text))):
            text[place] = chance.choice("0123456789-. =e[]\\0\\n")
    try:
        trees = BoostedTrees.from_text(ENCODING, "".join(text))
    except (ValueError, LightGBMError):
        continue
    trees.raw_score(rows), trees.contributions(rows), trees.weights()
print("done")
"""


def test_no_damage_ends_the_process():
    """In a process of its own: what LightGBM does with a text that it trusts cannot be caught."""
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r})" + DAMAGED
    line = [sys.executable, "-c", code, "3", "400"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stdout[-5:]) == (0, "done\n"), ended.stderr[-500:]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("tree_sizes=8", "tree_sizes=7", "add up|lie where"),
        ("num_leaves=7", "num_leaves=9", "are needed"),
        ("left_child=1 ", "left_child=9 ", "lead every row"),
        ("left_child=1 ", "left_child=0 ", "lead every row"),
        ("split_feature=1", "split_feature=7", "column that is not there"),
        ("cat_boundaries=0 1", "cat_boundaries=0 2", "sets of categories"),
        ("leaf_value=-1.2", "leaf_value=-1x2", "leaf_value holds"),
        ("is_linear=0", "is_linear=1", "leaf without"),
        ("end of trees", "end of treas", "begin, or lack"),
        ("end of parameters", "end of parametars", "parameters"),
        ("num_class=1", "num_class=2", "num_class"),
        ("max_feature_idx=6", "max_feature_idx=5", "max_feature_idx"),
    ],
)
def test_a_damaged_text_says_what_is_wrong(old, new, says):
    assert old in TREES.text
    with pytest.raises(ValueError, match=says):
        BoostedTrees.from_text(ENCODING, TREES.text.replace(old, new, 1))


def test_trees_without_a_split_are_whole():
    data = binned(np.ones((30, 7)), np.arange(30) % 10 == 0, [])
    one_leaf = BoostedTrees.fit(ENCODING, data, SETTINGS)
    assert "num_leaves=1\n" in one_leaf.text
    assert BoostedTrees.from_text(ENCODING, one_leaf.text) == one_leaf


def test_batches_side_by_side_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch):
    whole = TREES.raw_score(DATA.X)
    monkeypatch.setattr(learners, "BATCH", 7)
    np.testing.assert_array_equal(TREES.raw_score(DATA.X), whole)
    assert len(TREES.raw_score(DATA.X.iloc[:0])) == 0


def test_the_blend_and_its_line_come_of_one_look():
    blend = LEARNERS["blend"]
    score, line = blend.with_line(DATA.X)
    np.testing.assert_array_equal(score, blend.raw_score(DATA.X))
    np.testing.assert_array_equal(line, LOGISTIC.raw_score(DATA.X))


def test_every_prediction_of_lightgbm_asks_for_one_thread():
    """Its number of threads belongs to the process; another thread of ours may be binning at that moment."""
    calls = [
        node
        for file in Path(learners.__file__).parents[1].rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("booster.predict")
    ]
    assert len(calls) >= 2
    for call in calls:
        assert "num_threads=1" in [ast.unparse(keyword) for keyword in call.keywords]
