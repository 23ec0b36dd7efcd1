"""PropensityModel: honest with little, the same with the same, and closed to damage."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lead_propensity.errors import DataError, ModelError
from lead_propensity.features.catalogue import Catalogue
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import learners
from lead_propensity.model.calibration import KINDS
from lead_propensity.model.propensity import PropensityModel
from model_world import CATALOGUE, EXPORTED, FEATURES, as_exported, config, dataset, true_score

DATA = dataset()
TEST = DATA.part("test")


@pytest.fixture(scope="module")
def model() -> PropensityModel:
    return PropensityModel.fit(DATA, config())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_it_ranks_like_the_truth_and_expects_what_comes(model):
    found = model.predict(TEST.X, CATALOGUE.fingerprint)
    ours = roc_auc_score(TEST.won, found.raw_score)
    best = roc_auc_score(TEST.won, true_score(TEST.X))
    assert ours > best - 0.02
    assert found.probability_untracked.sum() / TEST.won.sum() == pytest.approx(1.0, abs=0.15)
    assert found.logistic_probability.sum() / TEST.won.sum() == pytest.approx(1.0, abs=0.15)
    assert model.bands.hot_from is not None


def test_the_test_part_is_not_looked_at(model):
    in_test = (DATA.keys["part"] == "test").to_numpy()
    keys = DATA.keys.assign(won=np.where(in_test, 1.0 - DATA.won, DATA.won))
    X = DATA.X.mask(pd.Series(in_test))
    other = PropensityModel.fit(Dataset(keys, X, DATA.rules, DATA.catalogue), config())
    assert other.model_id == model.model_id


def test_loaded_it_scores_the_same_bytes(model, tmp_path):
    model.save(tmp_path)
    loaded = PropensityModel.load(tmp_path)
    before = model.predict(DATA.X, CATALOGUE.fingerprint)
    after = loaded.predict(DATA.X, CATALOGUE.fingerprint)
    for name, values in vars(before).items():
        assert np.array_equal(values, getattr(after, name)), name
    assert loaded.model_id == model.model_id
    assert loaded.to_files() == model.to_files()
    assert loaded.level == model.level
    assert loaded.bands == model.bands
    assert loaded.notes == model.notes
    assert loaded.oldest_age_days == model.oldest_age_days


def test_two_fits_write_the_same_files_on_any_number_of_threads(model, tmp_path):
    model.save(tmp_path / "one")
    PropensityModel.fit(DATA, config(threads=3)).save(tmp_path / "three")
    assert files(tmp_path / "one") == files(tmp_path / "three")


def test_another_seed_is_another_model(model):
    assert PropensityModel.fit(DATA, config(seed=8)).model_id != model.model_id


def test_the_rules_are_part_of_the_model(model, tmp_path):
    rules = {"name": "ours", "thresholds": {"warm": 30, "hot": 60}}
    ruled = replace(model, rules=rules)
    ruled.save(tmp_path)
    assert PropensityModel.load(tmp_path).rules == rules
    assert ruled.model_id != model.model_id


@pytest.mark.parametrize(
    "name", ["model.json", "boosted_1.txt", "interest.txt", "bands.json", "trials.json"]
)
def test_a_changed_or_missing_file_is_refused(model, tmp_path, name):
    model.save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    with pytest.raises(ModelError, match="has changed"):
        PropensityModel.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        PropensityModel.load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"digests\.json"):
        PropensityModel.load(tmp_path / "nothing")
    (tmp_path / "digests.json").write_text("{not json")
    with pytest.raises(ModelError, match="is not JSON"):
        PropensityModel.load(tmp_path)
    (tmp_path / "digests.json").write_text('{"../model.json": "0"}')
    with pytest.raises(ModelError, match="no plain file name"):
        PropensityModel.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.json", b"{}"),
        ("model.json", b"[1]"),
        ("line.json", b'{"bias": 1, "coefficients": [1], "centre": [1], "spread": [1]}'),
        ("bands.json", b'{"hot": 1}'),
        ("fit.txt", b"not a model"),
        ("rules.json", b"{}"),
        ("rules.json", b'{"name": "x", "thresholds": {"warm": 2, "hot": 1}}'),
        ("trials.json", b"[" * 100_000),
    ],
)
def test_malformed_content_is_a_model_error(model, name, content):
    with pytest.raises(ModelError):
        PropensityModel.from_files({**model.to_files(), name: content})
    lacking = {key: value for key, value in model.to_files().items() if key != name}
    with pytest.raises(ModelError, match="lacks"):
        PropensityModel.from_files(lacking)


def path_of(tree: Any, *path: str) -> Any:
    for step in path:
        tree = tree[step]
    return tree


ISOTONIC = {"kind": "isotonic", "scores": [-1.0, 1.0], "probabilities": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("model.json", ["calibrator"], {"kind": "isotonic", "scores": [], "probabilities": []}),
        ("model.json", ["calibrator"], {**ISOTONIC, "probabilities": [0.1]}),
        ("model.json", ["calibrator"], {**ISOTONIC, "probabilities": [0.2, 0.1]}),
        ("model.json", ["calibrator"], {**ISOTONIC, "scores": [1.0, -1.0]}),
        ("model.json", ["calibrator"], {"kind": "sigmoid", "slope": -1.0, "intercept": 0.0}),
        ("model.json", ["logistic_calibrator"], {"kind": "shift", "shift": "1"}),
        ("model.json", ["learners", "main", "members", 0, "weight"], 1.5),
        ("model.json", ["learners", "main", "members", 0, "weight"], "half"),
        ("model.json", ["learners", "main", "members", 0, "name"], "oracle"),
        ("model.json", ["learners", "main", "offset"], None),
        ("model.json", ["level", "log_weights"], [0.0]),
        ("model.json", ["learners", "main", "kind"], "oracle"),
        ("model.json", ["grades", "fit_edges"], [0.0, 1.0]),
        ("model.json", ["grades", "fit_edges"], [0.0, 2.0, 1.0]),
        ("model.json", ["level", "calendar"], {"block": "week", "origin": 0}),
        ("model.json", ["horizon_days"], "a month"),
        ("line.json", ["bias"], float("nan")),
        ("line.json", ["bias"], float("inf")),
        ("line.json", ["coefficients", 0], None),
        ("line.json", ["encoding", "columns", 0, "scale"], 0.0),
        ("line.json", ["encoding", "columns", 0, "name"], "of another model"),
        ("bands.json", ["warm_from"], "low"),
    ],
)
def test_a_value_that_cannot_be_is_a_model_error(model, name, path, value):
    tree = json.loads(model.to_files()[name])
    path_of(tree, *path[:-1])[path[-1]] = value
    with pytest.raises(ModelError, match=r"damaged|is not JSON"):
        PropensityModel.from_files({**model.to_files(), name: json.dumps(tree).encode()})


def test_a_number_too_large_to_hold_is_a_model_error(model):
    files = model.to_files()
    odd = re.sub(rb'"bias": [^,]+', b'"bias": 1e999', files["line.json"])
    with pytest.raises(ModelError, match="1e999"):
        PropensityModel.from_files({**files, "line.json": odd})


@pytest.mark.parametrize("kind", ["identity", "shift", "sigmoid", "isotonic"])
def test_every_calibrator_is_read_back(model, kind):
    score = np.linspace(-3, 3, 200)
    calibrator = KINDS[kind].fit(score, (np.arange(200) % 5 < 2 + score / 2).astype(float))
    loaded = PropensityModel.from_files(replace(model, calibrator=calibrator).to_files())
    assert loaded.calibrator == calibrator


def test_features_of_another_definition_are_refused(model):
    with pytest.raises(ModelError, match="defined as"):
        model.predict(TEST.X, Catalogue(FEATURES[:-1], {}).fingerprint)
    with pytest.raises(ModelError, match="silent_days"):
        model.predict(TEST.X.drop(columns="silent_days"), CATALOGUE.fingerprint)


@pytest.mark.parametrize("days", [0.001, 0.5, 3.0, 20.0, 400.0])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 1.0])
def test_silence_never_raises_interest(model, kept, days):
    """All rows at once, since few of them lie where a wrong direction shows."""
    silent = TEST.X.assign(
        visits_30d=np.floor(TEST.X["visits_30d"] * kept),
        silent_days=TEST.X["silent_days"] + days,
    )
    before, after = (model.predict(X, CATALOGUE.fingerprint).interest for X in (TEST.X, silent))
    assert (after <= before).all()


def test_the_sides_see_their_own_features_only(model):
    assert set(model.fit_side.names) == {"industry", "employees", FEATURES[6].name}
    assert set(model.interest_side.names) == {"visits_30d", "silent_days", "channel_last"}


def test_grades_are_quartiles_of_the_calibrate_part(model):
    found = model.predict(DATA.part("calibrate").X, CATALOGUE.fingerprint)
    for grades, best in ((found.fit_grade, "A"), (found.interest_grade, "1")):
        shares = pd.Series(grades).value_counts(normalize=True)
        assert len(shares) == 4
        assert shares[best] == pytest.approx(0.25, abs=0.05)
    assert found.interest[found.interest_grade == "1"].min() >= np.median(found.interest)


def test_shuffled_labels_show_no_lift_and_nobody_is_hot():
    data = dataset(seed=11, shuffled=True)
    model = PropensityModel.fit(data, config())
    test = data.part("test")
    score = model.predict(test.X, CATALOGUE.fingerprint).raw_score
    assert roc_auc_score(test.won, score) == pytest.approx(0.5, abs=0.05)
    assert model.bands.hot_from is None
    assert any("Nobody is hot" in note for note in model.notes)


def few_wins(count: int) -> Dataset:
    """The fit part keeps the wins of `count` leads."""
    won = DATA.won.copy()
    in_fit = (DATA.keys["part"] == "fit").to_numpy()
    winners = DATA.keys.loc[in_fit & (won == 1.0), "lead_id"].unique()[:count]
    won[in_fit & ~DATA.keys["lead_id"].isin(winners).to_numpy()] = 0.0
    return Dataset(DATA.keys.assign(won=won), DATA.X, DATA.rules, DATA.catalogue)


@pytest.mark.parametrize(
    ("wins", "learner", "told"),
    [(5, "base_rate", "base rate"), (40, "logistic", "too few for boosted trees")],
)
def test_few_wins_fall_back_and_say_so(wins, learner, told, tmp_path):
    model = PropensityModel.fit(few_wins(wins), config())
    assert model.choices["learner"] == learner
    assert any(f"{wins} won leads" in note and told in note for note in model.notes)
    model.save(tmp_path)
    loaded = PropensityModel.load(tmp_path)
    assert loaded.model_id == model.model_id
    found = loaded.predict(TEST.X, CATALOGUE.fingerprint)
    assert np.isfinite(found.probability_untracked).all()
    assert len(np.unique(found.probability_untracked)) == 1 or learner == "logistic"
    assert len(loaded.reasons(TEST.X, np.array([0, 1])).to_json()) == 2


@pytest.mark.parametrize("only", [0.0, 1.0])
def test_one_class_is_a_data_error(only):
    keys = DATA.keys.assign(won=only)
    with pytest.raises(DataError, match="one won and one not won"):
        PropensityModel.fit(Dataset(keys, DATA.X, DATA.rules, CATALOGUE), config())


@pytest.mark.parametrize(
    ("part", "told"), [("fit", "The fit part"), ("calibrate", "The calibrate part")]
)
def test_an_empty_part_is_a_data_error(part, told):
    data = DATA.rows((DATA.keys["part"] != part).to_numpy())
    with pytest.raises(DataError, match=told):
        PropensityModel.fit(data, config())


def test_a_history_too_short_for_folds_is_not_tuned_and_says_so():
    late = DATA.keys["label_known_at"].where(
        DATA.keys["part"] != "fit", 10 * DATA.keys["order"].max()
    )
    one_group = DATA.keys["group_id"].where(DATA.keys["part"] != "fit", "everyone")
    keys = DATA.keys.assign(label_known_at=late, group_id=one_group)
    model = PropensityModel.fit(Dataset(keys, DATA.X, DATA.rules, CATALOGUE), config())
    assert any("nothing was tuned" in note for note in model.notes)
    assert model.choices["blend"] == {"line": 0.5, "smooth": 0.0, "trees": 0.5}
    assert model.choices["slope"] == 1.0
    assert model.calibrator.kind == "identity"
    assert len(model.trials) == 0


def test_a_history_too_short_for_a_purge_is_tuned_on_other_leads_and_says_so():
    late = DATA.keys["label_known_at"].where(
        DATA.keys["part"] != "fit", 10 * DATA.keys["order"].max()
    )
    keys = DATA.keys.assign(label_known_at=late, group_id=[f"g{i}" for i in range(len(DATA.keys))])
    model = PropensityModel.fit(Dataset(keys, DATA.X, DATA.rules, CATALOGUE), config())
    assert any("folds of other, later leads" in note for note in model.notes)
    assert len(model.trials) == 2


def test_as_exported_there_is_no_horizon_and_no_age():
    data = as_exported()
    model = PropensityModel.fit(data, config(data=EXPORTED))
    assert (model.horizon_days, model.oldest_age_days) == (None, None)
    assert model.level.calendar.origin == 0
    hot = model.bands.promises[-1]
    assert hot.n == int(0.1 * len(data.part("calibrate")))


def test_without_explicit_features_it_still_trains():
    features = tuple(feature for feature in FEATURES if feature.kind == "implicit")
    catalogue = Catalogue(features, {})
    data = Dataset(DATA.keys, DATA.X[catalogue.names], DATA.rules, catalogue)
    model = PropensityModel.fit(data, config())
    found = model.predict(TEST.X[catalogue.names], catalogue.fingerprint)
    assert len(np.unique(found.fit)) == 1
    assert len(np.unique(found.fit_grade)) == 1
    assert any("`fit` has no feature" in note for note in model.notes)


def test_reasons_name_the_lead_s_own_values(model):
    rows = np.flatnonzero(TEST.X["visits_30d"].to_numpy() > 5)[:20]
    for row, text in zip(rows, model.reasons(TEST.X, rows).to_json(), strict=True):
        reasons = json.loads(text)
        signs = [reason["sign"] for reason in reasons]
        assert signs.count("+") <= 3
        assert signs.count("-") <= 2
        assert all((reason["strength"] > 0) == (reason["sign"] == "+") for reason in reasons)
        assert len({reason["text"] for reason in reasons}) == len(reasons)
        visits = TEST.X["visits_30d"].iloc[row]
        assert any(f"Visits: {visits:.0f} (+)" == reason["text"] for reason in reasons)


def test_batches_side_by_side_give_the_bits_of_one(model, monkeypatch):
    fingerprint = TEST.catalogue.fingerprint
    whole = model.predict(TEST.X, fingerprint)
    monkeypatch.setattr(learners, "BATCH", 61)
    parts = model.predict(TEST.X, fingerprint)
    for field in fields(whole):
        assert np.array_equal(getattr(whole, field.name), getattr(parts, field.name)), field.name
    line = model.logistic_calibrator.predict(model.logistic.raw_score(TEST.X))
    assert np.array_equal(parts.logistic_probability, line)


def test_no_row_in_is_no_row_out(model):
    found = model.predict(TEST.X.head(0), CATALOGUE.fingerprint)
    assert all(len(values) == 0 for values in vars(found).values())
    assert model.reasons(TEST.X, np.empty(0, dtype=np.int64)).to_json() == []


def test_importance_adds_up_and_names_kinds(model):
    assert model.importance["share"].sum() == pytest.approx(1.0)
    assert model.importance["share"].is_monotonic_decreasing
    assert set(model.importance["kind"]) == {"implicit", "explicit"}


def test_progress_is_told_by_phase():
    told: list[tuple[str, int, int]] = []
    PropensityModel.fit(DATA, config(), lambda *step: told.append(step))
    phases = [phase for phase, _, _ in told]
    assert sorted(set(phases), key=phases.index) == ["tuning", "fitting", "calibrating"]
    assert ("tuning", 2, 2) in told
    assert all(0 <= done <= total for _, done, total in told)
