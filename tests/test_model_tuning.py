"""The search for settings: a killed one goes on to the same model, and a pruned trial is never the best.

Each was seen failing once: one sampler for all trials; a digest without labels, values, folds, categories,
fixed settings or seed; a damaged file opened; more trials taken than asked for; scores of earlier trials not
made again; a pruned trial told as finished, or pruned at once; the folds' highest loss in place of the mean;
all trees in place of so many; rounds of the time folds in place of those of the leads, or of a sample in place
of more rows; trees grown on after a round without a split; pruned trials in the importance or the history; a
shelf without its lock; a run that keeps nothing (the killed `train`).
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from lead_propensity import pipeline
from lead_propensity.config import Config, load
from lead_propensity.data.simulate import simulate, write
from lead_propensity.data.workroom import entered
from lead_propensity.errors import ConfigError
from lead_propensity.model.choosing import MORE_ROWS, SEARCH_FOLDS, as_choices, choose, choose_again
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import Fold, lead_folds, sample_of_leads, time_folds
from lead_propensity.model.intervals import row_loss
from lead_propensity.model.learners import tree_parameters
from lead_propensity.model.lines import Lesson, line
from lead_propensity.model.rounds import FoldBoosters, FoldRows, settle
from lead_propensity.model.tuning import (
    EARLY_FOLDS,
    FINALISTS,
    MIN_FINISHED,
    REFIT_ROUNDS,
    TreeSearch,
    TunedTrees,
    setting_importance,
)
from lead_propensity.progress import Progress, silent
from lead_propensity.reporting import pictures
from model_world import FEATURES, config, dataset

DATA = dataset(leads=100).part("fit")
ENCODING = Encoding.fit(DATA.X, DATA.keys["lead_id"], FEATURES)
FOLDS = time_folds(DATA.keys)
SEARCH = TreeSearch(ENCODING.for_trees(DATA.X), DATA.won, ENCODING.categories, FOLDS)
TRIALS = 16
SIXTEEN = config(trials=TRIALS).model
NAMES = ["num_leaves", "min_data_in_leaf", "feature_fraction", "bagging_fraction", "lambda_l2"]
Told = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def whole() -> TunedTrees:
    """Searched without a break, nothing kept."""
    return SEARCH.run(SIXTEEN, 1, silent)


def same(one: TunedTrees, other: TunedTrees) -> bool:
    """To the last bit."""
    scores = zip(one.top, other.top, strict=True)
    return (
        one.trials.equals(other.trials)
        and all(left.score.tobytes() == right.score.tobytes() for left, right in scores)
        and [(t.parameters, t.rounds, t.loss) for t in one.top]
        == [(t.parameters, t.rounds, t.loss) for t in other.top]
    )


def broken_off(after: int, storage: Path, search: TreeSearch = SEARCH) -> None:
    """A search that dies in its trial number `after`, when so many are finished."""

    def die(_: str, done: int, __: int) -> None:
        if done == after:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search.run(SIXTEEN, 1, die, storage)


def first_number(search: TreeSearch, storage: Path, seed: int = 7) -> int:
    """The trial that a search in `storage` begins with."""
    told: Told = []
    few = SIXTEEN.model_copy(update={"seed": seed, "trials": 4})
    search.run(few, 1, lambda *step: told.append(step), storage)
    return told[0][1]


def test_threads_change_nothing(whole: TunedTrees):
    assert same(SEARCH.run(SIXTEEN, 3, silent), whole)


@pytest.mark.parametrize("after", [1, MIN_FINISHED, TRIALS - 1, TRIALS])
def test_a_search_that_was_broken_off_goes_on_to_the_same_end(
    after: int, whole: TunedTrees, tmp_path: Path
):
    told: Told = []
    broken_off(after, tmp_path)
    again = SEARCH.run(SIXTEEN, 2, lambda *step: told.append(step), tmp_path)
    assert told == [("tuning", number, TRIALS) for number in range(after, TRIALS + 1)]
    assert same(again, whole)


def test_more_trials_may_be_asked_for_than_before(whole: TunedTrees, tmp_path: Path):
    five = SEARCH.run(SIXTEEN.model_copy(update={"trials": 5}), 1, silent, tmp_path)
    assert five.trials.equals(whole.trials[:5])
    assert same(SEARCH.run(SIXTEEN, 1, silent, tmp_path), whole)
    again = SEARCH.run(SIXTEEN.model_copy(update={"trials": 5}), 1, silent, tmp_path)
    assert same(again, five)


def other_label() -> TreeSearch:
    won = DATA.won.copy()
    won[0] = 1 - won[0]
    return replace(SEARCH, won=won)


def other_value() -> TreeSearch:
    matrix = SEARCH.matrix.copy()
    matrix[-1, 0] += 1
    return replace(SEARCH, matrix=matrix)


@pytest.mark.parametrize(
    ("change", "seed", "found"),
    [
        (lambda: SEARCH, 7, 3),
        (lambda: SEARCH, 8, 0),
        (other_label, 7, 0),
        (other_value, 7, 0),
        (lambda: replace(SEARCH, folds=FOLDS[1:]), 7, 0),
        (lambda: replace(SEARCH, lead_folds=FOLDS[1:]), 7, 0),
        (lambda: replace(SEARCH, folds=FOLDS[1:], lead_folds=FOLDS), 7, 3),
        (lambda: replace(SEARCH, categories=[]), 7, 0),
        (lambda: replace(SEARCH, fixed={"extra_trees": True}), 7, 0),
    ],
    ids=["the same", "seed", "label", "value", "folds", "others", "finals", "categories", "fixed"],
)
def test_trials_of_another_search_do_not_count(
    change: Callable[[], TreeSearch], seed: int, found: int, tmp_path: Path
):
    broken_off(3, tmp_path)
    assert first_number(change(), tmp_path, seed) == found


def test_a_damaged_file_is_begun_anew(tmp_path: Path):
    broken_off(3, tmp_path)
    (kept,) = tmp_path.glob("*.sqlite")
    kept.write_bytes(b"SQLite format 3\0" + b"x" * 9_000)
    assert first_number(SEARCH, tmp_path) == 0
    assert first_number(SEARCH, tmp_path) == 4


def test_a_folder_that_keeps_nothing_says_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"cannot be kept in .*gone.*engine\.work_folder"):
        SEARCH.run(SIXTEEN, 1, silent, tmp_path / "gone")


def test_a_pruned_trial_was_judged_by_the_early_folds_alone_and_is_never_the_best(
    whole: TunedTrees,
):
    trials = whole.trials
    pruned = trials[trials["pruned"]]
    assert 0 < len(pruned) < TRIALS - MIN_FINISHED
    assert set(pruned["folds"]) == {EARLY_FOLDS}
    finished = trials[~trials["pruned"]].sort_values("loss", kind="stable")
    assert set(finished["folds"]) == {len(FOLDS)}
    assert [trial.loss for trial in whole.top] == finished["loss"].tolist()[:3]
    best = [[trial.parameters[name] for name in NAMES] for trial in whole.top]
    assert best == finished[NAMES].head(3).to_numpy().tolist()


def test_folds_of_leads_judge_the_trials_and_time_folds_choose_of_the_finalists(whole: TunedTrees):
    others = lead_folds(DATA.keys)[:3]
    tuned = replace(SEARCH, lead_folds=others).run(SIXTEEN, 1, silent)
    first = tuned.trials.iloc[0]
    parameters = tree_parameters(SIXTEEN.seed, {**first[NAMES].to_dict(), "bagging_freq": 1})
    for name in NAMES[:2]:
        parameters[name] = int(parameters[name])
    mean = np.mean([fold_curve(fold, parameters, 100) for fold in others], axis=0)
    assert first["loss"] == mean[: first["rounds"]].min() == mean.min()
    finished = tuned.trials[~tuned.trials["pruned"]].sort_values("loss", kind="stable")
    finalists = [
        {
            **row,
            "num_leaves": int(row["num_leaves"]),
            "min_data_in_leaf": int(row["min_data_in_leaf"]),
        }
        for row in finished[NAMES].head(FINALISTS).to_dict("records")
    ]
    by_time = SEARCH.judge(finalists, SIXTEEN, 1).top
    assert [one.loss for one in tuned.top] == sorted(one.loss for one in by_time)[:3]
    assert {one.loss for one in tuned.top} != {one.loss for one in by_time[:3]}
    assert not tuned.trials["loss"].equals(whole.trials["loss"])


def test_the_first_trials_are_never_pruned(whole: TunedTrees):
    assert not whole.trials["pruned"][:MIN_FINISHED].any()


def test_nothing_is_pruned_where_the_early_folds_are_all():
    tuned = replace(SEARCH, folds=FOLDS[:EARLY_FOLDS]).run(SIXTEEN, 1, silent)
    assert not tuned.trials["pruned"].any()


def test_every_trial_has_the_fixed_settings():
    few = SIXTEEN.model_copy(update={"trials": 2})
    free = SEARCH.run(few, 1, silent)
    fixed = replace(SEARCH, fixed={"extra_trees": True}).run(few, 1, silent)
    assert [trial.parameters["extra_trees"] for trial in fixed.top] == [True, True]
    assert (fixed.trials["loss"] != free.trials["loss"]).all()


def test_without_folds_the_defaults_have_the_fixed_settings():
    tuned = replace(SEARCH, folds=(), fixed={"extra_trees": True}).run(SIXTEEN, 1, silent)
    (usual,) = tuned.top
    assert usual.parameters["extra_trees"] is True
    assert np.isnan(usual.score).all()
    assert len(tuned.trials) == 0


def fold_curve(
    fold: Fold, parameters: dict[str, object], rounds: int, search: TreeSearch = SEARCH
) -> list[float]:
    """The losses of one fold by LightGBM's own loop."""
    whole = lightgbm.Dataset(
        search.matrix,
        search.won,
        feature_name=[f"Column_{column}" for column in range(search.matrix.shape[1])],
        categorical_feature=search.categories,
        params={"feature_pre_filter": False, "max_bin": 127, "verbosity": -1},
    ).construct()
    losses: dict[str, dict[str, list[float]]] = {}
    lightgbm.train(
        {**parameters, "metric": "binary_logloss", "num_iterations": rounds},
        whole.subset(fold.train.tolist()),
        valid_sets=[whole.subset(fold.valid.tolist())],
        callbacks=[lightgbm.record_evaluation(losses)],
    )
    return losses["valid_0"]["binary_logloss"]


