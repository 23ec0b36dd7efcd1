"""What the time folds choose: the strength of the lines, the trees' settings and rounds, the mix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features.catalogue import Feature
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import Fold, lead_folds, sample_of_leads, time_folds
from lead_propensity.model.learners import BaseRate
from lead_propensity.model.lines import Lesson, LessonTwice, TunedLine, tune_line
from lead_propensity.model.machine import threads_of
from lead_propensity.model.mixing import Mix, mix
from lead_propensity.model.smooth import SmoothEncoding
from lead_propensity.model.tuning import TreeSearch, TunedTrees
from lead_propensity.progress import Progress

USUAL = {"line": 0.5, "smooth": 0.0, "trees": 0.5}
"""The blend that the folds must speak against: the smooth line has to earn its place."""

MORE_ROWS = 4
"""So many times the rows of the search, at most, tell how long trees grow on all."""


@dataclass(frozen=True)
class OutOfTime:
    """Rows of the fit part as judged by folds that could not know them; empty without folds."""

    keys: pd.DataFrame
    score: np.ndarray
    logistic_score: np.ndarray
    fold: np.ndarray
    """(n,) which fold judged the row; -1 where that fold knew labels too early to tell the level."""


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


def choose(
    train: Dataset,
    encoding: Encoding,
    with_trees: bool,
    config: Config,
    progress: Progress,
    storage: Path | None,
) -> Tuned:
    """Everything anew, on the rows of `train`; of many leads on a sample.

    Finished trials are kept in the folder `storage`, and found there by a run that was killed.
    """

    def search(trees: TreeSearch) -> TunedTrees:
        return trees.run(config.model, threads_of(config.engine), progress, storage)

    return _tuned(train, encoding, search if with_trees else None, config)


def choose_again(known: Dataset, choices: dict[str, Any], config: Config) -> dict[str, Any]:
    """`choices` for more rows, those of `known`: strengths, rounds and mix anew, by the folds of `known`.

    The learner stays, and so do the settings of the trees: a search made anew was not better.
    """
    encoding = Encoding.fit(known.X, known.keys["lead_id"], known.catalogue.features)
    if choices["learner"] == "base_rate" or not encoding.columns or not time_folds(known.keys):
        return choices
    settings = [one["parameters"] for one in choices.get("trees", [])]

    def judge(trees: TreeSearch) -> TunedTrees:
        return trees.judge(settings, config.model, threads_of(config.engine))

    tuned = _tuned(known, encoding, judge if settings else None, config)
    return {**choices, **as_choices(tuned)}


def _tuned(
    train: Dataset,
    encoding: Encoding,
    search: Callable[[TreeSearch], TunedTrees] | None,
    config: Config,
) -> Tuned:
    chosen = sample_of_leads(train.keys["lead_id"], config.model.trial_rows)
    sample = train if chosen.all() else train.rows(chosen)
    folds = time_folds(sample.keys)
    plain = Lesson(encoding.for_linear(sample.X), sample.won)
    threads = threads_of(config.engine)
    line = tune_line(lambda fold: plain, sample.won, folds, threads)
    smooth = tune_line(lambda fold: _smooth_of(fold, sample, encoding), sample.won, folds, threads)
    trees = None
    if search is not None:
        matrix = encoding.for_trees(sample.X)
        trees = search(TreeSearch(matrix, sample.won, encoding.categories, folds))
        trees = _for_all_rows(trees, train, encoding, config)
    tuned = Tuned(sample, folds, line, smooth, trees, Mix({}, 1.0, {}))
    usual = {"line": 1.0, "smooth": 0.0} if search is None else USUAL
    groups, base = sample.keys["group_id"].to_numpy(), _base_of_folds(sample.won, folds)
    return replace(tuned, mix=mix(tuned.scores, usual, sample.won, groups, base))


def _for_all_rows(
    trees: TunedTrees, train: Dataset, encoding: Encoding, config: Config
) -> TunedTrees:
    """With rounds for a fit on all rows: time folds learn from too few, so their trees stop too soon.

    Folds of other leads say how many times longer the best setting grows, and the others grow with it. Of
    very many leads it is MORE_ROWS times the rows of the search that say so.
    """
    rows = train.rows(sample_of_leads(train.keys["lead_id"], MORE_ROWS * config.model.trial_rows))
    folds = lead_folds(rows.keys)
    if not folds:
        return trees
    search = TreeSearch(encoding.for_trees(rows.X), rows.won, encoding.categories, folds)
    best = trees.top[0]
    longer = (
        search.rounds_of(best.parameters, config.model, threads_of(config.engine)) / best.rounds
    )
    top = tuple(replace(one, rounds=max(1, round(longer * one.rounds))) for one in trees.top)
    return replace(trees, top=top)


def smooth_lesson(rows: Dataset, encoding: SmoothEncoding) -> LessonTwice:
    """What the smooth line learns from `rows`, which stand in the order of time."""
    explicit = {feature.name for feature in rows.catalogue.of_kind("explicit")}
    said = np.array([name in explicit for name in encoding.names])[encoding.linear_owners]
    leads = rows.keys["lead_id"].to_numpy()
    return LessonTwice(encoding.for_linear(rows.X), rows.won, leads, said)


def _smooth_of(fold: Fold, sample: Dataset, encoding: Encoding) -> LessonTwice:
    """Its index looks at labels and its curves at numbers, so each fold learns its own."""
    known = sample.rows(_mask(len(sample), fold.train))
    names, leads = varying(sample, encoding), known.keys["lead_id"]
    return smooth_lesson(sample, SmoothEncoding.fit(known.X, leads, known.won, names))


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


def varying(train: Dataset, encoding: Encoding) -> list[Feature]:
    names = set(encoding.names)
    return [feature for feature in train.catalogue.features if feature.name in names]


def out_of_time(tuned: Tuned) -> OutOfTime:
    score, line = tuned.score, tuned.line.score
    judged = ~np.isnan(score)
    fold = np.full(len(score), -1)
    for number, one in enumerate(tuned.folds):
        fold[one.valid] = number if one.known else -1
    keys = tuned.sample.keys[judged].reset_index(drop=True)
    return OutOfTime(keys, score[judged], line[judged], fold[judged])


def as_choices(tuned: Tuned) -> dict[str, Any]:
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
    return {**found, "trees": trees}
