"""What others say of the same leads. Each learns from the rows that the model learned from, none from fewer.

The model's line alone (`logistic_probability`) comes with its own prediction. The level tracker is the
model's: it moves no peer.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model import rules
from lead_propensity.model.calibration import Calibrator, choose_calibrator, fit_calibrator
from lead_propensity.model.folds import known_by
from lead_propensity.model.odoo import Odoo
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import anchored, start_of_test
from lead_propensity.model.rules import RulesProbability

COLUMNS = (
    *("rules_probability", "rules_reweighted_probability"),
    *("odoo_probability", "odoo_generous_probability", "odoo_calibrated_probability"),
    "hybrid_score",
)


@dataclass(frozen=True)
class Taught:
    """Labelled snapshots of the training population, all known when the test part began.

    Not fitted again, the model learned from the fit part, and its level from the calibrate part. Fitted
    again, from all that was known, and its level from the latest of these, which it had not seen before.
    """

    first: Dataset
    """The fit part."""
    calibrate: Dataset
    learned: Dataset
    """What the judged model's members learned from."""
    latest: Dataset
    """What told its level."""

    @classmethod
    def of(cls, data: Dataset, model: PropensityModel) -> Self:
        """`data` has all parts; `model` is the one that the figures speak of."""
        first, calibrate = _labelled(data.part("fit")), _labelled(data.part("calibrate"))
        fitted_until = int(first.keys["order"].max())
        if model.level.after <= fitted_until:
            return cls(first, calibrate, first, calibrate)
        known = data.part("fit", "purged", "calibrate")
        known = known.rows(known_by(known.keys, start_of_test(data)))
        later = (known.keys["order"] > fitted_until).to_numpy()
        return cls(first, calibrate, known, known.rows(later))


def peers(taught: Taught, card: Scorecard, test: Dataset, judged: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS, one row a snapshot of `test`.

    `judged` has `raw_score`, `rules_points` and `rules_band` of the same snapshots. Odoo sees the explicit
    features, numbers as texts, as it comes; `generous`: all features, numbers in tenths; `calibrated`: the
    same with a calibrator of ours.
    """
    learned = taught.learned
    explicit = [feature.name for feature in test.catalogue.of_kind("explicit")]
    as_is = Odoo.fit(learned.X[explicit], learned.won)
    generous = Odoo.fit(learned.X, learned.won, binned=True)
    calibrator = _calibrator(taught, generous)
    points = judged["rules_points"].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "rules_probability": _worth(taught, card).predict(points),
            "rules_reweighted_probability": rules.reweighted(card, learned, taught.latest, test),
            "odoo_probability": as_is.probability(test.X),
            "odoo_generous_probability": generous.probability(test.X),
            "odoo_calibrated_probability": calibrator.predict(generous.log_odds(test.X)),
            "hybrid_score": hybrid(judged),
        },
        index=judged.index,
    )


def hybrid(judged: pd.DataFrame) -> np.ndarray:
    """(n,) ranks from 1, the best highest: the rules' hot leads by points, then the others by the model.

    Equal points go by the model, too; snapshots alike in both share a rank.
    """
    hot = (judged["rules_band"] == "hot").to_numpy()
    points = np.where(hot, judged["rules_points"].to_numpy(np.float64), 0.0)
    keys = np.column_stack([hot, points, judged["raw_score"].to_numpy(np.float64)])
    order = np.lexsort(keys.T[::-1])
    new = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1))[: len(keys)]
    rank = np.empty(len(keys))
    rank[order] = np.cumsum(new)
    return rank


def _worth(taught: Taught, card: Scorecard) -> RulesProbability:
    """What points are worth: the map from all that was learned from, its level from the latest."""
    points, latest = (
        rules.score(card, rows.rules).points for rows in (taught.learned, taught.latest)
    )
    worth = RulesProbability.fit(points, taught.learned.won)
    return worth.at_level(latest, taught.latest.won)


def _calibrator(taught: Taught, generous: Odoo) -> Calibrator:
    """Made as the model's: shaped on rows that the fitted counts had not seen, moved where these grew."""
    first, calibrate = taught.first, taught.calibrate
    unseen = Odoo.fit(first.X, first.won, binned=True) if taught.learned is not first else generous
    score, groups = unseen.log_odds(calibrate.X), calibrate.keys["group_id"]
    kind = choose_calibrator(score, calibrate.won, groups).kind
    calibrator = fit_calibrator(kind, score, calibrate.won, groups)
    if unseen is generous:
        return calibrator
    return anchored(calibrator, generous.log_odds(taught.latest.X), taught.latest.won)


def _labelled(data: Dataset) -> Dataset:
    return data.rows(~np.isnan(data.won))