@pytest.mark.parametrize("places", [(0,), (0, 1), (0, 1, 2)])
def test_one_number_of_rounds_has_the_lowest_mean_loss_of_the_folds(places: tuple[int, ...]):
    parameters = tree_parameters(3, {})
    rows = FoldRows.cut(SEARCH.matrix, DATA.won, SEARCH.categories, FOLDS)
    with ThreadPoolExecutor(2, initializer=settle) as pool:
        best = FoldBoosters(rows, parameters, pool).best_round(places)
    mean = np.mean([fold_curve(FOLDS[place], parameters, 150) for place in places], axis=0)
    assert best.rounds == int(np.argmin(mean)) + 1
    assert best.loss == mean.min()


@pytest.mark.parametrize(
    ("leads", "seed"),
    [(60, 3), (400, 1), (400, 3)],
    ids=["not sampled", "sampled", "another world"],
)
def test_folds_of_leads_say_how_long_the_settings_chosen_grow_on_all_rows(leads: int, seed: int):
    many = dataset(leads=leads, seed=seed).part("fit")
    encoding = Encoding.fit(many.X, many.keys["lead_id"], FEATURES)
    tuned = choose(many, encoding, True, config(trial_rows=1_000), silent, None)
    assert tuned.trees is not None
    sample = tuned.sample
    assert (len(sample) < len(many)) == (leads == 400)
    others = lead_folds(sample.keys)[:SEARCH_FOLDS]
    alone = TreeSearch(
        encoding.for_trees(sample.X), sample.won, encoding.categories, tuned.folds, others
    ).run(config().model, 1, silent)
    more = many.rows(sample_of_leads(many.keys["lead_id"], MORE_ROWS * 1_000))
    first = replace(SEARCH, matrix=encoding.for_trees(more.X), won=more.won)
    best = tree_parameters(7, alone.top[0].parameters)
    mean = np.mean([fold_curve(fold, best, 400, first) for fold in lead_folds(more.keys)], axis=0)
    longer = np.ceil(REFIT_ROUNDS * (int(np.argmin(mean)) + 1)) / alone.top[0].rounds
    assert longer != 1.0
    for one, before in zip(tuned.trees.top, alone.top, strict=True):
        assert (one.parameters, one.loss) == (before.parameters, before.loss)
        assert one.score.tobytes() == before.score.tobytes()
        assert one.rounds == max(1, round(longer * before.rounds))
    again = choose_again(many, as_choices(tuned), config(trial_rows=1_000))
    assert [one["rounds"] for one in again["trees"]] == [one.rounds for one in tuned.trees.top]


