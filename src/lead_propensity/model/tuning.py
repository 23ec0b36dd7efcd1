"""The search for good settings: folds of other leads judge the trials, purged time folds the finalists.

Folds of leads learn from nearly as many rows as the final fit, and tell small differences; but they know
the future. So what they like best has to stand before the time folds. Optuna is imported here only.

A search that was killed goes on where it was. So no trial may depend on what its process remembers:
each one is suggested by a new sampler, from the seed, its number and the trials before those at once with it.
"""

import hashlib
import importlib.metadata
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from lead_propensity.config import ModelConfig
from lead_propensity.errors import ConfigError
from lead_propensity.model import rounds
from lead_propensity.model.folds import Fold
from lead_propensity.model.learners import tree_parameters
from lead_propensity.model.rounds import BestRound, FoldBoosters, FoldRows, settle
from lead_propensity.progress import Progress

DEFAULT_ROUNDS = 100
DEFAULT_TREES: dict[str, Any] = {
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 3.0,
}
REFIT_ROUNDS = 1.1
"""The final fit sees more rows than the folds did, and takes so many times their rounds."""
FINALISTS = 6
"""So many of the best trials are judged by the time folds."""
TOP = 3
"""So many of these are grown."""
EARLY_FOLDS = 1
"""A trial that the first folds speak against is not judged by the others."""
AT_ONCE = 2
"""So many trials are suggested, and grown, side by side: none of them knows of the others."""
MIN_FINISHED = 5
"""Nothing is pruned before so many trials were judged by all folds."""


@dataclass(frozen=True)
class TunedTrial:
    """One of the best settings, as `TreeSearch.folds` judged it."""

    parameters: dict[str, Any]
    rounds: int
    """For a fit on all rows."""
    loss: float
    """Mean over the folds of their mean log loss."""
    score: np.ndarray
    """Out-of-fold log-odds, one value a row, NaN where no fold judged it."""


@dataclass(frozen=True)
class TunedTrees:
    """The trials, and the best of them."""

    trials: pd.DataFrame
    """One row a trial: `trial, loss, rounds, folds` (how many judged it), `pruned`, the settings; as judged
    by the folds of leads."""
    top: tuple[TunedTrial, ...]
    """At most TOP, by the time folds, the best first; without folds the defaults."""


