"""What the folds choose: the strength of the lines, the trees' settings and rounds, the mix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import Config
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.encoding import Encoding
from lead_propensity.model.folds import Fold, lead_folds, sample_of_leads, time_folds
from lead_propensity.model.learners import BaseRate
from lead_propensity.model.levels import many_levels, told
from lead_propensity.model.lines import STRENGTHS, Lesson, LessonTwice, TunedLine, tune_line
from lead_propensity.model.machine import threads_of
from lead_propensity.model.mixing import Mix, mix
from lead_propensity.model.smooth import SmoothEncoding
from lead_propensity.model.tuning import TreeSearch, TunedTrees
from lead_propensity.progress import Progress

USUAL = {"line": 0.5, "smooth": 0.0, "trees": 0.5}
"""The blend that the folds must speak against: the smooth line has to earn its place."""

SEARCH_FOLDS = 3
"""So many folds of leads judge the trials of the search."""
MORE_ROWS = 4
"""Folds of leads judge so many times the rows of the search, at most."""

Search = Callable[[TreeSearch], TunedTrees]


@dataclass(frozen=True)
class OutOfTime:
    """Rows of the fit part as judged by folds that could not know them; empty without folds."""

    keys: pd.DataFrame
    score: np.ndarray
    logistic_score: np.ndarray
    fold: np.ndarray
    """(n,) which fold judged the row; -1 where that fold knew labels too early to tell the level."""


@dataclass(frozen=True)
class Judged:
    """The members with the settings that some folds liked best."""

    sample: Dataset
    folds: tuple[Fold, ...]
    line: TunedLine
    smooth: TunedLine
    trees: TunedTrees | None
    """None: too few wins for trees."""

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Of each member (n,) out-of-fold log-odds; NaN where no fold judged the row."""
        found = {"line": self.line.score, "smooth": self.smooth.score}
        if self.trees is not None:
            found["trees"] = np.mean([one.score for one in self.trees.top], axis=0)
        return found

    @property
    def base(self) -> np.ndarray:
        """(n,) the log-odds of the base rate that the fold of each row knew; NaN where none judged it."""
        base = np.full(len(self.sample), np.nan)
        for fold in self.folds:
            base[fold.valid] = BaseRate.fit(self.sample.won[fold.train]).log_odds
        return base


@dataclass(frozen=True)
class Tuned(Judged):
    """What the folds chose, on a sample of the leads, and the mix; rounds are those for all rows."""

    mix: Mix

    @property
    def score(self) -> np.ndarray:
        """Out-of-fold log-odds of the blend."""
        mixed = np.zeros(len(self.sample))
        for name, score in self.scores.items():
            mixed += self.mix.weights[name] * score
        return np.asarray(self.base + self.mix.slope * (mixed - self.base))


def choose(
    train: Dataset,
    encoding: Encoding,
    with_trees: bool,
    config: Config,
    progress: Progress,
    storage: Path | None,
) -> Tuned:
    """Everything anew, on the rows of `train`, the lesson of `encoded`; of many leads on a sample.

    Finished trials are kept in the folder `storage`, and found there by a run that was killed.
    """

    def search(trees: TreeSearch) -> TunedTrees:
        return trees.run(config.model, threads_of(config.engine), progress, storage)

    return _tuned(train, encoding, search if with_trees else None, config)


def choose_again(known: Dataset, choices: dict[str, Any], config: Config) -> dict[str, Any]:
    """`choices` for more rows, those of `known`: strengths, rounds and mix anew, by the folds of `known`.

    The learner stays, and so do the settings of the trees: a search made anew was not better.
    """
    lesson, encoding = encoded(known)
    if choices["learner"] == "base_rate" or not encoding.columns or not time_folds(known.keys):
        return choices
    settings = [one["parameters"] for one in choices.get("trees", [])]

    def judge(trees: TreeSearch) -> TunedTrees:
        return trees.judge(settings, config.model, threads_of(config.engine))

    tuned = _tuned(lesson, encoding, judge if settings else None, config)
    return {**choices, **as_choices(tuned)}


def encoded(train: Dataset) -> tuple[Dataset, Encoding]:
    """The rows as members learn from them, see `levels.told`, and how those to score are read."""
    levels = many_levels(train)
    features, leads = train.catalogue.features, train.keys["lead_id"]
    return told(train, levels), Encoding.fit(train.X, leads, features, levels)