@pytest.mark.parametrize("leads", [60, 400], ids=["not sampled", "sampled"])
def test_the_mix_is_told_by_folds_of_time_and_by_folds_of_leads(leads: int):
    many = dataset(leads=leads, seed=3).part("fit")
    encoding = Encoding.fit(many.X, many.keys["lead_id"], FEATURES)
    tuned = choose(many, encoding, True, config(trial_rows=1_000), silent, None)
    more = many.rows(sample_of_leads(many.keys["lead_id"], MORE_ROWS * 1_000))
    lesson = Lesson(encoding.for_linear(more.X), more.won)
    losses = [
        row_loss(
            line(lesson.matrix[fold.valid], *lesson.rows(fold.train).fit(tuned.line.strength)),
            more.won[fold.valid],
        )
        for fold in lead_folds(more.keys)
    ]
    in_time = np.concatenate([fold.valid for fold in tuned.folds])
    losses.append(row_loss(tuned.line.score[in_time], tuned.sample.won[in_time]))
    assert tuned.mix.losses["line"] == pytest.approx(float(np.mean(np.concatenate(losses))))


def test_scores_of_a_round_do_not_depend_on_how_far_the_trees_grew():
    parameters = tree_parameters(3, {})
    rows = FoldRows.cut(SEARCH.matrix, DATA.won, SEARCH.categories, FOLDS)
    with ThreadPoolExecutor(2, initializer=settle) as pool:
        grown = FoldBoosters(rows, parameters, pool)
        rounds = grown.best_round(range(3)).rounds
        assert grown.score(rounds).tobytes() == (
            FoldBoosters(rows, parameters, pool).score(rounds).tobytes()
        )
        assert grown.score(rounds).tobytes() != grown.score(rounds - 1).tobytes()


