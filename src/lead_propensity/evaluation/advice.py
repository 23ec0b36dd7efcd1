"""What to do with a model after what was seen: nothing, recalibrate it, or train another one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lead_propensity.config import GateConfig, MonitorConfig
from lead_propensity.model.intervals import Z_95

OK, RECALIBRATE, RETRAIN = "ok", "recalibrate", "retrain"


def advise(
    seen: Sequence[Mapping[str, Any]],
    drift: Mapping[str, Any] | None,
    reference: Mapping[str, float | None],
    gate: GateConfig,
    limits: MonitorConfig,
) -> dict[str, Any]:
    """`advice`, its `reasons` in words, what could be `judged`, and a `sentence`.

    `seen`: all outcomes as `matured.together` gives them, then the last ones of `matured.lately`, if any; `drift`
    as `runs.lasting_drift`; `reference` the `auc` that the model had on its stock, with its `auc_error`. Order lost
    needs another model, a level that is off only another calibrator: so retraining comes first. Each question may
    err with `limits.error` over all looks.
    """
    pooled = seen[0]
    enough = pooled["wins"] >= gate.min_wins and pooled["leads"] >= gate.min_leads
    retrain = _drifted(drift, limits)
    recalibrate: list[str] = []
    if enough:
        for one in seen:
            when = f"since {one['since'][:10]} " if "since" in one else ""
            found = [*_behind_rules(one), *_order_lost(one, reference, gate)]
            retrain += [when + reason for reason in found]
            recalibrate += [when + reason for reason in (*_level(one, gate), *_promises(one))]
    advice = RETRAIN if retrain else RECALIBRATE if recalibrate else OK
    return {
        "advice": advice,
        "reasons": [*retrain, *recalibrate],
        "enough": enough,
        "sentence": _sentence(advice, [*retrain, *recalibrate], pooled, enough, gate),
    }


def _behind_rules(pooled: Mapping[str, Any]) -> list[str]:
    gap = pooled["auc_minus_rules"]
    if gap is None or gap["upper"] >= 0:
        return []
    return [
        f"the rules put leads into a better order: AUC {gap['value']:+.3f} against them, at most {gap['upper']:+.3f}"
    ]


def _order_lost(
    pooled: Mapping[str, Any], reference: Mapping[str, float | None], gate: GateConfig
) -> list[str]:
    """Shown to lie further below the AUC of the reference than the rules' margin allows."""
    now, auc, error = pooled["auc"], reference["auc"], reference["auc_error"]
    if now is None or auc is None or error is None:
        return []
    half = math.hypot(pooled["width"] * now["error"], Z_95 * error)
    lost = now["value"] - auc
    if lost + half >= -gate.rules_margin:
        return []
    return [
        f"the order of the leads is lost: AUC {now['value']:.3f}, {auc:.3f} when the bands were made "
        f"(difference at most {lost + half:+.3f})"
    ]


def _drifted(drift: Mapping[str, Any] | None, limits: MonitorConfig) -> list[str]:
    if drift is None or drift["called_share"] < limits.drifted_share:
        return []
    names = ", ".join(row["name"] for row in drift["top"] if row["called"])
    return [
        f"the features have drifted widely: {drift['called']:,} of {drift['features']:,}, which carry "
        f"{drift['called_share']:.0%} of what the model goes by ({names})"
    ]


def _level(pooled: Mapping[str, Any], gate: GateConfig) -> list[str]:
    """Only where the whole interval lies outside: shown to be off, not merely not shown to be right."""
    ratio = pooled["expected_to_observed"]
    if pooled["level_wins"] < gate.min_wins or ratio is None:
        return []
    if ratio["lower"] <= gate.level_within and ratio["upper"] >= 1 / gate.level_within:
        return []
    return [
        f"the level is off: expected over observed deals {ratio['value']:.2f}, surely {ratio['lower']:.2f} to "
        f"{ratio['upper']:.2f}; allowed are {1 / gate.level_within:.2f} to {gate.level_within:.2f}"
    ]


def _promises(pooled: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['band']} leads promised at least {row['promised_lower']:.1%} and brought {row['observed']:.1%}"
        for row in pooled["bands"]
        if row["broken_for_sure"]
    ]


def _sentence(
    advice: str, reasons: list[str], pooled: Mapping[str, Any], enough: bool, gate: GateConfig
) -> str:
    seen = f"{pooled['wins']:,} won of {pooled['leads']:,} leads whose outcome is final"
    if advice != OK:
        return f"{advice.capitalize()}: {'; '.join(reasons)}. Seen: {seen}."
    if not enough:
        need = f"{gate.min_wins:,} won and {gate.min_leads:,} leads are needed"
        return (
            f"No reason to act, and too little to judge the level and the order by: {seen}; {need}."
        )
    return f"No reason to act: {seen}."
