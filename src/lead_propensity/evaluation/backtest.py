"""What walking forward showed: figures by period, the gap to a random split, whether to refit.

Plain JSON for the scorecard. Intervals resample whole groups and are conditional on their period; the
spread between the periods is what they cannot tell.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from lead_propensity.data.moments import words
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.compare import Contender, Field, group_codes, ratio
from lead_propensity.evaluation.metrics import losses, tie_break
from lead_propensity.evaluation.walking import Period, Walk
from lead_propensity.model.intervals import clustered_rate, mean_and_error

RESAMPLES = 200
"""Fewer than for the test part: there are several periods."""


@dataclass(frozen=True)
class Refit:
    """Whether the deployed model is fitted again, and why."""

    refitted: bool
    why: str
    saved: float | None = None
    """Mean log loss that refitting saved in the walk forward."""
    error: float | None = None
    """Its standard error, clustered by group."""


def decide_refit(walked: Walk, policy: str) -> Refit:
    """`always`, `never`, or `auto`: unless refitting raised the walk's log loss by one standard error."""
    if policy != "auto":
        return Refit(policy == "always", f"model.refit is `{policy}`.")
    rows = walked.rows
    rows = rows[rows["refitted"].notna()] if len(rows) else rows
    if len(rows) == 0:
        return Refit(True, "No earlier period could tell whether refitting harms.")
    won = rows["won"].to_numpy(np.float64)
    kept, again = (
        losses(rows[name].to_numpy(np.float64), won) for name in ("probability", "refitted")
    )
    saved, error = mean_and_error(kept - again, rows["group_id"].to_numpy())
    found = f"log loss {-saved:+.5f} (standard error {error:.5f})"
    why = f"In {rows['period'].nunique()} earlier periods refitting changed the {found}."
    return Refit(saved > -error, why, saved, error)


def backtest(walked: Walk, tracker: str, exported: bool, seed: int) -> dict[str, Any]:
    """The walk's part of the scorecard; `tracker` says in words whether the level was tracked."""
    numbered = list(enumerate(walked.periods))
    return {
        "why_not": walked.why_not,
        "tracker": tracker,
        "resamples": RESAMPLES,
        "periods": [
            _walked(period, walked.rows[walked.rows["period"] == place], exported, seed)
            for place, period in numbered
            if period.skipped is None
        ],
        "skipped": [
            {**_span(period.starts, period.ends - 1, exported), "why": period.skipped}
            for _, period in numbered
            if period.skipped is not None
        ],
        "random_split": random_split(walked.rows, seed) if len(walked.rows) else None,
    }


def _walked(period: Period, rows: pd.DataFrame, exported: bool, seed: int) -> dict[str, Any]:
    assert period.fitted_until is not None, "it was walked"
    assert period.constant is not None, "it was walked"
    return {
        "part": "walk",
        **seen(rows, exported),
        "fitted_until": day_or_row(period.fitted_until, exported),
        "calibrated": period.calibrated,
        **period_figures(rows, period.constant, seed, RESAMPLES),
    }


def period_figures(
    rows: pd.DataFrame, constant: float, seed: int, resamples: int
) -> dict[str, Any]:
    """One line of the table. `rows`: lead_id, group_id, order, won, raw_score, both probabilities."""
    won, group = rows["won"].to_numpy(np.float64), rows["group_id"]
    p, untracked = (
        rows[name].to_numpy(np.float64) for name in ("probability", "probability_untracked")
    )
    listed = [
        Contender("model", p, rows["raw_score"].to_numpy(np.float64)),
        Contender("constant", np.full(len(rows), constant)),
    ]
    found = paired.compare(listed, _field(rows), [], seed, resamples).figures
    rate = clustered_rate(won, group.to_numpy(object))
    return {
        "n": len(rows),
        "leads": int(rows["lead_id"].nunique()),
        "wins": int(won.sum()),
        "observed": {"value": rate.rate, "lower": rate.lower, "upper": rate.upper},
        "auc": asdict(found["model"]["auc"]),
        "log_loss": asdict(found["model"]["log_loss"]),
        "log_loss_constant": found["constant"]["log_loss"].value,
        "expected_to_observed": asdict(ratio(p, won, group, seed, resamples)),
        "expected_to_observed_untracked": asdict(ratio(untracked, won, group, seed, resamples)),
    }


