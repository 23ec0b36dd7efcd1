"""The figures of quality.py: how good each contender's probabilities are, and who is better than whom."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from lead_propensity.evaluation.calibrated import smooth_error_alone
from lead_propensity.evaluation.compare import Contender, Field, Interval, compare, group_codes
from lead_propensity.evaluation.metrics import EPSILON, Floats, tie_break
from lead_propensity.model.level import LevelTracker, Scored, tracked
from quality_data import PARTS, Export
from quality_runs import OURS, Said

RESAMPLES = 2000


@dataclass(frozen=True)
class Figures:
    """Of one contender on one set's test rows."""

    log_loss: float
    auc: float
    average_precision: float
    brier: float
    smooth_calibration_error: float
    expected_to_observed: float
    less_ours: Interval
    """Log loss, ours less this one's, with the paired 95% interval; of ours itself 0."""


def judged(probability: Mapping[str, Floats], keys: pd.DataFrame, seed: int) -> dict[str, Figures]:
    """The figures of all contenders, OURS among them, on the same rows; intervals resample groups."""
    won = keys["won"].to_numpy(float)
    field = Field(
        won=won,
        group=group_codes(keys["group_id"]),
        tie=tie_break(keys["lead_id"], keys["order"]),
        volume=np.ones(len(keys), bool),
    )
    contenders = [Contender(name, p) for name, p in probability.items()]
    pairs = [(OURS, name) for name in probability]
    found = compare(contenders, field, pairs, seed, RESAMPLES)
    return {
        name: Figures(
            log_loss=found.figures[name]["log_loss"].value,
            auc=float(roc_auc_score(won, p)),
            average_precision=float(average_precision_score(won, p)),
            brier=found.figures[name]["brier"].value,
            smooth_calibration_error=smooth_error_alone(p, won),
            expected_to_observed=float(p.sum() / won.sum()),
            less_ours=found.differences[OURS, name]["log_loss"],
        )
        for name, p in probability.items()
    }


def probability_of(said: Said, keys: pd.DataFrame, column: str = "probability") -> Floats:
    """What a contender said of the snapshots in `keys`, in their order; all must be there."""
    found = keys[["lead_id", "order"]].merge(
        said.frame, on=["lead_id", "order"], how="left", validate="one_to_one"
    )
    values = found[column].to_numpy(float)
    assert not np.isnan(values).any(), "a contender left out rows of the test part"
    return np.clip(values, EPSILON, 1 - EPSILON)


def with_tracker(
    said: Said, level: dict[str, Any], given: Export, learned: Collection[str]
) -> Floats:
    """A peer in the test part, at the level that cohorts after the parts it learned from tell.

    The tracker has the settings (`level`) that ours chose before the test part; a cohort is told once its
    labels are known.
    """
    test, last = given.keys("test"), int(given.keys(*learned)["order"].max())
    later = given.keys(*(part for part in PARTS if part not in learned))
    tracker = replace(LevelTracker.from_json(level), after=last)
    speaking = later[tracker.may_speak(later)]
    rows = Scored.of(speaking, probability_of(said, speaking))
    shift, _ = tracker.shift(test["order"].to_numpy(np.int64), tracker.cohorts(rows))
    return tracked(probability_of(said, test), shift)


def ranks(figures: Mapping[str, Figures]) -> dict[str, float]:
    """Places by log loss, 1 the best; equal ones share the mean."""
    losses = pd.Series({name: one.log_loss for name, one in figures.items()})
    return losses.rank(method="average").to_dict()
