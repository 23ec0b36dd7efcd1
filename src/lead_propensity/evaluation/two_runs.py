"""Two runs side by side: paired on the test snapshots that both judged, where there are any.

Where they share none, differences are those of two independent samples, with the interval of Zou and
Donner, "Construction of confidence limits about effect measures: a general approach" (2008).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation import metrics
from lead_propensity.evaluation.again import leaves
from lead_propensity.evaluation.compare import Contender, Field, Interval, group_codes
from lead_propensity.evaluation.promises import outcome
from lead_propensity.model.bands import BANDS

A, B = "a", "b"
CHOSEN = ("learner", "blend", "calibrator", "line_strength", "smooth_strength", "fitted_on")
"""Of what training chose, what two runs are told apart by."""
LESS_IS_BETTER = ("log_loss", "brier")
OF_ANY_SAMPLE = ("auc", "expected_to_observed")
"""Figures that two samples with other shares of deals may be compared by."""


@dataclass(frozen=True)
class Side:
    """One run: its scorecard and its test predictions as stored."""

    scorecard: Mapping[str, Any]
    predictions: pd.DataFrame


def two_runs(a: Side, b: Side, seed: int, resamples: int = paired.RESAMPLES) -> dict[str, Any]:
    """Plain data: `match`, `figures`, `bands`, `called`, `settings`; differences are a minus b.

    Paired where both judged the same snapshots with the same outcomes; `match` counts those left out.
    """
    test = _joined(_of(a, "training"), _of(b, "training"), _key(a, b))
    both = test[test["won_a"].notna() & (test["won_a"] == test["won_b"])]
    same_question = a.scorecard["horizon_days"] == b.scorecard["horizon_days"]
    is_paired = same_question and both["won_a"].nunique() == 2 and both["group_a"].nunique() >= 2
    match = _match(a, b, test, both) | {"paired": is_paired, "same_horizon": same_question}
    stock = _joined(_of(a, "stock"), _of(b, "stock"), _key(a, b))
    return {
        "match": match,
        "figures": _paired(both, seed, resamples) if is_paired else _unpaired(a, b),
        "bands": _bands(a, b),
        "called": _called(stock if len(stock) else test),
        "rank_correlation": _rank_correlation(test),
        "settings": _settings(a.scorecard, b.scorecard),
    }


def _key(a: Side, b: Side) -> list[str]:
    """Rows as exported have a rank and no time: another export gives the same lead another rank."""
    shapes = {side.scorecard["shape"] for side in (a, b)}
    return ["lead_id"] if shapes == {"as exported"} else ["lead_id", "order"]


def _of(side: Side, population: str) -> pd.DataFrame:
    frame = side.predictions[side.predictions["population"] == population]
    group = frame["group_id"].fillna(frame["lead_id"])
    columns = ["lead_id", "order", "won", "raw_score", "probability", "band"]
    return frame[columns].assign(group=group).sort_values(["lead_id", "order"])


def _joined(a: pd.DataFrame, b: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """One row a snapshot that both have; what is not in the key gets an ending."""
    first, second = (side.drop_duplicates(key) for side in (a, b))
    return first.merge(second, on=key, suffixes=("_a", "_b")).sort_values(key, ignore_index=True)


def _match(a: Side, b: Side, test: pd.DataFrame, both: pd.DataFrame) -> dict[str, Any]:
    counts = {name: len(_of(side, "training")) for name, side in ((A, a), (B, b))}
    known = test["won_a"].notna() & test["won_b"].notna()
    return {
        "n_a": counts[A],
        "n_b": counts[B],
        "common": len(test),
        "share_a": len(test) / counts[A] if counts[A] else 0.0,
        "share_b": len(test) / counts[B] if counts[B] else 0.0,
        "disagree": int((known & (test["won_a"] != test["won_b"])).sum()),
        "unknown": int((~known).sum()),
        "judged": len(both),
        "leads": int(both["lead_id"].nunique()),
        "wins": int(both["won_a"].sum()),
    }


def _paired(both: pd.DataFrame, seed: int, resamples: int) -> list[dict[str, Any]]:
    """Both on the same resampled groups; calls: as many as A calls hot, else as B does."""
    hot = next((h for h in (both["band_a"] == "hot", both["band_b"] == "hot") if h.any()), None)
    volume = np.zeros(len(both), bool) if hot is None else hot.to_numpy(bool)
    order = both["order" if "order" in both else "order_a"]
    field = Field(
        both["won_a"].to_numpy(np.float64),
        group_codes(both["group_a"]),
        metrics.tie_break(both["lead_id"], order),
        volume,
    )
    sides = [
        Contender(
            name,
            both[f"probability_{name}"].to_numpy(np.float64),
            both[f"raw_score_{name}"].to_numpy(np.float64),
        )
        for name in (A, B)
    ]
    found = paired.compare(sides, field, [(A, B)], seed, resamples)
    rows = [
        _row(metric, found.figures[A][metric], found.figures[B][metric], gap)
        for metric, gap in found.differences[A, B].items()
        if volume.any() or metric not in ("capture", "conversion")
    ]
    calls = {"calls": int(volume.sum()), "of": len(both)}
    return [*(row | calls for row in rows), _paired_level(both, field, seed, resamples) | calls]


def _paired_level(both: pd.DataFrame, field: Field, seed: int, resamples: int) -> dict[str, Any]:
    expected = [both[f"probability_{name}"].to_numpy(np.float64) for name in (A, B)]
    columns = [paired.by_group(one, field.group) for one in (*expected, field.won)]
    sums = np.column_stack(columns)
    drawn = [
        paired.weighted(sums, counts).T
        for counts in paired.draws(len(sums), seed, resamples, len(sums))
    ]
    totals = np.concatenate([sums.sum(axis=0)[None], *drawn])
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = totals[:, 0] / totals[:, 2], totals[:, 1] / totals[:, 2]
        gap = first - second
    a, b, difference = (paired.interval(run) for run in (first, second, gap))
    return _row("expected_to_observed", a, b, difference)


def _unpaired(a: Side, b: Side) -> list[dict[str, Any]]:
    """Each by its own test part; a difference where the share of deals does not make it by itself."""
    rows = []
    for metric in ("auc", "average_precision", "log_loss", "brier", "expected_to_observed"):
        one, other = (_headline(side.scorecard, metric) for side in (a, b))
        gap = independent(one, other) if metric in OF_ANY_SAMPLE else None
        rows.append(_row(metric, one, other, gap) | {"calls": None, "of": None})
    return rows


def independent(a: Interval, b: Interval) -> Interval:
    """a minus b of two independent samples, from their 95% intervals (Zou and Donner 2008).

    >>> independent(Interval(0.8, 0.7, 0.9), Interval(0.5, 0.4, 0.6))  # doctest: +ELLIPSIS
    Interval(value=0.3..., lower=0.158..., upper=0.441...)
    """
    below = math.hypot(a.value - a.lower, b.upper - b.value)
    above = math.hypot(a.upper - a.value, b.value - b.lower)
    gap = a.value - b.value
    return Interval(gap, gap - below, gap + above)


def _headline(card: Mapping[str, Any], metric: str) -> Interval:
    figure = card["headline"][metric]
    return Interval(
        *(math.nan if figure[end] is None else figure[end] for end in ("value", "lower", "upper"))
    )


def _row(metric: str, a: Interval, b: Interval, gap: Interval | None) -> dict[str, Any]:
    named = {A: a, B: b, "difference": gap}
    told = {name: None if one is None else _known(one) for name, one in named.items()}
    return {"metric": metric, **told, "better": _better(metric, gap)}


def _known(figure: Interval) -> dict[str, float | None]:
    return {name: x if math.isfinite(x) else None for name, x in asdict(figure).items()}


def _better(metric: str, gap: Interval | None) -> str:
    """`a`, `b`, `none` where the interval holds zero, `unknown`; a level is not better for being higher."""
    if gap is None or math.isnan(gap.lower) or math.isnan(gap.upper):
        return "unknown"
    if gap.lower <= 0 <= gap.upper:
        return "none"
    if metric == "expected_to_observed":
        return "apart"
    higher = A if gap.lower > 0 else B
    return higher if metric not in LESS_IS_BETTER else ({A, B} - {higher}).pop()


def _bands(a: Side, b: Side) -> list[dict[str, Any]]:
    by_band = [{row["band"]: row for row in side.scorecard["bands"]["stock"]} for side in (a, b)]
    return [{"band": band, A: by_band[0][band], B: by_band[1][band]} for band in reversed(BANDS)]


def _called(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Of the snapshots that both have: hot in both, in one, in none, and what became of them."""
    known = rows.assign(
        won=rows["won_a"].where(rows["won_a"] == rows["won_b"]),
        group_id=rows["group_a"],
        probability=rows["probability_a"],
    )
    hot_a, hot_b = rows["band_a"] == "hot", rows["band_b"] == "hot"
    cells = {
        "both": hot_a & hot_b,
        "only_a": hot_a & ~hot_b,
        "only_b": ~hot_a & hot_b,
        "none": ~hot_a & ~hot_b,
    }
    told = ("n", "leads", "labelled", "wins", "observed", "lower", "upper")
    if rows.empty:
        return []
    found = {name: outcome(known[cell]) for name, cell in cells.items()}
    return [{"hot_in": name} | {key: one[key] for key in told} for name, one in found.items()]


def _rank_correlation(test: pd.DataFrame) -> float | None:
    if len(test) < 3 or test["raw_score_a"].nunique() < 2 or test["raw_score_b"].nunique() < 2:
        return None
    return float(spearmanr(test["raw_score_a"], test["raw_score_b"]).statistic)


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What differs between the configs, and in what was chosen on the way; rows of `key`, a and b."""
    first, second = (dict(leaves(_told(card))) for card in (a, b))
    return [
        {"key": key, A: first.get(key), B: second.get(key)}
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _told(card: Mapping[str, Any]) -> dict[str, Any]:
    """Facts, config, what was chosen, rules and features of one run; not what choices were made from."""
    facts = ("name", "shape", "horizon_days", "exported_at", "seed", "base_rate_calibrate")
    choices, context = card.get("choices") or {}, card.get("context") or {}
    return {
        "run": {key: card.get(key) for key in facts} | {"version": context.get("version")},
        "config": context.get("settings") or {},
        "chosen": {key: choices.get(key) for key in CHOSEN},
        "rules": {line["text"]: line["points"] for line in card["rules"]["lines"]},
        "feature": {feature["name"]: "yes" for feature in card.get("catalogue") or []},
    }
