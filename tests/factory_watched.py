"""What `monitor` may find, made without a model: for the page."""

from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import GateConfig, MonitorConfig
from lead_propensity.data.moments import iso
from lead_propensity.evaluation import advice, drift, matured, runs
from lead_propensity.model.cells import Cells

DAY = 86_400_000_000
AT = 20_000 * DAY
HORIZON_DAYS = 60
PROMISED = {"hot": 0.8, "warm": 0.1, "cold": None}


def world(seed: int, leads: int = 2_000, true: float = 1.0) -> pd.DataFrame:
    """Each lead scored three times, with one outcome; `true`: observed odds over those expected."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(-2, 1, leads)
    p = 1 / (1 + np.exp(-raw))
    won = (rng.random(leads) < 1 / (1 + np.exp(-raw) / true)).astype(float)
    one = pd.DataFrame(
        {
            "lead_id": [f"L{n}" for n in range(leads)],
            "group_id": [f"L{n}" for n in range(leads)],
            "won": won,
            "probability": p,
            "raw_score": raw,
            "band": np.where(p > 0.3, "hot", np.where(p > 0.1, "warm", "cold")),
            "rules_points": np.round(10 * (raw + rng.normal(0, 2, leads))),
            "rules_band": np.where(raw > 0, "hot", "cold"),
            "too_old": False,
        }
    )
    return pd.concat([one.assign(as_of=k) for k in range(3)], ignore_index=True)


def found(name: str = "acme", weeks: int = 8, feature: str = "visits_30d") -> dict[str, Any]:
    """Plain JSON, as `pipeline.monitor` gives it: a level that is off, a feature that moved, two open weeks."""
    rows = [_week(week, weeks) for week in range(weeks)]
    every = pd.concat(rows, ignore_index=True)
    counts = {int(some["as_of"].iloc[0]): len(some) for some in rows}
    records = [_record(at, _drift(place / 10, feature)) for place, at in enumerate(counts)]
    moments = runs.moments(counts, every, records, 1)
    known = every[every["won"].notna() & every["left_out"].isna()]
    pooled = matured.together(known, PROMISED, 0.05)
    reference = {"auc": 0.7, "auc_error": 0.02}
    moved = moments[-1]["drift"]
    now = AT + 7 * weeks * DAY
    return {
        "name": name,
        "scores": f"{name}/scores/",
        "as_of": iso(now),
        "data_until": iso(now),
        "model_id": "0123456789ab",
        "one_in": 3,
        "moments": moments,
        "pooled": pooled,
        "recent": {**pooled, "since": iso(AT)},
        "drift": moved,
        "reference": {**reference, "rows": 900, "leads": 300},
        "advice": advice.advise([pooled], moved, reference, GateConfig(), MonitorConfig()),
        "warnings": ["The last scores are 12.0 days old; usual are 7.0."],
    }


def _week(week: int, weeks: int) -> pd.DataFrame:
    rows = world(1, 600, true=0.4)
    at = AT + 7 * week * DAY
    gone = np.where(np.arange(len(rows)) < week, "not in the leads any more", None)
    rows = rows[rows["as_of"] == 0].assign(as_of=at, left_out=gone[:600], model_id="0123456789ab")
    rows["matures_at"] = at + HORIZON_DAYS * DAY
    return rows.assign(won=np.nan) if week >= weeks - 2 else rows


def _record(at: int, moved: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": "done", "as_of": iso(at), "data_until": iso(at - DAY), "drift": moved}


def _drift(by: float, feature: str) -> dict[str, Any]:
    rng, n = np.random.default_rng(2), np.arange(500)
    names = (feature, "industry", "raw_score", "probability", "band")
    then = [Cells.of_numbers(name, rng.normal(size=500), n) for name in names]
    now = [one.filled(rng.normal(by, 1, 500), n) for one in then]
    return drift.drift(then, now, 2, {feature: 0.6, "industry": 0.4}, MonitorConfig())
