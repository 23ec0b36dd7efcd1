"""Walking forward: at the start of each period a model of what was known then, judged on the period.

A period's model is made as the evaluated one was: members on the older rows, a purge of one label delay,
a stretch as long as the calibrate part for the calibrator. The settings are the run's own. They were
chosen on the fit part, in which the first periods lie: a choice has seen these, no fit has. Of the tree
settings only the best is grown, where the evaluated model averages several: the walk must cost little.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from lead_propensity.config import Config
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model import rules
from lead_propensity.model.calibration import Calibrator, Identity, fit_calibrator
from lead_propensity.model.folds import hash_folds, known_by, sample_of_leads
from lead_propensity.model.level import LevelTracker, Scored, tracked
from lead_propensity.model.machine import threads_of
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import anchored, main_again
from lead_propensity.progress import Progress, silent

EARLIEST = 0.4
"""Share of the labels that are known when the first period begins."""
MIN_WINS = 20
MIN_GROUPS = 5
"""Won, and others, that each side of a period needs."""
RANDOM_FOLDS = 2
"""Each model of the random split learns from half of the groups: no more than the walk's models, on average."""
AT_ONCE = 2
"""Models fitted side by side, one thread each; each holds its rows' matrix in memory."""

NOT_WANTED = "No walk forward: model.backtest_periods is 0."
TOO_SHORT = (
    "No walk forward: the history before the test part is too short to hold labels that were known when "
    "a later part of it began."
)
NOTHING_WALKED = "No walk forward: each period before the test part holds too little."


@dataclass(frozen=True)
class Period:
    """One period, half-open, in units of `order`; why it was not walked, else None."""

    starts: int
    ends: int
    skipped: str | None = None
    fitted_until: int | None = None
    """The last `order` that taught the members."""
    calibrated: bool = False
    """Whether there was room for a purge and a stretch to calibrate on."""
    constant: float | None = None
    """The share of wins in the stretch (else in all that was known): what a constant would have said."""


@dataclass(frozen=True)
class Walk:
    """The periods, and one row a judged snapshot.

    `rows` has `period` (place in `periods`), `lead_id`, `group_id`, `order`, `won`, `raw_score`,
    `probability_untracked`, `probability` (tracked), `refitted` (probability of the model refitted on all
    that was known then; NaN where it is the same model), `rules_points` and `rules_hot` (what today's rules
    say) and `random_split` (log-odds under a random split).
    """

    periods: tuple[Period, ...]
    rows: pd.DataFrame
    why_not: str | None = None
    """Why nothing was walked."""


@dataclass(frozen=True)
class _Stage:
    """A period's rows among `past`, as positions."""

    period: Period
    known: np.ndarray
    """Before the period, labels known at its start."""
    older: np.ndarray
    """Of these, what had been known when the stretch began; maybe too little to fit."""
    stretch: np.ndarray
    """Of these the latest, as long as the calibrate part."""
    judged: np.ndarray


def walk(
    data: Dataset, model: PropensityModel, config: Config, progress: Progress = silent
) -> Walk:
    """Cut the time before the test part into `model.backtest_periods`, and walk.

    Of more than `model.trial_rows` snapshots only those of some leads, chosen by a hash: it makes ten models.
    Deterministic. The test part is not looked at.
    """
    wanted = config.model.backtest_periods
    if wanted == 0:
        return Walk((), pd.DataFrame(), NOT_WANTED)
    past = before_test(data)
    past = past.rows(sample_of_leads(past.keys["lead_id"], config.model.trial_rows))
    stages = _stages(past, wanted, calibrate_length(data))
    if not stages:
        return Walk((), pd.DataFrame(), TOO_SHORT)
    with threadpool_limits(limits=1):  # the last bit must not depend on the cores
        return _Walker(past, model, config).walk(stages, progress)


def before_test(data: Dataset) -> Dataset:
    """The labelled snapshots of the training population that lie before the test part."""
    past = data.part("fit", "purged", "calibrate")
    return past.rows(~np.isnan(past.won))


