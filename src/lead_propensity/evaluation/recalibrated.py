"""A model before and after its recalibration, on the same later leads; and whether its bands still hold."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from lead_propensity.evaluation import calibrated, metrics
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.compare import ENDS, RESAMPLES, Contender, Field
from lead_propensity.evaluation.metrics import Floats
from lead_propensity.evaluation.promises import band_table, weekly
from lead_propensity.evaluation.scorecard import plain, tidy
from lead_propensity.model.bands import Bands

SIDES = ("before", "after")
OFF_PLAN = 1.25
"""So many times more, or fewer, newly hot leads a week than planned: the bands no longer fit."""


def before_after(
    frames: Mapping[str, pd.DataFrame],
    bands: Mapping[str, Bands],
    hot_per_week: int | None,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Plain JSON: `before`, `after`, their `differences` (after minus before, paired) and who is `better`.

    `frames` hold what both models said of the same snapshots, as `scoring.scored` gives it, with `weight`;
    keys of both mappings are SIDES. Intervals are 95%, from the same resamples of groups.
    """
    both = {side: tidy(frames[side]) for side in SIDES}
    tests = {side: _labelled(frame) for side, frame in both.items()}
    first = tests["before"]
    ends = seed, resamples
    runs = _compared(tests, *ends)
    found: dict[str, Any] = {
        side: {
            **{name: asdict(figure) for name, figure in runs.figures[side].items()},
            **_of_side(tests[side], *ends),
            **_of_bands(both[side], bands[side], hot_per_week),
        }
        for side in SIDES
    }
    gaps = {name: asdict(gap) for name, gap in runs.differences["after", "before"].items()}
    stored = _compared(tests, *ends, "probability_untracked")
    gaps["log_loss_untracked"] = asdict(stored.differences["after", "before"]["log_loss"])
    gaps["level_error"] = asdict(_nearer(tests, *ends))
    for side in SIDES:
        found[side]["log_loss_untracked"] = asdict(stored.figures[side]["log_loss"])
    found |= {
        "n": len(first),
        "leads": int(first["lead_id"].nunique()),
        "wins": int(first.loc[first["won"] == 1, "lead_id"].nunique()),
        "differences": gaps,
        "better": _better(gaps["log_loss"]),
        "level": _better(gaps["level_error"]),
    }
    card: dict[str, Any] = plain(found)
    return card


def off(frame: pd.DataFrame, bands: Bands, hot_per_week: int | None) -> list[str]:
    """Why the bands no longer hold on these leads, in words: promises broken, a plan that is missed."""
    found = _of_bands(tidy(frame), bands, hot_per_week)
    told = [
        f"{row['band']} promised at least {row['promised_lower']:.1%}, came {row['observed']:.1%} (at most "
        f"{row['upper']:.1%})"
        for row in found["bands"]
        if row["promise"] == "broken"
    ]
    missed = _plan_missed(found, hot_per_week) if bands.hot_from is not None else None
    return told if missed is None else [*told, missed]


def _plan_missed(found: Mapping[str, Any], hot_per_week: int | None) -> str | None:
    """In words, where the whole 95% interval (Garwood 1936) of the weekly rate lies beyond OFF_PLAN."""
    newly, weeks = found["newly_hot_per_week"], found["steady_weeks"]
    if not hot_per_week or newly is None:
        return None
    leads, planned = round(newly * weeks / found["weight"]), hot_per_week * weeks / found["weight"]
    lower, upper = (
        chi2.isf(0.975, 2 * leads) / 2 if leads else 0.0,
        chi2.isf(0.025, 2 * leads + 2) / 2,
    )
    if lower <= OFF_PLAN * planned and upper >= planned / OFF_PLAN:
        return None
    return f"{newly:,.1f} leads a week are newly hot, planned were {hot_per_week:,}"


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """What is worth tracking, flat; what does not exist is left out."""
    flat: dict[str, float | None] = {}
    for side in SIDES:
        for name in ("log_loss", "brier", "expected_to_observed", "smooth_error"):
            flat |= {f"{side}_{name}{end}": found[side][name][key] for end, key in ENDS}
        flat[f"{side}_newly_hot_per_week"] = found[side]["newly_hot_per_week"]
    for name, gap in found["differences"].items():
        flat |= {f"after_minus_before_{name}{end}": gap[key] for end, key in ENDS}
    return {name: float(value) for name, value in sorted(flat.items()) if value is not None}


