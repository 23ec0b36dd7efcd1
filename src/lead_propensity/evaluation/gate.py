"""The gate before the champion: may a challenger take its place? Frames in, the decision as plain JSON out.

The challenger must show that it is not worse than the champion by more than a margin: non-inferiority, by
a one-sided bound (Piaggio et al., "Reporting of noninferiority and equivalence randomized trials", JAMA
2012). Its level must lie within limits with the whole interval: two one-sided tests (Schuirmann 1987). Who
tries again on the same test period is held to a stricter bound: the error allowed is divided by the
attempts (Bonferroni; Dunn, "Multiple comparisons among means", 1961). Bounds come from a bootstrap of
groups, see `compare`, for the log loss a studentised one (Hall, "Theoretical comparison of bootstrap confidence
intervals", 1988).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.stats import norm

from lead_propensity.config import GateConfig
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.auc import auc_gap
from lead_propensity.evaluation.metrics import Floats, losses
from lead_propensity.evaluation.promises import band_table
from lead_propensity.evaluation.waiting import Pace, evidence

PROMOTE, REFUSE, WAIT = "promote", "refuse", "wait"
RESAMPLES = 4000
"""Enough that some lie beyond the bound after twenty attempts. The same for any number of attempts, so that
another attempt only moves the bounds outwards."""


@dataclass(frozen=True)
class Facts:
    """What the gate is told beside the predictions."""

    base_rate: float
    """The constant that knows only how many were won before."""
    promised: Mapping[str, float] = field(default_factory=dict)
    """The lower bound that each band of the challenger promised; a band without one promised nothing."""
    alarms: Sequence[Mapping[str, Any]] = ()
    """Of the challenger's leakage audit: each with `column`, `reaches_model` and `reasons`."""
    attempts: int = 1
    """How many models were judged on this test period, this one included."""
    pace: Pace | None = None
    """None where rows carry no time."""


