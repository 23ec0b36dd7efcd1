"""From the fit part to the members: tuned on time folds, then fitted on all of it."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import Fold, sample_of_leads, time_folds
from lead_propensity.model.learners import (
    BaseRate,
    Blend,
    BoostedTrees,
    Logistic,
    Member,
    binned,
    tree_parameters,
)
from lead_propensity.model.machine import threads_of
from lead_propensity.model.mixing import Mix, mix
from lead_propensity.model.smooth import SmoothEncoding
from lead_propensity.model.tuning import TreeSearch, TunedLine, TunedTrees, tune_line
from lead_propensity.progress import Progress

Main = BaseRate | Blend
Side = BaseRate | BoostedTrees

USUAL = {"line": 0.5, "smooth": 0.0, "trees": 0.5}
"""The blend that the folds must speak against: the smooth line has to earn its place."""
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
    fold: np.ndarray
    """(n,) which fold judged the row; -1 where that fold knew labels too early to tell the level."""


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
    """What the folds chose, on a sample of the leads."""

    sample: Dataset
    folds: tuple[Fold, ...]
    line: TunedLine
    smooth: TunedLine
    trees: TunedTrees | None
    """None: too few wins for trees."""
    mix: Mix

    @property
    def score(self) -> np.ndarray:
        """Out-of-fold log-odds of the blend."""
        mixed = np.zeros(len(self.sample))
        for name, score in self.scores.items():
            mixed += self.mix.weights[name] * score
        base = _base_of_folds(self.sample.won, self.folds)
        return np.asarray(base + self.mix.slope * (mixed - base))

    @property
    def scores(self) -> dict[str, np.ndarray]:
        found = {"line": self.line.score, "smooth": self.smooth.score}
        if self.trees is not None:
            found["trees"] = np.mean([one.score for one in self.trees.top], axis=0)
        return found


@dataclass(frozen=True)
class TreeJob:
    """One boosted model to fit on the whole fit part."""

    encoding: Encoding
    settings: dict[str, Any]


def fit_members(
    train: Dataset, config: Config, progress: Progress, storage: Path | None = None
) -> Members:
    """The ladder: base rate, lines, blend with trees, by the number of won leads in `train`.

    Finished trials are kept in the folder `storage`, and found there by a run that was killed.
    """
    encoding = Encoding.fit(train.X, train.keys["lead_id"], train.catalogue.features)
    wins = int(train.keys.loc[train.won == 1.0, "lead_id"].nunique())
    if wins < config.model.min_wins_logistic or not encoding.columns:
        return _only_base_rate(train, wins, encoding)
    with_trees = wins >= config.model.min_wins_trees
    tuned = _tuned(train, encoding, with_trees, config, progress, storage)
    choices = _choices(tuned)
    progress("fitting", 0, 2)
    main = refit(train, choices, config)
    progress("fitting", 1, 2)
    sides = refit_sides(train, config)
    progress("fitting", 2, 2)
    constant_sides = [name for name, side in sides.items() if isinstance(side, BaseRate)]
    return Members(
        main=main,
        fit=sides["fit"],
        interest=sides["interest"],
        out_of_time=_out_of_time(tuned),
        trials=tuned.trees.trials if tuned.trees else pd.DataFrame(),
        choices=choices,
        notes=_notes(tuned, wins, encoding, constant_sides),
    )


def refit(train: Dataset, choices: Mapping[str, Any], config: Config) -> Main:
    """The main learner by the settings that `choices` holds, on the rows of `train`."""
    encoding = Encoding.fit(train.X, train.keys["lead_id"], train.catalogue.features)
    if choices["learner"] == "base_rate" or not encoding.columns:
        return BaseRate.fit(train.won)
    members: list[Member] = [_line(train, encoding, choices["line_strength"])]
    shares, slope = choices["blend"], choices["slope"]
    weights = [shares["line"]]
    if shares["smooth"]:
        smooth = SmoothEncoding.fit(
            train.X, train.keys["lead_id"], train.won, _varying(train, encoding)
        )
        members.append(_line(train, smooth, choices["smooth_strength"]))
        weights.append(shares["smooth"])
    if shares.get("trees"):
        jobs = {str(place): _job(encoding, one) for place, one in enumerate(choices["trees"])}
        grown = list(_boosted(train, encoding, jobs, config).values())
        members += grown
        weights += [shares["trees"] / len(grown)] * len(grown)
    offset = (1.0 - slope) * BaseRate.fit(train.won).log_odds
    return Blend(tuple(members), tuple(slope * weight for weight in weights), offset)


def refit_sides(train: Dataset, config: Config) -> dict[str, Side]:
    """The side models `fit` and `interest`."""
    encoding = Encoding.fit(train.X, train.keys["lead_id"], train.catalogue.features)
    found: dict[str, Side] = dict.fromkeys(SIDES, BaseRate.fit(train.won))
    return {**found, **_boosted(train, encoding, _side_jobs(train, encoding), config)}


def _line(train: Dataset, encoding: Encoding | SmoothEncoding, strength: float) -> Logistic:
    return Logistic.fit(encoding, encoding.for_linear(train.X), train.won, strength)


def _job(encoding: Encoding, chosen: Mapping[str, Any]) -> "TreeJob":
    return TreeJob(encoding, {**chosen["parameters"], "num_iterations": chosen["rounds"]})


def _varying(train: Dataset, encoding: Encoding) -> list[Feature]:
    names = set(encoding.names)
    return [feature for feature in train.catalogue.features if feature.name in names]


def _only_base_rate(train: Dataset, wins: int, encoding: Encoding) -> Members:
    why = f"{wins} won leads in the fit part" if encoding.columns else "No feature varies"
    constant = BaseRate.fit(train.won)
    return Members(
        main=constant,
        fit=constant,
        interest=constant,
        out_of_time=OutOfTime(train.keys.iloc[:0], *[np.empty(0)] * 3),
        trials=pd.DataFrame(),
        choices={"learner": "base_rate"},
        notes=(f"{why}: every lead gets the base rate.",),
    )


def _tuned(
    train: Dataset,
    encoding: Encoding,
    with_trees: bool,
    config: Config,
    progress: Progress,
    storage: Path | None,
) -> Tuned:
    chosen = sample_of_leads(train.keys["lead_id"], config.model.trial_rows)
    sample = train if chosen.all() else train.rows(chosen)
    folds = time_folds(sample.keys)
    line = tune_line(encoding.for_linear(sample.X), sample.won, folds)
    smooth = tune_line(_smooth_matrix(sample, encoding, folds), sample.won, folds)
    trees = None
    if with_trees:
        search = TreeSearch(encoding.for_trees(sample.X), sample.won, encoding.categories, folds)
        trees = search.run(config.model, threads_of(config.engine), progress, storage)
    tuned = Tuned(sample, folds, line, smooth, trees, Mix({}, 1.0, {}))
    usual = USUAL if with_trees else {"line": 1.0, "smooth": 0.0}
    groups, base = sample.keys["group_id"].to_numpy(), _base_of_folds(sample.won, folds)
    return replace(tuned, mix=mix(tuned.scores, usual, sample.won, groups, base))


def _smooth_matrix(sample: Dataset, encoding: Encoding, folds: Sequence[Fold]) -> np.ndarray:
    """The smooth line's columns; its index looks at labels, so it learns before the first fold judges."""
    first = sample.rows(_mask(len(sample), folds[0].train)) if folds else sample
    names, leads = _varying(sample, encoding), first.keys["lead_id"]
    return SmoothEncoding.fit(first.X, leads, first.won, names).for_linear(sample.X)


