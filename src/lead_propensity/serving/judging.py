"""The test part, scored as the night job would have scored it at the time."""

import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import RoutesConfig
from lead_propensity.data.moments import words
from lead_propensity.features import segments
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.features.stages import STAGES
from lead_propensity.model import peers
from lead_propensity.model.folds import known_by
from lead_propensity.model.level import MIN_COHORTS, Scored
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.refitting import start_of_test
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
    *("route", "missing_criteria", "turned_away", "amount", "rules_points", "rules_band"),
    *peers.COLUMNS,
    *("logistic_probability", "level_shift", "weight", "seen_before"),
)
"""Beside them: the columns by which the report groups the leads, where the config declares some."""


def test_predictions(data: Dataset, model: PropensityModel, limits: RoutesConfig) -> pd.DataFrame:
    """One row a snapshot of the test part, both populations, with everything the report needs.

    Read once a run. The level at each snapshot comes from deals known before it (prequential). What
    others say is in the columns of `peers`. `weight`: how many leads the row's stands for.
    `seen_before`: an outcome of the lead's group was known when the test part began.
    """
    test = data.rows((data.keys["part"] == "test").to_numpy())
    shift, until = scoring.level(model, test.keys["order"].to_numpy(np.int64), data)
    frame = scoring.scored(model, test, shift, until, limits)
    card = Scorecard.model_validate(model.rules)
    said = peers.peers(peers.Taught.of(data, model), card, test, frame)
    told = {name: test.keys[name] for name in _grouping(test.keys)}
    return frame.assign(**said, **told, weight=data.weight, seen_before=_seen_before(data, test))


def _seen_before(data: Dataset, test: Dataset) -> np.ndarray:
    keys = data.keys[known_by(data.keys, start_of_test(data))]
    learned = keys.loc[keys["population"] == "training", "group_id"]
    return test.keys["group_id"].isin(learned.unique()).to_numpy(bool)


def _grouping(frame: pd.DataFrame) -> list[str]:
    declared = [name for name in STAGES if name in frame]
    return [
        *segments.columns(frame, segments.SEGMENT),
        *segments.columns(frame, segments.SENSITIVE),
        *declared,
    ]


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
    frame = predictions[[*PARQUET_COLUMNS, *_grouping(predictions)]]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.set_column(table.column_names.index("as_of"), "as_of", as_of)
