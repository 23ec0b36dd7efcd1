"""From the fit part to the members: tuned on folds, then fitted on all of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.choosing import (
    OutOfTime,
    Tuned,
    as_choices,
    choose,
    encoded,
    out_of_time,
    smooth_encoding,
    smooth_lesson,
)
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.learners import (
    BaseRate,
    Blend,
    BoostedTrees,
    Logistic,
    Member,
    binned,
    tree_parameters,
)
from lead_propensity.model.lines import Lesson
from lead_propensity.model.machine import threads_of
from lead_propensity.progress import Progress

Fitted = TypeVar("Fitted", bound=Member, covariant=True)
Main = BaseRate | Blend
Side = BaseRate | BoostedTrees

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
class Members:
    """The fitted learners, and how they were chosen."""

    main: Main
    fit: Side
    interest: Side
    out_of_time: OutOfTime
    trials: pd.DataFrame
    choices: dict[str, Any]
    notes: tuple[str, ...]


def fit_members(
    train: Dataset, config: Config, progress: Progress, storage: Path | None = None
) -> Members:
    """The ladder: base rate, lines, blend with trees, by the number of won leads in `train`.

    Finished trials are kept in the folder `storage`, and found there by a run that was killed.
    """
    lesson, encoding = encoded(train)
    wins = int(train.keys.loc[train.won == 1.0, "lead_id"].nunique())
    if wins < config.model.min_wins_logistic or not encoding.columns:
        return _only_base_rate(train, wins, encoding)
    with_trees = wins >= config.model.min_wins_trees
    tuned = choose(lesson, encoding, with_trees, config, progress, storage)
    trials = tuned.trees.trials if tuned.trees else pd.DataFrame()
    choices = {**as_choices(tuned), "trials": len(trials), "fitted_on": len(train)}
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
        out_of_time=out_of_time(tuned),
        trials=trials,
        choices=choices,
        notes=_notes(tuned, choices, wins, encoding, constant_sides),
    )


def refit(train: Dataset, choices: Mapping[str, Any], config: Config) -> Main:
    """The main learner by the settings that `choices` holds, on the rows of `train`."""
    lesson, encoding = encoded(train)
    if choices["learner"] == "base_rate" or not encoding.columns:
        return BaseRate.fit(train.won)
    shares, slope = choices["blend"], choices["slope"]
    jobs: list[Job[Member]] = [Job(partial(_line, lesson, encoding, choices["line_strength"]))]
    weights = [shares["line"]]
    if shares["smooth"]:
        jobs.append(Job(partial(_smooth, lesson, encoding, choices["smooth_strength"])))
        weights.append(shares["smooth"])
    if shares.get("trees"):
        trees = [
            (encoding, {**one["parameters"], "num_iterations": one["rounds"]})
            for one in choices["trees"]
        ]
        jobs += _tree_jobs(lesson, encoding, trees, config)
        weights += [shares["trees"] / len(trees)] * len(trees)
    offset = (1.0 - slope) * BaseRate.fit(train.won).log_odds
    members = _side_by_side(jobs, config)
    return Blend(tuple(members), tuple(slope * weight for weight in weights), offset)


def refit_sides(train: Dataset, config: Config) -> dict[str, Side]:
    """The side models `fit` and `interest`."""
    lesson, encoding = encoded(train)
    explicit = {feature.name for feature in train.catalogue.of_kind("explicit")}
    moves = _moves(train.catalogue.features)
    fit, interest = encoding.only(explicit), encoding.only(moves)
    directions = [moves[name] for name in interest.names]
    trees = {
        "fit": (fit, SIDE_TREES),
        "interest": (interest, {**SIDE_TREES, "monotone_constraints": directions}),
    }
    trees = {name: one for name, one in trees.items() if one[0].columns}
    grown = _side_by_side(_tree_jobs(lesson, encoding, list(trees.values()), config), config)
    constant = BaseRate.fit(train.won)
    return {**dict.fromkeys(SIDES, constant), **dict(zip(trees, grown, strict=True))}


@dataclass(frozen=True)
class Job(Generic[Fitted]):
    """One member to fit; it does not depend on the others."""

    fit: Callable[[], Fitted]
    rounds: int = 0


def _side_by_side(jobs: Sequence[Job[Fitted]], config: Config) -> list[Fitted]:
    """What the jobs fit, in their order, one thread each: no result can depend on `threads`.

    The longest begins first, so that nobody waits for it alone.
    """
    with ThreadPoolExecutor(min(threads_of(config.engine), max(1, len(jobs)))) as pool:
        begun = {
            place: pool.submit(jobs[place].fit)
            for place in sorted(range(len(jobs)), key=lambda place: -jobs[place].rounds)
        }
        return [begun[place].result() for place in range(len(jobs))]


def _line(train: Dataset, encoding: Encoding, strength: float) -> Logistic:
    return Logistic.fit(encoding, Lesson(encoding.for_linear(train.X), train.won), strength)


def _smooth(train: Dataset, encoding: Encoding, strength: float) -> Logistic:
    smooth = smooth_encoding(train, encoding)
    return Logistic.fit(smooth, smooth_lesson(train, smooth), strength)


def _tree_jobs(
    train: Dataset,
    encoding: Encoding,
    trees: Sequence[tuple[Encoding, dict[str, Any]]],
    config: Config,
) -> list[Job[BoostedTrees]]:
    """Of boosted models, each with the columns it may use (of those in `encoding`) and its settings."""
    matrix = encoding.for_trees(train.X)

    def fit(own: Encoding, settings: dict[str, Any]) -> BoostedTrees:
        places = [encoding.names.index(name) for name in own.names]
        columns = matrix if own is encoding else matrix[:, places]
        data = binned(columns, train.won, own.categories)
        return BoostedTrees.fit(own, data, tree_parameters(config.model.seed, settings))

    return [Job(partial(fit, *one), one[1]["num_iterations"]) for one in trees]


def _only_base_rate(train: Dataset, wins: int, encoding: Encoding) -> Members:
    why = f"{wins} won leads in the fit part" if encoding.columns else "No feature varies"
    constant = BaseRate.fit(train.won)
    return Members(
        main=constant,
        fit=constant,
        interest=constant,
        out_of_time=OutOfTime(train.keys.iloc[:0], *[np.empty(0)] * 3),
        trials=pd.DataFrame(),
        choices={"learner": "base_rate", "fitted_on": len(train)},
        notes=(f"{why}: every lead gets the base rate.",),
    )


def _moves(features: Collection[Feature]) -> dict[str, int]:
    """What `interest` may use, and which way; a category has no direction to hold it to."""
    return {
        feature.name: MONOTONE[feature.interest]
        for feature in features
        if feature.kind == "implicit"
        and feature.interest != "not_in_interest"
        and not (feature.column_type == "category" and feature.interest != "free")
    }


MEMBERS = {
    "line": "logistic regression",
    "smooth": "a smooth line over fewer features",
    "trees": "boosted trees",
}


def mixed_in_words(choices: Mapping[str, Any]) -> str:
    """The shares of the members, and the slope where it is not 1; `choices` hold a `blend`."""
    shares = {name: share for name, share in choices["blend"].items() if share}
    listed = ", ".join(f"{MEMBERS[name]} {share:.0%}" for name, share in shares.items())
    words = f"The model blends, in log-odds: {listed}."
    if choices["slope"] < 1.0:
        left = f"{choices['slope']:.0%} of its distance is left."
        words += f" Little signal: every score is drawn to the base rate, {left}"
    return words


def _notes(
    tuned: Tuned,
    choices: Mapping[str, Any],
    wins: int,
    encoding: Encoding,
    constant_sides: list[str],
) -> tuple[str, ...]:
    notes = [mixed_in_words(choices)]
    if not tuned.trees:
        notes.append(f"{wins} won leads in the fit part: too few for boosted trees.")
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