def sentence(found: Mapping[str, Any]) -> str:
    """Who is better, in words.

    >>> gap = {"value": -0.01, "lower": -0.02, "upper": -0.004}
    >>> side = {"expected_to_observed": {"value": 1.3}}
    >>> after = {"expected_to_observed": {"value": 1.02}}
    >>> words = sentence({"before": side, "after": after, "differences": {"log_loss": gap}, "better": "after"})
    >>> words.split(",")[0]
    'Recalibrated it is better: log loss -0.0100 (95% interval -0.0200 to -0.0040)'
    >>> same = {"log_loss": {"value": 0.0, "lower": 0.0, "upper": 0.0}}
    >>> sentence({"before": side, "after": side, "differences": same, "better": "none"})
    'The percentages are the same before and after; on the later leads expected to observed is 1.30.'
    """
    gap = found["differences"]["log_loss"]
    words = {
        "after": "Recalibrated it is better",
        "before": "Recalibrated it is worse",
        "none": "No difference is shown",
    }
    ratios = [found[side]["expected_to_observed"]["value"] for side in SIDES]
    before, after = ("unknown" if one is None else f"{one:.2f}" for one in ratios)
    if gap["value"] == 0 and not gap["lower"] and not gap["upper"]:
        return (
            "The percentages are the same before and after; on the later leads expected to observed is "
            f"{before}."
        )
    span = (
        "no interval"
        if gap["lower"] is None
        else f"95% interval {gap['lower']:+.4f} to {gap['upper']:+.4f}"
    )
    return (
        f"{words[found['better']]}: log loss {gap['value']:+.4f} ({span}), expected to observed {before} before, "
        f"{after} after."
    )


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    labelled = (frame["population"] == "training") & frame["won"].notna()
    return frame[labelled].reset_index(drop=True)


def _compared(
    tests: Mapping[str, pd.DataFrame], seed: int, resamples: int, says: str = "probability"
) -> paired.Comparison:
    first = tests["before"]
    nobody = np.zeros(len(first), dtype=bool)
    group = paired.group_codes(first["group_id"])
    field = Field(first["won"].to_numpy(np.float64), group, first["tie"].to_numpy(), nobody)
    sides = [Contender(side, tests[side][says].to_numpy(np.float64)) for side in SIDES]
    return paired.compare(sides, field, [("after", "before")], seed, resamples)


def _of_side(test: pd.DataFrame, seed: int, resamples: int) -> dict[str, Any]:
    won, group = test["won"].to_numpy(np.float64), test["group_id"]
    said = {
        name: test[name].to_numpy(np.float64) for name in ("probability", "probability_untracked")
    }
    ratio = paired.ratio(said["probability"], won, group, seed, resamples)
    untracked = paired.ratio(said["probability_untracked"], won, group, seed, resamples)
    codes = paired.group_codes(group)
    p = said["probability"]
    return {
        "expected_to_observed": asdict(ratio),
        "expected_to_observed_untracked": asdict(untracked),
        "smooth_error": calibrated.smooth_error(p, won, codes, seed, resamples),
        "reliability": [asdict(row) for row in metrics.reliability(p, won, group.to_numpy(object))],
        "level_shift": float(test["level_shift"].mean()),
    }


def _of_bands(frame: pd.DataFrame, bands: Bands, hot_per_week: int | None) -> dict[str, Any]:
    stock = frame[frame["population"] == "stock"]
    stock = stock if len(stock) else frame  # as exported
    seen = weekly(stock, hot_per_week)
    # The first week alone holds the backlog: it tells no rate.
    steady = 0 if seen is None else len(seen["weeks"]) - 1
    return {
        "bands": band_table(stock, bands.promised),
        "hot_refused": bands.hot_refused,
        "newly_hot_per_week": seen["per_week"] if seen is not None and steady else None,
        "steady_weeks": steady,
        "weight": float(frame["weight"].iloc[0]),
        "hot_per_week": hot_per_week,
    }


def _nearer(tests: Mapping[str, pd.DataFrame], seed: int, resamples: int) -> paired.Interval:
    """|log of expected over observed|, after minus before: below 0 the level is nearer to the truth."""
    first = tests["before"]
    columns = [first["won"], *(tests[side]["probability"] for side in SIDES)]
    group = paired.group_codes(first["group_id"])
    sums = np.column_stack([paired.by_group(one.to_numpy(np.float64), group) for one in columns])
    drawn = [
        paired.weighted(sums, c).T for c in paired.draws(len(sums), seed, resamples, len(sums))
    ]
    won, before, after = np.concatenate([sums.sum(axis=0)[None], *drawn]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        gap: Floats = np.abs(np.log(after / won)) - np.abs(np.log(before / won))
    return paired.interval(np.where(np.isfinite(gap), gap, np.nan))


def _better(gap: Mapping[str, float]) -> str:
    """Of a difference of which less is better: `after`, `before` or `none` where it is not shown."""
    if gap["upper"] < 0:
        return "after"
    return "before" if gap["lower"] > 0 else "none"