def _base_of_folds(won: np.ndarray, folds: Sequence[Fold]) -> np.ndarray:
    """(n,) the log-odds of the base rate that the fold of each row knew; NaN where none judges it."""
    base = np.full(len(won), np.nan)
    for fold in folds:
        base[fold.valid] = BaseRate.fit(won[fold.train]).log_odds
    return base


def _mask(n: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask


def _side_jobs(train: Dataset, encoding: Encoding) -> dict[str, TreeJob]:
    explicit = {feature.name for feature in train.catalogue.of_kind("explicit")}
    moves = _moves(train.catalogue.features)
    interest = encoding.only(moves)
    directions = [moves[name] for name in interest.names]
    jobs = {
        "fit": TreeJob(encoding.only(explicit), SIDE_TREES),
        "interest": TreeJob(interest, {**SIDE_TREES, "monotone_constraints": directions}),
    }
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
    score, line = tuned.score, tuned.line.score
    judged = ~np.isnan(score)
    fold = np.full(len(score), -1)
    for number, one in enumerate(tuned.folds):
        fold[one.valid] = number if one.known else -1
    keys = tuned.sample.keys[judged].reset_index(drop=True)
    return OutOfTime(keys, score[judged], line[judged], fold[judged])


def _choices(tuned: Tuned) -> dict[str, Any]:
    """Plain JSON. `refit` reads `learner`, `line_strength`, `smooth_strength`, `trees`, `blend`, `slope`."""
    found = {
        "learner": "blend" if tuned.trees else "logistic",
        "folds": len(tuned.folds),
        "tuning_rows": len(tuned.sample),
        "line_strength": tuned.line.strength,
        "line_losses": tuned.line.losses,
        "smooth_strength": tuned.smooth.strength,
        "smooth_losses": tuned.smooth.losses,
        "blend": tuned.mix.weights,
        "blend_losses": tuned.mix.losses,
        "slope": tuned.mix.slope,
    }
    if tuned.trees is None:
        return found
    trees = [{"parameters": one.parameters, "rounds": one.rounds} for one in tuned.trees.top]
    return {**found, "trees": trees, "trials": len(tuned.trees.trials)}


MEMBERS = {
    "line": "logistic regression",
    "smooth": "a smooth line over fewer features",
    "trees": "boosted trees",
}


def _notes(
    tuned: Tuned, wins: int, encoding: Encoding, constant_sides: list[str]
) -> tuple[str, ...]:
    shares = {name: share for name, share in tuned.mix.weights.items() if share}
    listed = ", ".join(f"{MEMBERS[name]} {share:.0%}" for name, share in shares.items())
    notes = [f"The model blends, in log-odds: {listed}."]
    if not tuned.trees:
        notes.append(f"{wins} won leads in the fit part: too few for boosted trees.")
    if tuned.mix.slope < 1.0:
        notes.append(
            f"Little signal: every score is drawn to the base rate, {tuned.mix.slope:.0%} of its distance is left."
        )
    if not tuned.folds:
        notes.append("The fit part is too short for a fold judged by time: nothing was tuned.")
    elif not tuned.folds[0].known:
        notes.append(
            "The fit part is too short for folds whose labels were known in time: settings were chosen on "
            "folds of other, later leads."
        )
    notes += [f"`{side}` has no feature to go by: all leads are alike." for side in constant_sides]
    if encoding.dropped:
        names = ", ".join(encoding.dropped[:10]) + (" ..." if len(encoding.dropped) > 10 else "")
        left_out = f"{len(encoding.dropped)} without two different values in the fit part"
        notes.append(f"Left out: {left_out}: {names}.")
    return tuple(notes)