@dataclass
class TreeSearch:
    """One search: each trial's trees are grown on folds and judged by their mean log loss."""

    matrix: np.ndarray
    won: np.ndarray
    categories: list[int]
    folds: Sequence[Fold]
    """They judge settings that are given, and the finalists of a search; there they lie in time."""
    lead_folds: Sequence[Fold] = ()
    """They judge the trials; where there are none, `folds` do."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Settings of LightGBM that every trial has, whatever the sampler suggests."""

    def run(
        self, config: ModelConfig, threads: int, progress: Progress, storage: Path | None = None
    ) -> TunedTrees:
        """The best of `config.trials`; without time folds the defaults.

        Finished trials are kept in the folder `storage`, and those of the same search found there are
        not done again; the result is the same. Raises ConfigError where the folder cannot be written.
        """
        if not self.folds:
            score = np.full(len(self.won), np.nan)
            usual = TunedTrial(self._all_of(DEFAULT_TREES), DEFAULT_ROUNDS, float("nan"), score)
            return TunedTrees(pd.DataFrame(), (usual,))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = _space(len(self.won))
        judges = self.lead_folds or self.folds
        with (
            self._ready(judges, config.seed, threads),
            _kept(storage, self._digest(judges, config.seed)) as kept,
        ):
            study = self._study(config, kept, progress)
        finalists = self.judge([trial.params for trial in _best_of(study)], config, threads)
        top = sorted(finalists.top, key=lambda one: one.loss)[:TOP]
        return TunedTrees(self._table(study, len(judges)), tuple(top))

    def judge(
        self, settings: Sequence[Mapping[str, Any]], config: ModelConfig, threads: int
    ) -> TunedTrees:
        """These settings alone, in their order, each with the rounds that suit the folds; no trial is made."""
        with self._ready(self.folds, config.seed, threads):
            top = tuple(self._judged(one) for one in settings)
        return TunedTrees(pd.DataFrame(), top)

    @contextmanager
    def _ready(self, folds: Sequence[Fold], seed: int, threads: int) -> Iterator[None]:
        self._seed = seed
        self._rows = FoldRows.cut(self.matrix, self.won, self.categories, folds)
        pool = ThreadPoolExecutor(min(threads, len(folds)), initializer=settle)
        with pool as self._pool:
            yield

    @property
    def _places(self) -> range:
        return range(len(self._rows.folds))

    def _judged(self, setting: Mapping[str, Any]) -> TunedTrial:
        boosters = self._boosters(setting)
        best = boosters.best_round(self._places)
        return TunedTrial(
            self._all_of(setting), _of_all(best.rounds), best.loss, boosters.score(best.rounds)
        )

    def _study(
        self, config: ModelConfig, kept: optuna.Study | None, progress: Progress
    ) -> optuna.Study:
        study = optuna.create_study()
        study.add_trials(_finished(kept)[: config.trials])
        for first in range(0, config.trials, AT_ONCE):
            end = min(first + AT_ONCE, config.trials)
            done = len(study.trials) - first
            if done >= end - first:
                continue
            progress("tuning", first + done, config.trials)
            before = optuna.create_study()
            before.add_trials(study.trials[:first])
            asked = self._asked(before, range(first, end), config.seed)
            for number, trial in self._ended(before, asked[done:]):
                if number > first + done:
                    progress("tuning", number, config.trials)
                study.add_trial(trial)
                if kept is not None:
                    kept.add_trial(trial)
        progress("tuning", config.trials, config.trials)
        return study

    def _asked(self, before: optuna.Study, numbers: Sequence[int], seed: int) -> list[optuna.Trial]:
        """Trials of these numbers, suggested by what `before` holds."""
        asked = []
        for number in numbers:
            before.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number))
            if number == 0:
                before.enqueue_trial({name: DEFAULT_TREES[name] for name in self._space})
            asked.append(before.ask(self._space))
        return asked

    def _ended(
        self, before: optuna.Study, asked: Sequence[optuna.Trial]
    ) -> Iterator[tuple[int, FrozenTrial]]:
        """The number of each trial and its end; they are judged side by side, by the losses in `before`."""
        highest = _highest_early_loss(before)
        # These threads wait; the folds grow in those of `_pool`.
        with ThreadPoolExecutor(len(asked), initializer=settle) as pool:
            judged = list(pool.map(lambda trial: self._judge(trial.params, highest), asked))
        for trial, (early, best) in zip(asked, judged, strict=True):
            yield trial.number, _told(before, trial, early, best)

    def _judge(
        self, setting: Mapping[str, Any], highest: float
    ) -> tuple[BestRound, BestRound | None]:
        """By the early folds, and where these find no more than the loss `highest` by all."""
        boosters = self._boosters(setting)
        early = boosters.best_round(self._places[:EARLY_FOLDS])
        if len(self._places) > EARLY_FOLDS and early.loss > highest:
            return early, None
        return early, boosters.best_round(self._places)

    def _boosters(self, suggested: Mapping[str, Any]) -> FoldBoosters:
        settings = tree_parameters(self._seed, self._all_of(suggested))
        return FoldBoosters(self._rows, settings, self._pool)

    def _all_of(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        return {**suggested, "bagging_freq": 1, **self.fixed}

    def _table(self, study: optuna.Study, folds: int) -> pd.DataFrame:
        pruned = [trial.state == TrialState.PRUNED for trial in study.trials]
        return pd.DataFrame(
            {
                "trial": trial.number,
                "loss": trial.value,
                "rounds": trial.user_attrs["rounds"],
                "folds": min(folds, EARLY_FOLDS) if was_pruned else folds,
                "pruned": was_pruned,
                **{name: trial.params[name] for name in self._space},
            }
            for trial, was_pruned in zip(study.trials, pruned, strict=True)
        )

    def _digest(self, judges: Sequence[Fold], seed: int) -> str:
        """Of all that a trial's result depends on."""
        state = hashlib.blake2b(digest_size=16)
        folds = [rows for fold in judges for rows in (fold.train, fold.valid)]
        for array in (self.matrix, self.won, *folds):
            state.update(f"{array.dtype} {array.shape}".encode())
            state.update(np.ascontiguousarray(array).tobytes())
        space = {name: repr(one) for name, one in self._space.items()}
        growth = (rounds.MAX_ROUNDS, rounds.PATIENCE, rounds.BLOCK)
        pruning = (EARLY_FOLDS, MIN_FINISHED, AT_ONCE)
        packages = ("lead-propensity", "lightgbm", "numpy", "optuna")
        versions = [importlib.metadata.version(package) for package in packages]
        base = tree_parameters(seed, self.fixed)
        how = [seed, self.categories, base, space, growth, pruning, versions]
        state.update(json.dumps(how, sort_keys=True).encode())
        return state.hexdigest()


def setting_importance(trials: pd.DataFrame) -> dict[str, float]:
    """Each setting's share in how the losses of the finished trials differ, the largest first.

    By functional ANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014). `trials` as in TunedTrees; with fewer
    than MIN_FINISHED finished ones empty.
    """
    finished = trials[~trials["pruned"].astype(bool)] if len(trials) else trials
    if len(finished) < MIN_FINISHED:
        return {}
    settings = finished[list(_space(len(finished)))].astype(np.float64)
    ranges: dict[str, BaseDistribution] = {
        str(name): FloatDistribution(values.min(), values.max())
        for name, values in settings.items()
    }
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            params={str(name): value for name, value in row.items()},
            distributions=ranges,
            value=loss,
        )
        for (_, row), loss in zip(settings.iterrows(), finished["loss"], strict=True)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _space(rows: int) -> dict[str, BaseDistribution]:
    most = max(100, min(400, rows // 30))
    return {
        "num_leaves": IntDistribution(3, 63, log=True),
        "min_data_in_leaf": IntDistribution(10, most, log=True),
        "feature_fraction": FloatDistribution(0.2, 1.0),
        "bagging_fraction": FloatDistribution(0.5, 1.0),
        "lambda_l2": FloatDistribution(0.01, 100.0, log=True),
    }


def _told(
    study: optuna.Study, trial: optuna.Trial, early: BestRound, best: BestRound | None
) -> FrozenTrial:
    """The trial with what its folds found; pruned where all of them were not asked."""
    trial.report(early.loss, step=0)
    trial.set_user_attr("rounds", (best or early).rounds)
    if best is None:
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, best.loss)


def _seed(seed: int, number: int) -> int:
    """Of one trial's sampler."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _of_all(rounds_of_folds: int) -> int:
    """Rounds for a fit on all rows."""
    return int(np.ceil(REFIT_ROUNDS * rounds_of_folds))


def _best_of(study: optuna.Study) -> list[FrozenTrial]:
    """The finalists among the finished trials, the best first; of equals the earlier."""
    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return sorted(finished, key=lambda trial: (trial.value, trial.number))[:FINALISTS]


def _highest_early_loss(study: optuna.Study) -> float:
    """Beyond it on the early folds a trial is pruned: the median of the finished ones."""
    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(finished) < MIN_FINISHED:
        return np.inf
    return float(np.median([trial.intermediate_values[0] for trial in finished]))


@contextmanager
def _kept(folder: Path | None, digest: str) -> Iterator[optuna.Study | None]:
    """The finished trials of the search `digest`, in a SQLite file of the folder; None without one."""
    if folder is None:
        yield None
        return
    from sqlalchemy.exc import SQLAlchemyError  # who only scores need not wait for it

    path = folder / f"{digest}.sqlite"
    try:
        if not _sound(path):
            path.unlink()
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            yield optuna.create_study(storage=storage, study_name="trees", load_if_exists=True)
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except (sqlite3.Error, SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise ConfigError(
            f"finished trials cannot be kept in {folder}: {error.__cause__ or error}. Make room there, or "
            "name another folder in engine.work_folder."
        ) from error


def _sound(path: Path) -> bool:
    """Whether SQLite can read the file, or there was none. Raises sqlite3.Error where none can be made."""
    with closing(sqlite3.connect(path)) as found:
        try:
            return bool(found.execute("PRAGMA quick_check").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False


def _finished(kept: optuna.Study | None) -> list[FrozenTrial]:
    return [] if kept is None else kept.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])
