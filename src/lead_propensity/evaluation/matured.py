"""What really happened to leads that were scored: by moment of scoring, and over all moments together.

One lead stands in several moments with one deal: standard errors are clustered by `group_id`. Those of single
moments are for one look (95%); those of all together hold at every look, see `anytime`, and the advice rests on
these alone.

The calibrator learned its level from the ages of training (`snapshots.ages_days`, or those that the grid met). Of
older leads it promised none, and who is still open then converts less, with nothing changed: they count for the
bands, whose stock they were in, and for the order, and not for the level.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.config import GateConfig
from lead_propensity.data.moments import iso
from lead_propensity.evaluation.anytime import multiplier
from lead_propensity.evaluation.auc import auc_gap
from lead_propensity.evaluation.compare import group_codes
from lead_propensity.evaluation.metrics import losses
from lead_propensity.evaluation.promises import band_table
from lead_propensity.features.windows import DAY_US
from lead_propensity.model.intervals import Z_95, clustered_rate, mean_and_error
from lead_propensity.model.ranking import auc_and_error

PERIOD_DAYS = 90
"""Of moments, that are also judged by themselves: what changes in the tenth month is lost among nine good ones."""
Figure = dict[str, float | None]
PROMISED = ("hot", "warm")


def judged(rows: pd.DataFrame, width: float = Z_95) -> dict[str, Any]:
    """Figures of labelled rows, each with `value`, `lower`, `upper` and `error`; `width` in standard errors.

    `rows`: `lead_id`, `group_id`, `won`, `probability`, `raw_score`, `band`, `rules_points`, `rules_band`, `too_old`
    (older than every lead in training).
    """
    won, p, score, points = (
        rows[name].to_numpy(np.float64)
        for name in ("won", "probability", "raw_score", "rules_points")
    )
    group = rows["group_id"].to_numpy(object)
    codes = _codes(rows)
    figures: dict[str, Any] = {
        "n": len(rows),
        "leads": int(rows["lead_id"].nunique()),
        "wins": won_leads(rows),
        "observed_rate": _rate(won, group),
        "expected_rate": float(p.mean()) if len(rows) else None,
        **_levels(rows, width),
        "log_loss": _mean(losses(p, won), group, width),
        "brier": _mean((p - won) ** 2, group, width),
        "auc": _figure(*_auc(score, won, group), width),
        "rules_auc": None,
        "auc_minus_rules": None,
    }
    if _has_rules(points):
        figures["rules_auc"] = _figure(*_auc(points, won, group), width)
        figures["auc_minus_rules"] = _figure(*auc_gap(score, points, won, codes), width)
    for name, column in (("hot", "band"), ("rules_hot", "rules_band")):
        hot = (rows[column] == "hot").to_numpy()
        figures[name] = {"n": int(hot.sum()), **(_rate(won[hot], group[hot]) or {})}
    return figures


def together(
    rows: pd.DataFrame, promised: Mapping[str, float | None], error: float
) -> dict[str, Any]:
    """The figures of all labelled rows of one model, with intervals that hold at every look, and its bands."""
    width = multiplier(won_leads(rows), error)
    bands = band_table(rows, promised) if len(rows) else []
    for row in bands:
        row["broken_for_sure"] = row["band"] in PROMISED and _is_broken(row, width)
    return {**judged(rows, width), "width": width, "bands": bands}


def lately(
    rows: pd.DataFrame, promised: Mapping[str, float | None], error: float, limits: GateConfig
) -> dict[str, Any] | None:
    """As `together`, of the last PERIOD_DAYS that hold enough won leads and leads, and `since` when.

    Periods follow each other from the first moment on; None where only the first one holds enough. The intervals
    of all periods, at every look, err with `error` together: the k-th spends 1 / (k (k + 1)) of it.
    """
    if rows.empty:
        return None
    begins = int(rows["as_of"].min())
    period = (rows["as_of"] - begins) // (PERIOD_DAYS * DAY_US)
    for k in range(int(period.max()), 0, -1):
        some = rows[period == k]
        if won_leads(some) >= limits.min_wins and some["lead_id"].nunique() >= limits.min_leads:
            since = iso(begins + k * PERIOD_DAYS * DAY_US)
            return {**together(some, promised, error / (k * (k + 1))), "since": since}
    return None


def won_leads(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["won"] == 1, "lead_id"].nunique())


def _is_broken(row: Mapping[str, Any], width: float) -> bool:
    """At the anytime bound: the promised rate lies above all that may be."""
    promised = row["promised_lower"]
    if promised is None or not row["labelled"]:
        return False
    spread = math.sqrt(promised * (1 - promised) * row["deff"] / row["labelled"])
    return bool(row["observed"] + width * spread < promised)


def _has_rules(points: np.ndarray) -> bool:
    return len(points) > 0 and not np.isnan(points).any() and bool(points.min() < points.max())


def _auc(score: np.ndarray, won: np.ndarray, group: np.ndarray) -> tuple[float, float]:
    return auc_and_error(score, won, group) if len(won) else (math.nan, math.nan)


def _rate(won: np.ndarray, group: np.ndarray) -> Figure | None:
    if not len(won):
        return None
    found = clustered_rate(won, group)
    return {"value": found.rate, "lower": found.lower, "upper": found.upper}


def _mean(values: np.ndarray, group: np.ndarray, width: float) -> Figure | None:
    return _figure(*mean_and_error(values, group), width) if len(values) else None


def _figure(value: float, error: float, width: float) -> Figure | None:
    if not (math.isfinite(value) and math.isfinite(error)):
        return None
    told = (("value", value), ("lower", value - width * error), ("upper", value + width * error))
    return {name: _number(one) for name, one in (*told, ("error", error))}


def _levels(rows: pd.DataFrame, width: float) -> dict[str, Any]:
    """`expected_to_observed` of the ages of training, the won leads that it rests on, and that of `older` leads."""
    older = rows["too_old"].to_numpy(dtype=bool)
    young = rows[~older]
    return {
        "expected_to_observed": _ratio(young, width),
        "level_wins": won_leads(young),
        "older": {"n": int(older.sum()), "expected_to_observed": _ratio(rows[older], width)},
    }


def _codes(rows: pd.DataFrame) -> np.ndarray:
    return group_codes(rows["group_id"]) if len(rows) else np.empty(0, np.intp)


def _ratio(rows: pd.DataFrame, width: float) -> Figure | None:
    """Expected over observed deals: the interval of its logarithm, by the pull of each group (delta method)."""
    p, won = (rows[name].to_numpy(np.float64) for name in ("probability", "won"))
    codes = _codes(rows)
    groups = int(codes.max(initial=-1)) + 1
    if groups < 2 or won.sum() == 0 or p.sum() == 0:
        return None
    value = math.log(p.sum() / won.sum())
    pulls = np.bincount(codes, weights=p / p.sum() - won / won.sum())
    error = math.sqrt(groups / (groups - 1) * float(np.sum(pulls * pulls)))
    ends = (("value", 0.0), ("lower", -width * error), ("upper", width * error))
    found: Figure = {name: _number(math.exp(value + by)) for name, by in ends}
    return found | {"error": _number(error)}


def _number(value: float) -> float:
    return float(f"{value:.8g}")