def test_trees_that_cannot_split_stop_at_the_first_round():
    parameters = tree_parameters(3, {"min_data_in_leaf": len(DATA)})
    rows = FoldRows.cut(SEARCH.matrix, DATA.won, SEARCH.categories, FOLDS)
    with ThreadPoolExecutor(1, initializer=settle) as pool:
        boosters = FoldBoosters(rows, parameters, pool)
        assert boosters.best_round(range(3)).rounds == 1
        score = boosters.score(1)
    judged = FOLDS[0].valid
    base = np.mean(DATA.won[FOLDS[0].train])
    assert score[judged] == pytest.approx(np.log(base / (1 - base)))


def tried(losses: list[float], pruned: list[bool]) -> pd.DataFrame:
    """A table of trials; the loss is what the number of leaves makes it."""
    random = np.random.default_rng(5)
    n = len(losses)
    return pd.DataFrame(
        {
            "trial": range(n),
            "loss": losses,
            "rounds": 50,
            "folds": np.where(pruned, 2, 3),
            "pruned": pruned,
            "num_leaves": [int(1000 * loss) for loss in losses],
            "min_data_in_leaf": random.integers(10, 100, n),
            "feature_fraction": random.uniform(0.2, 1, n),
            "bagging_fraction": random.uniform(0.5, 1, n),
            "lambda_l2": random.uniform(0.01, 100, n),
        }
    )


def test_the_setting_that_makes_the_loss_is_the_important_one():
    losses = np.random.default_rng(4).uniform(0.3, 0.4, 40).tolist()
    shares = setting_importance(tried(losses, [False] * 40))
    assert next(iter(shares)) == "num_leaves"
    assert shares["num_leaves"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0)
    assert setting_importance(tried(losses, [False] * 40)) == shares


def test_importance_needs_finished_trials():
    pruned = [False] * (MIN_FINISHED - 1) + [True] * 6
    assert setting_importance(tried([0.3, 0.4] * 5, pruned)) == {}


def test_the_history_tells_the_best_of_the_finished_trials():
    table = tried([0.4, 0.38, 0.31, 0.39], [False, False, True, False])
    picture = pictures.trials.history(table)
    assert picture is not None
    assert picture.alt == (
        "4 trials, 1 of them pruned: the best is trial 1 with a mean log loss of 0.3800."
    )
    assert "pruned" in picture.svg


