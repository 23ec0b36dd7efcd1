"""From the fit part to the members: tuned on time folds, then fitted on all of it."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import sample_of_leads, time_folds
from lead_propensity.model.intervals import mean_and_error, row_loss
from lead_propensity.model.learners import (
    BaseRate,
    Blend,
    BoostedTrees,
    Logistic,
    binned,
    blended,
    tree_parameters,
)
from lead_propensity.model.machine import threads_of
from lead_propensity.model.tuning import TreeSearch, TunedLine, TunedTrees, tune_line
from lead_propensity.progress import Progress

Main = BaseRate | Logistic | Blend
Side = BaseRate | BoostedTrees

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
EQUAL = 0.5
SIDE_TREES: dict[str, Any] = {
    "num_leaves": 7,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.8,
    "lambda_l2": 10.0,
    "num_iterations": 150,
}
SIDES = ("fit", "interest")
MONOTONE = {"up": 1, "down": -1, "free": 0}


@dataclass(frozen=True)
class OutOfTime:
    """Rows of the fit part as judged by folds that could not know them; empty without folds."""

    keys: pd.DataFrame
    score: np.ndarray
    logistic_score: np.ndarray


@dataclass(frozen=True)
class Members:
    """The fitted learners, and how they were chosen."""

    main: Main
    fit: Side
    interest: Side
    out_of_time: OutOfTime
    trials: pd.DataFrame
    choices: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """The settings that the folds chose, on a sample of the leads."""

    sample: Dataset
    folds: int
    line: TunedLine
    trees: TunedTrees | None
    """None: too few wins for trees."""
    weight: float
    weight_losses: dict[str, float]


@dataclass(frozen=True)
class TreeJob:
    """One boosted model to fit on the whole fit part."""

    encoding: Encoding
    settings: dict[str, Any]


def fit_members(train: Dataset, config: Config, progress: Progress) -> Members:
    """The ladder: base rate, logistic model, blend, by the number of won leads in `train`."""
    encoding = Encoding.fit(train.X, train.keys["lead_id"], train.catalogue.features)
    wins = int(train.keys.loc[train.won == 1.0, "lead_id"].nunique())
    if wins < config.model.min_wins_logistic or not encoding.columns:
        return _only_base_rate(train, wins, encoding)
    tuned = _tuned(train, encoding, wins >= config.model.min_wins_trees, config, progress)
    progress("fitting", 0, 2)
    matrix = encoding.for_linear(train.X)
    logistic = Logistic.fit(encoding, matrix, train.won, tuned.line.strength)
    del matrix
    progress("fitting", 1, 2)
    trees = _boosted(train, encoding, _jobs(train, encoding, tuned), config)
    progress("fitting", 2, 2)
    constant = BaseRate.fit(train.won)
    return Members(
        main=Blend(logistic, trees["main"], tuned.weight) if "main" in trees else logistic,
        fit=trees.get("fit", constant),
        interest=trees.get("interest", constant),
        out_of_time=_out_of_time(tuned),
        trials=tuned.trees.trials if tuned.trees else pd.DataFrame(),
        choices=_choices(tuned),
        notes=_notes(tuned, wins, encoding, [side for side in SIDES if side not in trees]),
    )


def _only_base_rate(train: Dataset, wins: int, encoding: Encoding) -> Members:
    why = f"{wins} won leads in the fit part" if encoding.columns else "No feature varies"
    constant = BaseRate.fit(train.won)
    return Members(
        main=constant,
        fit=constant,
        interest=constant,
        out_of_time=OutOfTime(train.keys.iloc[:0], np.empty(0), np.empty(0)),
        trials=pd.DataFrame(),
        choices={"learner": "base_rate"},
        notes=(f"{why}: every lead gets the base rate.",),
    )


def _tuned(
    train: Dataset, encoding: Encoding, with_trees: bool, config: Config, progress: Progress
) -> Tuned:
    chosen = sample_of_leads(train.keys["lead_id"], config.model.trial_rows)
    sample = train if chosen.all() else train.rows(chosen)
    folds = time_folds(sample.keys)
    line = tune_line(encoding.for_linear(sample.X), sample.won, folds)
    if not with_trees:
        return Tuned(sample, len(folds), line, None, 0.0, {})
    search = TreeSearch(encoding.for_trees(sample.X), sample.won, encoding.categories, folds)
    trees = search.run(config.model, threads_of(config.engine), progress)
    weight, losses = choose_weight(line.score, trees.score, sample)
    return Tuned(sample, len(folds), line, trees, weight, losses)


def choose_weight(
    logistic: np.ndarray, trees: np.ndarray, sample: Dataset
) -> tuple[float, dict[str, float]]:
    """The trees' share in log-odds: half, unless another is better by one standard error.

    The scores are out-of-fold log-odds, NaN where no fold judged the row.
    """
    judged = ~(np.isnan(logistic) | np.isnan(trees))
    if not judged.any():
        return EQUAL, {}
    won = sample.won[judged]
    rows = {w: row_loss(blended(logistic[judged], trees[judged], w), won) for w in WEIGHTS}
    losses = {weight: float(np.mean(loss)) for weight, loss in rows.items()}
    best = min(losses, key=lambda weight: losses[weight])
    leads = sample.keys["group_id"].to_numpy()[judged]
    gain, error = mean_and_error(rows[EQUAL] - rows[best], leads)
    return (best if gain > error else EQUAL), {str(key): loss for key, loss in losses.items()}


def _jobs(train: Dataset, encoding: Encoding, tuned: Tuned) -> dict[str, TreeJob]:
    explicit = {feature.name for feature in train.catalogue.of_kind("explicit")}
    moves = _moves(train.catalogue.features)
    interest = encoding.only(moves)
    directions = [moves[name] for name in interest.names]
    jobs = {
        "fit": TreeJob(encoding.only(explicit), SIDE_TREES),
        "interest": TreeJob(interest, {**SIDE_TREES, "monotone_constraints": directions}),
    }
    if tuned.trees:
        rounds = {"num_iterations": tuned.trees.rounds}
        jobs = {"main": TreeJob(encoding, {**tuned.trees.parameters, **rounds}), **jobs}
    return {name: job for name, job in jobs.items() if job.encoding.columns}


def _boosted(
    train: Dataset, encoding: Encoding, jobs: dict[str, TreeJob], config: Config
) -> dict[str, BoostedTrees]:
    """All jobs side by side, one LightGBM thread each: no result can depend on `threads`."""
    matrix = encoding.for_trees(train.X)
    base = tree_parameters(config.model.seed, threads=1)

    def fit(job: TreeJob) -> BoostedTrees:
        places = [encoding.names.index(name) for name in job.encoding.names]
        columns = matrix if job.encoding is encoding else matrix[:, places]
        data = binned(columns, train.won, job.encoding.categories)
        return BoostedTrees.fit(job.encoding, data, {**base, **job.settings})

    with ThreadPoolExecutor(min(threads_of(config.engine), max(1, len(jobs)))) as pool:
        return dict(zip(jobs, pool.map(fit, jobs.values()), strict=True))


def _moves(features: Collection[Feature]) -> dict[str, int]:
    """What `interest` may use, and which way; a category has no direction to hold it to."""
    return {
        feature.name: MONOTONE[feature.interest]
        for feature in features
        if feature.kind == "implicit"
        and feature.interest != "not_in_interest"
        and not (feature.column_type == "category" and feature.interest != "free")
    }


def _out_of_time(tuned: Tuned) -> OutOfTime:
    line = tuned.line.score
    score = blended(line, tuned.trees.score, tuned.weight) if tuned.trees else line
    judged = ~np.isnan(score)
    keys = tuned.sample.keys[judged].reset_index(drop=True)
    return OutOfTime(keys, score[judged], line[judged])


def _choices(tuned: Tuned) -> dict[str, Any]:
    line = {
        "learner": "blend" if tuned.trees else "logistic",
        "folds": tuned.folds,
        "tuning_rows": len(tuned.sample),
        "logistic_strength": tuned.line.strength,
        "logistic_losses": tuned.line.losses,
    }
    if tuned.trees is None:
        return line
    return {
        **line,
        "trees": tuned.trees.parameters,
        "tree_rounds": tuned.trees.rounds,
        "trials": len(tuned.trees.trials),
        "blend_weight_of_trees": tuned.weight,
        "blend_losses": tuned.weight_losses,
    }


def _notes(
    tuned: Tuned, wins: int, encoding: Encoding, constant_sides: list[str]
) -> tuple[str, ...]:
    notes = [f"{wins} won leads in the fit part: the logistic model alone."]
    if tuned.trees:
        share = f"{tuned.weight:.0%} of it the trees"
        notes = [f"Blend of logistic regression and boosted trees, {share}."]
    if not tuned.folds:
        notes.append("The fit part is too short for a fold purged by time: nothing was tuned.")
    notes += [f"`{side}` has no feature to go by: all leads are alike." for side in constant_sides]
    if encoding.dropped:
        names = ", ".join(encoding.dropped[:10]) + (" ..." if len(encoding.dropped) > 10 else "")
        left_out = f"{len(encoding.dropped)} without two different values in the fit part"
        notes.append(f"Left out: {left_out}: {names}.")
    return tuple(notes)
