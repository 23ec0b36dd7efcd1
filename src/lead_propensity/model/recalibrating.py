"""A trained model calibrated and banded again on deals that matured since. All else of it stays, to the byte.

The old calibration is kept unless another one is better by one standard error, on groups that it was not
fitted on: of many newly matured deals a good fraction is chance. It must gain on later leads, too: what moves fast
may be over. What it is held against is what leads were told, at the level that the tracker followed, so a level
that the tracker has caught up with changes nothing.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from lead_propensity.config import BandsConfig
from lead_propensity.features.matrix import Dataset
from lead_propensity.model import criteria
from lead_propensity.model.bands import Bands
from lead_propensity.model.calibration import (
    CROSS_FITS,
    EDGE,
    MIN_WINS,
    Calibrator,
    Identity,
    Isotonic,
    Shift,
    Sigmoid,
)
from lead_propensity.model.folds import hash_folds
from lead_propensity.model.intervals import mean_and_error, row_loss
from lead_propensity.model.precision import Foretold
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import TESTED_BEFORE, anchored
from lead_propensity.model.stock import Candidates, Stock

KEPT, MOVED, SIGMOID, ISOTONIC = "kept", "moved", "sigmoid", "isotonic"
KINDS = (MOVED, SIGMOID, ISOTONIC)
"""From the simplest to the freest; each must beat the one before it that was chosen."""
STALE_NOTES = ("Calibrator:", "Nobody is hot:", "Recalibrated")


@dataclass(frozen=True)
class Newer:
    """Snapshots after all that a model learned from, and what it told their leads at the time."""

    train: Dataset
    """The labelled ones of the training population."""
    told: np.ndarray
    """The probabilities of `train`, at the level as it was known then."""
    stock: Dataset
    """What the bands are for; as exported the same rows."""
    stock_told: np.ndarray


@dataclass(frozen=True)
class Choice:
    """Which calibration newer deals speak for, and each one's mean log loss on groups it did not know."""

    kind: str
    """`kept`, `moved` (the old shape at another level), `sigmoid` (a line over the old one) or `isotonic`."""
    losses: dict[str, float]
    gain: float
    """Of the chosen one over the old one or, where that is kept, of the best of the others."""
    error: float
    """The standard error of `gain`, clustered by group."""
    later_gain: float | None
    """Of the best or chosen kind, fitted on the first half of the time, in the second one; None: no time for both."""
    outdated: str | None = None
    """The kind that held-out groups spoke for, where later leads spoke against it and the old one is kept."""

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def choose(model: PropensityModel, newer: Newer) -> Choice:
    """What the outcomes of `newer` speak for; `kept` unless another kind gains one standard error, and also later."""
    score, won, keys = model.main.raw_score(newer.train.X), newer.train.won, newer.train.keys
    part = hash_folds(keys["group_id"], CROSS_FITS)
    rows = {KEPT: _loss(newer.told, won)}
    for kind in KINDS:
        rows[kind] = _loss(_cross_fitted(kind, model.calibrator, score, won, part), won)
    groups, chosen = keys["group_id"].to_numpy(), KEPT
    for kind in KINDS:
        gain, error = mean_and_error(rows[chosen] - rows[kind], groups)
        chosen = kind if gain > error else chosen
    losses = {name: float(np.mean(loss)) for name, loss in rows.items()}
    other = min(KINDS, key=lambda kind: losses[kind]) if chosen == KEPT else chosen
    gain, error = mean_and_error(rows[KEPT] - rows[other], groups)
    later = _later_gain(other, model, newer, score)
    outdated = chosen if chosen != KEPT and later is not None and later <= 0 else None
    return Choice(KEPT if outdated else chosen, losses, gain, error, later, outdated)


def _later_gain(kind: str, model: PropensityModel, newer: Newer, score: np.ndarray) -> float | None:
    """Of a calibration fitted on the first half, its mean gain over what the leads of the second half were told.

    Every label of the first was known when the second began. None where a half holds fewer than MIN_WINS groups
    that won.
    """
    keys, won = newer.train.keys, newer.train.won
    order, delay = keys["order"].to_numpy(np.int64), model.level.label_delay
    begins = int(order.min())
    middle = begins + (int(order.max()) + 1 - begins - delay) // 2
    first, second = order < middle, order >= middle + delay
    wins = (keys.loc[half & (won == 1.0), "group_id"].nunique() for half in (first, second))
    if min(wins) < MIN_WINS:
        return None
    one = fitted(kind, model.calibrator, score[first], won[first])
    told, would = newer.told[second], one.predict(score[second])
    return float(np.mean(_loss(told, won[second]) - _loss(would, won[second])))


