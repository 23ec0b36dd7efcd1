"""The test part, scored as the night job would have scored it at the time."""

import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import RoutesConfig
from lead_propensity.data.moments import words
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model import rules
from lead_propensity.model.level import MIN_COHORTS, Scored
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.rules import RulesProbability
from lead_propensity.serving import scoring

PARQUET_COLUMNS = (
    *("lead_id", "group_id", "as_of", "order", "population", "age_days", "won", "raw_score"),
    *(
        "probability_untracked",
        "probability",
        "band",
        "fit",
        "fit_grade",
        "interest",
        "interest_grade",
    ),
    *("route", "amount", "rules_points", "rules_probability", "rules_band"),
    *("rules_reweighted_probability", "logistic_probability", "level_shift", "weight"),
)


def test_predictions(data: Dataset, model: PropensityModel, limits: RoutesConfig) -> pd.DataFrame:
    """One row a snapshot of the test part, both populations, with everything the report needs.

    Read once a run. The level at each snapshot comes from deals known before it (prequential). The
    rules' points become probabilities by the calibrate part. `weight`: how many leads the row's stands for.
    """
    test = data.rows((data.keys["part"] == "test").to_numpy())
    fit, calibrate = data.part("fit"), data.part("calibrate")
    shift, until = scoring.level(model, test.keys["order"].to_numpy(np.int64), data)
    frame = scoring.scored(model, test, shift, until, limits)
    card = Scorecard.model_validate(model.rules)
    worth = RulesProbability.fit(rules.score(card, calibrate.rules).points, calibrate.won)
    return frame.assign(
        rules_probability=worth.predict(frame["rules_points"].to_numpy()),
        rules_reweighted_probability=rules.reweighted(card, fit, calibrate, test),
        weight=data.weight,
    )


def level_in_words(data: Dataset, model: PropensityModel) -> str:
    """How far the level was moved at the last snapshot of the test part, how sure that is, and how old."""
    last = int(data.part("test").keys["order"].max())
    rows = scoring.told(model, data)
    if len(rows) == 0:
        return "Nothing could tell where the level lies: no snapshot after those it learned from has a label."
    scored = Scored.of(rows, rows["probability"].to_numpy(np.float64))
    closed = model.level.cohorts(scored)
    (shift,), (until,) = model.level.shift(np.array([last]), closed)
    if until < 0:
        return f"Where the test part ends it is moved by nothing: fewer than {MIN_COHORTS} cohorts had closed."
    known = f"row {until:,}" if model.horizon_days is None else words(int(until))[:10]
    error = model.level.error(last, closed)
    return (
        f"Where the test part ends it is moved by {shift:+.2f} (standard error {error:.2f}), told by deals known "
        f"until {known}."
    )


def predictions_table(predictions: pd.DataFrame) -> pa.Table:
    """The test predictions as they are stored: `as_of` a UTC time, null where rows have none."""
    times = predictions["as_of"].to_numpy(np.int64)
    as_of = pa.array(times, pa.int64(), mask=times < 0).cast(pa.timestamp("us", tz="UTC"))
    frame = predictions[list(PARQUET_COLUMNS)]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.set_column(table.column_names.index("as_of"), "as_of", as_of)