def test_pictures_of_a_search_are_the_same_bytes_and_none_without_one(whole: TunedTrees):
    drawn = pictures.tuning_files(whole.trials)
    assert sorted(drawn) == ["tuning_history.svg", "tuning_importance.svg"]
    assert all(svg.startswith("<?xml") and "<dc:date>" not in svg for svg in drawn.values())
    assert pictures.tuning_files(whole.trials) == drawn
    assert pictures.tuning_files(pd.DataFrame()) == {}


def test_a_shelf_outlives_a_failed_run_and_not_a_finished_one(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), entered(str(tmp_path)) as room:
        (room.shelf("k1") / "kept").write_text("x")
        raise ZeroDivisionError
    with entered(str(tmp_path)) as room:
        shelf = room.shelf("k1")
        assert (shelf / "kept").read_text() == "x"
        with entered(str(tmp_path)) as second:
            assert second.shelf("k1") is None
        assert (shelf / "kept").exists()
    assert not shelf.exists()


FEW = [
    "model.trials=12",
    "model.min_wins_trees=20",
    "model.backtest_periods=0",
    "model.refit=never",
    "snapshots.every_days=28",
    "split.test_days=56",
    "bands.hot_per_week=10",
]


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crm")
    write(simulate(1500, seed=11), folder)
    return folder


def asked(crm: Path, work_folder: Path, threads: int) -> Config:
    engine = [f"engine.work_folder={work_folder}", f"engine.threads={threads}"]
    return load(crm / "config.yaml", [*FEW, *engine])


def finished_trials(work_folder: Path) -> int:
    """As the file on disk tells while its run lives."""
    counts = [0]
    for file in work_folder.glob("*/jobs/trials*/*.sqlite"):
        try:
            found = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            counts += found.execute(
                "SELECT count(*) FROM trials WHERE state <> 'RUNNING'"
            ).fetchone()
            found.close()
        except sqlite3.OperationalError:  # its tables are being made
            continue
    return max(counts)


def killed_in_tuning(crm: Path, work_folder: Path, out: Path) -> None:
    """A real `train`, killed by the system when three trials are finished."""
    engine = f"--set engine.work_folder={work_folder} --set engine.threads=1"
    few = " ".join(f"--set {one}" for one in FEW)
    line = f"train {crm / 'config.yaml'} --out {out} --quiet {few} {engine}"
    command = [sys.executable, "-m", "lead_propensity", *line.split()]
    with subprocess.Popen(command) as process:
        while finished_trials(work_folder) < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(crm: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.TrainedRun:
    """Never killed, on two threads."""
    folder = tmp_path_factory.mktemp("trained")
    return pipeline.train(asked(crm, folder / "work", threads=2), folder / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_train_goes_on_to_the_same_model(
    crm: Path, trained: pipeline.TrainedRun, tmp_path: Path
):
    work = tmp_path / "work"
    killed_in_tuning(crm, work, tmp_path / "killed")
    told: Told = []
    tell: Progress = lambda *step: told.append(step)  # noqa: E731
    again = pipeline.train(asked(crm, work, threads=1), tmp_path / "run", tell)
    done = [done for phase, done, _ in told if phase == "tuning"]
    assert 3 <= done[0] < 12
    assert done == list(range(done[0], 13))
    assert contents(again.folder / "model") == contents(trained.folder / "model")
    assert not list(work.glob("*/jobs/*"))
    assert not (tmp_path / "killed").exists()


def test_the_run_in_mlflow_tells_how_the_search_went(trained: pipeline.TrainedRun):
    client, run_id = MlflowClient(), trained.logged.run_id
    tree = json.loads((trained.folder / "model" / "trials.json").read_text())
    finished = [row for row in tree["trials"] if not row["pruned"]]
    history = client.get_metric_history(run_id, "tuning_loss")
    assert [(one.step, one.value) for one in history] == [
        (row["trial"], row["loss"]) for row in finished
    ]
    best = [one.value for one in client.get_metric_history(run_id, "tuning_best_loss")]
    assert best == np.minimum.accumulate([row["loss"] for row in finished]).tolist()
    run = client.get_run(run_id)
    first = min(finished, key=lambda row: row["loss"])
    assert run.data.params["tuning_best.trial"] == str(first["trial"])
    assert run.data.params["tuning_best.num_leaves"] == str(first["num_leaves"])
    assert run.data.metrics["tuning_pruned"] == len(tree["trials"]) - len(finished)
    drawn = {one.path for one in client.list_artifacts(run_id, "pictures")}
    assert {"pictures/tuning_history.svg", "pictures/tuning_importance.svg"} <= drawn
