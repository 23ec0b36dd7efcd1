"""From features to the scores of design: one definition for the night job and for the test part."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import RoutesConfig
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model import routes, rules
from lead_propensity.model.level import Scored, tracked
from lead_propensity.model.propensity import PropensityModel

KEYS = ["lead_id", "group_id", "as_of", "order", "population", "age_days", "won", "amount"]

OUTSIDE_TRAINED_AGES = {"text": "outside trained ages", "sign": "-", "strength": 0.0}


def level(
    model: PropensityModel, moments: np.ndarray, past: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """The level shift at each of `moments` (n,), and until when deals were known for it
    (-1: none, or rows that carry no time).

    Of `past` those snapshots speak that may (`LevelTracker.may_speak`), at each moment the cohorts that
    had closed by then: the same in the test part and in production.
    """
    past = past.rows(model.level.may_speak(past.keys))
    never = np.full(len(moments), -1, dtype=np.int64)
    if len(past) == 0 or not model.level.is_on:
        return np.zeros(len(moments)), never
    prediction = model.predict(past.X, past.catalogue.fingerprint)
    rows = Scored.of(past.keys, prediction.probability_untracked)
    shift, until = model.level.shift(moments, model.level.cohorts(rows))
    return shift, until if model.horizon_days is not None else never


def scored(
    model: PropensityModel,
    data: Dataset,
    shift: np.ndarray,
    until: np.ndarray,
    limits: RoutesConfig,
) -> pd.DataFrame:
    """One row a snapshot: its keys, the model's and the rules' columns, its band and its route."""
    prediction = model.predict(data.X, data.catalogue.fingerprint)
    probability = tracked(prediction.probability_untracked, shift)
    band = model.bands.assign(
        probability, data.keys["age_days"].to_numpy(), data.keys["lead_id"].to_numpy(), shift
    )
    points = rules.score(Scorecard.model_validate(model.rules), data.rules)
    return data.keys[KEYS].assign(
        raw_score=prediction.raw_score,
        probability_untracked=prediction.probability_untracked,
        probability=probability,
        band=band,
        fit=prediction.fit,
        fit_grade=prediction.fit_grade,
        interest=prediction.interest,
        interest_grade=prediction.interest_grade,
        route=routes.assign(band, data.X, limits),
        rules_points=points.points,
        rules_band=points.band,
        logistic_probability=prediction.logistic_probability,
        level_shift=shift,
        level_until=until,
    )


def reasons(model: PropensityModel, data: Dataset, frame: pd.DataFrame) -> list[str]:
    """A JSON array of {text, sign, strength} for each lead; cold ones are not explained.

    A lead that would be hot but for its age says so first.
    """
    band, texts = frame["band"].to_numpy(), np.full(len(frame), "[]", dtype=object)
    explained = np.flatnonzero(band != "cold")
    if len(explained):
        texts[explained] = model.reasons(data.X, explained)
    if model.bands.hot_from is not None:
        reached = frame["probability"].to_numpy() >= model.bands.hot_from
        for row in np.flatnonzero(reached & (band != "hot")):
            texts[row] = json.dumps(
                [OUTSIDE_TRAINED_AGES, *json.loads(texts[row])], ensure_ascii=False
            )
    return texts.tolist()


def scores_table(
    frame: pd.DataFrame, why: list[str], model: PropensityModel, scored_at: pd.Timestamp
) -> pa.Table:
    """The table that `score` writes. Times are UTC microseconds; `as_of` is null where rows have none."""
    n = len(frame)
    microseconds = pa.timestamp("us", tz="UTC")

    def text(name: str) -> pa.Array:
        return pa.array(frame[name].tolist(), pa.string())

    def number(name: str) -> pa.Array:
        return pa.array(frame[name].to_numpy(np.float64), pa.float64())

    def moment(name: str) -> pa.Array:
        times = frame[name].to_numpy(np.int64)
        return pa.array(times, pa.int64(), mask=times < 0).cast(microseconds)

    columns = {
        "lead_id": text("lead_id"),
        "as_of": moment("as_of"),
        "order": pa.array(frame["order"].to_numpy(np.int64)),
        "probability": number("probability"),
        "band": text("band"),
        "fit": number("fit"),
        "fit_grade": text("fit_grade"),
        "interest": number("interest"),
        "interest_grade": text("interest_grade"),
        "route": text("route"),
        "reasons": pa.array(why, pa.string()),
        "raw_score": number("raw_score"),
        "rules_points": number("rules_points"),
        "rules_band": text("rules_band"),
        "level_shift": number("level_shift"),
        "level_until": moment("level_until"),
        "horizon_days": pa.array([model.horizon_days] * n, pa.int32()),
        "model_id": pa.array([model.model_id] * n, pa.string()),
        "scored_at": pa.array([scored_at.value // 1000] * n, pa.int64()).cast(microseconds),
    }
    return pa.table(columns)