def decide(
    judged: pd.DataFrame,
    stock: pd.DataFrame,
    facts: Facts,
    limits: GateConfig,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """`decision` (promote, refuse or wait), its `sentence`, `evidence`, `conditions` and flat `figures`.

    `judged` has one row a labelled snapshot: `lead_id`, `group_id`, `order`, `won`, `probability` and
    `raw_score` of the challenger, where there is a champion `champion_probability`, and where there are
    rules `rules_points`. `stock` has `lead_id`, `group_id`, `won`, `probability` and `band`. No NaN
    (null instead), the same whatever the row order.
    """
    judged = judged.sort_values(["order", "lead_id"], ignore_index=True)
    first = "champion_probability" not in judged
    error = limits.error / facts.attempts
    decision: dict[str, Any] = {
        "against": "constant" if first else "champion",
        "attempts": facts.attempts,
        "error": error,
        "limits": limits.model_dump(mode="json"),
        "evidence": evidence(judged, facts.pace, limits),
    }
    if not decision["evidence"]["enough"]:
        sentence = decision["evidence"]["sentence"]
        return {"decision": WAIT, "sentence": sentence, **decision, "conditions": [], "figures": {}}
    drawn = _Drawn.of(judged, facts, limits.margin, seed, resamples)
    conditions = [
        _not_worse(drawn, first, error, limits),
        _level(drawn, first, error, limits, decision["evidence"]["wins"]),
        _promises(stock, facts.promised),
        _rules(judged, error, limits),
        _leaks(facts.alarms, limits),
    ]
    failed = [one for one in conditions if not one["passed"]]
    figures = {name: value for one in conditions for name, value in one.pop("figures").items()}
    return {
        "decision": REFUSE if failed else PROMOTE,
        "sentence": _sentence(conditions, failed, first),
        **decision,
        "conditions": conditions,
        "figures": {name: _number(value) for name, value in figures.items()},
    }


@dataclass(frozen=True)
class _Drawn:
    """Sums over the snapshots, then over each resample of groups: arrays of 1 + resamples."""

    groups: int
    n: Floats
    won: Floats
    challenger_loss: Floats
    other_loss: Floats
    """The champion's; of the first one the constant's."""
    constant_loss: Floats
    expected: Floats
    champion_expected: Floats
    excess: Floats
    """Log loss beyond the other's and what the margin allows; with the squares of its group sums below."""
    excess_square: Floats
    excess_n: Floats
    n_square: Floats

    @classmethod
    def of(
        cls, judged: pd.DataFrame, facts: Facts, margin: float, seed: int, resamples: int
    ) -> Self:
        won, p = (judged[name].to_numpy(np.float64) for name in ("won", "probability"))
        constant = np.full(len(won), facts.base_rate)
        other = judged.get("champion_probability", pd.Series(constant)).to_numpy(np.float64)
        lost = [losses(says, won) for says in (p, other, constant)]
        excess = lost[0] - lost[1] - margin * (lost[2] - lost[1])
        group = paired.group_codes(judged["group_id"])
        columns = [np.ones(len(won)), won, *lost, p, other, excess]
        of_group = [paired.by_group(one, group) for one in columns]
        n, e = of_group[0], of_group[-1]
        sums = np.column_stack([*of_group, e * e, e * n, n * n])
        draws = paired.draws(len(sums), seed, resamples, len(sums))
        totals = [sums.sum(axis=0)[:, None], *(paired.weighted(sums, counts) for counts in draws)]
        return cls(len(sums), *np.concatenate(totals, axis=1))

    def excess_bound(self, error: float) -> float:
        """The upper bound of the mean excess: a studentised bootstrap, since losses are skewed (Hall 1988).

        Bounds of plain percentiles let twice as many bad models pass. Infinite where groups are too few.
        """
        mean = self.excess / self.n
        squares = self.excess_square - 2 * mean * self.excess_n + mean**2 * self.n_square
        spread = np.sqrt(np.maximum(squares, 0.0)) / self.n
        if spread[0] <= 1e-12:
            return float(mean[0]) if self.groups > 1 else math.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            away = np.where(spread > 0, (mean - mean[0]) / spread, -np.inf)
        return float(mean[0] - _quantile(away, error) * spread[0])


def _not_worse(drawn: _Drawn, first: bool, error: float, limits: GateConfig) -> dict[str, Any]:
    """Log loss: at most `margin` of the champion's gain worse; the first champion better than the constant.

    What is allowed is an estimate from the same leads, too: the bound is that of the difference of both.
    """
    gap = float((drawn.challenger_loss[0] - drawn.other_loss[0]) / drawn.n[0])
    gain = float((drawn.constant_loss[0] - drawn.other_loss[0]) / drawn.n[0])
    allowed = limits.margin * gain
    bound = allowed + drawn.excess_bound(error)
    who = "the base rate for everyone" if first else "the champion"
    words = (
        f"log loss, challenger minus {who}: {gap:+.4f}, {_sure(error)} at most {bound:+.4f}; "
        f"allowed: {allowed:+.4f}"
    )
    if not first:
        words += f" ({limits.margin:.0%} of what the champion gains over the base rate)"
    return {
        "name": "not worse than the champion" if not first else "better than the base rate",
        "passed": bool(bound <= allowed),
        "sentence": f"{words}.",
        "figures": {
            "log_loss_difference": gap,
            "log_loss_difference_bound": bound,
            "log_loss_allowed": allowed,
            "log_loss_challenger": drawn.challenger_loss[0] / drawn.n[0],
            "log_loss_champion": None if first else drawn.other_loss[0] / drawn.n[0],
            "log_loss_constant": drawn.constant_loss[0] / drawn.n[0],
        },
    }


def _level(
    drawn: _Drawn, first: bool, error: float, limits: GateConfig, wins: int
) -> dict[str, Any]:
    """The log of expected over observed deals: within limits, or shown nearer to 0 than the champion's."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.log(drawn.expected) - np.log(drawn.won)
        champion_off = np.log(drawn.champion_expected) - np.log(drawn.won)
        gap = np.abs(off) - np.abs(champion_off)
    lower, upper = _quantile(off, error), _quantile(off, 1 - error)
    within = max(-lower, upper) <= math.log(limits.level_within)
    nearer = not first and _quantile(gap, 1 - error) < 0
    figures = {
        "expected_to_observed": math.exp(off[0]),
        "expected_to_observed_lower": math.exp(lower),
        "expected_to_observed_upper": math.exp(upper),
    }
    words = (
        f"expected over observed deals {math.exp(off[0]):.2f}, {1 - 2 * error:.1%} interval {math.exp(lower):.2f} "
        f"to {math.exp(upper):.2f}; allowed: {1 / limits.level_within:.2f} to {limits.level_within:.2f}"
    )
    if not first:
        figures |= {"champion_expected_to_observed": math.exp(champion_off[0])}
        shown = "shown" if nearer else "not shown"
        words += f", or shown nearer to 1 than the champion's {figures['champion_expected_to_observed']:.2f} ({shown})"
    if not (within or nearer) and lower <= 0 <= upper:
        words += f". The level may be right: too few deals to tell. {_wins_needed(lower, upper, wins, limits)}"
    return {
        "name": "the level is right",
        "passed": bool(within or nearer),
        "sentence": f"{words.rstrip('. ')}.",
        "figures": figures,
    }


def _wins_needed(lower: float, upper: float, wins: int, limits: GateConfig) -> str:
    """Were the level exactly right, the interval would draw in upon it with the root of the wins."""
    times = (max(-lower, upper) / math.log(limits.level_within)) ** 2
    if not times < 1000:
        return ""
    return f"If it is, about {math.ceil(times * wins):,} won leads would show it; here are {wins:,}"


def _promises(stock: pd.DataFrame, promised: Mapping[str, float]) -> dict[str, Any]:
    rows = [row for row in band_table(stock, promised) if row["promise"] != "none"]
    broken = [row for row in rows if row["promise"] == "broken"]
    told = [
        f"{row['band']} promised at least {row['promised_lower']:.1%}, came {row['observed']:.1%} "
        f"(at most {row['upper']:.1%}): {row['promise_words']}"
        for row in rows
    ]
    return {
        "name": "the bands keep their promises",
        "passed": not broken,
        "sentence": ("; ".join(told) or "no band promised anything that could be judged") + ".",
        "figures": {f"{row['band']}_observed": row["observed"] for row in rows},
    }


def _rules(judged: pd.DataFrame, error: float, limits: GateConfig) -> dict[str, Any]:
    """By the order of the leads: points are no probability."""
    name = "not worse than the rules"
    if "rules_points" not in judged:
        return {"name": name, "passed": True, "sentence": "there are no rules.", "figures": {}}
    gap, spread = auc_gap(
        judged["raw_score"].to_numpy(np.float64),
        judged["rules_points"].to_numpy(np.float64),
        judged["won"].to_numpy(np.float64),
        paired.group_codes(judged["group_id"]),
    )
    bound = gap - float(norm.isf(error)) * spread
    return {
        "name": name,
        "passed": bool(bound >= -limits.rules_margin),
        "sentence": (
            f"AUC, challenger minus rules: {gap:+.3f}, {_sure(error)} at least {bound:+.3f}; allowed: "
            f"{-limits.rules_margin:+.3f}."
        ),
        "figures": {"auc_minus_rules": gap, "auc_minus_rules_bound": bound},
    }


def _leaks(alarms: Sequence[Mapping[str, Any]], limits: GateConfig) -> dict[str, Any]:
    opened = [one["column"] for one in alarms if one.get("reaches_model", True)]
    still = [column for column in opened if column not in limits.cleared]
    words = "no leakage alarm is open."
    if still:
        words = (
            f"the model sees {', '.join(still)}, suspected of knowing the outcome. Leave them out, or, if they "
            "do not, list them in gate.cleared."
        )
    elif opened:
        words = f"no leakage alarm is open; cleared by hand: {', '.join(opened)}."
    return {"name": "no leak", "passed": not still, "sentence": words, "figures": {}}


def _quantile(run: Floats, share: float) -> float:
    """Of the resamples; NaN counts as the worst, so nothing passes by it."""
    drawn = run[1:]
    if not len(drawn) or np.isnan(drawn).any():
        return math.inf if share > 0.5 else -math.inf
    return float(np.quantile(drawn, share, method="inverted_cdf"))


def _sure(error: float) -> str:
    """How sure a one-sided bound is.

    >>> _sure(0.05), _sure(0.05 / 3)
    ('with 95% certainty', 'with 98.33% certainty')
    """
    return f"with {100 * (1 - error):.4g}% certainty"


def _sentence(
    conditions: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]], first: bool
) -> str:
    if not failed:
        place = "become the first champion" if first else "replace the champion"
        return f"It may {place}: all {len(conditions)} conditions hold."
    named = "; ".join(one["name"] for one in failed)
    return f"Not shown, {len(failed)} of {len(conditions)} conditions: {named}."


def _number(value: float | None) -> float | None:
    """Ten significant digits, so that files are stable; None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.10g}")