def random_split(rows: pd.DataFrame, seed: int) -> dict[str, Any] | None:
    """The same snapshots under a random split by lead: what it promised, what walking gave.

    `warn` where the interval of a difference, paired by group, lies on the promising side of zero.
    """
    rows = rows[rows["random_split"].notna()]
    if len(rows) == 0:
        return None
    score, p = (rows[name].to_numpy(np.float64) for name in ("random_split", "probability"))
    listed = [Contender("random", expit(score), score), Contender("walked", p, p)]
    found = paired.compare(listed, _field(rows), [("random", "walked")], seed, RESAMPLES)
    gaps = found.differences["random", "walked"]
    told = {
        name: {
            "random": found.figures["random"][name].value,
            "walked": found.figures["walked"][name].value,
            "difference": asdict(gaps[name]),
        }
        for name in ("auc", "log_loss")
    }
    warn = bool(gaps["auc"].lower > 0 or gaps["log_loss"].upper < 0)
    return {"n": len(rows), **told, "warn": warn, "sentence": _gap_sentence(told, warn)}


def with_test_part(
    told: Mapping[str, Any],
    test: pd.DataFrame,
    context: Mapping[str, Any],
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """`told` as in `backtest`, with the test part as its last period and the mean miss of the level.

    Where nothing was walked, there is no such mean: the test part alone is in the headline.
    """
    exported = context["shape"] == "as exported"
    judged = period_figures(test, float(context["base_rate_calibrate"]), seed, resamples)
    row = {
        "part": "test",
        **seen(test, exported),
        "fitted_until": (context.get("deployed") or {}).get("figures_until"),
        "calibrated": True,
        **judged,
    }
    periods = [*told["periods"], row]
    names = ("expected_to_observed", "expected_to_observed_untracked")
    return {
        **told,
        "periods": periods,
        "level_error": {name: _miss(periods, name) if told["periods"] else None for name in names},
    }


def day_or_row(order: int, exported: bool) -> str:
    """A day, or the rank of a row as exported."""
    return f"row {order:,}" if exported else words(order)[:10]


def _miss(periods: list[dict[str, Any]], name: str) -> float | None:
    """Mean |log(expected / observed)| of the periods."""
    ratios = [period[name]["value"] for period in periods]
    sizes = [abs(math.log(one)) for one in ratios if one and math.isfinite(one)]
    return float(np.mean(sizes)) if sizes else None


def _field(rows: pd.DataFrame) -> Field:
    return Field(
        rows["won"].to_numpy(np.float64),
        group_codes(rows["group_id"]),
        tie_break(rows["lead_id"], rows["order"]),
        np.zeros(len(rows), dtype=bool),
    )


def _span(first: int, last: int, exported: bool) -> dict[str, str]:
    return {"from": day_or_row(first, exported), "to": day_or_row(last, exported)}


def seen(rows: pd.DataFrame, exported: bool) -> dict[str, str]:
    """From the first to the last snapshot."""
    return _span(int(rows["order"].min()), int(rows["order"].max()), exported)


def _gap_sentence(told: Mapping[str, Any], warn: bool) -> str:
    auc, loss = told["auc"], told["log_loss"]
    gaps = [
        f"{name} {gap['value']:+.{digits}f}, 95% interval {gap['lower']:+.{digits}f} to {gap['upper']:+.{digits}f}"
        for name, gap, digits in (
            ("AUC", auc["difference"], 3),
            ("log loss", loss["difference"], 4),
        )
    ]
    opening = (
        f"A random split by lead would have promised an AUC of {auc['random']:.3f} and a log loss of "
        f"{loss['random']:.4f}; walking forward gave {auc['walked']:.3f} and {loss['walked']:.4f} "
        f"({'; '.join(gaps)})."
    )
    if not warn:
        return opening
    return f"{opening} Believe the latter: what comes is no random sample of what was, and early models know less."
