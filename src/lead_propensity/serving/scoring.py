"""From features to the scores of design: one definition for the night job and for the test part."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from lead_propensity.config import RoutesConfig
from lead_propensity.features.matrix import Dataset
from lead_propensity.features.points import Scorecard
from lead_propensity.model import criteria, routes, rules
from lead_propensity.model.level import Scored, tracked
from lead_propensity.model.propensity import PropensityModel
from lead_propensity.model.stock import Candidates
from lead_propensity.model.wording import Wording, fill

KEYS = ["lead_id", "group_id", "as_of", "order", "population", "age_days", "won", "amount"]

NO_REASONS = "[]"

_MOMENT = pa.timestamp("us", tz="UTC")
SCORES = pa.schema(
    [
        ("lead_id", pa.string()),
        ("as_of", _MOMENT),
        ("order", pa.int64()),
        ("probability", pa.float64()),
        ("band", pa.string()),
        ("previous_band", pa.string()),
        ("band_change", pa.string()),
        ("band_rate_low", pa.float64()),
        ("band_rate_high", pa.float64()),
        ("fit", pa.float64()),
        ("fit_grade", pa.string()),
        ("interest", pa.float64()),
        ("interest_grade", pa.string()),
        ("route", pa.string()),
        ("follow_up_on", _MOMENT),
        ("missing_criteria", pa.string()),
        ("reasons", pa.string()),
        ("raw_score", pa.float64()),
        ("rules_points", pa.float64()),
        ("rules_band", pa.string()),
        ("level_shift", pa.float64()),
        ("level_until", _MOMENT),
        ("last_event_at", _MOMENT),
        ("data_until", _MOMENT),
        ("horizon_days", pa.int32()),
        ("model_id", pa.string()),
        ("scored_at", _MOMENT),
    ]
)
"""Of the table that `score` writes. Times are UTC microseconds; `as_of` is null where rows have none."""


def level(
    model: PropensityModel, moments: np.ndarray, past: Dataset
) -> tuple[np.ndarray, np.ndarray]:
    """The level shift at each of `moments` (n,), and until when deals were known for it
    (-1: none, or rows that carry no time).

    Of `past` those snapshots speak that may (`LevelTracker.may_speak`), at each moment the cohorts that
    had closed by then: the same in the test part and in production.
    """
    return level_of(model, moments, told(model, past))


def told(model: PropensityModel, past: Dataset) -> pd.DataFrame:
    """Of `past` the snapshots that may speak: their `order`, `lead_id`, `group_id`, `won` and `probability`."""
    past = past.rows(model.level.may_speak(past.keys))
    if len(past) == 0:
        return past.keys[["order", "lead_id", "group_id", "won"]].iloc[:0].assign(probability=0.0)
    prediction = model.predict(past.X, past.catalogue.fingerprint)
    keys = past.keys[["order", "lead_id", "group_id", "won"]]
    return keys.assign(probability=prediction.probability_untracked)


def level_of(
    model: PropensityModel, moments: np.ndarray, rows: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """See `level`; `rows` are as `told` gives them, in the order of (`order`, `lead_id`)."""
    never = np.full(len(moments), -1, dtype=np.int64)
    if len(rows) == 0:
        return np.zeros(len(moments)), never
    scored_rows = Scored.of(rows, rows["probability"].to_numpy(np.float64))
    shift, until = model.level.shift(moments, model.level.cohorts(scored_rows))
    return shift, until if model.horizon_days is not None else never


def scored(
    model: PropensityModel,
    data: Dataset,
    shift: np.ndarray,
    until: np.ndarray,
    limits: RoutesConfig,
) -> pd.DataFrame:
    """One row a snapshot: its keys, the model's and the rules' columns, its band and its route.

    `turned_away`: hot but for a criterion that the company demands. Cold leads miss no criteria.
    """
    prediction = model.predict(data.X, data.catalogue.fingerprint)
    probability = tracked(prediction.probability_untracked, shift)
    timeline = criteria.date_of_timeline(data.catalogue)
    shown = criteria.meets(data.X, model.bands.hot_requires, timeline)
    leads = Candidates.of(data, probability, prediction.raw_score, shown)
    band = model.bands.assign(leads)
    route = routes.assign(band, data.X, limits, timeline)
    missing = criteria.missing(data.X, timeline, asked=band != "cold")
    as_of = data.keys["as_of"].to_numpy(np.int64)
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
        route=routes.named(route, limits),
        follow_up_on=routes.follow_up_on(route, data.X, as_of, limits, timeline),
        missing_criteria=pd.Series(missing, data.keys.index, dtype=object),
        turned_away=model.bands.reached(leads) & ~shown,
        rules_points=points.points,
        rules_band=points.band,
        logistic_probability=prediction.logistic_probability,
        level_shift=shift,
        level_until=until,
    )


def reasons(
    model: PropensityModel, data: Dataset, frame: pd.DataFrame, wording: Wording | None = None
) -> list[str]:
    """A JSON array of {text, sign, strength} for each lead; cold ones are not explained.

    A lead that would be hot but for its age says so first. `wording` replaces the model's own words.
    """
    band, texts = frame["band"].to_numpy(), np.full(len(frame), NO_REASONS, dtype=object)
    explained = np.flatnonzero(band != "cold")
    if len(explained):
        texts[explained] = model.reasons(data.X, explained, wording).to_json()
    if model.bands.hot_from is not None:
        too_old = outside_trained_ages(wording or model.wording)
        reached = frame["probability"].to_numpy() >= model.bands.hot_from
        shut_out = reached & (band != "hot") & ~frame["turned_away"].to_numpy(bool)
        for row in np.flatnonzero(shut_out):
            told = [too_old, *json.loads(texts[row])]
            texts[row] = json.dumps(told, ensure_ascii=False)
    return texts.tolist()


def outside_trained_ages(wording: Wording) -> dict[str, object]:
    """The reason of a lead that is older than all that the model learned from."""
    text = fill(wording.sentence, text=wording.outside_ages, sign="-")
    return {"text": text[:1].upper() + text[1:], "sign": "-", "strength": 0.0}


def with_band_rates(frame: pd.DataFrame, model: PropensityModel) -> pd.DataFrame:
    """The frame with the interval of what each lead's band was observed to convert at; NaN: it held nobody."""
    rates = model.bands.observed()
    low, high = ({band: rate[end] for band, rate in rates.items()} for end in (0, 1))
    return frame.assign(
        band_rate_low=frame["band"].map(low).astype(float),
        band_rate_high=frame["band"].map(high).astype(float),
    )


def scores_table(
    frame: pd.DataFrame,
    why: list[str],
    model: PropensityModel,
    scored_at: pd.Timestamp,
    last_event_at: pa.ChunkedArray,
) -> pa.Table:
    """The table that `score` writes, by the schema SCORES; `last_event_at` in int64 microseconds or null."""
    n = len(frame)
    given = {
        "reasons": pa.array(why, pa.string()),
        "horizon_days": pa.array([model.horizon_days] * n, pa.int32()),
        "model_id": pa.array([model.model_id] * n, pa.string()),
        "last_event_at": last_event_at.cast(_MOMENT).combine_chunks(),
        "scored_at": pa.array([scored_at.value // 1000] * n, pa.int64()).cast(_MOMENT),
    }
    columns = [given.get(field.name) for field in SCORES]
    arrays = [
        _array(frame[field.name], field.type) if column is None else column
        for field, column in zip(SCORES, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCORES)


def _array(column: pd.Series, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return pa.array(column.tolist(), kind)
    if pa.types.is_timestamp(kind):
        times = column.to_numpy(np.int64)
        return pa.array(times, pa.int64(), mask=times < 0).cast(kind)
    return pa.array(column.to_numpy(kind.to_pandas_dtype()), kind, from_pandas=True)
