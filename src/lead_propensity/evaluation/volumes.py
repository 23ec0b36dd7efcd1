"""What the calls bring, whatever their number: deals found, money (`money.py`) and net benefit.

Net benefit is that of Vickers and Elkin, "Decision curve analysis" (2006): deals found less calls in vain, at
the odds of the threshold from which leads are called.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lead_propensity.evaluation import against
from lead_propensity.evaluation import compare as paired
from lead_propensity.evaluation.against import known, numbers, ranked
from lead_propensity.evaluation.compare import ENDS, Contender, Field
from lead_propensity.evaluation.metrics import Floats, best_first
from lead_propensity.evaluation.money import STEPS, money
from lead_propensity.evaluation.verdict import MODEL, NEITHER, RULES, winner

JUDGED = ("model", "rules", "logistic")
"""Whose probabilities decide in the decision curve."""
REASONS = {
    "break_even": "where a call pays for itself",
    "hot": "where hot begins",
    "base_rate": "the base rate",
}
HIGHEST_THRESHOLD = 0.95


def volumes(
    test: pd.DataFrame, context: Mapping[str, Any], has_rules: bool, draws: tuple[int, int]
) -> dict[str, Any]:
    """The scorecard's `gain`, `money` (or None) and `net_benefit`; `draws`: seed, resamples."""
    listed = against.contenders(test, float(context["base_rate_calibrate"]), has_rules)
    _, hot = against.volume(test, has_rules)
    return {
        "gain": gain(listed, against.field(test, hot)),
        "money": money(test, listed, hot, context["bands"], draws),
        "net_benefit": net_benefit(test, listed, context, draws),
    }


def figures(card: Mapping[str, Any]) -> dict[str, float | None]:
    """Money and net benefit, flat, for tracking from run to run."""
    sections = {"net_benefit": card["net_benefit"]["at"], "money": (card["money"] or {}).get("at")}
    flat: dict[str, float | None] = {}
    for what, at in sections.items():
        for name, figure in (at or {}).get("models", {}).items():
            flat[f"{what}_{name}"] = figure["value"]
        for name, gap in (at or {}).get("differences", {}).items():
            flat |= {f"{what}_model_minus_{name}{end}": gap[key] for end, key in ENDS}
    return flat


def gain(contenders: Sequence[Contender], common: Field) -> dict[str, Any]:
    """Share of the deals found in the first `share` of the snapshots, None where none came."""
    won = common.won
    places = np.linspace(0, len(won), STEPS + 1).round().astype(int)
    curves: dict[str, Any] = {"share": (places / len(won)).tolist(), "rules": None}
    for name, score in ranked(contenders):
        found = np.concatenate([[0.0], np.cumsum(won[best_first(score, common.tie)])])
        curves[name] = (found[places] / found[-1]).tolist() if found[-1] else None
    return curves


def net_benefit(
    test: pd.DataFrame,
    contenders: Sequence[Contender],
    context: Mapping[str, Any],
    draws: tuple[int, int],
) -> dict[str, Any]:
    """The decision curve of JUDGED, of calling everybody and of calling nobody (always 0).

    In deals a snapshot: 0.02 is as good as two more deals, with no call in vain, of each 100 snapshots. `at`: at
    the threshold where leads become hot, with what the model has more than others. `draws`: seed, resamples.
    """
    won = numbers(test, "won")
    says = {
        one.name: one.probability
        for one in contenders
        if one.name in JUDGED and one.probability is not None
    }
    says["everybody"] = np.ones(len(won))
    reach = _reach(won, says["model"])
    thresholds = np.linspace(0, reach, STEPS + 1)
    at, why = _threshold(context)
    told = _net_at(says, test, at, draws)
    return {
        "thresholds": thresholds.tolist(),
        "rules": None,
        **{name: [_net(p, won, t) for t in thresholds] for name, p in says.items()},
        "at": {"threshold": at, "why": why, **told},
        "sentence": _sentence(at, why, told["differences"]),
    }


def _sentence(threshold: float, why: str, gaps: Mapping[str, Any]) -> str:
    other = "rules" if "rules" in gaps else "everybody"
    against = {"rules": "than the rules", "everybody": "than calling everybody"}[other]
    gap, who = gaps[other], winner(gaps[other])
    place = f"Called from a probability of {100 * threshold:.1f}% on ({REASONS[why]})"
    verdicts = {
        MODEL: f"the model brings more {against}",
        RULES: f"the model brings less {against}",
        NEITHER: f"the model is not shown to bring more {against}",
    }
    if who not in verdicts:
        return f"{place}, there is not enough evidence on net benefit."
    ends = [f"{100 * gap[key]:+.2f}" for key in ("value", "lower", "upper")]
    return f"{place}, {verdicts[who]}: {ends[0]} net deals per 100 snapshots, 95% interval {ends[1]} to {ends[2]}."


def benefit(probability: Floats, won: Floats, threshold: float) -> Floats:
    """What each snapshot adds: called from `threshold` on, a deal 1, a call in vain minus the odds.

    >>> float(benefit(np.array([0.3, 0.2, 0.1]), np.array([1.0, 0.0, 1.0]), 0.2).sum())
    0.75
    """
    odds = threshold / (1 - threshold)
    added: Floats = (probability >= threshold) * (won - (1 - won) * odds)
    return added


def _net(probability: Floats, won: Floats, threshold: float) -> float:
    return float(benefit(probability, won, float(threshold)).mean())


def _reach(won: Floats, model: Floats) -> float:
    """Up to twice the share of the won, or where the model calls but one in a hundred."""
    top = float(np.quantile(model, 0.99, method="inverted_cdf"))
    return min(HIGHEST_THRESHOLD, max(2 * float(won.mean()), top))


def _threshold(context: Mapping[str, Any]) -> tuple[float, str]:
    """From where leads are called, and why: break-even, else where hot begins, else the base rate."""
    bands = context["bands"]
    cost, value = bands.get("cost_per_contact"), bands.get("value_per_win")
    if cost is not None and value and cost < value:
        return float(cost) / float(value), "break_even"
    if bands.get("hot_from") is not None and bands["hot_from"] < 1:
        return float(bands["hot_from"]), "hot"
    return min(float(context["base_rate_calibrate"]), HIGHEST_THRESHOLD), "base_rate"


def _net_at(
    says: Mapping[str, Floats], test: pd.DataFrame, threshold: float, draws: tuple[int, int]
) -> dict[str, Any]:
    won, each = numbers(test, "won"), np.ones(len(test))
    added = {name: benefit(p, won, threshold) for name, p in says.items()}
    group = test["group_id"]
    return {
        "models": {
            name: known(paired.ratio(one, each, group, *draws)) for name, one in added.items()
        },
        "differences": {
            name: known(paired.ratio(added["model"] - one, each, group, *draws))
            for name, one in added.items()
            if name != "model"
        },
    }
