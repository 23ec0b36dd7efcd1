"""A trained model fitted again on more rows: its settings and bands stay, its level is anchored."""

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import brentq
from threadpoolctl import threadpool_limits

from lead_propensity.config import Config
from lead_propensity.features.matrix import Dataset
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import Calibrator, Isotonic, Shift, Sigmoid
from lead_propensity.model.choosing import choose_again
from lead_propensity.model.fitting import SIDES, Main, mixed_in_words, refit, refit_sides
from lead_propensity.model.folds import known_by
from lead_propensity.model.grades import Grades
from lead_propensity.model.level import tracked
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.stock import stock_of

MOST_ROUNDS = 1.3
"""More rows carry more boosting rounds, but at most so many times those that the folds chose."""
TESTED_BEFORE = (
    "The target of hot was tested on the scores before the model was fitted again; of those after it the test "
    "part tells."
)
REACH = 40.0
"""Log-odds by which a level is moved at most."""


def main_again(
    train: Dataset, choices: dict[str, Any], config: Config, fitted_on: int | None = None
) -> Main:
    """The main learner by the settings in `choices`, on the rows of `train`.

    With `fitted_on`, the number of rows of the model it follows, the rounds grow with the rows.
    """
    grown = 1.0 if fitted_on is None else len(train) / fitted_on
    return refit(train, more_rounds(choices, grown), config)


def more_rounds(choices: dict[str, Any], grown: float) -> dict[str, Any]:
    """`choices` for `grown` times as many rows; never fewer rounds, at most MOST_ROUNDS times as many."""
    factor = min(MOST_ROUNDS, max(1.0, grown))
    trees = [{**one, "rounds": round(one["rounds"] * factor)} for one in choices.get("trees", [])]
    return {**choices, "trees": trees} if trees else choices


def anchored(calibrator: Calibrator, score: np.ndarray, won: np.ndarray) -> Calibrator:
    """The same shape, moved until the expected wins are the observed ones (half a win more of n + 1)."""
    target = (float(won.sum()) + 0.5) / (len(won) + 1)

    def missed(by: float) -> float:
        return float(np.mean(_moved(calibrator, by).predict(score)) - target)

    return _moved(calibrator, float(brentq(missed, -REACH, REACH)))


def refitted(
    model: PropensityModel, data: Dataset, config: Config, until: int | None = None
) -> PropensityModel:
    """`model` on all labelled snapshots of the training population; with `until` on what was known then,
    of which the folds choose again (`choose_again`).

    Its bands stay: their limits come from rows that its scores had not seen, and there are no others left. A
    limit in raw scores keeps its rank among the calibrate part's.
    Grades are quartiles of the calibrate part, as before. The level is right on the snapshots that `model`
    was not fitted on, the latest; the tracker starts anew with the cohorts after the last one.
    """
    rows = data.part("fit", "purged", "calibrate", *(() if until is not None else ("test",)))
    known = rows.rows(~np.isnan(rows.won) if until is None else known_by(rows.keys, until))
    with threadpool_limits(limits=1, user_api="blas"):
        main, choices = _main_on(known, model.choices, config, anew=until is not None)
        latest = known.rows((known.keys["order"] > model.level.after).to_numpy())
        sides, calibrate = refit_sides(known, config), known.part("calibrate")
        again = replace(model, main=main, fit_side=sides["fit"], interest_side=sides["interest"])
        score, logistic = main.raw_score(latest.X), again.logistic.raw_score(latest.X)
        calibrator = anchored(model.calibrator, score, latest.won)
        bands = _same_rank(model, main, calibrate)
        return replace(
            again,
            grades=Grades.fit(*(sides[name].raw_score(calibrate.X) for name in SIDES)),
            calibrator=calibrator,
            logistic_calibrator=anchored(model.logistic_calibrator, logistic, latest.won),
            level=replace(model.level, after=int(known.keys["order"].max())),
            bands=bands,
            reference=model.reference.again(stock_of(data), main, calibrator, bands),
            labels_until=int(known.keys["label_known_at"].max()),
            choices=choices,
            notes=_told_anew(model, choices),
        )


def start_of_test(data: Dataset) -> int:
    """When the test part begins, in units of `order`; all that was known then may be learned from."""
    return int(data.part("test").keys["order"].min())


def _main_on(
    known: Dataset, choices: dict[str, Any], config: Config, anew: bool
) -> tuple[Main, dict[str, Any]]:
    """The main learner on more rows, and its choices: those of before, or made `anew`."""
    if anew:
        choices = choose_again(known, choices, config)
        main = main_again(known, choices, config)
    else:
        main = main_again(known, choices, config, fitted_on=choices["fitted_on"])
    return main, {**choices, "fitted_on": len(known)}


def _same_rank(model: PropensityModel, main: Main, calibrate: Dataset) -> Bands:
    """The bands of `model` for the scores of `main`: as large a share of `calibrate` reaches the raw limit."""
    limit = model.bands.hot_raw_from
    if limit is None:
        return model.bands
    below = float(np.mean(model.main.raw_score(calibrate.X) < limit))
    again = np.quantile(main.raw_score(calibrate.X), below, method="higher")
    return replace(model.bands, hot_raw_from=float(again))


def _told_anew(model: PropensityModel, now: dict[str, Any]) -> tuple[str, ...]:
    """The notes, with the mix that is used now, and with what a test of the bands no longer covers."""
    notes = model.notes
    if "blend" in now:
        words = {mixed_in_words(model.choices): mixed_in_words(now)}
        notes = tuple(words.get(note, note) for note in notes)
    tested = model.bands.tested is not None and model.bands.hot_from is not None
    return (*notes, TESTED_BEFORE) if tested and TESTED_BEFORE not in notes else notes


def _moved(calibrator: Calibrator, by: float) -> Calibrator:
    """The calibrator with all its log-odds `by` higher."""
    if isinstance(calibrator, Shift):
        return Shift(calibrator.shift + by)
    if isinstance(calibrator, Sigmoid):
        return Sigmoid(calibrator.slope, calibrator.intercept + by)
    if isinstance(calibrator, Isotonic):
        levels = np.array(calibrator.probabilities)
        moved = tracked(levels, np.full(len(levels), by))
        return Isotonic(calibrator.scores, tuple(moved.tolist()))
    return Shift(by)
