"""One trial's boosted trees on all folds, and the number of rounds that suits the folds together.

The mean of the folds' losses says when to stop (early stopping across folds, as in `lightgbm.cv`): a
fold that stops where it pleases itself is judged too kindly.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Self

import lightgbm
import numpy as np

from lead_propensity.model.folds import Fold
from lead_propensity.model.learners import binned

MAX_ROUNDS = 600
PATIENCE = 30
"""The search for the best round ends so many rounds after it."""
BLOCK = 10
"""Folds grow by so many rounds before they are compared."""


def settle() -> None:
    """To be done first in each thread of a pool: no log, and one LightGBM thread.

    LightGBM's log level belongs to the thread. Its number of threads belongs to the process, and the
    last call decides: a call that does not say one would change the order of sums in the others.
    """
    quiet = {"num_threads": 1, "verbosity": -1}
    lightgbm.Dataset(np.zeros((1, 1)), params=quiet).construct()


@dataclass(frozen=True)
class FoldRows:
    """The rows, and the same in bins, cut once for all trials."""

    matrix: np.ndarray
    folds: Sequence[Fold]
    train: tuple[lightgbm.Dataset, ...]
    valid: tuple[lightgbm.Dataset, ...]

    @classmethod
    def cut(
        cls, matrix: np.ndarray, won: np.ndarray, categories: list[int], folds: Sequence[Fold]
    ) -> Self:
        whole = binned(matrix, won, categories).construct()
        train = tuple(whole.subset(fold.train.tolist()).construct() for fold in folds)
        valid = tuple(whole.subset(fold.valid.tolist()).construct() for fold in folds)
        return cls(matrix, folds, train, valid)


@dataclass(frozen=True)
class BestRound:
    """The lowest mean log loss of some folds, and the round that reached it."""

    loss: float
    rounds: int


class FoldBoosters:
    """The boosters of one setting, one a fold.

    Folds run side by side with one LightGBM thread each: more threads within a fold would sum its
    log loss in another order.
    """

    def __init__(self, rows: FoldRows, parameters: dict[str, Any], pool: Executor) -> None:
        """`parameters` must ask for one thread."""
        self._rows = rows
        self._pool = pool
        self._grown = [_Grown.start(rows, place, parameters) for place in range(len(rows.folds))]

    def best_round(self, places: Iterable[int]) -> BestRound:
        """Of the folds at `places`, together; they grow as far as it takes."""
        chosen = [self._grown[place] for place in places]
        for rounds in range(BLOCK, MAX_ROUNDS + 1, BLOCK):
            self._grow(chosen, rounds)
            mean = np.mean([grown.losses[:rounds] for grown in chosen], axis=0)
            best = int(np.argmin(mean))
            if rounds - (best + 1) >= PATIENCE:
                break
        return BestRound(float(mean[best]), best + 1)

    def score(self, rounds: int) -> np.ndarray:
        """Log-odds after so many rounds, a value a row; NaN where no fold judges it."""
        self._grow(self._grown, rounds)
        score = np.full(len(self._rows.matrix), np.nan)
        for grown, fold in zip(self._grown, self._rows.folds, strict=True):
            score[fold.valid] = grown.booster.predict(
                self._rows.matrix[fold.valid], raw_score=True, num_iteration=rounds, num_threads=1
            )
        return score

    def _grow(self, chosen: Sequence["_Grown"], rounds: int) -> None:
        # The largest fold is the last one: begun first, nobody waits for it alone.
        list(self._pool.map(lambda grown: grown.grow(rounds), reversed(chosen)))


@dataclass
class _Grown:
    """A booster and its validation loss after each round."""

    booster: lightgbm.Booster
    losses: list[float]
    finished: bool = False
    """No split is left that the parameters allow."""

    @classmethod
    def start(cls, rows: FoldRows, place: int, parameters: dict[str, Any]) -> Self:
        asked = {**parameters, "metric": "binary_logloss"}
        booster = lightgbm.Booster(asked, rows.train[place])
        return cls(booster.add_valid(rows.valid[place], "valid"), [])

    def grow(self, rounds: int) -> None:
        while len(self.losses) < rounds:
            # A round that finds no split leaves no tree. Were others to follow, in another bag of rows,
            # a number of rounds would no longer be a number of trees.
            if not self.finished:
                self.finished = self.booster.update()
            again = self.finished and self.losses
            self.losses.append(self.losses[-1] if again else self._loss())

    def _loss(self) -> float:
        (judged,) = self.booster.eval_valid()
        return float(judged[2])