def recalibrated(
    model: PropensityModel, newer: Newer, choice: Choice, config: BandsConfig
) -> PropensityModel:
    """`model` with its calibrators of the kind chosen and its bands fitted on `newer`.

    Members, side models, grades and features stay. Unless the calibration is kept, the level tracker starts
    anew after the last of these snapshots. By the policy `value` a win counts what it counted at training.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        return _recalibrated(model, newer, choice, config)


def _recalibrated(
    model: PropensityModel, newer: Newer, choice: Choice, config: BandsConfig
) -> PropensityModel:
    kept = choice.kind == KEPT
    won, last = newer.train.won, int(newer.train.keys["order"].max())
    main, line = model.calibrator, model.logistic_calibrator
    if not kept:
        main = fitted(choice.kind, main, model.main.raw_score(newer.train.X), won)
        line = fitted(choice.kind, line, model.logistic.raw_score(newer.train.X), won)
    level = model.level if kept else replace(model.level, after=last)
    bands = _bands(model, main, newer, config, kept)
    told = {"from": model.model_id, **choice.to_json(), **_counts(newer)}
    return replace(
        model,
        calibrator=main,
        logistic_calibrator=line,
        level=level,
        bands=bands,
        reference=model.reference.rescored(_banded_on(newer.stock), model.main, main, bands),
        labels_until=_labels_until(newer),
        notes=_notes(model, main, bands, told),
        choices={
            **model.choices,
            "calibrator": main.kind,
            "level_tracker": level.to_json(),
            "recalibrated": told,
        },
    )


def fitted(kind: str, old: Calibrator, score: np.ndarray, won: np.ndarray) -> Calibrator:
    """A calibrator of one of KINDS. `sigmoid` is shrunk to the old one's shape (`Sigmoid`)."""
    if kind == MOVED:
        return anchored(old, score, won)
    if kind == ISOTONIC:
        return Isotonic.fit(score, won)
    return _over(old, Sigmoid.fit(logit(old.predict(score)), won))


def _over(old: Calibrator, line: Sigmoid) -> Calibrator:
    """The line drawn over the log-odds of the old calibrator."""
    if isinstance(old, Isotonic):
        levels = expit(line.slope * logit(np.array(old.probabilities)) + line.intercept)
        return Isotonic(old.scores, tuple(levels.tolist()))
    if isinstance(old, Sigmoid):
        return Sigmoid(line.slope * old.slope, line.slope * old.intercept + line.intercept)
    shift = old.shift if isinstance(old, Shift) else 0.0
    return Sigmoid(line.slope, line.slope * shift + line.intercept)


def _cross_fitted(
    kind: str, old: Calibrator, score: np.ndarray, won: np.ndarray, part: np.ndarray
) -> np.ndarray:
    probability = np.empty(len(won))
    for number in np.unique(part):
        held = part == number
        one = Identity() if held.all() else fitted(kind, old, score[~held], won[~held])
        probability[held] = one.predict(score[held])
    return probability


def _loss(probability: np.ndarray, won: np.ndarray) -> np.ndarray:
    return row_loss(logit(np.clip(probability, EDGE, 1.0 - EDGE)), won)


def _bands(
    model: PropensityModel, calibrator: Calibrator, newer: Newer, config: BandsConfig, kept: bool
) -> Bands:
    """Of the newer stock; an order of limits comes from what the model foretold, not from outcomes."""
    if config.policy == "value" and config.value_per_win is None:
        config = config.model_copy(update={"value_per_win": model.bands.value_per_win})
    stock = newer.stock
    raw_score = model.main.raw_score(stock.X)
    probability = newer.stock_told if kept else calibrator.predict(raw_score)
    timeline = criteria.date_of_timeline(model.catalogue)
    shown = criteria.meets(stock.X, config.hot_requires, timeline)
    leads = Candidates.of(stock, probability, raw_score, shown)
    foretold = Foretold.of(model.main.raw_score(newer.train.X), newer.told)
    return Bands.fit(config, Stock.of(stock, leads), model.oldest_age_days, foretold)


def _banded_on(stock: Dataset) -> Dataset:
    """The rows that a reference counts: those of the part `calibrate`, without the date before them."""
    keys = stock.keys
    part = keys["part"].where(keys["part"] == "burn_in", "calibrate")
    return replace(stock, keys=keys.assign(part=part))


def _labels_until(newer: Newer) -> int:
    keys = pd.concat([newer.train.keys, newer.stock.keys])
    return int(keys.loc[keys["won"].notna(), "label_known_at"].max())


def _counts(newer: Newer) -> dict[str, int]:
    keys = newer.train.keys
    return {
        "snapshots": len(keys),
        "leads": int(keys["lead_id"].nunique()),
        "wins": int(keys.loc[keys["won"] == 1.0, "lead_id"].nunique()),
    }


def _notes(
    model: PropensityModel, calibrator: Calibrator, bands: Bands, told: dict[str, Any]
) -> tuple[str, ...]:
    stale = (*STALE_NOTES, TESTED_BEFORE)
    notes = [note for note in model.notes if not note.startswith(stale)]
    what = "Bands" if told["kind"] == KEPT else f"Calibrator ({told['kind']}) and bands"
    notes += [
        f"Calibrator: {calibrator.kind}.",
        f"Recalibrated: {what} of the model {model.model_id}, fitted again on {told['snapshots']:,} snapshots of "
        f"{told['leads']:,} leads, {told['wins']:,} of them won, looked at after its last label.",
    ]
    hot = [] if bands.hot_refused is None else [f"Nobody is hot: {bands.hot_refused}"]
    return (*notes, *hot)