def calibrate_length(data: Dataset) -> int:
    """From the first to the last snapshot of the calibrate part, in units of `order`."""
    order = data.part("calibrate").keys["order"]
    return int(order.max() - order.min())


def _stages(past: Dataset, wanted: int, stretch: int) -> list[_Stage]:
    """Periods of equal length on the time line, from where enough labels are known."""
    order, known_at = (past.keys[name].to_numpy(np.int64) for name in ("order", "label_known_at"))
    first = int(np.quantile(known_at, EARLIEST, method="higher"))
    end = int(order.max()) + 1
    if first >= end:
        return []
    cuts = [first + (end - first) * place // wanted for place in range(wanted + 1)]
    stages = []
    for start, until in pairwise(cuts):
        known = np.flatnonzero(known_by(past.keys, start))
        held_from = int(order[known].max()) - stretch if len(known) else start
        older = known[(known_at[known] <= held_from) & (order[known] < held_from)]
        latest = known[order[known] >= held_from]
        judged = np.flatnonzero((order >= start) & (order < until))
        stages.append(_Stage(Period(start, until), known, older, latest, judged))
    return stages


class _Walker:
    """The evaluated model's settings, at work on earlier rows."""

    def __init__(self, past: Dataset, model: PropensityModel, config: Config) -> None:
        self.past, self.model, self.config = past, model, config
        self.choices = _lighter(model.choices)
        self.by_rules = rules.score(Scorecard.model_validate(model.rules), past.rules)
        self.order = past.keys["order"].to_numpy(np.int64)

    def walk(self, stages: list[_Stage], progress: Progress) -> Walk:
        steps, found = len(stages) + 1, []
        progress("backtesting", 0, steps)
        with ThreadPoolExecutor(min(AT_ONCE, threads_of(self.config.engine))) as pool:
            for one in pool.map(self._stage, stages):
                found.append(one)
                progress("backtesting", len(found), steps)
            periods = tuple(period for period, _ in found)
            judged = [rows.assign(period=n) for n, (_, rows) in enumerate(found) if len(rows)]
            if not judged:
                return Walk(periods, pd.DataFrame(), NOTHING_WALKED)
            rows = pd.concat(judged)
            score = np.full(len(self.past), np.nan)
            for held, promised in pool.map(self._random_fold(rows.index), range(RANDOM_FOLDS)):
                score[held] = promised
        progress("backtesting", steps, steps)
        rows = rows.assign(random_split=score[rows.index])
        return Walk(periods, rows.reset_index(drop=True))

    def _stage(self, stage: _Stage) -> tuple[Period, pd.DataFrame]:
        """The period as it went, with its judged rows (none where it was skipped)."""
        skipped = self._too_little(stage)
        if skipped:
            return replace(stage.period, skipped=skipped), pd.DataFrame()
        return self._walked(stage)

    def _random_fold(self, judged: pd.Index) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
        """Of a fold's number: its judged rows, and their log-odds by the other groups, of all times."""
        fold = hash_folds(self.past.keys["group_id"], RANDOM_FOLDS)

        def promised(number: int) -> tuple[np.ndarray, np.ndarray]:
            held = judged.to_numpy()[fold[judged] == number]
            others = np.flatnonzero(fold != number)
            if len(held) == 0 or _lacks(self.past.keys.iloc[others]) is not None:
                return held, np.full(len(held), np.nan)
            main = main_again(self._rows(others), self.choices, self.config)
            return held, main.raw_score(self._rows(held).X)

        return promised

    def _too_little(self, stage: _Stage) -> str | None:
        keys = self.past.keys
        before, within = _lacks(keys.iloc[stage.known]), _lacks(keys.iloc[stage.judged])
        if before is not None:
            return f"what was known before it holds {before}"
        return None if within is None else f"it holds {within}"

    def _walked(self, stage: _Stage) -> tuple[Period, pd.DataFrame]:
        room = _lacks(self.past.keys.iloc[stage.older]) is None
        taught = stage.older if room else stage.known
        main = main_again(self._rows(taught), self.choices, self.config)
        later = self._later(stage, taught)
        score = main.raw_score(self._rows(later).X)
        calibrator: Calibrator = Identity()
        if room:
            calibrator = self._calibrator(stage.stretch, score[np.isin(later, stage.stretch)])
        judged = np.isin(later, stage.judged)
        untracked = calibrator.predict(score)
        shift = self._shift(stage, taught, later, untracked)
        frame = self.past.keys.iloc[stage.judged][["lead_id", "group_id", "order", "won"]].assign(
            raw_score=score[judged],
            probability_untracked=untracked[judged],
            probability=tracked(untracked[judged], shift),
            rules_points=self.by_rules.points[stage.judged],
            rules_hot=self.by_rules.band[stage.judged] == "hot",
            refitted=self._refitted(stage, taught, calibrator),
        )
        period = replace(
            stage.period,
            fitted_until=int(self.order[taught].max()),
            calibrated=room,
            constant=_share(self.past.won[stage.stretch if room else stage.known]),
        )
        return period, frame

    def _refitted(self, stage: _Stage, taught: np.ndarray, calibrator: Calibrator) -> np.ndarray:
        """Of the judged rows, by what `model.refit` would have deployed at the period's start."""
        unseen = np.setdiff1d(stage.known, taught)
        if len(unseen) == 0 or self.config.model.refit == "never":
            return np.full(len(stage.judged), np.nan)
        known = self._rows(stage.known)
        main = main_again(known, self.choices, self.config, fitted_on=len(taught))
        latest = self._rows(unseen)
        again = anchored(calibrator, main.raw_score(latest.X), latest.won)
        later = self._later(stage, stage.known)
        untracked = again.predict(main.raw_score(self._rows(later).X))
        shift = self._shift(stage, stage.known, later, untracked)
        return tracked(untracked[np.isin(later, stage.judged)], shift)

    def _calibrator(self, stretch: np.ndarray, score: np.ndarray) -> Calibrator:
        """Of the kind that the run chose."""
        groups, won = self.past.keys["group_id"].iloc[stretch], self.past.won[stretch]
        return fit_calibrator(self.model.calibrator.kind, score, won, groups)

    def _shift(
        self, stage: _Stage, taught: np.ndarray, later: np.ndarray, probability: np.ndarray
    ) -> np.ndarray:
        """The level at each judged row, told by cohorts that had closed before it."""
        level: LevelTracker = replace(self.model.level, after=int(self.order[taught].max()))
        closed = level.cohorts(Scored.of(self.past.keys.iloc[later], probability))
        return level.shift(self.order[stage.judged], closed)[0]

    def _later(self, stage: _Stage, taught: np.ndarray) -> np.ndarray:
        """Rows after those that taught, up to the period's end: they calibrate, tell the level, or are judged."""
        after, ends = self.order[taught].max(), stage.period.ends
        return np.flatnonzero((self.order > after) & (self.order < ends))

    def _rows(self, places: np.ndarray) -> Dataset:
        mask = np.zeros(len(self.past), dtype=bool)
        mask[places] = True
        return self.past.rows(mask)


def _lighter(choices: dict[str, Any]) -> dict[str, Any]:
    """Without the trees that are averaged with the best ones."""
    return {**choices, "trees": choices["trees"][:1]} if "trees" in choices else choices


def _lacks(keys: pd.DataFrame) -> str | None:
    """What some rows have too little of to learn from or to judge by; None: enough."""
    won = (keys["won"] == 1.0).to_numpy()
    wins = int(won.sum())
    if wins < MIN_WINS:
        return f"{wins} won snapshots, at least {MIN_WINS} are needed"
    fewest = min(keys["group_id"][won].nunique(), keys["group_id"][~won].nunique())
    if fewest < MIN_GROUPS:
        return f"{fewest} leads (or groups) of one outcome, at least {MIN_GROUPS} are needed"
    return None


def _share(won: np.ndarray) -> float:
    return (float(won.sum()) + 0.5) / (len(won) + 1)