def _tuned(train: Dataset, encoding: Encoding, search: Search | None, config: Config) -> Tuned:
    chosen = sample_of_leads(train.keys["lead_id"], config.model.trial_rows)
    sample = train if chosen.all() else train.rows(chosen)
    folds = time_folds(sample.keys)
    found = _judged(sample, folds, encoding, STRENGTHS, STRENGTHS, search, config)
    by_leads = _by_leads(found, train, encoding, config) if folds else None
    usual = {"line": 1.0, "smooth": 0.0} if search is None else USUAL
    told = [found] if by_leads is None else [found, by_leads]
    trees = _grown(found.trees, told[-1].trees)
    return Tuned(sample, folds, found.line, found.smooth, trees, _mix(told, usual))


def _judged(
    rows: Dataset,
    folds: tuple[Fold, ...],
    encoding: Encoding,
    line_strengths: Sequence[float],
    smooth_strengths: Sequence[float],
    search: Search | None,
    config: Config,
) -> Judged:
    """The best of the strengths, and what `search` finds; with None no trees."""
    won, threads = rows.won, threads_of(config.engine)
    plain = Lesson(encoding.for_linear(rows.X), won)
    line = tune_line(lambda fold: plain, won, folds, line_strengths, threads)
    smooth = tune_line(
        lambda fold: _smooth_of(fold, rows, encoding), won, folds, smooth_strengths, threads
    )
    if search is None:
        return Judged(rows, folds, line, smooth, None)
    matrix = encoding.for_trees(rows.X)
    others = lead_folds(rows.keys)[:SEARCH_FOLDS]
    trees = search(TreeSearch(matrix, won, encoding.categories, folds, others))
    return Judged(rows, folds, line, smooth, trees)


def _by_leads(found: Judged, train: Dataset, encoding: Encoding, config: Config) -> Judged | None:
    """The settings of `found`, judged by folds of other leads; of the trees the best. None without folds.

    Time folds learn from about half of the rows: what is best there is not yet what is best on all. Folds
    of leads learn from four fifths, so they tell how long trees grow, and have a say in the mix. Of very
    many leads they take MORE_ROWS times the rows of the search.
    """
    rows = train.rows(sample_of_leads(train.keys["lead_id"], MORE_ROWS * config.model.trial_rows))
    folds = lead_folds(rows.keys)
    if not folds:
        return None

    def best_alone(trees: TreeSearch) -> TunedTrees:
        assert found.trees is not None
        best = found.trees.top[0].parameters
        return trees.judge([best], config.model, threads_of(config.engine))

    strengths = [found.line.strength], [found.smooth.strength]
    return _judged(rows, folds, encoding, *strengths, best_alone if found.trees else None, config)


def _grown(trees: TunedTrees | None, on_more: TunedTrees | None) -> TunedTrees | None:
    """`trees`, of which the best grows as long as it did `on_more` rows, and the others as many times longer."""
    if trees is None or on_more is None:
        return trees
    longer = on_more.top[0].rounds / trees.top[0].rounds
    top = [replace(one, rounds=max(1, round(longer * one.rounds))) for one in trees.top]
    return replace(trees, top=tuple(top))


def _mix(judged: Sequence[Judged], usual: dict[str, float]) -> Mix:
    """Told by the rows of all of them."""
    scores = [one.scores for one in judged]
    return mix(
        {name: np.concatenate([one[name] for one in scores]) for name in scores[0]},
        usual,
        np.concatenate([one.sample.won for one in judged]),
        np.concatenate([one.sample.keys["group_id"] for one in judged]),
        np.concatenate([one.base for one in judged]),
    )


def smooth_lesson(rows: Dataset, encoding: SmoothEncoding) -> LessonTwice:
    """What the smooth line learns from `rows`, which stand in the order of time."""
    explicit = {feature.name for feature in rows.catalogue.of_kind("explicit")}
    said = np.array([name in explicit for name in encoding.names])[encoding.linear_owners]
    leads = rows.keys["lead_id"].to_numpy()
    return LessonTwice(encoding.for_linear(rows.X), rows.won, leads, said)


def _smooth_of(fold: Fold, sample: Dataset, encoding: Encoding) -> LessonTwice:
    """Its index looks at labels and its curves at numbers, so each fold learns its own."""
    known = sample.rows(_mask(len(sample), fold.train))
    return smooth_lesson(sample, smooth_encoding(known, encoding))


def smooth_encoding(train: Dataset, encoding: Encoding) -> SmoothEncoding:
    """Of the features in `encoding`."""
    names, leads = set(encoding.names), train.keys["lead_id"]
    features = [feature for feature in train.catalogue.features if feature.name in names]
    return SmoothEncoding.fit(train.X, leads, train.won, features, encoding.levels)


def _mask(n: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask


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
