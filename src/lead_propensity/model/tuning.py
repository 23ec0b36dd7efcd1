"""The search for good settings on purged time folds. Optuna is imported here only."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import optuna
import pandas as pd

from lead_propensity.config import ModelConfig
from lead_propensity.model.folds import Fold
from lead_propensity.model.intervals import row_loss
from lead_propensity.model.learners import binned, fit_line, line, tree_parameters
from lead_propensity.progress import Progress

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
DEFAULT_STRENGTH = 0.01
MAX_ROUNDS = 600
PATIENCE = 30
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


@dataclass(frozen=True)
class TunedLine:
    """The logistic member's strength, its mean fold loss and out-of-fold log-odds."""

    strength: float
    losses: dict[str, float]
    score: np.ndarray
    """One value a row, NaN where no fold judged it."""


@dataclass(frozen=True)
class TunedTrees:
    """The boosted member's settings and rounds, the trials, and out-of-fold log-odds."""

    parameters: dict[str, Any]
    rounds: int
    trials: pd.DataFrame
    score: np.ndarray


@dataclass(frozen=True)
class Judged:
    """One trial on one fold: mean log loss, best round, and log-odds of the validation rows."""

    loss: float
    rounds: int
    score: np.ndarray


def tune_line(matrix: np.ndarray, won: np.ndarray, folds: Sequence[Fold]) -> TunedLine:
    """Try each strength on the folds; without folds the default."""
    if not folds:
        return TunedLine(DEFAULT_STRENGTH, {}, np.full(len(won), np.nan))
    scores = {strength: _line_scores(matrix, won, folds, strength) for strength in STRENGTHS}
    losses = {
        strength: float(np.mean([np.mean(row_loss(s[f.valid], won[f.valid])) for f in folds]))
        for strength, s in scores.items()
    }
    best = min(losses, key=lambda strength: losses[strength])
    return TunedLine(best, {str(key): loss for key, loss in losses.items()}, scores[best])


@dataclass
class TreeSearch:
    """One search: the rows in bins once, each trial trained and judged on every fold.

    Folds run side by side with one LightGBM thread each: more threads within a fold would sum its
    log loss in another order.
    """

    matrix: np.ndarray
    won: np.ndarray
    categories: list[int]
    folds: Sequence[Fold]

    def run(self, config: ModelConfig, threads: int, progress: Progress) -> TunedTrees:
        """The best of `config.trials` by mean fold log loss; without folds the defaults."""
        score = np.full(len(self.won), np.nan)
        if not self.folds:
            return TunedTrees(dict(DEFAULT_TREES), DEFAULT_ROUNDS, pd.DataFrame(), score)
        self._base = tree_parameters(config.seed, threads=1)
        self._cut()
        self._best: tuple[float, list[Judged]] = (np.inf, [])
        study = _study(config.seed)
        progress("tuning", 0, config.trials)
        with ThreadPoolExecutor(min(threads, len(self.folds))) as self._pool:
            study.optimize(
                self._judge,
                n_trials=config.trials,
                n_jobs=1,
                callbacks=[lambda _, trial: progress("tuning", trial.number + 1, config.trials)],
            )
        for fold, judged in zip(self.folds, self._best[1], strict=True):
            score[fold.valid] = judged.score
        rounds = int(np.ceil(REFIT_ROUNDS * study.best_trial.user_attrs["rounds"]))
        return TunedTrees(_all_of(study.best_trial.params), rounds, _trials(study), score)

    def _cut(self) -> None:
        whole = binned(self.matrix, self.won, self.categories).construct()
        self._train = [whole.subset(fold.train.tolist()).construct() for fold in self.folds]
        self._valid = [whole.subset(fold.valid.tolist()).construct() for fold in self.folds]

    def _judge(self, trial: optuna.Trial) -> float:
        parameters = {**self._base, **_suggest(trial, len(self.won))}
        largest_first = range(len(self.folds))[::-1]
        jobs = {place: self._pool.submit(self._fold, parameters, place) for place in largest_first}
        judged = [jobs[place].result() for place in range(len(self.folds))]
        loss = float(np.mean([fold.loss for fold in judged]))
        trial.set_user_attr("rounds", int(np.median([fold.rounds for fold in judged])))
        if loss < self._best[0]:
            self._best = (loss, judged)
        return loss

    def _fold(self, parameters: dict[str, Any], place: int) -> Judged:
        booster = lightgbm.train(
            {**parameters, "metric": "binary_logloss", "num_iterations": MAX_ROUNDS},
            self._train[place],
            valid_sets=[self._valid[place]],
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        rows = self.folds[place].valid
        score = booster.predict(self.matrix[rows], raw_score=True, num_threads=1)
        score = np.asarray(score, dtype=np.float64)
        return Judged(
            float(np.mean(row_loss(score, self.won[rows]))), booster.best_iteration, score
        )


def _line_scores(
    matrix: np.ndarray, won: np.ndarray, folds: Sequence[Fold], strength: float
) -> np.ndarray:
    score = np.full(len(won), np.nan)
    for fold in folds:
        bias, coefficients = fit_line(matrix[fold.train], won[fold.train], strength)
        score[fold.valid] = line(matrix[fold.valid], bias, coefficients)
    return score


def _study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    tried_first = {key: value for key, value in DEFAULT_TREES.items() if key != "bagging_freq"}
    study.enqueue_trial(tried_first)
    return study


def _suggest(trial: optuna.Trial, rows: int) -> dict[str, Any]:
    most = max(100, min(400, rows // 30))
    trial.suggest_int("num_leaves", 3, 63, log=True)
    trial.suggest_int("min_data_in_leaf", 10, most, log=True)
    trial.suggest_float("feature_fraction", 0.2, 1.0)
    trial.suggest_float("bagging_fraction", 0.5, 1.0)
    trial.suggest_float("lambda_l2", 0.01, 100.0, log=True)
    return _all_of(trial.params)


def _all_of(suggested: dict[str, Any]) -> dict[str, Any]:
    return {**suggested, "bagging_freq": 1}


def _trials(study: optuna.Study) -> pd.DataFrame:
    """One row a trial."""
    return pd.DataFrame(
        {
            "trial": trial.number,
            "loss": trial.value,
            "rounds": trial.user_attrs["rounds"],
            **trial.params,
        }
        for trial in study.trials
    )
